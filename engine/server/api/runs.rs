//! Runs: listed, asked for, shown, cancelled, continued.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::model::given::Given;
use crate::model::order::{DEFAULT_QUEUE, Order, USUAL_PRIORITY};
use crate::model::run::{Mode, RunId, Status};
use crate::server::App;
use crate::server::api::{Answer, Page};
use crate::server::caller::{AtLeast, How, Known, Operator, Viewer};
use crate::server::extract::{Json, Path, Query};
use crate::server::guard::Note;
use crate::server::problem::{Failure, Problem};
use crate::service::{Desk, ServiceError, start_of};
use crate::store::{Enqueued, Filter, Keys, Reader, RunRow};

/// The most runs of one page.
const MOST: usize = 500;

/// A run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Run {
    /// Its number.
    run: i64,
    /// The runbook's path in the project.
    runbook: String,
    /// `plan` or `apply`.
    #[schema(value_type = String)]
    mode: Mode,
    /// `queued`, `running`, `done`, `failed` …
    #[schema(value_type = String)]
    status: Status,
    /// When it began, or came into the queue: RFC 3339.
    started: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    /// How long it took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<i64>,
    /// Who or what asked for it, in words.
    by: String,
    /// Who or what asked for it.
    #[schema(value_type = Object)]
    trigger: crate::model::run::Trigger,
    /// The fold of its events: counts, hosts, steps, problems, artifacts, what it left behind, its result.
    #[schema(value_type = Object)]
    summary: crate::model::run::Summary,
    /// The commit of the project.
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    /// Whether the project had changes that were not committed.
    dirty: bool,
    /// The bound parameters; secrets by name.
    #[schema(value_type = Object)]
    params: Value,
    /// SHA-256 of every script, by path.
    #[schema(value_type = Object)]
    sources: BTreeMap<String, String>,
    /// SHA-256 of the inventory as it was.
    inventory: String,
    /// What whoever asked was allowed.
    grants: Vec<String>,
    /// What was allowed besides, to a runbook without `NEEDS`.
    allow: Vec<String>,
    /// SHA-256 of the plan that is applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<String>,
    /// The version of nlrun that ran it.
    version: String,
    /// The exit code of `nlrun run` for this status.
    exit_code: u8,
    /// The number of its last event.
    last_event: i64,
}

pub(crate) fn run_of(reader: &Reader, row: RunRow) -> Result<Run, ServiceError> {
    let start = start_of(reader, row.id)?;
    let time =
        |at: i64| jiff::Timestamp::from_microsecond(at).map(|time| time.to_string()).unwrap_or_default();
    Ok(Run {
        run: row.id.0,
        runbook: row.summary.runbook.clone(),
        mode: row.summary.mode,
        status: row.summary.status,
        started: time(row.started_at),
        ended: row.ended_at.map(time),
        ms: row.ended_at.map(|end| (end - row.started_at) / 1000),
        by: start.trigger.to_string(),
        trigger: start.trigger,
        commit: start.commit,
        dirty: start.dirty,
        params: start.params,
        sources: start.sources,
        inventory: start.inventory,
        grants: start.grants,
        allow: start.allow,
        plan: start.plan,
        version: start.version,
        exit_code: row.summary.status.exit_code(),
        last_event: row.last_seq.0,
        summary: row.summary,
    })
}

/// Which runs to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// A glob over the runbook's path, or its name.
    runbook: Option<String>,
    /// A host of the run.
    host: Option<String>,
    /// Statuses with commas between.
    status: Option<String>,
    /// Begun at or after this: RFC 3339.
    since: Option<String>,
    /// Begun before this.
    until: Option<String>,
    /// Numbers below this: `next` of the page before.
    before: Option<i64>,
    /// How many at most; 50 by default, 500 at most.
    limit: Option<usize>,
}

impl Wanted {
    fn filter(self) -> Result<Filter, Failure> {
        let mut status = Vec::new();
        for word in self.status.iter().flat_map(|words| words.split(',')).filter(|word| !word.is_empty()) {
            let found = Status::parse(word.trim());
            status.push(found.ok_or_else(|| Failure::invalid(format!("`{word}` is no status of a run")))?);
        }
        let time = |text: Option<String>| {
            text.map(|text| {
                let time: Result<jiff::Timestamp, _> = text.parse();
                time.map(jiff::Timestamp::as_microsecond).map_err(|_| {
                    Failure::invalid(format!("`{text}` is no time such as 2027-01-31T03:00:00Z"))
                })
            })
            .transpose()
        };
        Ok(Filter {
            runbook: self.runbook.filter(|text| !text.is_empty()),
            host: self.host.filter(|text| !text.is_empty()),
            status,
            since: time(self.since)?,
            until: time(self.until)?,
            before: self.before.map(RunId),
            limit: self.limit.unwrap_or(50).clamp(1, MOST),
        })
    }
}

