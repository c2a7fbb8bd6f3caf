//! What a file shall hold, and how that is recorded without recording it.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::bindings::call::Content;
use crate::bindings::{Call, Raise};
use crate::gate::permit::invalid;
use crate::gate::sentence;
use crate::world::project::Digests;

/// A content that is known before the host is asked. It serialises to its hash and size; a secret to its name.
#[derive(Clone)]
pub(super) struct Fixed {
    pub(super) bytes: Arc<[u8]>,
    pub(super) sha256: Arc<str>,
    /// A quicker digest of a long content, for hosts that know it.
    pub(super) blake2b: Option<Arc<str>>,
    pub(super) is_secret: bool,
    recorded: Value,
}

impl Fixed {
    /// Takes a content from a script.
    pub(super) fn new(content: Content) -> Self {
        let sha256 = crate::store::sha256(content.bytes());
        match content {
            Content::Plain(bytes) => {
                let recorded = json!({ "sha256": sha256, "bytes": bytes.len() });
                Self { bytes: bytes.into(), sha256: sha256.into(), blake2b: None, is_secret: false, recorded }
            }
            Content::Secret(secret) => Self {
                bytes: secret.expose().into(),
                sha256: sha256.into(),
                blake2b: None,
                is_secret: true,
                recorded: json!({ "$secret": secret.name() }),
            },
        }
    }

    /// Takes bytes that hold a secret somewhere; `recorded` stands for them.
    pub(super) fn with_secret(bytes: &[u8], recorded: Value) -> Self {
        let sha256 = crate::store::sha256(bytes).into();
        Self { bytes: bytes.into(), sha256, blake2b: None, is_secret: true, recorded }
    }

    /// Reads argument 2, or the option `content` or `source`: exactly one of them.
    pub(super) fn read(call: &Call<'_>) -> Result<Self, Raise> {
        let given = [call.count() > 2, call.has("content"), call.has("source")];
        if given.into_iter().filter(|is_given| *is_given).count() != 1 {
            let message = format!(
                "`{}` wants its content once: as third argument, or as option `content` or `source`",
                call.name()
            );
            return Err(invalid(message).into());
        }
        if let Some(source) = call.option_string("source")? {
            let project = call.session.gate().world.project();
            let (bytes, Digests { sha256, blake2b }) =
                project.share(&source).map_err(|error| invalid(sentence(&error)))?;
            let recorded = json!({ "sha256": *sha256, "bytes": bytes.len() });
            return Ok(Self { bytes, sha256, blake2b, is_secret: false, recorded });
        }
        match call.option_content("content")? {
            Some(content) => Ok(Self::new(content)),
            None => Ok(Self::new(call.content(2)?)),
        }
    }
}

impl Serialize for Fixed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.recorded.serialize(serializer)
    }
}

/// Reads a file of the project.
pub(super) fn project_file(call: &Call<'_>, path: &str) -> Result<Vec<u8>, Raise> {
    call.session.gate().world.project().read(path).map_err(|error| invalid(sentence(&error)).into())
}
