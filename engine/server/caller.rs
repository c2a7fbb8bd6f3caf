//! Who asks: what a request shows is turned into a caller, or refused.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use sha2::{Digest as _, Sha256};

use crate::model::role::{Caller, Role};
use crate::server::App;
use crate::server::problem::Failure;

/// A caller of at least this role: [`Viewer`], [`Operator`], [`Editor`] or [`Admin`].
pub(crate) struct AtLeast<const ROLE: u8>(pub(crate) Caller);

/// Somebody who may look.
pub(crate) type Viewer = AtLeast<{ Role::Viewer as u8 }>;
/// Somebody who may run.
pub(crate) type Operator = AtLeast<{ Role::Operator as u8 }>;
/// Somebody who may change runbooks and schedules.
pub(crate) type Editor = AtLeast<{ Role::Editor as u8 }>;
/// Somebody who may change the server.
pub(crate) type Admin = AtLeast<{ Role::Admin as u8 }>;

impl<const ROLE: u8> FromRequestParts<App> for AtLeast<ROLE> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let caller = caller(parts, app).await?;
        if (caller.role as u8) < ROLE {
            let needed = Role::ALL[usize::from(ROLE)].as_str();
            return Err(Failure::forbidden(format!(
                "this takes the role {needed}, and {} has {}",
                caller.name(),
                caller.role.as_str()
            )));
        }
        Ok(Self(caller))
    }
}

async fn caller(parts: &Parts, app: &App) -> Result<Caller, Failure> {
    let shown = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(token) = shown.and_then(|value| value.strip_prefix("Bearer ")) else {
        return Err(Failure::unauthorized());
    };
    let hash: [u8; 32] = Sha256::digest(token.trim().as_bytes()).into();
    let token = app.look(move |desk| desk.read(|reader| Ok(reader.token(&hash)?))).await?;
    token.map(|token| token.caller()).ok_or_else(Failure::unauthorized)
}
