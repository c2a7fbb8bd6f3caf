//! What went wrong, as `application/problem+json` (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::bucket::Refused;
use crate::server::guard::{Note, Why};
use crate::service::{IdentityError, ProjectError, ServiceError, TextError};
use crate::store::StoreError;
use crate::world::jwt::JwtError;

/// The most characters of a problem's detail.
const LONGEST: usize = 2000;

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
    retry: Option<Refused>,
    note: Note,
}

impl Failure {
    /// Makes a failure of one sort.
    pub(crate) fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        // A detail may repeat what was sent, and that may be long.
        if let Some((end, _)) = detail.char_indices().nth(LONGEST) {
            detail.truncate(end);
            detail.push('…');
        }
        Self { status, kind, detail, errors: Vec::new(), retry: None, note: Note::default() }
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

    /// Whoever asks has asked too often.
    pub(crate) fn too_many(refused: Refused) -> Self {
        let words = format!("too many requests; wait {} s", seconds(refused));
        let failure = Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", words);
        Self { retry: Some(refused), ..failure }
    }

    /// Says what the audit needs to know besides.
    pub(crate) fn noted(self, note: Note) -> Self {
        Self { note, ..self }
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
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let problem = Problem {
            kind: format!("/problems/{}", self.kind),
            title: self.status.canonical_reason().unwrap_or_default().to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            errors: self.errors,
        };
        let body = serde_json::to_string(&problem).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let media = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, media);
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(refused) = self.retry {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds(refused)));
        }
        let is_repeated = self.retry.is_some_and(|refused| !refused.is_first);
        response.extensions_mut().insert(Why { detail: self.detail, is_repeated });
        response.extensions_mut().insert(self.note);
        response
    }
}

/// Whole seconds after which it is worth a try.
fn seconds(refused: Refused) -> u64 {
    refused.wait.as_secs() + 1
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        let detail = error.to_string();
        let unauthorized = |detail| Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
        match error {
            IdentityError::Store(error) => error.into(),
            IdentityError::Service(error) => (*error).into(),
            IdentityError::TooMany(refused) => Self { detail, ..Self::too_many(refused) },
            IdentityError::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail),
            IdentityError::Provider(_) | IdentityError::Token(JwtError::Provider(_)) => {
                tracing::warn!(error = detail, "an issuer of ID tokens cannot be used");
                Self::new(StatusCode::BAD_GATEWAY, "provider", detail)
            }
            IdentityError::Wrong
            | IdentityError::Token(_)
            | IdentityError::Claim(_)
            | IdentityError::NoRule
            | IdentityError::NotConfigured(_)
            | IdentityError::Oidc(_) => unauthorized(detail),
            IdentityError::Replayed | IdentityError::NoRole(_) | IdentityError::Beyond(_) => {
                Self::forbidden(detail)
            }
            IdentityError::Taken { .. } | IdentityError::Elsewhere(_) => Self::conflict(detail),
            IdentityError::NoSuch { .. } => Self::not_found(detail),
            IdentityError::Name(_)
            | IdentityError::Weak { .. }
            | IdentityError::Long { .. }
            | IdentityError::Capability(_)
            | IdentityError::Verb { .. }
            | IdentityError::Glob(_) => Self::invalid(detail),
            IdentityError::File { .. } | IdentityError::Random => {
                tracing::error!(error = detail, "a request failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", detail)
            }
        }
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
            // Where the project lies is nothing for those who ask over the network.
            ServiceError::Project(ProjectError::Outside(..)) => Self::not_found("there is no such runbook"),
            ServiceError::Store(StoreError::Overtaken) => {
                Self::conflict("somebody else, or the scheduler, has moved it meanwhile: look again")
            }
            ServiceError::Store(StoreError::Full) => {
                tracing::error!(error = detail, "a request failed");
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "full", detail)
            }
            ServiceError::NoFolder { revision: Some(_), .. } => Self::invalid(detail),
            ServiceError::NoFolder { revision: None, .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "no-project", detail)
            }
            ServiceError::NotYours { .. } | ServiceError::PlansOnly { .. } => Self::forbidden(detail),
            ServiceError::Text(TextError::Path(_)) => Self::not_found(detail),
            ServiceError::Text(TextError::Changed(_)) => Self::conflict(detail),
            ServiceError::Text(TextError::Refused(_)) => Self::invalid(detail),
            ServiceError::Text(TextError::Check { found, .. }) => {
                let errors = found.iter().filter_map(|one| serde_json::to_value(one).ok()).collect();
                Self::invalid(detail).with(errors)
            }
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