/// List runs, newest first
#[utoipa::path(get, path = "/api/v1/runs", tag = "runs", params(Wanted),
    responses((status = 200, body = Page<Run>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    _: Viewer,
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Answer<Page<Run>> {
    let filter = wanted.filter()?;
    let page = app.look(move |desk| {
        desk.read(|reader| {
            let rows = reader.runs(&filter)?;
            let next = (rows.len() == filter.limit).then(|| rows.last().map(|row| row.id.0)).flatten();
            let items =
                rows.into_iter().map(|row| run_of(reader, row)).collect::<Result<_, ServiceError>>()?;
            Ok(Page { items, next })
        })
    });
    Ok(Json(page.await?))
}

/// Show a run
#[utoipa::path(get, path = "/api/v1/runs/{run}", tag = "runs", params(("run" = i64, Path, description = "its number")),
    responses((status = 200, body = Run), (status = "default", body = Problem)))]
pub(crate) async fn show(_: Viewer, State(app): State<App>, Path(run): Path<i64>) -> Answer<Run> {
    let run = RunId(run);
    let shown = app.look(move |desk| {
        desk.read(|reader| {
            let row = reader.run(run)?;
            run_of(reader, row)
        })
    });
    Ok(Json(shown.await?))
}

/// What to run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    /// The runbook: its path in the project, or its name.
    #[serde(default)]
    runbook: String,
    /// Parameters by name; texts are read by the type of the parameter.
    #[serde(default)]
    #[schema(value_type = Object)]
    params: BTreeMap<String, Value>,
    /// `apply` by default; `plan` changes nothing.
    #[schema(value_type = Option<String>)]
    mode: Option<Mode>,
    /// A queue; `default` by default.
    queue: Option<String>,
    /// 0 to 100, the higher before the lower; 50 by default.
    priority: Option<u8>,
    /// Branch, tag or commit.
    revision: Option<String>,
    /// A planned run that is to be applied exactly; runbook and parameters are its own then.
    plan: Option<i64>,
}

/// A run that was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Asked {
    /// Its number.
    run: i64,
    /// Whether it was asked for before, with the same idempotency key.
    known: bool,
    /// What a calendar of one of the runbook's schedules has against a run now.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

/// Ask for a run
///
/// With the header `Idempotency-Key`, asking again with the same key gives the same run; asking for something else with it is refused.
#[utoipa::path(post, path = "/api/v1/runs", tag = "runs", request_body = New,
    responses((status = 202, body = Asked), (status = 200, body = Asked), (status = "default", body = Problem)))]
pub(crate) async fn create(
    AtLeast(caller): Operator,
    known: Known,
    State(app): State<App>,
    headers: HeaderMap,
    Json(new): Json<New>,
) -> Result<(StatusCode, Extension<Note>, Json<Asked>), Failure> {
    let key = headers.get("idempotency-key").map(|value| value.to_str()).transpose();
    let key = key.map_err(|_| Failure::invalid("an idempotency key is plain ASCII"))?;
    if key.is_some_and(|key| key.is_empty() || key.len() > 200) {
        return Err(Failure::invalid("an idempotency key has 1 to 200 characters"));
    }
    // Two callers do not share keys.
    let once = key.map(|key| format!("api:{}:{key}", caller.name()));
    let texts = |value: Value| match value {
        Value::String(text) => Given::Text(text),
        value => Given::Value(value),
    };
    let order = Order {
        runbook: new.runbook,
        params: new.params.into_iter().map(|(name, value)| (name, texts(value))).collect(),
        mode: new.mode.unwrap_or(Mode::Apply),
        trigger: caller.trigger.clone(),
        grants: caller.grants.clone(),
        queue: new.queue.unwrap_or_else(|| DEFAULT_QUEUE.to_owned()),
        priority: new.priority.unwrap_or(USUAL_PRIORITY).min(100),
        behind: false,
        catch_up: false,
        revision: new.revision,
        plan: new.plan.map(RunId),
        locks: Vec::new(),
        deadline: None,
    };
    let shown_key = once.clone();
    let keys = Keys { once, overlap: None };
    let identity = app.identity.clone();
    let enqueued = app.work(move |desk| {
        let (order, warning) = desk.admit(order, &caller)?;
        let How::Job(shown) = &known.how else {
            let enqueued = desk.enqueue(&order, &keys)?;
            same(desk, enqueued, &order)?;
            return Ok::<_, Failure>((enqueued, warning, order));
        };
        identity.redeem(shown, shown_key.as_deref())?;
        match desk.enqueue(&order, &keys) {
            Ok(enqueued) => {
                same(desk, enqueued, &order)?;
                Ok((enqueued, warning, order))
            }
            Err(error) => {
                identity.release(shown)?;
                Err(error.into())
            }
        }
    });
    let (enqueued, warning, order) = enqueued.await?;
    let about = format!("runs/{} {} {}", enqueued.run().0, order.mode.as_str(), order.runbook);
    let note = Note { about: Some(about), ..Note::default() };
    let known = matches!(enqueued, Enqueued::Known(_));
    let status = if known { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Extension(note), Json(Asked { run: enqueued.run().0, known, warning })))
}

