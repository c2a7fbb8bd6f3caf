//! The process of one run of the queue: it takes the run, prepares what was asked for, and runs it to its end.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::gate::authority::Ask;
use crate::model::address::Address;
use crate::model::diagnostic::Diagnostic;
use crate::model::event::Event;
use crate::model::order::Order;
use crate::model::plan::Expected;
use crate::model::run::{RunId, Status};
use crate::runner::executor::Ending;
use crate::service::apply::{pinned_plan, plan_of};
use crate::service::live::{Beginning, Past, ended, refused};
use crate::service::{Decision, Finished, Hands, Place, Prepared, Project, ServiceError, Wanted, prepare};
use crate::store::{Reader, Store, StoreError};

/// How long a run of the queue waits for its locks, when nothing else is said.
pub const LOCK_WAIT: Duration = Duration::from_secs(3600);

/// How often an open question is looked at.
const LOOK: Duration = Duration::from_millis(100);

impl Project {
    /// Begins a run that waits in the queue, or goes on with one whose process is gone, in this process.
    ///
    /// What cannot begin is over with the reason as its error, so that no run waits for ever. The folder of the project is the
    /// commit that the run is to use.
    pub fn execute(
        &self,
        place: &Place,
        store: &Store,
        run: RunId,
        decisions: &BTreeMap<Address, Decision>,
        hands: Hands,
    ) -> Result<Finished, ServiceError> {
        let reader = store.reader()?;
        if reader.run(run)?.summary.status != Status::Queued {
            return self.resume(place, store, run, decisions, hands);
        }
        let order = reader.order(run)?.ok_or_else(|| ServiceError::Unusable {
            run: run.0,
            reason: "nobody has put it into a queue".to_owned(),
        })?;
        let claim = store.claim(run)?;
        // Whoever held it a moment ago may have begun or cancelled it.
        let status = reader.run(run)?.summary.status;
        if status != Status::Queued {
            return Err(StoreError::Over { run, status }.into());
        }
        let ready = match self.ready(place, &reader, &order) {
            Ok(ready) => ready,
            Err(error) => {
                let ending = why_not(&error);
                store.log(claim, hands.observer.clone()).append_durable_blocking(ended(&ending))?;
                return Ok(Finished { run, ending, allowed: Vec::new() });
            }
        };
        let Ready { mut prepared, plan, past } = ready;
        prepared.header.limits.locks.extend(order.locks.iter().cloned());
        let commit = reader.commit(run)?;
        let beginning = Beginning { queued: Some(claim), plan: plan.as_deref(), commit, past };
        match self.start(place, store, prepared, order.mode, hands, beginning) {
            // Tried again it would be no better.
            Err(error @ ServiceError::Store(StoreError::PlanUsed(_))) => {
                give_up(store, run, &error.to_string())?;
                Err(error)
            }
            finished => finished,
        }
    }

    /// Prepares what was asked for: a runbook with parameters, or a plan.
    fn ready(&self, place: &Place, reader: &Reader, order: &Order) -> Result<Ready, ServiceError> {
        let Some(planned) = order.plan else {
            let wanted = Wanted {
                runbook: order.runbook.clone(),
                set: order.params.clone(),
                inventory: None,
                grants: order.grants.clone(),
                allow: Vec::new(),
            };
            let mut prepared = prepare(self, place, &wanted)?;
            if order.grants.is_empty() {
                prepared.grants.clear();
            }
            return Ok(Ready { prepared, plan: None, past: Past::default() });
        };
        let plan = plan_of(reader, planned)?;
        let text = serde_json::to_string(&plan).expect("a plan is plain data");
        let prepared = pinned_plan(&plan, &order.grants)?;
        let expected = Expected::new(plan.effects, plan.incomplete, false);
        Ok(Ready { prepared, plan: Some(text), past: Past { expected: Some(expected), ..Past::default() } })
    }
}

/// What a run of the queue begins with.
struct Ready {
    prepared: Prepared,
    plan: Option<String>,
    past: Past,
}

