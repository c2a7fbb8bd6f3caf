//! `git_show`.

use rhai::Dynamic;
use serde::Serialize;

use super::at_commit;
use crate::bindings::{Call, Raise, SecretValue, hidden};
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::secret::{Secret, SecretName};

/// The most that a script may read: what it returns is part of the journal.
const MOST: usize = 1 << 20;

/// The text of a file as a commit has it.
#[derive(Serialize)]
struct Show {
    revision: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<SecretName>,
}

impl Effect for Show {
    const NAME: &'static str = "git.show";
    const KIND: Kind = Kind::Read;
    type Output = Option<String>;

    fn target(&self) -> Target {
        Target::Run
    }

    async fn perform(
        &self,
        permit: &Permit<'_>,
        _seen: &Seen<Option<String>>,
    ) -> Result<Done<Option<String>>, Failure> {
        let read = at_commit(permit, self.revision.clone(), self.path.clone()).await?;
        let Some(bytes) = read else { return Ok(Done::ok(None)) };
        if bytes.len() > MOST {
            let message = format!("`{}` has {} bytes; `git_show` reads 1 MiB", self.path, bytes.len());
            return Err(invalid(message));
        }
        if let Some(name) = &self.secret {
            hidden::learn(permit, name, &bytes)?;
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| invalid(format!("`{}` of `{}` is not text in UTF-8", self.path, self.revision)))?;
        Ok(Done::ok(Some(text)))
    }
}

pub(super) fn git_show(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let secret = hidden::name(call)?;
    let show = Show { revision: call.string(0)?, path: call.string(1)?, secret: secret.clone() };
    Ok(match (call.perform(&show)?, secret) {
        (None, _) => Dynamic::UNIT,
        (Some(text), Some(name)) => Dynamic::from(SecretValue(Secret::new(name, text.into_bytes()))),
        (Some(text), None) => text.into(),
    })
}
