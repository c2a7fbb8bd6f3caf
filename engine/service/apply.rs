//! Plans: written from a planned run, read back, and applied exactly once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::model::event::Event;
use crate::model::plan::{Expected, FORMAT, Plan, Planned};
use crate::model::run::{Mode, RunId, Seq};
use crate::runner::sources::Pinned;
use crate::service::live::Past;
use crate::service::prepare::capabilities;
use crate::service::resume::header_of;
use crate::service::{Finished, Hands, Place, Prepared, Project, ServiceError};
use crate::store::{Reader, Store};
use crate::world::files;

/// Writes the plan of a planned run to a file.
pub fn write_plan(store: &Store, finished: &Finished, path: &Path) -> Result<Plan, ServiceError> {
    let reader = store.reader()?;
    let (mut effects, mut start) = (Vec::new(), None);
    let mut after = Seq(0);
    loop {
        let page = reader.events(finished.run, after, 2000)?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for record in &page {
            effects.extend(Planned::from_event(&record.event));
            if let Event::Started(event) = &record.event {
                start = Some((record.at, event.clone()));
            }
        }
    }
    let missing =
        || ServiceError::Unusable { run: finished.run.0, reason: "it has no first event".to_owned() };
    let (made_at, start) = start.ok_or_else(missing)?;
    let mut sources = BTreeMap::new();
    for (path, hash) in &start.sources {
        sources.insert(path.clone(), reader.text(hash)?);
    }
    let inventory = serde_json::from_str(&reader.text(&start.inventory)?).map_err(|_| missing())?;
    let plan = Plan {
        format: FORMAT,
        version: start.version.clone(),
        made_at,
        run: finished.run.0,
        runbook: start.runbook.clone(),
        commit: start.commit.clone(),
        dirty: start.dirty,
        sources,
        params: start.params.clone(),
        inventory,
        allow: finished.allowed.clone(),
        effects,
        incomplete: finished.ending.incomplete.clone(),
    };
    let text = serde_json::to_vec_pretty(&plan).expect("a plan is plain data");
    files::replace(path, &text, 0o600).map_err(|error| ServiceError::Plan {
        path: path.display().to_string(),
        reason: error.to_string(),
    })?;
    Ok(plan)
}

/// Reads a plan.
pub fn read_plan(path: &Path) -> Result<Plan, ServiceError> {
    let refused = |reason: String| ServiceError::Plan { path: path.display().to_string(), reason };
    let bytes = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
    let plan: Plan = serde_json::from_slice(&bytes).map_err(|error| refused(error.to_string()))?;
    if plan.format != FORMAT {
        return Err(refused(format!("it has format {}, this nlrun reads {FORMAT}", plan.format)));
    }
    Ok(plan)
}

impl Project {
    /// Applies a plan: every write must be what the plan says; a plan is used once.
    pub fn apply(
        &self,
        place: &Place,
        store: &Store,
        plan: Plan,
        beyond: bool,
        hands: Hands,
    ) -> Result<Finished, ServiceError> {
        // Of the content, not of the file: the same plan with other spaces is the same plan.
        let text = serde_json::to_string(&plan).expect("a plan is plain data");
        let refused = |reason: String| ServiceError::Plan { path: plan.runbook.clone(), reason };
        let sources =
            plan.sources.iter().map(|(path, text)| (path.clone(), Arc::from(text.as_str()))).collect();
        let sources = Pinned(sources);
        let header = header_of(&sources, &plan.runbook).map_err(refused)?;
        let inventory =
            serde_json::from_value(plan.inventory.clone()).map_err(|error| refused(error.to_string()))?;
        let prepared = Prepared {
            entry: plan.runbook.clone(),
            sources: Arc::new(sources),
            header,
            params: plan.params.as_object().cloned().unwrap_or_default(),
            inventory: Arc::new(inventory),
            grants: capabilities(&["*".to_owned()])?,
            allow: capabilities(&plan.allow)?,
            warnings: Vec::new(),
            notices: Vec::new(),
            given: BTreeMap::new(),
        };
        let expected = Expected::new(plan.effects, plan.incomplete, beyond);
        let past = Past { expected: Some(expected), ..Past::default() };
        self.start(place, store, prepared, Mode::Apply, hands, Some(&text), past)
    }
}

/// Finds the promises of the plan that a resumed run applies: those of the planned run with this digest.
pub(super) fn expected_again(
    reader: &Reader,
    digest: &str,
    beyond: bool,
    run: RunId,
) -> Result<Expected, ServiceError> {
    let unusable = |reason: &str| ServiceError::Unusable { run: run.0, reason: reason.to_owned() };
    let text = reader.text(digest).map_err(|_| unusable("its plan is not in the run log"))?;
    let plan: Plan = serde_json::from_str(&text).map_err(|_| unusable("its plan does not read back"))?;
    Ok(Expected::new(plan.effects, plan.incomplete, beyond))
}