/// Demands that a run that was asked for before with the same key is what is asked for now.
///
/// Whoever uses a key for two things would take the run of the first for one of the second.
fn same(desk: &Desk, enqueued: Enqueued, order: &Order) -> Result<(), Failure> {
    let Enqueued::Known(run) = enqueued else { return Ok(()) };
    let before = desk.read::<_, ServiceError>(|reader| Ok(reader.order(run)?))?;
    let what = |order: &Order| {
        (order.runbook.clone(), order.params.clone(), order.mode, order.revision.clone(), order.plan)
    };
    // Retention may have removed it meanwhile.
    if before.is_none_or(|before| what(&before) == what(order)) {
        return Ok(());
    }
    let text = format!("this idempotency key was used for something else: run {run}");
    Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "key-used", text))
}

/// How to cancel.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Cancel {
    /// Without clean-ups.
    now: bool,
}

/// End a run
///
/// One that waits is over at once; one that runs ends after its clean-ups, or at once with `now`.
#[utoipa::path(post, path = "/api/v1/runs/{run}/cancel", tag = "runs", request_body = Option<Cancel>,
    params(("run" = i64, Path, description = "its number")),
    responses((status = 202), (status = "default", body = Problem)))]
pub(crate) async fn cancel(
    AtLeast(caller): Operator,
    State(app): State<App>,
    Path(run): Path<i64>,
    body: Option<Json<Cancel>>,
) -> Result<(StatusCode, Extension<Note>), Failure> {
    let now = body.unwrap_or_default().0.now;
    let run = RunId(run);
    let status = app.look(move |desk| desk.read(|reader| Ok(reader.run(run)?.summary.status))).await?;
    if status.is_over() {
        return Err(Failure::conflict(format!("run {run} is {status}: there is nothing to cancel")));
    }
    app.look(move |desk| desk.cancel(run, &caller.name(), now)).await?;
    let how = if now { " without clean-ups" } else { "" };
    let about = format!("runs/{run}/cancel{how}");
    Ok((StatusCode::ACCEPTED, Extension(Note { about: Some(about), ..Note::default() })))
}

/// What a person has decided about acts in doubt.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Resume {
    /// Addresses of acts that did happen.
    done: Vec<String>,
    /// Addresses of acts to perform again.
    again: Vec<String>,
}

/// Go on with a run that was interrupted, or waits for a decision about acts in doubt
#[utoipa::path(post, path = "/api/v1/runs/{run}/resume", tag = "runs", request_body = Option<Resume>,
    params(("run" = i64, Path, description = "its number")),
    responses((status = 202), (status = "default", body = Problem)))]
pub(crate) async fn resume(
    AtLeast(caller): Operator,
    State(app): State<App>,
    Path(run): Path<i64>,
    body: Option<Json<Resume>>,
) -> Result<(StatusCode, Extension<Note>), Failure> {
    let Resume { done, again } = body.unwrap_or_default().0;
    let mut about = format!("runs/{run}/resume");
    for (word, addresses) in [("done", &done), ("again", &again)] {
        if !addresses.is_empty() {
            about = format!("{about} {word} {}", addresses.join(" "));
        }
    }
    app.look(move |desk| desk.resume(RunId(run), &caller, &done, &again)).await?;
    Ok((StatusCode::ACCEPTED, Extension(Note { about: Some(about), ..Note::default() })))
}
