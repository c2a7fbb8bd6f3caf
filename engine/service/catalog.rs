//! What a server has: runbooks with their headers, schedules with how they stand, hosts.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::model::diagnostic::Diagnostic;
use crate::model::inventory::Inventory;
use crate::model::runbook::Header;
use crate::model::schedule::{Definition, Scenario, Simulation, blocked, simulate};
use crate::runner::{header, language, syntax};
use crate::service::{Desk, Project, Schedules, ServiceError, stale_since};
use crate::store::{Moved, Reader, Standing};

/// How many scripts of a project are read for their headers at most.
const MOST: usize = 10_000;

/// A runbook as a server shows it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its path in the project.
    pub path: String,
    /// What its header says.
    pub header: Header,
    /// What is wrong with the header.
    pub findings: Vec<Diagnostic>,
    /// The schedules that run it.
    pub schedules: Vec<String>,
}

/// How a schedule stands now.
#[derive(Debug, Clone)]
pub struct Stand {
    /// Its definition.
    pub definition: Definition,
    /// How far it has been decided; none before a server has seen it.
    pub cursor: Option<Moved>,
    /// How its runs went.
    pub standing: Option<Standing>,
    /// Since when it is stale.
    pub stale_since: Option<Timestamp>,
    /// The next instants, when each fires, and what a calendar has against it.
    pub next: Vec<(Timestamp, Timestamp, Option<String>)>,
}

impl Desk {
    /// Opens the project as a run that is asked for now would get it.
    pub fn project_now(&self) -> Result<Project, ServiceError> {
        let none = |reason| ServiceError::NoFolder { revision: None, reason };
        let folder = self.folders().folder(None).map_err(none)?;
        Ok(Project::find(&folder.path)?)
    }

    /// Lists the runbooks of the project, by path.
    pub fn runbooks(&self) -> Result<Vec<Listed>, ServiceError> {
        let project = self.project_now()?;
        let schedules = self.schedules();
        let mut by_path: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for Definition { schedule, .. } in &schedules.definitions {
            if let Ok(path) = project.runbook(&schedule.runbook, project.root()) {
                by_path.entry(path).or_default().push(schedule.id.clone());
            }
        }
        let listed = project.runbooks().into_iter().take(MOST).map(|path| {
            let (header, findings) = project.header(&path);
            let schedules = by_path.remove(&path).unwrap_or_default();
            Listed { path, header, findings, schedules }
        });
        Ok(listed.collect())
    }

    /// Returns how schedules stand: all of them, or the one of this name, with so many next instants of each.
    pub fn stands(
        &self,
        only: Option<&str>,
        next: usize,
        now: Timestamp,
    ) -> Result<Vec<Stand>, ServiceError> {
        let schedules = self.schedules();
        self.read(|reader| stands(reader, &schedules, only, next, now))
    }

    /// Plays what schedules would do from one instant on and before another, with the lengths of earlier runs.
    pub fn preview(&self, from: Timestamp, until: Timestamp) -> Result<Simulation, ServiceError> {
        let project = self.project_now()?;
        let schedules = self.schedules();
        let recorded = project.recorded(self.store(), &schedules)?;
        let looked = project.look_at_schedules(self.place(), &schedules)?;
        let scenario = Scenario {
            schedules: schedules.definitions.iter().map(|one| one.schedule.clone()).collect(),
            calendars: schedules.calendars.clone(),
            durations: recorded.into_iter().map(|(name, recorded)| (name, recorded.typical)).collect(),
            assumed: std::time::Duration::from_secs(60),
            locks: looked.locks,
            limits: self.limits().clone(),
        };
        Ok(simulate(&scenario, from, until))
    }

    /// Reads the inventory that runs use.
    pub fn inventory(&self) -> Result<Arc<Inventory>, ServiceError> {
        let project = self.project_now()?;
        let root = project.root().to_owned();
        Ok(project.load_inventory(None, &root)?.0)
    }
}

/// Returns how schedules stand, as [`Desk::stands`] does.
pub fn stands(
    reader: &Reader,
    schedules: &Schedules,
    only: Option<&str>,
    next: usize,
    now: Timestamp,
) -> Result<Vec<Stand>, ServiceError> {
    let found: Vec<Standing> = match only {
        Some(name) => reader.standing(name)?.into_iter().collect(),
        None => reader.standings()?,
    };
    let mut standings: BTreeMap<String, Standing> =
        found.into_iter().map(|one| (one.schedule.clone(), one)).collect();
    let wanted = schedules.definitions.iter().filter(|one| only.is_none_or(|name| one.schedule.id == name));
    wanted
        .map(|definition| {
            let schedule = &definition.schedule;
            let standing = standings.remove(&schedule.id);
            let coming = schedule.upcoming(now).take(next).map(|(instant, due)| {
                let reason = blocked(schedule, instant, &schedules.calendars);
                (instant, due, reason.map(|(reason, _)| reason.to_string()))
            });
            Ok(Stand {
                cursor: reader.cursor(&schedule.id)?,
                stale_since: stale_since(schedule, standing.as_ref(), now),
                standing,
                next: coming.collect(),
                definition: definition.clone(),
            })
        })
        .collect()
}

impl Project {
    /// Reads the header of a runbook, and what is wrong with it.
    pub fn header(&self, path: &str) -> (Header, Vec<Diagnostic>) {
        let wrong = |message: String| (Header::default(), vec![Diagnostic::error("read", message)]);
        let text = match std::fs::read_to_string(self.root().join(path)) {
            Ok(text) => text,
            Err(error) => return wrong(format!("cannot read `{path}`: {error}")),
        };
        match language::compile(&language::parser(), path, &text, &rhai::Scope::new()) {
            Ok(ast) => header::read(&ast, path, &text),
            Err(error) => (Header::default(), vec![syntax::diagnose(&error, path, &text)]),
        }
    }
}
