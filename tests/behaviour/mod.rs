//! What an operator may rely on: crashes, bad input, refusals, plans, cancel, secrets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bao;
mod cancel;
mod cert_sync;
mod control;
mod crash;
mod dns;
mod doubt;
mod failure;
mod file;
mod full;
mod git;
mod holder;
mod hostile;
mod http;
mod input;
mod output;
mod permission;
mod ping;
mod plan;
mod replay;
mod secrets;
mod terminal;
mod tls;
mod wait;

use std::collections::BTreeMap;
use std::process::Child;
use std::sync::mpsc::channel;
use std::time::Duration;

use nlrun::model::event::Event;
use nlrun::model::run::{RunId, Seq, Status};
use nlrun::store::{Options, Store};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::project::{Output, Project};

/// Four hosts that are this machine, in the group `web`, and one more, so that `web` is not everything.
pub const HOSTS: &str = "
hosts:
  h1: {transport: local}
  h2: {transport: local}
  h3: {transport: local}
  h4: {transport: local}
  other: {transport: local}
groups:
  web: {hosts: ['h[1:4]']}
";

/// No test waits longer than this for a process.
const PATIENCE: Duration = Duration::from_secs(60);

/// Calls `nlrun` and waits; one that does not end is killed.
pub fn call<I: AsRef<str>>(project: &Project, arguments: impl IntoIterator<Item = I>) -> Output {
    finish(project.spawn(arguments))
}

/// Waits for a started process; one that does not end is killed.
pub fn finish(child: Child) -> Output {
    let pid = Pid::from_child(&child);
    let (done, ended) = channel::<()>();
    let watch = std::thread::spawn(move || {
        if ended.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            eprintln!("process {pid:?} took too long and is killed");
            let _ = kill_process(pid, Signal::KILL);
        }
    });
    let output = Output::of(child);
    drop(done);
    watch.join().unwrap();
    output
}

/// Opens the project's run log.
pub fn store(project: &Project) -> Store {
    Store::open(&project.path(".nlrun"), &Options::default()).unwrap()
}

/// The recorded events of a run.
pub fn events(store: &Store, run: i64) -> Vec<Event> {
    let records = store.reader().unwrap().events(RunId(run), Seq(0), 1_000_000).unwrap();
    records.into_iter().map(|record| record.event).collect()
}

/// How far a run has come, after its chain, its bytes and its row were verified.
pub fn verified(store: &Store, run: i64) -> Status {
    let reader = store.reader().unwrap();
    let broken = reader.verify(RunId(run)).unwrap().broken;
    assert_eq!(broken, None, "run {run}");
    assert!(store.integrity().unwrap().is_empty());
    reader.run(RunId(run)).unwrap().summary.status
}

/// How often each line stands in a file of the project; none when there is no such file.
pub fn ledger(project: &Project) -> BTreeMap<String, usize> {
    let mut lines = BTreeMap::new();
    let text = std::fs::read_to_string(project.path("done")).unwrap_or_default();
    for line in text.lines() {
        *lines.entry(line.to_owned()).or_default() += 1;
    }
    lines
}

/// The JSON lines of one event.
pub fn of<'a>(lines: &'a [Value], event: &'a str) -> impl Iterator<Item = &'a Value> {
    lines.iter().filter(move |line| line["event"] == event)
}
