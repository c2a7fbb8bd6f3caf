//! What a server has: runbooks with their headers and how they went, schedules with how they stand, hosts.

use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::diagnostic::Diagnostic;
use crate::model::given::Given;
use crate::model::inventory::Inventory;
use crate::model::run::{Mode, RunId, Status};
use crate::model::runbook::{Header, ParameterError, bind};
use crate::model::schedule::{Definition, Scenario, Simulation, blocked, simulate};
use crate::runner::{header, language, syntax};
use crate::service::names::Known;
use crate::service::overview::Line;
use crate::service::{Desk, Project, ProjectError, Schedules, ServiceError, stale_since, start_of};
use crate::store::{Filter, Moved, Reader, Standing};

/// How many scripts of a project are read for their headers at most.
const MOST: usize = 10_000;
/// How many runs that were done are looked at for one that was no plan.
const LOOKED_AT: usize = 20;

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

/// How a runbook went.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Went {
    /// Its last run.
    pub last: Option<Line>,
    /// Its last run that was done and no plan.
    pub last_good: Option<Line>,
}

/// How long one run took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Took {
    /// The run.
    pub run: RunId,
    /// How it ended.
    pub status: Status,
    /// When it began: microseconds since 1970, UTC.
    pub at: i64,
    /// How long it took, in milliseconds.
    pub ms: i64,
}

/// What a form can offer for parameters that name something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Choices {
    /// Hosts, each with its groups.
    pub hosts: Vec<(String, Vec<String>)>,
    /// Groups.
    pub groups: Vec<String>,
    /// Secrets, as far as they can be listed.
    pub secrets: Vec<String>,
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
        let mut by_path = self.by_runbook(&project);
        let listed = project.runbooks().into_iter().take(MOST).map(|path| {
            let (header, findings) = project.header(&path);
            let schedules = by_path.remove(&path).unwrap_or_default();
            Listed { path, header, findings, schedules }
        });
        Ok(listed.collect())
    }

    /// Returns one runbook, by its path in the project or its name.
    pub fn runbook(&self, name: &str) -> Result<Listed, ServiceError> {
        let project = self.project_now()?;
        let path = project.runbook_named(name)?;
        let (header, findings) = project.header(&path);
        let schedules = self.by_runbook(&project).remove(&path).unwrap_or_default();
        Ok(Listed { path, header, findings, schedules })
    }

    /// Returns the names of the schedules of each runbook.
    fn by_runbook(&self, project: &Project) -> BTreeMap<String, Vec<String>> {
        let mut by_path: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for Definition { schedule, .. } in &self.schedules().definitions {
            if let Ok(path) = project.runbook(&schedule.runbook, project.root()) {
                by_path.entry(path).or_default().push(schedule.id.clone());
            }
        }
        by_path
    }

    /// Returns how a runbook went, by its path.
    pub fn went(&self, runbook: &str) -> Result<Went, ServiceError> {
        let is_good = |line: &Line| line.status == Status::Done && line.mode == Mode::Apply;
        let runs = |status: &[Status], limit| {
            let (runbook, status) = (Some(literal(runbook)), status.to_vec());
            self.lines(&Filter { runbook, status, limit, ..Filter::default() })
        };
        let last = runs(&[], 1)?.pop();
        let last_good = match &last {
            Some(last) if is_good(last) => Some(last.clone()),
            Some(_) => runs(&[Status::Done], LOOKED_AT)?.into_iter().find(is_good),
            None => None,
        };
        Ok(Went { last, last_good })
    }

    /// Returns the last runs of a runbook, newest first.
    pub fn runs_of(&self, runbook: &str, limit: usize) -> Result<Vec<Line>, ServiceError> {
        self.lines(&Filter { runbook: Some(literal(runbook)), limit, ..Filter::default() })
    }

    /// Returns how long the last runs of a runbook that applied something took, oldest first.
    pub fn lengths(&self, runbook: &str, limit: usize) -> Result<Vec<Took>, ServiceError> {
        let status = Status::ALL.into_iter().filter(|status| status.is_over() && !status.is_resumable());
        let filter =
            Filter { runbook: Some(literal(runbook)), status: status.collect(), limit, ..Filter::default() };
        self.read(|reader| {
            let rows = reader.runs(&filter)?.into_iter().rev();
            let took = rows.filter(|row| row.summary.mode == Mode::Apply).filter_map(|row| {
                let ms = (row.ended_at? - row.started_at) / 1000;
                Some(Took { run: row.id, status: row.summary.status, at: row.started_at, ms: ms.max(0) })
            });
            Ok(took.collect())
        })
    }

    /// Returns what a form can offer.
    pub fn choices(&self) -> Result<Choices, ServiceError> {
        let project = self.project_now()?;
        let (inventory, _) = project.load_inventory(None, project.root())?;
        let hosts = inventory.hosts().map(|host| (host.name.clone(), host.groups.iter().cloned().collect()));
        Ok(Choices {
            hosts: hosts.collect(),
            groups: inventory.groups().map(|group| group.name.clone()).collect(),
            secrets: project.secrets(self.place()).known_names(),
        })
    }

    /// Says what is wrong with parameters of a runbook, without running anything.
    pub fn try_params(
        &self,
        runbook: &str,
        params: BTreeMap<String, Given>,
    ) -> Result<Vec<ParameterError>, ServiceError> {
        let project = self.project_now()?;
        let (header, findings) = project.header(&project.runbook_named(runbook)?);
        if findings.iter().any(Diagnostic::is_error) {
            return Err(ServiceError::Check(findings));
        }
        let (inventory, _) = project.load_inventory(None, project.root())?;
        Ok(bind(&header.params, &params, Some(&Known(&inventory))).err().unwrap_or_default())
    }

    /// Returns the parameters that a run was asked for with, so that a form can begin with them.
    pub fn params_of(&self, run: RunId) -> Result<serde_json::Value, ServiceError> {
        self.read(|reader| Ok(start_of(reader, run)?.params))
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
    /// Returns the path of a runbook that somebody names over the network: nothing outside of the project has one, and nobody learns
    /// what is there.
    pub fn runbook_named(&self, name: &str) -> Result<String, ServiceError> {
        let unknown = || ProjectError::NoRunbook { name: name.to_owned(), tried: Vec::new(), near: None };
        let is_inside =
            Path::new(name).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !is_inside || name.chars().any(char::is_control) {
            return Err(unknown().into());
        }
        match self.runbook(name, self.root()) {
            Ok(path) if path.ends_with(".rhai") => Ok(path),
            Ok(_) | Err(ProjectError::Outside(..)) => Err(unknown().into()),
            Err(error) => Err(error.into()),
        }
    }

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

/// Writes a path so that a glob means it alone.
fn literal(path: &str) -> String {
    let mut glob = String::with_capacity(path.len());
    for character in path.chars() {
        match character {
            '*' | '?' | '[' => glob.extend(['[', character, ']']),
            other => glob.push(other),
        }
    }
    // A pattern without a slash would mean the end of a path.
    if glob.contains(['/', '*']) { glob } else { format!("{glob}*") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_as_a_glob_means_itself() {
        for (path, glob) in
            [("runbooks/a.rhai", "runbooks/a.rhai"), ("x/[1]*?", "x/[[]1][*][?]"), ("a.rhai", "a.rhai*")]
        {
            assert_eq!(literal(path), glob);
        }
    }
}
