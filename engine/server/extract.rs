//! What a request holds, or a problem that says what is wrong with it: paths, queries and JSON bodies.
//!
//! They have the names of axum's own, which answer in plain text.

use std::error::Error;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::server::patience::Late;
use crate::server::problem::Failure;

/// The largest body of a request, in bytes: parameters of runs, and scripts to check.
pub(crate) const MOST_BODY: usize = 1 << 20;

/// So many times the largest body are read and thrown away, so that whoever sends it hears why it is refused.
const HEARD_OUT: usize = 8;

/// Reads a body to its end, up to this many bytes.
pub(crate) async fn whole(mut body: Body, most: usize) -> Result<Bytes, Failure> {
    let (mut bytes, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            if is_late(&error) {
                Failure::new(StatusCode::REQUEST_TIMEOUT, "slow", Late.to_string())
            } else {
                Failure::new(StatusCode::BAD_REQUEST, "broken-off", "the body of the request broke off")
            }
        })?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length <= most {
            bytes.extend_from_slice(&data);
        } else if length > most.saturating_mul(HEARD_OUT) {
            break;
        } else {
            bytes = Vec::new();
        }
    }
    if length > most {
        let text = format!("the body has more than {most} bytes");
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", text));
    }
    Ok(bytes.into())
}

fn is_late(error: &(dyn Error + 'static)) -> bool {
    error.is::<Late>() || error.source().is_some_and(is_late)
}

/// The parts of the path.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            // A number that is none names nothing.
            Err(error) => {
                Err(Failure::not_found(format!("there is nothing at this address: {}", error.body_text())))
            }
        }
    }
}

/// The query.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(error) => Err(Failure::invalid(error.body_text())),
        }
    }
}

/// A body of JSON, and an answer in JSON.
#[derive(Debug, Default)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let body: Option<Self> = <Self as OptionalFromRequest<S>>::from_request(request, state).await?;
        body.ok_or_else(|| Failure::invalid("the request has no body; it takes JSON"))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> OptionalFromRequest<S> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _state: &S) -> Result<Option<Self>, Failure> {
        let media = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media = media.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_owned();
        let bytes = whole(request.into_body(), MOST_BODY).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        // Other sites can send forms and text in a person's name, but no JSON.
        if !(media == "application/json" || media.ends_with("+json")) {
            let text = format!("the body is `{media}`; this takes application/json");
            return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", text));
        }
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Some(Self(value))),
            Err(error) if error.is_data() => Err(Failure::invalid(format!("the body does not fit: {error}"))),
            Err(error) => {
                let text = format!("the body is no JSON: {error}");
                Err(Failure::new(StatusCode::BAD_REQUEST, "syntax", text))
            }
        }
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}
