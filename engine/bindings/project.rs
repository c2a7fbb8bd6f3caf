//! Files of the project on this machine: `project_read`.

use rhai::Dynamic;
use serde::Serialize;

use crate::bindings::{Binding, Call, Function, Raise, SecretValue, hidden};
use crate::gate::permit::invalid;
use crate::gate::sentence;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::secret::{Secret, SecretName};
use crate::model::signature::{Param, Performs, Signature, Touches, Type};

/// The most that a script may read: what it returns is part of the journal.
const MOST: usize = 1 << 20;

/// The text of a file of the project; a resumed run sees the text that it saw before.
#[derive(Serialize)]
struct Read {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<SecretName>,
}

impl Effect for Read {
    const NAME: &'static str = "project.read";
    const KIND: Kind = Kind::Read;
    type Output = String;

    fn target(&self) -> Target {
        Target::Named { name: self.path.clone() }
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<String>) -> Result<Done<String>, Failure> {
        let bytes = permit.project().read(&self.path).map_err(|error| invalid(sentence(&error)))?;
        if bytes.len() > MOST {
            let message = format!("`{}` has {} bytes; `project_read` reads 1 MiB", self.path, bytes.len());
            return Err(invalid(message));
        }
        if let Some(name) = &self.secret {
            hidden::learn(permit, name, &bytes)?;
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| invalid(format!("`{}` in the project is not text in UTF-8", self.path)))?;
        Ok(Done::ok(text))
    }
}

fn project_read(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let secret = hidden::name(call)?;
    let text = call.perform(&Read { path: call.string(0)?, secret: secret.clone() })?;
    Ok(match secret {
        Some(name) => Dynamic::from(SecretValue(Secret::new(name, text.into_bytes()))),
        None => text.into(),
    })
}

/// Files of the project.
pub const BINDING: Binding = Binding {
    area: "project",
    doc: "Files of the project on this machine.",
    functions: &[Function {
        signature: Signature {
            name: "project_read",
            params: &[Param { name: "path", ty: Type::LocalPath, optional: false }],
            options: &[hidden::SECRET],
            required_options: &[],
            returns: "Text, or a secret with `secret: \"name\"`.",
            performs: Some(Performs { effect: "project.read", kind: Kind::Read, touches: Touches::Text(0) }),
            doc: "Reads a text file of the project, up to 1 MiB; the path is relative to the project.\n\nWhat leads out \
                  of the project is refused. A resumed run sees the text that it saw before.",
            example: r#"print(project_read("nlrun.yaml"));"#,
        },
        run: project_read,
    }],
};
