//! `POST /hooks/gitlab`: events of GitLab, taken in and answered at once.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;

use crate::server::App;
use crate::server::extract::Json;
use crate::server::guard::{Note, Visit};
use crate::server::problem::Failure;
use crate::service::{Refused, Shown};

/// The most of an event, in bytes: GitLab sends twenty commits at most, each with the names of its files.
pub(crate) const LARGEST: usize = 4 << 20;
/// Who sends events, as the audit has it: no user and no token has such a name.
const WHO: &str = "webhook gitlab";

/// What became of an event.
#[derive(Serialize)]
pub(crate) struct Taken {
    /// Whether it was reported before.
    known: bool,
}

/// Takes an event in: 202, or 200 for one that was reported before. What comes of it, `GET /api/v1/hooks` tells.
pub(crate) async fn gitlab(
    State(app): State<App>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Extension<Note>, Json<Taken>), Failure> {
    let Some(hooks) = app.hooks.clone() else {
        return Err(Failure::not_found("this server takes no events: `server.gitlab` names no project"));
    };
    let taken = tokio::task::spawn_blocking(move || {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let shown = Shown {
            id: header("webhook-id"),
            timestamp: header("webhook-timestamp"),
            signature: header("webhook-signature"),
            token: header("x-gitlab-token"),
            body: &body,
        };
        let name = header("idempotency-key").or(header("x-gitlab-event-uuid"));
        let about = header("x-gitlab-event").unwrap_or("an event").chars().take(100).collect();
        (hooks.receive(&shown, name), about)
    });
    let (taken, about): (_, String) = taken.await.map_err(|_| Failure::broken())?;
    let note = Note { who: Some(WHO.to_owned()), about: Some(about), ..Note::default() };
    match taken {
        Ok(is_new) => {
            let status = if is_new { StatusCode::ACCEPTED } else { StatusCode::OK };
            Ok((status, Extension(note), Json(Taken { known: !is_new })))
        }
        Err(Refused::Unproved(unproved)) => {
            tracing::warn!(address = %visit.address, "an event was refused: {unproved}");
            // Who guesses secrets does not get far.
            app.identity.count_stranger(visit.address).map_err(Failure::too_many)?;
            Err(Failure::new(StatusCode::UNAUTHORIZED, "unproved", unproved.to_string()).noted(note))
        }
        Err(refused @ Refused::Invalid(_)) => Err(Failure::invalid(refused.to_string())),
        Err(refused @ Refused::Secrets(_)) => {
            tracing::error!("an event cannot be proved: {refused}");
            let words = "the secrets of the webhook cannot be read";
            Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "secrets", words))
        }
        Err(Refused::Store(error)) => Err(error.into()),
    }
}
