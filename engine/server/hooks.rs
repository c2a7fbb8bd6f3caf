//! `POST /hooks/gitlab`: events of GitLab, taken in and answered at once.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;

use crate::server::App;
use crate::server::problem::Failure;
use crate::service::{Refused, Shown};

/// The most of an event, in bytes: GitLab sends twenty commits at most, each with the names of its files.
pub(crate) const LARGEST: usize = 4 << 20;

/// What became of an event.
#[derive(Serialize)]
pub(crate) struct Taken {
    /// Whether it was reported before.
    known: bool,
}

pub(crate) async fn gitlab(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Taken>), Failure> {
    let Some(hooks) = app.hooks.clone() else {
        return Err(Failure::not_found("this server takes no events: `server.gitlab` is not set"));
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
        hooks.receive(&shown, header("idempotency-key").or(header("x-gitlab-event-uuid")))
    });
    match taken.await.map_err(|_| Failure::broken())? {
        Ok(is_new) => {
            let status = if is_new { StatusCode::ACCEPTED } else { StatusCode::OK };
            Ok((status, Json(Taken { known: !is_new })))
        }
        Err(Refused::Unproved(unproved)) => {
            tracing::warn!("an event was refused: {unproved}");
            Err(Failure::new(StatusCode::UNAUTHORIZED, "unproved", unproved.to_string()))
        }
        Err(refused @ Refused::Invalid(_)) => Err(Failure::invalid(refused.to_string())),
        Err(refused @ Refused::Secrets(_)) => {
            tracing::error!("an event cannot be proved: {refused}");
            Err(Failure::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "secrets",
                "the secrets of the webhook cannot be read",
            ))
        }
        Err(Refused::Store(error)) => Err(error.into()),
    }
}
