//! `doctor`: what could be in the way of the next run, one check after the other.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::gate::sentence;
use crate::model::run::{Mode, Seq, Status};
use crate::service::{Place, Project, doctor_server, remedy};
use crate::store::{Filter, Store, StoreError};
use crate::world::{clock, git, machine};

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// Runs work, but somebody should look.
    Warn,
    /// Runs do not work, or the record is damaged.
    Fail,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub check: &'static str,
    /// How it is.
    pub state: State,
    /// What was found.
    pub text: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Finding {
    /// Makes a finding without a hint.
    pub fn new(check: &'static str, state: State, text: impl Into<String>) -> Self {
        Self { check, state, text: text.into(), hint: None }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Less free space than this stops the next long run.
const LEAST_FREE: u64 = 64 << 20;
/// Less than this deserves a look.
const LITTLE_FREE: u64 = 1 << 30;

/// Looks at everything that a run of this project needs.
pub fn examine(
    project: &Project,
    place: &Place,
    state: &Path,
    inventory: Option<&Path>,
    store: Option<Result<Store, StoreError>>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    found.push(Finding::new("version", State::Ok, format!("nlrun {}", env!("CARGO_PKG_VERSION"))));
    found.push(if project.root().join("nlrun.yaml").is_file() {
        Finding::new("project", State::Ok, project.root().display().to_string())
    } else {
        Finding::new(
            "project",
            State::Warn,
            format!("no nlrun.yaml at or above `{}`", project.root().display()),
        )
        .hint("`touch nlrun.yaml` in the project's folder makes it one")
    });
    scripts(project, place, inventory, &mut found);
    folder(state, &mut found);
    let mut opened = None;
    match store {
        None => found.push(Finding::new("run log", State::Ok, "there is none yet; the first run makes it")),
        Some(Err(error)) => found.push(
            Finding::new("run log", State::Fail, sentence(&error))
                .hint("put the last backup in its place, or use the newer nlrun"),
        ),
        Some(Ok(store)) => {
            if let Err(error) = run_log(&store, &mut found) {
                found.push(Finding::new("run log", State::Fail, sentence(&error)));
            }
            opened = Some(store);
        }
    }
    doctor_server::server(project, opened.as_ref(), &mut found);
    ssh(project, place, &mut found);
    secrets(project, place, &mut found);
    found.push(match git::version() {
        Some(version) => Finding::new("git", State::Ok, version),
        None => Finding::new("git", State::Warn, "not installed: runs do not record a commit"),
    });
    found
}

fn scripts(project: &Project, place: &Place, inventory: Option<&Path>, found: &mut Vec<Finding>) {
    let loaded = match project.load_inventory(inventory, &place.cwd) {
        Ok((loaded, warnings)) => {
            let hosts = loaded.hosts().count();
            let text = format!("{hosts} hosts, {} groups", loaded.groups().count());
            found.push(Finding::new("inventory", State::Ok, text));
            found.extend(warnings.into_iter().map(|text| Finding::new("inventory", State::Warn, text)));
            loaded
        }
        Err(error) => {
            found.push(
                Finding::new("inventory", State::Fail, sentence(&error)).hint("`nlrun hosts` says where"),
            );
            return;
        }
    };
    let runbooks = project.runbooks();
    let checked = project.check(&runbooks, &loaded, &project.secrets(place).all_names().unwrap_or_default());
    let broken: Vec<&str> = runbooks
        .iter()
        .zip(&checked)
        .filter(|(_, checked)| !checked.passes())
        .map(|(path, _)| path.as_str())
        .collect();
    found.push(if broken.is_empty() {
        Finding::new("runbooks", State::Ok, format!("{} pass the check", runbooks.len()))
    } else {
        let text =
            format!("{} of {} do not pass the check: {}", broken.len(), runbooks.len(), broken.join(", "));
        Finding::new("runbooks", State::Fail, text).hint("`nlrun check` says why")
    });
}

fn folder(state: &Path, found: &mut Vec<Finding>) {
    found.push(if machine::can_write(state) {
        Finding::new("state folder", State::Ok, state.display().to_string())
    } else {
        Finding::new("state folder", State::Fail, format!("`{}` cannot be written", state.display()))
            .hint("change its owner, or name another with `--state` or `state:` in nlrun.yaml")
    });
    let existing = state.ancestors().find(|folder| folder.exists()).unwrap_or(state);
    found.push(match machine::free_bytes(existing) {
        Ok(bytes) if bytes >= LITTLE_FREE => {
            Finding::new("disk space", State::Ok, format!("{} MiB free", bytes >> 20))
        }
        Ok(bytes) => {
            let state = if bytes < LEAST_FREE { State::Fail } else { State::Warn };
            Finding::new("disk space", state, format!("only {} MiB free for the run log", bytes >> 20))
                .hint("make room, or remove old runs with `nlrun db prune`")
        }
        Err(error) => Finding::new("disk space", State::Warn, format!("cannot be told: {error}")),
    });
}

fn run_log(store: &Store, found: &mut Vec<Finding>) -> Result<(), StoreError> {
    let findings = store.quick_check()?;
    found.push(match findings.first() {
        None => Finding::new("run log", State::Ok, "the database is sound"),
        Some(first) => Finding::new("run log", State::Fail, format!("the database is damaged: {first}"))
            .hint("`nlrun db check` lists all; put the last backup in its place"),
    });
    let reader = store.reader()?;
    let now = clock::now().as_microsecond();
    let unfinished = vec![Status::Running, Status::Interrupted, Status::InDoubt];
    for row in reader.runs(&Filter { status: unfinished, limit: 1000, ..Filter::default() })? {
        let status = row.summary.status;
        let hours = (now - row.started_at).max(0) / 3_600_000_000;
        let text = format!("run {} ({}) is {status}, begun {hours} h ago", row.id, row.summary.runbook);
        found.push(match status {
            Status::Running if store.is_held(row.id) => Finding::new("runs", State::Ok, text),
            // Nothing is left to do about it.
            Status::Interrupted if row.summary.mode == Mode::Plan => Finding::new("runs", State::Ok, text),
            Status::Running => Finding::new("runs", State::Warn, format!("{text}; its process is gone"))
                .hint(remedy(row.id, &row.summary)),
            Status::InDoubt => Finding::new("runs", State::Warn, text)
                .hint(format!("`nlrun show {}` says what is in doubt", row.id)),
            _ => Finding::new("runs", State::Warn, text).hint(remedy(row.id, &row.summary)),
        });
    }
    for (name, holder) in store.held_locks() {
        found.push(Finding::new("locks", State::Ok, format!("`{name}` is held by {holder}")));
    }
    let newest = reader.runs(&Filter { limit: 1, ..Filter::default() })?.pop();
    if let Some(row) = newest
        && let Some(last) = reader.events(row.id, Seq(row.last_seq.0 - 1), 1)?.pop()
    {
        found.push(if last.at <= now {
            Finding::new("clock", State::Ok, "not before the newest event")
        } else {
            let seconds = (last.at - now) / 1_000_000;
            Finding::new(
                "clock",
                State::Fail,
                format!("{seconds} s before the newest event of run {}", row.id),
            )
            .hint("set the clock (`timedatectl`): ages, retention and certificates depend on it")
        });
    }
    Ok(())
}

fn ssh(project: &Project, place: &Place, found: &mut Vec<Finding>) {
    found.push(match &place.person.agent {
        None => Finding::new("ssh agent", State::Ok, "none; key files are used"),
        Some(socket) => match machine::agent_answers(socket) {
            Ok(()) => Finding::new("ssh agent", State::Ok, socket.display().to_string()),
            Err(error) => Finding::new(
                "ssh agent",
                State::Warn,
                format!("`{}` does not answer: {error}", socket.display()),
            )
            .hint("start one (`eval $(ssh-agent)`), or unset SSH_AUTH_SOCK"),
        },
    });
    match project.ssh_config(&place.person.home) {
        Ok(config) => {
            found.push(Finding::new("ssh config", State::Ok, "read"));
            let warnings = config.warnings().iter();
            found.extend(warnings.map(|text| Finding::new("ssh config", State::Warn, text)));
        }
        Err(error) => found.push(Finding::new("ssh config", State::Fail, sentence(&error))),
    }
    // A configuration of the project's own names its own file.
    if project.config().ssh_config.is_some() {
        return;
    }
    let known: PathBuf = place.person.home.join(".ssh/known_hosts");
    found.push(match std::fs::read(&known) {
        Ok(bytes) => {
            let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
            Finding::new("known_hosts", State::Ok, format!("{} lines", lines.count()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Finding::new("known_hosts", State::Warn, format!("`{}` is not there", known.display())).hint(
                "hosts are refused until their keys are in it: `ssh-keyscan`, or `known_hosts: accept-new`",
            )
        }
        Err(error) => {
            Finding::new("known_hosts", State::Fail, format!("`{}` cannot be read: {error}", known.display()))
        }
    });
}

fn secrets(project: &Project, place: &Place, found: &mut Vec<Finding>) {
    let probes = match project.probe_secrets(place) {
        Ok(probes) => probes,
        Err(error) => {
            found.push(Finding::new("secrets", State::Fail, sentence(&error)));
            return;
        }
    };
    for probe in probes {
        let identity = probe.identity.map(|identity| format!(" as `{}`", identity.name)).unwrap_or_default();
        found.push(match probe.answer {
            Ok(Some(count)) => Finding::new("secrets", State::Ok, format!("{}: {count} names", probe.place)),
            Ok(None) => {
                Finding::new("secrets", State::Ok, format!("{}: asked by name{identity}", probe.place))
            }
            Err(fault) => {
                let text = format!("{}: {}", probe.place, sentence(&fault));
                let finding = Finding::new("secrets", State::Fail, text);
                match fault.hint() {
                    Some(hint) => finding.hint(hint),
                    None => finding,
                }
            }
        });
    }
}
