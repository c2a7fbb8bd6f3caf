//! One run: its head with what can be done, its log, its plan, its changes and its source.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::event::{Event, Start};
use crate::model::role::{Caller, Role};
use crate::model::run::{Mode, RunId, Status};
use crate::server::App;
use crate::server::caller::{AtLeast, Viewer};
use crate::server::extract::{Path, Query};
use crate::server::page::{Html, render};
use crate::server::problem::Failure;
use crate::service::{Desk, ServiceError, start_of};
use crate::store::{Question, RunRow};

/// The most effects of a plan, or changes of a run, on their page.
const MOST: usize = 1000;
/// The most hosts at work that are shown.
const ARMS: usize = 500;

/// What every page of a run shows at its head.
struct Head {
    row: RunRow,
    start: Start,
    waits: Option<String>,
    questions: Vec<Question>,
    at: Option<crate::model::event::Site>,
    arms: Vec<(String, String)>,
    is_held: bool,
    may_run: bool,
}

impl Head {
    fn read(desk: &Desk, run: RunId, caller: &Caller) -> Result<Self, ServiceError> {
        let (row, start, questions) = desk.read::<_, ServiceError>(|reader| {
            let row = reader.run(run)?;
            let start = start_of(reader, run)?;
            let open = match row.summary.status {
                Status::Running => reader.questions()?,
                _ => Vec::new(),
            };
            Ok((row, start, open.into_iter().filter(|question| question.run == run).collect()))
        })?;
        let status = row.summary.status;
        let holdups = desk.held_up();
        let waits = (status == Status::Queued).then(|| {
            let holdup = holdups.iter().find(|(other, _)| *other == run);
            holdup.map_or_else(|| "its turn".to_owned(), |(_, holdup)| holdup.words())
        });
        let is_running = status == Status::Running;
        let at = if is_running { desk.line_now(run)? } else { None };
        let arms = if is_running {
            desk.read::<_, ServiceError>(|reader| Ok(reader.arms(run, ARMS)?))?
        } else {
            Vec::new()
        };
        let is_held = desk.store().is_held(run);
        let may_run = caller.role >= Role::Operator && desk.may_run(&row.summary.runbook, caller).is_ok();
        Ok(Self { row, start, waits, questions, at, arms, is_held, may_run })
    }

    fn context(&self, tab: &str) -> Value {
        let RunRow { id, started_at, ended_at, last_seq, summary } = &self.row;
        let status = summary.status;
        let message = |error: &Value| error.get("message")?.as_str().map(str::to_owned);
        let is_plan = summary.mode == Mode::Plan;
        let hosts = hosts(&self.row, &self.arms);
        json!({ "title": format!("Run {id}"), "may_run": self.may_run, "tab": tab, "run": id.0, "status": status.as_str(), "is_over": status.is_over(), "is_plan": is_plan, "runbook": summary.runbook, "by": self.start.trigger.to_string(), "commit": self.start.commit, "dirty": self.start.dirty, "params": pairs(&self.start.params), "grants": self.start.grants, "started_at": started_at, "ended_at": ended_at, "ms": ended_at.map(|end| (end - started_at) / 1000), "last": last_seq.0, "waits": self.waits, "questions": self.questions, "at": self.at.as_ref().map(|site| json!({ "file": site.file.as_ref(), "line": site.line })), "hosts": hosts, "tally": tally(&hosts), "error": summary.error, "error_message": summary.error.as_ref().and_then(message), "summary": summary, "result": (!summary.result.is_null()).then(|| render::pretty(&summary.result)), "left_behind": summary.left_behind, "in_doubt": summary.in_doubt, "artifacts": summary.artifacts, "can_cancel": !status.is_over(), "can_resume": !is_plan && status.is_resumable() && !self.is_held && status != Status::Queued, "can_apply": is_plan && matches!(status, Status::Done | Status::Partial), "can_replay": status.is_over() && !self.start.sources.is_empty(), "has_source": !self.start.sources.is_empty() })
    }
}

/// A host of the run with its verdict, or at work.
#[derive(Debug, Clone, Serialize)]
struct HostState {
    host: String,
    state: &'static str,
}

fn hosts(row: &RunRow, arms: &[(String, String)]) -> Vec<HostState> {
    let at_work = |host: &str| arms.iter().any(|(_, other)| other == host);
    let done = row.summary.hosts.iter().map(|(host, verdict)| HostState {
        host: host.clone(),
        state: if at_work(host) { "running" } else { verdict.as_str() },
    });
    let mut all: Vec<HostState> = done.collect();
    for (_, host) in arms {
        if !all.iter().any(|known| known.host == *host) {
            all.push(HostState { host: host.clone(), state: "running" });
        }
    }
    // What needs a look comes first.
    let rank = |state: &str| {
        ["failed", "unreachable", "running", "changed", "ok", "skipped"]
            .iter()
            .position(|word| *word == state)
    };
    all.sort_by(|a, b| (rank(a.state), &a.host).cmp(&(rank(b.state), &b.host)));
    all
}

