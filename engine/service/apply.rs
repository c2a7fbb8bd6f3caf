//! Plans: written from a planned run, read back, and applied exactly once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::model::event::Event;
use crate::model::plan::{Expected, FORMAT, Plan, Planned};
use crate::model::run::{Mode, RunId, Seq, Status};
use crate::runner::sources::Pinned;
use crate::service::live::{Beginning, Past};
use crate::service::prepare::capabilities;
use crate::service::resume::header_of;
use crate::service::{Finished, Hands, Place, Prepared, Project, ServiceError, walk};
use crate::store::{Reader, Store, StoreError};
use crate::world::files;

/// Writes the plan of a planned run to a file.
pub fn write_plan(store: &Store, finished: &Finished, path: &Path) -> Result<Plan, ServiceError> {
    let mut plan = plan_of(&store.reader()?, finished.run)?;
    plan.allow.clone_from(&finished.allowed);
    plan.incomplete.clone_from(&finished.ending.incomplete);
    let text = serde_json::to_vec_pretty(&plan).expect("a plan is plain data");
    files::replace(path, &text, 0o600).map_err(|error| ServiceError::Plan {
        path: path.display().to_string(),
        reason: error.to_string(),
    })?;
    Ok(plan)
}

/// Puts the plan of a planned run together from its events.
pub fn plan_of(reader: &Reader, run: RunId) -> Result<Plan, ServiceError> {
    let (mut effects, mut start) = (Vec::new(), None);
    walk::<StoreError>(reader, run, Seq(0), |record| {
        effects.extend(Planned::from_event(&record.event));
        if let Event::Started(event) = record.event {
            start = Some((record.at, event));
        }
        Ok(())
    })?;
    let unusable = |reason: &str| ServiceError::Unusable { run: run.0, reason: reason.to_owned() };
    let (made_at, start) = start.ok_or_else(|| unusable("it has no first event"))?;
    let summary = reader.run(run)?.summary;
    if summary.mode != Mode::Plan || !matches!(summary.status, Status::Done | Status::Partial) {
        return Err(unusable("it is no plan that came to its end"));
    }
    let mut sources = BTreeMap::new();
    for (path, hash) in &start.sources {
        sources.insert(path.clone(), reader.text(hash)?);
    }
    let inventory = serde_json::from_str(&reader.text(&start.inventory)?)
        .map_err(|_| unusable("its inventory does not read back"))?;
    Ok(Plan {
        format: FORMAT,
        version: start.version.clone(),
        made_at,
        run: run.0,
        runbook: start.runbook.clone(),
        commit: start.commit.clone(),
        dirty: start.dirty,
        sources,
        params: start.params.clone(),
        inventory,
        allow: start.allow.clone(),
        effects,
        incomplete: summary.incomplete,
    })
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
        let prepared = pinned_plan(&plan, &["*".to_owned()])?;
        let expected = Expected::new(plan.effects, plan.incomplete, beyond);
        let past = Past { expected: Some(expected), ..Past::default() };
        let beginning = Beginning { plan: Some(&text), past, ..Beginning::default() };
        self.start(place, store, prepared, Mode::Apply, hands, beginning)
    }
}

/// Puts together what a plan runs, for a trigger that may do this much.
pub(super) fn pinned_plan(plan: &Plan, grants: &[String]) -> Result<Prepared, ServiceError> {
    let refused = |reason: String| ServiceError::Plan { path: plan.runbook.clone(), reason };
    let sources = plan.sources.iter().map(|(path, text)| (path.clone(), Arc::from(text.as_str()))).collect();
    let sources = Pinned(sources);
    let header = header_of(&sources, &plan.runbook).map_err(refused)?;
    let inventory =
        serde_json::from_value(plan.inventory.clone()).map_err(|error| refused(error.to_string()))?;
    Ok(Prepared {
        entry: plan.runbook.clone(),
        sources: Arc::new(sources),
        header,
        params: plan.params.as_object().cloned().unwrap_or_default(),
        inventory: Arc::new(inventory),
        grants: capabilities(grants)?,
        allow: capabilities(&plan.allow)?,
        warnings: Vec::new(),
        notices: Vec::new(),
        given: BTreeMap::new(),
    })
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
