//! The audit: who asked for what, and whether it was allowed.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::model::role::Role;
use crate::server::App;
use crate::server::api::{Answer, Page, instant, read_instant};
use crate::server::caller::{AtLeast, Viewer};
use crate::server::extract::{Json, Query};
use crate::server::problem::Problem;
use crate::store::{AuditFilter, Audited};

/// The most decisions of one page.
const MOST: usize = 500;

/// A decision.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Decision {
    /// Its number.
    id: i64,
    /// When: RFC 3339.
    at: String,
    /// Who asked.
    who: String,
    /// From where: an address, or `terminal`.
    address: String,
    /// For what: `runs.create`, `session.create` …
    action: String,
    /// About what.
    target: String,
    /// Whether it was allowed.
    allowed: bool,
    /// Why not, or what failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

/// Which decisions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Who asked, exactly.
    who: Option<String>,
    /// For what; `runs.*` is everything about runs.
    action: Option<String>,
    /// Part of what it was about.
    target: Option<String>,
    /// Only what was allowed, or only what was refused.
    allowed: Option<bool>,
    /// At or after this: RFC 3339.
    since: Option<String>,
    /// Before this.
    until: Option<String>,
    /// Numbers below this: `next` of the page before.
    before: Option<i64>,
    /// How many at most; 50 by default, 500 at most.
    limit: Option<usize>,
}

/// List decisions, newest first
///
/// Who is no admin sees their own.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(Wanted),
    responses((status = 200, body = Page<Decision>), (status = "default", body = Problem)))]
pub(crate) async fn list(
    AtLeast(caller): Viewer,
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Answer<Page<Decision>> {
    let time = |text: Option<String>| text.as_deref().map(read_instant).transpose();
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    let filter = AuditFilter {
        who: if caller.role == Role::Admin { filled(wanted.who) } else { Some(caller.name()) },
        words: None,
        action: filled(wanted.action),
        target: filled(wanted.target),
        allowed: wanted.allowed,
        since: time(wanted.since)?,
        until: time(wanted.until)?,
        before: wanted.before,
        limit: wanted.limit.unwrap_or(50).clamp(1, MOST),
    };
    let limit = filter.limit;
    let found = app.look(move |desk| desk.read(|reader| Ok(reader.audit(&filter)?))).await?;
    let next = (found.len() == limit).then(|| found.last().map(|one| one.id)).flatten();
    let shown = |Audited { id, at, verdict }| Decision {
        id,
        at: instant(at),
        who: verdict.who,
        address: verdict.address,
        action: verdict.action,
        target: verdict.target,
        allowed: verdict.allowed,
        reason: verdict.reason,
    };
    Ok(Json(Page { items: found.into_iter().map(shown).collect(), next }))
}