/// Returns names and values of parameters, for people.
fn pairs(params: &Value) -> Vec<(String, String)> {
    let all = params.as_object().into_iter().flatten();
    all.map(|(name, value)| (name.clone(), render::pretty(value))).collect()
}

fn tally(hosts: &[HostState]) -> Vec<(&'static str, usize)> {
    let mut counts: Vec<(&'static str, usize)> = Vec::new();
    for host in hosts {
        match counts.iter_mut().find(|(state, _)| *state == host.state) {
            Some((_, count)) => *count += 1,
            None => counts.push((host.state, 1)),
        }
    }
    counts
}

async fn head(app: &App, caller: Caller, run: i64) -> Result<Head, Failure> {
    app.look(move |desk| Head::read(desk, RunId(run), &caller)).await
}

fn rendered(template: &'static str, head: &Head, tab: &str, more: Value) -> Response {
    let mut page = head.context(tab);
    if let (Value::Object(page), Value::Object(more)) = (&mut page, more) {
        page.extend(more);
    }
    render::page(template, page)
}

pub(super) async fn show(AtLeast(caller): Viewer, State(app): State<App>, Path(run): Path<i64>) -> Html {
    let head = head(&app, caller, run).await?;
    Ok(rendered("run.html", &head, "log", json!({})))
}

/// An effect of a plan.
#[derive(Serialize)]
struct Planned {
    seq: i64,
    address: String,
    effect: String,
    kind: String,
    target: String,
    about: Option<String>,
    site: Option<String>,
    changes: bool,
    diff: Option<String>,
    request: String,
}

pub(super) async fn plan(AtLeast(caller): Viewer, State(app): State<App>, Path(run): Path<i64>) -> Html {
    let head = head(&app, caller, run).await?;
    let found = app
        .look(move |desk| desk.read(|reader| Ok(reader.events_with(RunId(run), "forecast", "", MOST)?)))
        .await?;
    let is_cut = found.len() == MOST;
    let planned = found.into_iter().filter_map(|record| match record.event {
        Event::Forecast { address, request, changes, diff, .. } => Some(Planned {
            seq: record.seq.0,
            address: address.to_string(),
            effect: request.effect.clone(),
            kind: request.kind.to_string(),
            target: request.target.to_string(),
            about: request.about(),
            site: request.site.as_ref().map(ToString::to_string),
            changes,
            diff,
            request: render::pretty(&request.request),
        }),
        _ => None,
    });
    let planned: Vec<Planned> = planned.collect();
    let changing = planned.iter().filter(|one| one.changes).count();
    Ok(rendered(
        "plan.html",
        &head,
        "plan",
        json!({ "planned": planned, "changing": changing, "is_cut": is_cut }),
    ))
}

/// Something that a run has changed.
#[derive(Serialize)]
struct Changed {
    seq: i64,
    address: String,
    host: Option<String>,
    diff: String,
}

pub(super) async fn changes(AtLeast(caller): Viewer, State(app): State<App>, Path(run): Path<i64>) -> Html {
    let head = head(&app, caller, run).await?;
    let counts = &head.row.summary.counts;
    let found = if counts.changed == 0 && counts.failed == 0 {
        // Its events need not be looked through.
        Vec::new()
    } else {
        app.look(move |desk| {
            desk.read(|reader| Ok(reader.events_with(RunId(run), "outcome", "\"diff\":\"", MOST)?))
        })
        .await?
    };
    let is_cut = found.len() == MOST;
    let changed = found.into_iter().filter_map(|record| match record.event {
        Event::Outcome { address, diff: Some(diff), .. } => Some(Changed {
            seq: record.seq.0,
            host: address.label().map(str::to_owned),
            address: address.to_string(),
            diff,
        }),
        _ => None,
    });
    let changed: Vec<Changed> = changed.collect();
    Ok(rendered("changes.html", &head, "changes", json!({ "changed": changed, "is_cut": is_cut })))
}

/// Which script, and which line of it.
#[derive(Debug, Deserialize)]
pub(super) struct Which {
    file: Option<String>,
}

pub(super) async fn source(
    AtLeast(caller): Viewer,
    State(app): State<App>,
    Path(run): Path<i64>,
    Query(which): Query<Which>,
) -> Html {
    let head = head(&app, caller, run).await?;
    let now = head.at.as_ref().map(|site| site.file.to_string());
    let file = which.file.or(now).unwrap_or_else(|| head.row.summary.runbook.clone());
    let Some(hash) = head.start.sources.get(&file).cloned() else {
        let reason = if head.start.sources.is_empty() {
            format!("run {run} has not begun, so that it has pinned no scripts yet")
        } else {
            format!("run {run} has pinned no script `{file}`")
        };
        return Err(Failure::not_found(reason));
    };
    let text = app.look(move |desk| desk.read(|reader| Ok(reader.text(&hash)?))).await?;
    let line_now = head.at.as_ref().filter(|site| site.file.as_ref() == file).map(|site| site.line);
    let files: Vec<&String> = head.start.sources.keys().collect();
    let lines: Vec<&str> = text.lines().collect();
    Ok(rendered(
        "source.html",
        &head,
        "source",
        json!({ "file": file, "files": files, "lines": lines, "line_now": line_now }),
    ))
}
