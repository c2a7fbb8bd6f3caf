//! Going on where a run was interrupted, and replaying one without the world.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::gate::journal::Journal;
use crate::gate::recorder::Recorder;
use crate::model::address::Address;
use crate::model::event::{Event, Start};
use crate::model::run::{Mode, RunId, Seq, Summary};
use crate::model::runbook::Header;
use crate::runner::sources::{Pinned, Sources};
use crate::runner::{header, language};
use crate::service::live::Past;
use crate::service::prepare::capabilities;
use crate::service::{Finished, Hands, Place, Prepared, Project, ServiceError};
use crate::store::{Reader, Store, StoreError};

/// What a person decided about an act in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It happened.
    Done,
    /// It did not happen, or may happen again.
    Again,
}

/// Says what a person can do about a run that was interrupted.
pub fn remedy(run: RunId, summary: &Summary) -> String {
    match summary.mode {
        Mode::Apply => format!("`nlrun resume {run}` goes on"),
        Mode::Plan => new_plan(&summary.runbook),
    }
}

/// Says how to make a plan again.
pub fn new_plan(runbook: &str) -> String {
    format!("a plan changes nothing: make a new one with `nlrun plan {runbook}` and the same parameters")
}

impl Project {
    /// Continues an interrupted run, or one that waits for decisions about acts in doubt.
    ///
    /// A plan is not continued: what its effects promised to each other is in no journal.
    pub fn resume(
        &self,
        place: &Place,
        store: &Store,
        run: RunId,
        decisions: &BTreeMap<Address, Decision>,
        hands: Hands,
    ) -> Result<Finished, ServiceError> {
        let reader = store.reader()?;
        let Summary { status, mode, runbook, .. } = reader.run(run)?.summary;
        if mode == Mode::Plan {
            return Err(ServiceError::IsPlan { run: run.0, runbook });
        }
        let claim = store.claim(run)?;
        if !status.is_resumable() {
            return Err(StoreError::Over { run, status }.into());
        }
        let (start, journal) = read(&reader, run)?;
        // A slip of the pen would leave the act that was meant undecided.
        if let Some(address) = decisions.keys().find(|address| !journal.is_in_doubt(address)) {
            return Err(ServiceError::NotInDoubt { run: run.0, address: address.clone() });
        }
        let prepared = pinned(&reader, run, &start)?;
        let words = |decision: &Decision| match decision {
            Decision::Done => "done".to_owned(),
            Decision::Again => "again".to_owned(),
        };
        let decisions: BTreeMap<Address, String> =
            decisions.iter().map(|(address, decision)| (address.clone(), words(decision))).collect();
        let by = hands.trigger.who().to_owned();
        let log = store.log(claim, hands.observer.clone());
        let event = Event::Resumed { pid: std::process::id(), by, decisions: decisions.clone() };
        log.append_blocking(event)?;
        let expected = match &start.plan {
            // The plan was used up by this run; its promises still bind it.
            Some(digest) => Some(super::apply::expected_again(&reader, digest, start.beyond, run)?),
            None => None,
        };
        let past = Past { journal, expected, decisions, replay: false, asks: reader.asks(run)?.len() };
        self.live(place, store, prepared, start.mode, hands, past, Recorder::Log(log))
    }

    /// Runs a recorded run again from its journal alone: no network, nothing is written.
    pub fn replay(
        &self,
        place: &Place,
        store: &Store,
        run: RunId,
        hands: Hands,
    ) -> Result<Finished, ServiceError> {
        let reader = store.reader()?;
        reader.run(run)?;
        let (start, journal) = read(&reader, run)?;
        let prepared = pinned(&reader, run, &start)?;
        let recorder = Recorder::Replay { run, observer: hands.observer.clone() };
        let journal = journal.without_notes();
        let past = Past { journal, replay: true, ..Past::default() };
        self.live(place, store, prepared, start.mode, hands, past, recorder)
    }
}

/// Reads the events of a run into a journal.
fn read(reader: &Reader, run: RunId) -> Result<(Start, Journal), ServiceError> {
    const PAGE: usize = 2000;
    let mut journal = Journal::default();
    let mut start = None;
    let mut after = Seq(0);
    loop {
        let page = reader.events(run, after, PAGE)?;
        let is_last = page.len() < PAGE;
        for record in page {
            after = record.seq;
            match record.event {
                Event::Started(event) => start = Some(*event),
                event => journal.apply(record.seq, event),
            }
        }
        if is_last {
            break;
        }
    }
    let start =
        start.ok_or(ServiceError::Unusable { run: run.0, reason: "it has no first event".to_owned() })?;
    Ok((start, journal))
}

/// Puts a run's pinned scripts, parameters and inventory together again.
fn pinned(reader: &Reader, run: RunId, start: &Start) -> Result<Prepared, ServiceError> {
    let unusable = |reason: String| ServiceError::Unusable { run: run.0, reason };
    let mut sources = BTreeMap::new();
    for (path, hash) in &start.sources {
        sources.insert(path.clone(), Arc::from(reader.text(hash)?));
    }
    let inventory = reader.text(&start.inventory)?;
    let inventory = serde_json::from_str(&inventory).map_err(|error| unusable(error.to_string()))?;
    let sources = Pinned(sources);
    let header = header_of(&sources, &start.runbook).map_err(unusable)?;
    let params = start.params.as_object().cloned().unwrap_or_default();
    Ok(Prepared {
        entry: start.runbook.clone(),
        sources: Arc::new(sources),
        header,
        params,
        inventory: Arc::new(inventory),
        grants: capabilities(&start.grants)?,
        allow: capabilities(&start.allow)?,
        warnings: Vec::new(),
        notices: Vec::new(),
        given: BTreeMap::new(),
    })
}

/// Reads the header of a pinned runbook, which passed the check when its run began.
pub(super) fn header_of(sources: &Pinned, entry: &str) -> Result<Header, String> {
    let text = sources.text(entry).map_err(|error| error.to_string())?;
    let ast = language::compile(&language::parser(), entry, &text, &rhai::Scope::new())
        .map_err(|error| error.to_string())?;
    Ok(header::read(&ast, entry, &text).0)
}
