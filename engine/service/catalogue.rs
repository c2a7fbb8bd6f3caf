//! The runbooks of a project as people choose them: what they are for, what they take, how they went.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::model::given::Given;
use crate::model::run::{Mode, RunId, Status};
use crate::model::runbook::{Header, ParameterError, bind};
use crate::runner::{header, language};
use crate::service::names::Known;
use crate::service::overview::{Line, line};
use crate::service::{Desk, Project, ProjectError, ServiceError, start_of};
use crate::store::Filter;

/// A runbook in the list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Its path in the project.
    pub runbook: String,
    /// The first line of its documentation.
    pub doc: String,
    /// Why it cannot be read, if it cannot.
    pub broken: Option<String>,
    /// The schedules that run it.
    pub schedules: Vec<String>,
    /// Its last run.
    pub last: Option<Line>,
    /// Its last run that was done.
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

impl Desk {
    /// Returns the project as runs get it now: the head of its repository, or the folder.
    pub fn current(&self) -> Result<Project, ServiceError> {
        let folder = self.folders().folder(None);
        let path = folder.map(|folder| folder.path).map_err(|reason| ServiceError::Plan {
            path: self.project().root().display().to_string(),
            reason,
        })?;
        Ok(Project::find(&path)?)
    }

    /// Lists the runbooks with their last runs and schedules.
    pub fn catalogue(&self) -> Result<Vec<Entry>, ServiceError> {
        let project = self.current()?;
        let of_schedules = self.by_runbook(&project);
        let entry = |runbook: String| {
            let header = project.header_of(&runbook);
            let (doc, broken) = match header {
                Ok(header) => (header.summary().to_owned(), None),
                Err(why) => (String::new(), Some(why)),
            };
            let last = self.last(&runbook, &[])?;
            let last_good = match &last {
                Some(last) if last.status == Status::Done => Some(last.clone()),
                Some(_) => self.last(&runbook, &[Status::Done])?,
                None => None,
            };
            let schedules = of_schedules.get(&runbook).cloned().unwrap_or_default();
            Ok(Entry { runbook, doc, broken, schedules, last, last_good })
        };
        project.runbooks().into_iter().map(entry).collect()
    }

    /// Returns the names of the schedules of each runbook.
    fn by_runbook(&self, project: &Project) -> BTreeMap<String, Vec<String>> {
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for definition in &self.schedules().definitions {
            let schedule = &definition.schedule;
            if let Ok(path) = project.runbook(&schedule.runbook, project.root()) {
                names.entry(path).or_default().push(schedule.id.clone());
            }
        }
        names
    }

    /// Returns the names of the schedules that run a runbook.
    pub fn schedules_of(&self, runbook: &str) -> Result<Vec<String>, ServiceError> {
        Ok(self.by_runbook(&self.current()?).remove(runbook).unwrap_or_default())
    }

    fn last(&self, runbook: &str, status: &[Status]) -> Result<Option<Line>, ServiceError> {
        let filter = Filter {
            runbook: Some(literal(runbook)),
            status: status.to_vec(),
            limit: 1,
            ..Filter::default()
        };
        Ok(self.lines(&filter)?.pop())
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
        let project = self.current()?;
        let (inventory, _) = project.load_inventory(None, project.root())?;
        let hosts = inventory.hosts().map(|host| (host.name.clone(), host.groups.iter().cloned().collect()));
        Ok(Choices {
            hosts: hosts.collect(),
            groups: inventory.groups().map(|group| group.name.clone()).collect(),
            secrets: project.secrets(self.place()).all_names().unwrap_or_default(),
        })
    }

    /// Says what is wrong with parameters of a runbook, without running anything.
    pub fn try_params(
        &self,
        runbook: &str,
        params: BTreeMap<String, Given>,
    ) -> Result<Vec<ParameterError>, ServiceError> {
        let project = self.current()?;
        let runbook = project.runbook(runbook, project.root())?;
        let unreadable = |reason| ServiceError::Plan { path: runbook.clone(), reason };
        let header = project.header_of(&runbook).map_err(unreadable)?;
        let (inventory, _) = project.load_inventory(None, project.root())?;
        Ok(bind(&header.params, &params, Some(&Known(&inventory))).err().unwrap_or_default())
    }

    /// Returns the parameters that a run was asked for with, so that a form can begin with them.
    pub fn params_of(&self, run: RunId) -> Result<Value, ServiceError> {
        self.read(|reader| Ok(start_of(reader, run)?.params))
    }

    /// Returns one run as a list shows it.
    pub fn line_of(&self, run: RunId) -> Result<Line, ServiceError> {
        self.read(|reader| {
            let row = reader.run(run)?;
            line(reader, row)
        })
    }
}

impl Project {
    /// Reads the header of a runbook; the error is a sentence.
    pub fn header_of(&self, runbook: &str) -> Result<Header, String> {
        let path: &Path = runbook.as_ref();
        let text = std::fs::read_to_string(self.root().join(path)).map_err(|error| error.to_string())?;
        let parser = language::parser();
        let ast = language::compile(&parser, runbook, &text, &rhai::Scope::new());
        ast.map(|ast| header::read(&ast, runbook, &text).0).map_err(|error| error.to_string())
    }

    /// Returns the path of a runbook that somebody names from elsewhere: nothing outside of the project has one.
    pub fn runbook_named(&self, name: &str) -> Result<String, ServiceError> {
        match self.runbook(name, self.root()) {
            Ok(path) => Ok(path),
            // That there is something outside is nobody's business.
            Err(ProjectError::Outside(..)) => {
                Err(ProjectError::NoRunbook { name: name.to_owned(), tried: Vec::new(), near: None }.into())
            }
            Err(error) => Err(error.into()),
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
