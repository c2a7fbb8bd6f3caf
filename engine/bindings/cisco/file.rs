//! Configurations in the project: `cisco_read`.

use rhai::Dynamic;
use serde::Serialize;
use zeroize::Zeroizing;

use super::read::Shown;
use crate::bindings::git::at_commit;
use crate::bindings::{Call, Raise, SecretValue};
use crate::cisco::masked;
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Kept, Permit, Seen, sentence};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::secret::{Secret, SecretName};

/// The largest configuration that is read.
const MOST: usize = 16 << 20;

/// A configuration in a file of the project, as it is or as a commit has it.
#[derive(Serialize)]
struct Read {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
    /// Tells it from a file that is recorded as it stands.
    only: &'static str,
}

impl Read {
    /// Reads the file; nothing where the commit does not have it.
    async fn bytes(&self, permit: &Permit<'_>) -> Result<Option<Vec<u8>>, Failure> {
        let Some(revision) = self.revision.clone() else {
            let read = permit.project().read(&self.path);
            return read.map(Some).map_err(|error| invalid(sentence(&error)));
        };
        at_commit(permit, revision, self.path.clone()).await
    }
}

impl Effect for Read {
    const NAME: &'static str = "project.read";
    const KIND: Kind = Kind::Read;
    type Output = Option<Shown>;

    fn target(&self) -> Target {
        Target::Named { name: self.path.clone() }
    }

    async fn perform(
        &self,
        permit: &Permit<'_>,
        _seen: &Seen<Option<Shown>>,
    ) -> Result<Done<Option<Shown>>, Failure> {
        let Some(bytes) = self.bytes(permit).await? else { return Ok(Done::ok(None)) };
        if bytes.len() > MOST {
            let message = format!("`{}` has {} bytes; `cisco_read` reads 16 MiB", self.path, bytes.len());
            return Err(invalid(message));
        }
        // Old devices print Latin-1 in descriptions.
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|error| error.into_bytes().iter().copied().map(char::from).collect());
        permit.hide(&text)?;
        permit.conceal();
        let mut shown = Shown::keep(permit, masked(&text)).await?;
        shown.whole = Some(Zeroizing::new(text));
        Ok(Done::ok(Some(shown)))
    }

    fn restore(&self, output: Option<Shown>, kept: &dyn Kept) -> Option<Shown> {
        output.map(|shown| shown.restore(kept))
    }
}

pub(super) fn cisco_read(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let (path, revision) = (call.string(0)?, call.option_string("revision")?);
    let read = call.perform(&Read { path, revision, only: "what is no secret" })?;
    let Some(shown) = read else { return Ok(Dynamic::UNIT) };
    let name =
        SecretName::try_from("cisco/intended".to_owned()).map_err(|error| invalid(error.to_string()))?;
    // A replay has no more than what was recorded.
    let text = shown.whole.map_or(shown.text, |whole| whole.to_string());
    Ok(Dynamic::from(SecretValue(Secret::new(name, text.into_bytes()))))
}
