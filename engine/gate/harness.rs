//! A gate over a temporary store and this machine, for the tests of bindings.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::gate::authority::{Authority, Nobody};
use crate::gate::cancellation::Cancellation;
use crate::gate::journal::Journal;
use crate::gate::recorder::Recorder;
use crate::gate::redactor::Redactor;
use crate::gate::{Gate, Session};
use crate::model::capability::Capability;
use crate::model::event::{Event, Level, Start};
use crate::model::run::{Mode, Seq, Trigger};
use crate::store::{self, NewRun, Store};
use crate::world::World;
use crate::world::endpoint::Person;
use crate::world::host::{Hosts, Limits};
use crate::world::project::Project;
use crate::world::secrets::{Config, Place, Secrets};
use crate::world::ssh::ssh_config::SshConfig;

/// The hosts of every test: three names for this machine.
const INVENTORY: &str = "\
hosts:
  localhost: {vars: {role: lab}}
  one: {transport: local, vars: {role: one}}
  two: {transport: local, vars: {role: two}}
";

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime starts"));

/// Starts a run in a folder that is also its project; its state is in `state`, its secrets are files in `secrets`.
///
/// Every call starts another run in the same store.
pub(crate) fn session(dir: &Path, mode: Mode, needs: &[&str]) -> Session {
    let store = Store::open(&dir.join("state"), &store::Options::default()).unwrap();
    let start = Start {
        runbook: "runbooks/test.rhai".to_owned(),
        sources: BTreeMap::new(),
        commit: None,
        dirty: false,
        params: Value::Null,
        inventory: String::new(),
        grants: vec!["*".to_owned()],
        allow: Vec::new(),
        trigger: Trigger::Person { user: "op".to_owned() },
        mode,
        plan: None,
        beyond: false,
        version: "0".to_owned(),
    };
    let (claim, _) = store.create(&NewRun { start, texts: Vec::new(), plan: None }).unwrap();
    let capabilities =
        |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Capability>>();
    let config: Config = serde_saphyr::from_str("{sources: [{file: {path: secrets}}]}").unwrap();
    let world = World::new(
        Hosts::new(Limits::default()),
        crate::world::k8s::K8s::new(std::collections::BTreeMap::new(), Place::new(dir, [])),
        Secrets::new(config, Place::new(dir, [])),
        Project::new(dir),
        Arc::new(SshConfig::default()),
        Person::default(),
    );
    let inventory = dir.join("state").join("inventory.yaml");
    std::io::Write::write_all(&mut std::fs::File::create(&inventory).unwrap(), INVENTORY.as_bytes()).unwrap();
    let inventory = crate::world::inventory::load(&inventory).unwrap().inventory;
    Session::root(Arc::new(Gate {
        mode,
        runbook: "test".to_owned(),
        replay: false,
        recorder: Recorder::Log(store.log(claim, None)),
        world,
        journal: Journal::default(),
        kept: Mutex::new(Some(store.reader().unwrap())),
        store,
        expected: None,
        authority: Authority::new(
            "test".to_owned(),
            Some(capabilities(needs)),
            capabilities(&["*"]),
            Vec::new(),
            None,
        ),
        ask: Box::new(Nobody),
        decisions: BTreeMap::new(),
        doubts: crate::gate::doubts::Doubts::default(),
        redactor: Redactor::default(),
        cancellation: Cancellation::default(),
        inventory: Arc::new(inventory),
        params: serde_json::Map::new(),
        runtime: RUNTIME.handle().clone(),
        promises: Mutex::default(),
        left_behind: Mutex::default(),
        endpoints: tokio::sync::Mutex::new(HashMap::new()),
        checks: Mutex::default(),
        partial: AtomicBool::new(false),
    }))
}

/// Returns every event of a session's run so far.
pub(crate) fn events(session: &Session) -> Vec<Event> {
    let gate = session.gate();
    let mark = Event::Message {
        level: Level::Info,
        text: "so far".to_owned(),
        site: None,
        branch: session.branch().clone(),
    };
    // What comes after it on disk came before it in time.
    session.block(gate.recorder.append_durable(mark)).unwrap();
    let records = gate.store.reader().unwrap().events(gate.recorder.run(), Seq(0), 100_000).unwrap();
    records.into_iter().map(|record| record.event).collect()
}
