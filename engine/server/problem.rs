//! What went wrong, as `application/problem+json` (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::service::{ProjectError, ServiceError};
use crate::store::StoreError;

/// A problem as programs get it (RFC 9457).
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// A word to branch on, as a relative reference: `/problems/not-found`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// What sort of problem, in a few words.
    pub(crate) title: String,
    /// The status of the answer.
    pub(crate) status: u16,
    /// What is wrong here, in a sentence.
    pub(crate) detail: String,
    /// Findings with places in files, parameters that do not fit, and the like.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<serde_json::Value>,
}

/// Why a request has no other answer.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    status: StatusCode,
    kind: &'static str,
    detail: String,
    errors: Vec<serde_json::Value>,
}

impl Failure {
    /// Makes a failure of one sort.
    pub(crate) fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, detail: detail.into(), errors: Vec::new() }
    }

    /// What was asked for is not there.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// The request does not say what it must, or says what it must not.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    }

    /// What was asked for does not fit the state that things are in.
    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    /// Nobody knows who asks.
    pub(crate) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "sign in, or show a token that is valid")
    }

    /// Whoever asks may not.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// The server itself broke.
    pub(crate) fn broken() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "broken",
            "nlrun itself broke over this request; this is a bug",
        )
    }

    /// Adds details for programs.
    pub(crate) fn with(mut self, errors: Vec<serde_json::Value>) -> Self {
        self.errors = errors;
        self
    }

    /// Returns what is wrong, in a sentence.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// Returns the status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let problem = Problem {
            kind: format!("/problems/{}", self.kind),
            title: self.status.canonical_reason().unwrap_or_default().to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
            errors: self.errors,
        };
        let body = serde_json::to_string(&problem).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let media = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, media);
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::from(ServiceError::from(error))
    }
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        let detail = error.to_string();
        match error {
            ServiceError::Store(StoreError::NoRun(_))
            | ServiceError::Project(ProjectError::NoRunbook { .. }) => Self::not_found(detail),
            ServiceError::NoSchedule { .. } => Self::not_found(detail),
            ServiceError::NotYours { .. } => Self::forbidden(detail),
            ServiceError::Check(found) => {
                let errors = found.iter().filter_map(|one| serde_json::to_value(one).ok()).collect();
                Self::invalid(detail).with(errors)
            }
            ServiceError::Parameters(errors) => {
                let errors = errors.iter().map(|error| error.to_string().into()).collect();
                Self::invalid(detail).with(errors)
            }
            ServiceError::Pattern(_)
            | ServiceError::Capability(_)
            | ServiceError::NotInDoubt { .. }
            | ServiceError::IsPlan { .. }
            | ServiceError::Revision { .. }
            | ServiceError::Plan { .. } => Self::invalid(detail),
            ServiceError::Closed { .. } => Self::conflict(detail),
            ServiceError::Store(
                StoreError::PlanUsed(_) | StoreError::Held { .. } | StoreError::Over { .. },
            )
            | ServiceError::Locked { .. } => Self::conflict(detail),
            other => {
                tracing::error!(error = %other, "a request failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", detail)
            }
        }
    }
}
