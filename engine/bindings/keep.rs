//! What a run keeps: `artifact report`.

use crate::bindings::declare::{of_the_run, text};
use crate::bindings::{Binding, Call, Function, Raise};
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::signature::{Opt, Param, Signature, Type};
use rhai::Dynamic;
use serde::Serialize;

/// A file that the run keeps.
#[derive(Serialize)]
struct Keep {
    name: String,
    media: String,
    sha256: String,
    #[serde(skip)]
    bytes: Vec<u8>,
}

/// Keeping a file changes nothing in the world: a plan keeps it, too, and applying a plan does not compare it, for what
/// a run reports is not what its plan foretold.
impl Effect for Keep {
    const NAME: &'static str = "run.artifact";
    const KIND: Kind = Kind::Read;
    type Output = u64;

    fn target(&self) -> Target {
        Target::Run
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<u64>) -> Result<Done<u64>, Failure> {
        permit.artifact(&self.name, &self.media, &self.bytes).await?;
        Ok(Done::ok(self.bytes.len() as u64))
    }
}

impl Keep {
    fn new(name: String, media: &str, bytes: Vec<u8>) -> Result<Self, Raise> {
        if name.is_empty() || name.contains(['/', '\0']) || name.starts_with('.') {
            return Err(invalid(format!("`{name}` is not a file name")).into());
        }
        let sha256 = crate::store::sha256(&bytes);
        Ok(Self { name, media: media.to_owned(), sha256, bytes })
    }
}

fn artifact(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let name = call.string(0)?;
    let bytes = call.content(1)?.bytes().to_vec();
    let media = call.option_string("type")?.unwrap_or_else(|| media_of(&name).to_owned());
    call.perform(&Keep::new(name, &media, bytes)?)?;
    Ok(Dynamic::UNIT)
}

fn report(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let value = call.json(0)?;
    let bytes = serde_json::to_vec_pretty(&value).map_err(|error| invalid(error.to_string()))?;
    call.perform(&Keep::new("report.json".to_owned(), "application/json", bytes)?)?;
    Ok(Dynamic::UNIT)
}

fn media_of(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("json") => "application/json",
        Some("html") => "text/html",
        Some("csv") => "text/csv",
        Some("yaml" | "yml") => "application/yaml",
        Some("txt" | "log" | "md" | "diff") => "text/plain",
        Some(_) | None => "application/octet-stream",
    }
}

/// What a run keeps.
pub const BINDING: Binding = Binding {
    area: "keep",
    doc: "Files that a run keeps: its report and others.",
    functions: &[
        function!(
            report,
            &[Param { name: "value", ty: Type::Any, optional: false }],
            &[],
            Some(of_the_run("run.artifact", Kind::Read)),
            "Nothing.",
            "Keeps a value as the run's report, `report.json`.",
            r"report(#{ hosts: 3, failed: [] });"
        ),
        function!(
            artifact,
            &[text("name"), Param { name: "content", ty: Type::Content, optional: false }],
            &[Opt { name: "type", ty: Type::String, doc: "The media type; by the name's ending otherwise." }],
            Some(of_the_run("run.artifact", Kind::Read)),
            "Nothing.",
            "Keeps a file with the run; `nlrun show RUN --artifact NAME` prints it.",
            r#"artifact("notes.txt", "all is well");"#
        ),
    ],
};
