//! Every function against the real shell of this machine, through the gate, in a temporary folder.

mod entry;
mod links;
mod plans;
mod put;
mod read;
mod text;
mod tree;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rhai::{Dynamic, Engine, EvalAltResult};

use crate::bindings::{self, FailureValue};
use crate::gate::{Session, harness};
use crate::model::event::{Event, Failure, Verdict};
use crate::model::run::Mode;

/// A project in a temporary folder, and a folder on the host.
struct Lab {
    dir: tempfile::TempDir,
}

/// A script that ran, and what the run recorded.
struct Ran {
    result: Result<Dynamic, Box<EvalAltResult>>,
    events: Vec<Event>,
}

impl Lab {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("nlrun lab'").tempdir().unwrap();
        for name in ["host", "secrets", "files"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    /// Returns the path of something on the host.
    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join("host").join(name)
    }

    /// Writes a file of the host.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        write(&self.at(name), content.as_ref());
        self.at(name)
    }

    /// Writes a file of the project.
    fn source(&self, name: &str, content: impl AsRef<[u8]>) {
        write(&self.dir.path().join(name), content.as_ref());
    }

    fn secret(&self, name: &str, value: &str) {
        let path = self.dir.path().join("secrets").join(name);
        write(&path, value.as_bytes());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap()
    }

    fn mode(&self, name: &str) -> u32 {
        fs::symlink_metadata(self.at(name)).unwrap().mode() & 0o7777
    }

    fn inode(&self, name: &str) -> u64 {
        fs::symlink_metadata(self.at(name)).unwrap().ino()
    }

    /// Returns the names in the host's folder.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.at(""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn session(&self, mode: Mode) -> Session {
        harness::session(self.dir.path(), mode, &["file.*", "dir.*", "link.*", "secret.*"])
    }

    /// Runs a script in which `dir` is the host's folder.
    fn run_in(&self, mode: Mode, script: &str) -> Ran {
        self.run_session(self.session(mode), script)
    }

    fn run_session(&self, session: Session, script: &str) -> Ran {
        let mut engine = Engine::new();
        engine.register_global_module(bindings::module());
        engine.set_default_tag(Dynamic::from(session.clone()));
        let mut scope = rhai::Scope::new();
        scope.push_constant("dir", self.at("").to_str().unwrap().trim_end_matches('/').to_owned());
        let result = engine.eval_with_scope::<Dynamic>(&mut scope, script);
        Ran { result, events: harness::events(&session) }
    }

    fn apply(&self, script: &str) -> Ran {
        self.run_in(Mode::Apply, script)
    }

    fn plan(&self, script: &str) -> Ran {
        self.run_in(Mode::Plan, script)
    }

    /// Applies a script twice: the first time changes something, the second time nothing.
    fn settles(&self, script: &str) {
        let planned = self.plan(script).changes();
        let first = self.apply(script);
        assert!(first.changes() >= 1, "{script}");
        assert_eq!(planned, first.changes(), "the plan tells the truth: {script}");
        let second = self.apply(script);
        assert_eq!(second.changes(), 0, "{script}: {:?}", second.diff());
    }
}

impl Ran {
    /// Returns how many effects changed something, or would.
    fn changes(&self) -> usize {
        self.result.as_ref().unwrap_or_else(|error| panic!("{error}"));
        let changed = |event: &&Event| {
            matches!(
                event,
                Event::Outcome { verdict: Verdict::Changed, .. } | Event::Forecast { changes: true, .. }
            )
        };
        self.events.iter().filter(changed).count()
    }

    /// Returns all diffs.
    fn diff(&self) -> String {
        let of = |event: &Event| match event {
            Event::Outcome { diff, .. } | Event::Forecast { diff, .. } => diff.clone(),
            _ => None,
        };
        self.events.iter().filter_map(of).collect()
    }

    fn value(&self) -> Dynamic {
        self.result.as_ref().unwrap_or_else(|error| panic!("{error}")).clone()
    }

    /// Returns the failure that ended it.
    fn failure(&self) -> Failure {
        let error = self.result.as_ref().expect_err("the script should fail");
        match error.unwrap_inner() {
            EvalAltResult::ErrorRuntime(value, _) => {
                value.read_lock::<FailureValue>().unwrap_or_else(|| panic!("{error}")).0.as_ref().clone()
            }
            _ => panic!("{error}"),
        }
    }

    fn reason(&self) -> String {
        self.failure().details["reason"].as_str().unwrap_or_default().to_owned()
    }

    /// Returns the states that were seen before each effect that writes.
    fn states(&self) -> Vec<serde_json::Value> {
        let of = |event: &Event| match event {
            Event::Forecast { pre, .. } | Event::Intent { pre, .. } => Some(pre.clone()),
            _ => None,
        };
        self.events.iter().filter_map(of).collect()
    }

    fn json(&self) -> String {
        serde_json::to_string(&self.events).unwrap()
    }
}

fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::io::Write::write_all(&mut fs::File::create(path).unwrap(), content).unwrap();
}