/// Ends a run that cannot begin, with all that is known about the reason.
fn why_not(error: &ServiceError) -> Ending {
    match error {
        ServiceError::Check(found) if !found.is_empty() => {
            let worst = found.iter().find(|diagnostic| diagnostic.is_error()).unwrap_or(&found[0]);
            let mut first: Diagnostic = worst.clone();
            if found.len() > 1 {
                first.message =
                    format!("{} (and {} more findings of the check)", first.message, found.len() - 1);
            }
            Ending { error: Some(Box::new(first)), ..refused(error) }
        }
        ServiceError::Parameters(errors) => {
            let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Ending {
                error: Some(Box::new(Diagnostic::error("parameters", all.join("; ")))),
                ..refused(error)
            }
        }
        _ => refused(error),
    }
}

/// Asks whoever may answer, through the run log: in the web page, by the API, or with `nlrun approve`.
pub struct Asked {
    store: Store,
    run: RunId,
}

impl Asked {
    /// Makes the way to ask for a run.
    pub fn new(store: &Store, run: RunId) -> Self {
        Self { store: store.clone(), run }
    }

    fn wait(&self, question: &str, has_to_end: &dyn Fn() -> bool) -> Result<Option<bool>, StoreError> {
        let reader = self.store.reader()?;
        let id = self.store.question(self.run, question)?;
        let mut version = 0;
        while !has_to_end() {
            let now = reader.version()?;
            if now != version {
                version = now;
                if let Some((answer, _)) = reader.answer(id)? {
                    return Ok(Some(answer));
                }
            }
            #[expect(clippy::disallowed_methods, reason = "a thread of script that has nothing else to do")]
            std::thread::sleep(LOOK);
        }
        self.store.withdraw(id)?;
        Ok(None)
    }
}

impl Ask for Asked {
    fn confirm(&self, question: &str, has_to_end: &dyn Fn() -> bool) -> Option<bool> {
        self.wait(question, has_to_end).unwrap_or_else(|error| {
            tracing::error!(%error, run = %self.run, "a question cannot be asked");
            None
        })
    }
}

/// Takes a run out of the queue that still waits there; `false` if it does not wait any more.
pub fn take_out(store: &Store, run: RunId, by: &str) -> Result<bool, ServiceError> {
    let asked = Event::CancelAsked { by: by.to_owned(), now: false };
    let last = ended(&Ending { status: Status::Cancelled, ..Ending::nothing() });
    Ok(!end_waiting(store, [(run, vec![asked, last])])?.is_empty())
}

/// Ends a run that waits in the queue and will never begin; `false` if it does not wait any more.
pub fn give_up(store: &Store, run: RunId, reason: &str) -> Result<bool, ServiceError> {
    Ok(!give_up_all(store, &[(run, reason.to_owned())])?.is_empty())
}

/// Ends runs that wait in the queue and will never begin, each for its reason; returns those that did wait.
///
/// The disk is waited for once: thousands may pass their deadlines together.
pub fn give_up_all(store: &Store, runs: &[(RunId, String)]) -> Result<Vec<RunId>, ServiceError> {
    let last = |reason: &String| {
        let error = Some(Box::new(Diagnostic::error("refused", reason.clone())));
        ended(&Ending { status: Status::Stopped, error, ..Ending::nothing() })
    };
    end_waiting(store, runs.iter().map(|(run, reason)| (*run, vec![last(reason)])))
}

/// Ends runs that wait with their last events.
fn end_waiting(
    store: &Store,
    runs: impl IntoIterator<Item = (RunId, Vec<Event>)>,
) -> Result<Vec<RunId>, ServiceError> {
    let reader = store.reader()?;
    let mut logs = Vec::new();
    for (run, events) in runs {
        match store.claim(run) {
            Ok(claim) if reader.run(run)?.summary.status == Status::Queued => {
                logs.push((store.log(claim, None), events));
            }
            Ok(_) | Err(StoreError::Held { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let last = logs.last_mut().and_then(|(_, events)| events.pop());
    for (log, events) in &mut logs {
        for event in events.drain(..) {
            log.append_blocking(event)?;
        }
    }
    if let (Some((log, _)), Some(event)) = (logs.last(), last) {
        // With it all before it is on disk, those of the other runs, too.
        log.append_durable_blocking(event)?;
    }
    Ok(logs.iter().map(|(log, _)| log.run()).collect())
}
