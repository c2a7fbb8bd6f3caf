//! Runbooks: what can be run, with what, and how it went.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::model::duration;
use crate::model::parameter_schema;
use crate::server::App;
use crate::server::api::{Answer, Listing, page_of, runs};
use crate::server::caller::Viewer;
use crate::server::extract::{Json, Path, Query};
use crate::server::problem::{Failure, Problem};
use crate::service::{Listed, ServiceError};
use crate::store::Filter;

/// How many last runs a runbook shows.
const LAST: usize = 20;

/// A runbook.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Runbook {
    /// Its path in the project.
    runbook: String,
    /// What it is for, in a line.
    summary: String,
    /// What its header says of it.
    doc: String,
    /// What `params` of a run takes, as JSON Schema (draft 2020-12).
    #[schema(value_type = Object)]
    params: Value,
    /// The capabilities that it needs; absent where it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    needs: Option<Vec<String>>,
    /// What bounds a run of it.
    limits: Limits,
    /// The schedules that run it; a runbook that nobody thinks of has none.
    schedules: Vec<String>,
    /// What is wrong with its header.
    #[schema(value_type = Vec<Object>)]
    findings: Vec<Value>,
    /// Its last run; absent where it never ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Last>,
}

/// What bounds a run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Limits {
    /// The longest wall time, such as `30m`.
    timeout: String,
    /// Locks that it holds from start to end.
    locks: Vec<String>,
    /// The most hosts that it may write to.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_hosts: Option<usize>,
    /// The most script operations.
    operations: u64,
    /// The most memory, in bytes.
    memory: u64,
}

/// The last run of a runbook.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Last {
    /// Its number.
    run: i64,
    /// Its status.
    status: String,
    /// When it began: RFC 3339.
    started: String,
    /// How long it took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<i64>,
}

/// A runbook with its last runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunbookDetail {
    /// The runbook.
    #[serde(flatten)]
    runbook: Runbook,
    /// Its last runs, the newest first.
    runs: Vec<runs::Run>,
}

/// Which runbooks to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// Only those that no schedule runs.
    #[serde(default)]
    unscheduled: bool,
    /// Only those that never ran.
    #[serde(default)]
    never_run: bool,
    /// Those after this one: `next` of the page before.
    after: Option<String>,
    /// How many at most; 100 by default, 500 at most.
    limit: Option<usize>,
}

fn runbook(reader: &crate::store::Reader, listed: Listed) -> Result<Runbook, ServiceError> {
    let filter = Filter { runbook: Some(listed.path.clone()), limit: 1, ..Filter::default() };
    let last = reader.runs(&filter)?.pop().map(|row| Last {
        run: row.id.0,
        status: row.summary.status.as_str().to_owned(),
        started: super::instant(row.started_at),
        ms: row.ended_at.map(|end| (end - row.started_at) / 1000),
    });
    let header = listed.header;
    Ok(Runbook {
        summary: header.summary().to_owned(),
        params: parameter_schema::schema(&header.params),
        needs: header.needs.map(|needs| needs.iter().map(ToString::to_string).collect()),
        limits: Limits {
            timeout: duration::text(header.limits.timeout),
            locks: header.limits.locks,
            max_hosts: header.limits.max_hosts,
            operations: header.limits.operations,
            memory: header.limits.memory,
        },
        doc: header.doc,
        schedules: listed.schedules,
        findings: listed.findings.iter().filter_map(|one| serde_json::to_value(one).ok()).collect(),
        runbook: listed.path,
        last,
    })
}

/// List runbooks, by path
#[utoipa::path(get, path = "/api/v1/runbooks", tag = "runbooks", params(Wanted),
    responses((status = 200, body = Listing<Runbook>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    _: Viewer,
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Answer<Listing<Runbook>> {
    let page = app.look(move |desk| {
        let mut all = desk.runbooks()?;
        all.retain(|one| !wanted.unscheduled || one.schedules.is_empty());
        desk.read(|reader| {
            if wanted.never_run {
                let ran: Vec<String> = reader.tallies()?.into_iter().map(|tally| tally.runbook).collect();
                all.retain(|one| !ran.contains(&one.path));
            }
            let page = page_of(all, |one| &one.path, wanted.after.as_deref(), wanted.limit);
            let items = page.items.into_iter().map(|one| runbook(reader, one));
            Ok::<_, ServiceError>(Listing { items: items.collect::<Result<_, _>>()?, next: page.next })
        })
    });
    Ok(Json(page.await?))
}

/// Show a runbook with its last runs
///
/// By its path in the project, or its name; `/` in it is written `%2F`.
#[utoipa::path(get, path = "/api/v1/runbooks/{runbook}", tag = "runbooks",
    params(("runbook" = String, Path, description = "its path in the project, or its name")),
    responses((status = 200, body = RunbookDetail), (status = "default", body = Problem)))]
pub(crate) async fn show(
    _: Viewer,
    State(app): State<App>,
    Path(name): Path<String>,
) -> Answer<RunbookDetail> {
    let found = app.look(move |desk| {
        let project = desk.project_now()?;
        let path = project.runbook(&name, project.root())?;
        let Some(listed) = desk.runbooks()?.into_iter().find(|one| one.path == path) else { return Ok(None) };
        desk.read(|reader| {
            let filter = Filter { runbook: Some(path), limit: LAST, ..Filter::default() };
            let rows = reader.runs(&filter)?.into_iter().map(|row| runs::run_of(reader, row));
            let runs = rows.collect::<Result<_, ServiceError>>()?;
            Ok(Some(RunbookDetail { runbook: runbook(reader, listed)?, runs }))
        })
    });
    let found = found.await?;
    found.map(Json).ok_or_else(|| Failure::not_found("it is a file of the project, but no runbook"))
}
