//! Runs and events as a server shows them, turned into what the views of the command line take.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use crate::cli::problem::Problem;
use crate::cli::remote::Remote;
use crate::model::event::{Event, Start};
use crate::model::run::{Mode, RunId, Seq, Status, Summary, Trigger};
use crate::store::{Passing, Record, RunRow};

/// A run as the API shows it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Shown {
    run: i64,
    mode: Mode,
    /// How far it has come.
    pub(crate) status: Status,
    started: String,
    #[serde(default)]
    ended: Option<String>,
    trigger: Trigger,
    summary: Summary,
    #[serde(default)]
    commit: Option<String>,
    dirty: bool,
    params: Value,
    sources: BTreeMap<String, String>,
    inventory: String,
    grants: Vec<String>,
    allow: Vec<String>,
    #[serde(default)]
    plan: Option<String>,
    version: String,
    last_event: i64,
}

impl Shown {
    /// Returns it as the run log has it.
    pub(crate) fn row(&self) -> RunRow {
        let time = |text: &String| {
            let at: Result<jiff::Timestamp, _> = text.parse();
            at.map_or(0, jiff::Timestamp::as_microsecond)
        };
        RunRow {
            id: RunId(self.run),
            started_at: time(&self.started),
            ended_at: self.ended.as_ref().map(time),
            last_seq: Seq(self.last_event),
            summary: self.summary.clone(),
        }
    }

    /// Returns what it was started with.
    pub(crate) fn start(&self) -> Start {
        Start {
            runbook: self.summary.runbook.clone(),
            sources: self.sources.clone(),
            commit: self.commit.clone(),
            dirty: self.dirty,
            params: self.params.clone(),
            inventory: self.inventory.clone(),
            grants: self.grants.clone(),
            allow: self.allow.clone(),
            trigger: self.trigger.clone(),
            mode: self.mode,
            plan: self.plan.clone(),
            beyond: false,
            version: self.version.clone(),
        }
    }
}

/// Reads an event of a stream.
pub(super) fn record(remote: &Remote, run: RunId, data: &str) -> Result<Record, Problem> {
    let unknown = |why: String| remote.other_words(&why);
    let mut value: Value = serde_json::from_str(data).map_err(|error| unknown(error.to_string()))?;
    let (Some(seq), Some(at)) = (value["seq"].as_i64(), value["at"].as_i64()) else {
        return Err(unknown("an event without number and time".to_owned()));
    };
    let mut passing = None;
    if let Some(map) = value.as_object_mut() {
        map.remove("seq");
        map.remove("at");
        if map.get("event").and_then(Value::as_str) == Some("output") {
            let text = map.remove("text").and_then(|text| Some(text.as_str()?.as_bytes().to_vec()));
            let coded = map.remove("base64").and_then(|text| STANDARD.decode(text.as_str()?).ok());
            passing = text.or(coded).map(|bytes| Arc::new(Passing::new(&bytes)));
        }
    }
    let event: Event = serde_json::from_value(value).map_err(|error| unknown(error.to_string()))?;
    let body = serde_json::to_string(&event).expect("an event is plain data");
    Ok(Record { run, seq: Seq(seq), at, event, body, passing })
}
