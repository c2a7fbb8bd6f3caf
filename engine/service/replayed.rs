//! A replay for people at a server: in a process of its own, as every run, and without anything being written.

use std::ffi::OsStr;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::model::run::RunId;
use crate::service::{Desk, ServiceError};
use crate::world::process;

/// How long a replay may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much of what it says is read, in bytes.
const MOST: u64 = 64 << 20;

/// What a replay came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replayed {
    /// How it ended: `done`, or why not.
    pub status: String,
    /// What the script returned.
    pub result: Value,
    /// What went wrong.
    pub error: Option<Value>,
    /// How many events it made.
    pub events: usize,
    /// What the script said.
    pub messages: Vec<String>,
}

impl Desk {
    /// Runs a recorded run again from its journal alone, and says what came of it.
    pub fn replay(&self, run: RunId) -> Result<Replayed, ServiceError> {
        self.read::<_, ServiceError>(|reader| Ok(reader.run(run)?))?;
        let project = self.project_now()?;
        let number = run.to_string();
        let words: [&OsStr; 7] = [
            "--project".as_ref(),
            project.root().as_os_str(),
            "--state".as_ref(),
            self.store().dir().as_os_str(),
            "--json".as_ref(),
            "replay".as_ref(),
            number.as_ref(),
        ];
        let said = process::ask_self(words, MOST, PATIENCE)?;
        let mut replayed = Replayed {
            status: "failed".to_owned(),
            result: Value::Null,
            error: None,
            events: 0,
            messages: Vec::new(),
        };
        for line in said.lines() {
            let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
            replayed.events += 1;
            match event["event"].as_str() {
                Some("message") if replayed.messages.len() < 100 => {
                    replayed.messages.extend(event["text"].as_str().map(str::to_owned));
                }
                Some("ended") => {
                    event["status"].as_str().unwrap_or_default().clone_into(&mut replayed.status);
                    replayed.result = event["result"].clone();
                    replayed.error = event.get("error").filter(|error| !error.is_null()).cloned();
                }
                _ => {}
            }
        }
        Ok(replayed)
    }
}
