//! How fast the run log is: events a second, durable intents a second, and opening a run of a million events.
//!
//! usage: log [--dir DIR] [--events N]
//!
//! The peer is the disk itself: one `fdatasync` of a 4 KiB append, measured in the same folder in the same run.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that measures and prints")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use nlrun::model::address::{Address, Branch};
use nlrun::model::effect::{Kind, Target};
use nlrun::model::event::{Event, Level, Request, Start, Verdict};
use nlrun::model::run::{Mode, Status, Trigger};
use nlrun::store::{NewRun, Options, RunLog, Store};
use serde_json::{Value, json};

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let (mut dir, mut events) = (PathBuf::from("."), 1_000_000);
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        match key.as_str() {
            "--dir" => dir = value.into(),
            "--events" => events = value.parse().context("--events wants a number")?,
            other => anyhow::bail!("no option {other}"),
        }
    }
    let dir = tempfile::Builder::new().prefix("nlrun-log").tempdir_in(dir)?;
    println!("one fdatasync of 4 KiB: {:.3} ms (median of 300)", fdatasync(dir.path())?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let store = Store::open(dir.path(), &Options::default())?;
    runtime.block_on(async {
        many(&store, events).await?;
        durable(&store, 2000, 1).await?;
        durable(&store, 20_000, 50).await
    })?;
    show(dir.path())
}

fn fdatasync(dir: &Path) -> Result<f64> {
    let mut file = std::fs::File::create(dir.join("probe"))?;
    let mut times = Vec::new();
    for _ in 0..300 {
        file.write_all(&[b'x'; 4096])?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[150])
}

fn begin(store: &Store) -> Result<RunLog> {
    let start = Start {
        runbook: "runbooks/bench.rhai".into(),
        sources: std::collections::BTreeMap::new(),
        commit: None,
        dirty: false,
        params: json!({}),
        inventory: String::new(),
        grants: vec!["*".into()],
        allow: Vec::new(),
        trigger: Trigger::Person { user: "bench".into() },
        mode: Mode::Apply,
        plan: None,
        beyond: false,
        version: env!("CARGO_PKG_VERSION").into(),
    };
    let (claim, _) = store.create(&NewRun { start, texts: Vec::new(), plan: None })?;
    Ok(store.log(claim, None))
}

async fn end(log: &RunLog) -> Result<()> {
    let (error, incomplete) = (None, None);
    let event = Event::Ended {
        status: Status::Done,
        error,
        left_behind: Vec::new(),
        in_doubt: Vec::new(),
        incomplete,
        result: Value::Null,
    };
    log.append_durable(event).await?;
    Ok(())
}

fn intent(number: u32) -> Event {
    let request = Request {
        effect: "ssh.exec".into(),
        kind: Kind::Act,
        target: Target::Host { host: "edge-1".into(), groups: std::sync::Arc::default(), path: None },
        request: json!({ "command": ["systemctl", "reload", "nginx"] }),
        site: None,
    };
    Event::Intent { address: Branch::root().effect(number), request: Box::new(request), pre: Value::Null }
}

fn outcome(number: u32) -> Event {
    Event::Outcome {
        address: Branch::root().effect(number),
        verdict: Verdict::Changed,
        value: json!({ "code": 0, "ms": 12, "out": { "bytes": 0 }, "err": { "bytes": 0 } }),
        failure: None,
        ms: 12,
        diff: None,
        redacted: false,
    }
}

/// Intents, outcomes and messages as a busy run writes them, durable at the end.
async fn many(store: &Store, events: u32) -> Result<()> {
    let log = begin(store)?;
    let begun = Instant::now();
    for number in 0..events / 4 {
        log.append(intent(number)).await?;
        log.output(&Address::parse(&number.to_string()), "out", b"reloaded\n").await?;
        log.append(outcome(number)).await?;
        let text = format!("host {number} is done");
        log.append(Event::Message { level: Level::Info, text, site: None, branch: Branch::root() }).await?;
    }
    end(&log).await?;
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "events, durable at the end: {:.0} a second ({events} in {seconds:.1} s)",
        f64::from(events) / seconds
    );
    Ok(())
}

/// Acts: each intent on disk before it goes on, from some threads of script at once.
async fn durable(store: &Store, acts: u32, at_once: u32) -> Result<()> {
    let log = begin(store)?;
    let begun = Instant::now();
    let workers = (0..at_once).map(|worker| {
        let log = log.clone();
        async move {
            for number in 0..acts / at_once {
                log.append_durable(intent(worker * acts + number)).await?;
                log.append(outcome(worker * acts + number)).await?;
            }
            anyhow::Ok(())
        }
    });
    for result in futures_util::future::join_all(workers).await {
        result?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    end(&log).await?;
    println!(
        "acts, each intent on disk first, {at_once} at once: {:.0} a second, {:.3} ms each",
        f64::from(acts) / seconds,
        seconds * 1e3 * f64::from(at_once) / f64::from(acts)
    );
    Ok(())
}

/// Opens the run of a million events with the program, if it is built beside this one.
fn show(dir: &Path) -> Result<()> {
    let program = std::env::current_exe()?.with_file_name("../nlrun");
    if !program.exists() {
        println!("show: not measured, {} is not built", program.display());
        return Ok(());
    }
    for arguments in [vec!["show", "1"], vec!["verify", "1"]] {
        let begun = Instant::now();
        let status = std::process::Command::new(&program)
            .args(&arguments)
            .arg("--state")
            .arg(dir)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()?;
        println!("nlrun {}: {:.0} ms ({status})", arguments.join(" "), begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(())
}
