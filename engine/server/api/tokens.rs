//! Tokens of the API: listed, made and removed by admins.

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::role::Role;
use crate::server::App;
use crate::server::api::{Answer, Page, instant, read_instant};
use crate::server::caller::{Admin, AtLeast};
use crate::server::extract::{Json, Path};
use crate::server::guard::Note;
use crate::server::problem::{Failure, Problem};
use crate::service::identity::{NewToken, add_token, remove_token};

/// A token, never what its holder shows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Token {
    /// The name.
    name: String,
    /// `viewer`, `operator`, `editor` or `admin`.
    #[schema(value_type = String)]
    role: Role,
    /// Capabilities of runs; those of the role when empty.
    grants: Vec<String>,
    /// Globs of runbooks; those of the role when empty.
    runbooks: Vec<String>,
    /// When it was made: RFC 3339.
    made: String,
    /// By whom.
    made_by: String,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends: Option<String>,
    /// When it was used last, give or take a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<String>,
}

fn shown(token: crate::store::Token) -> Token {
    Token {
        name: token.name,
        role: token.role,
        grants: token.grants,
        runbooks: token.runbooks,
        made: instant(token.made_at),
        made_by: token.made_by,
        ends: token.expires_at.map(instant),
        used: token.used_at.map(instant),
    }
}

/// List tokens
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens",
    responses((status = 200, body = Page<Token>), (status = "default", body = Problem)))]
pub(crate) async fn list(_: Admin, State(app): State<App>) -> Answer<Page<Token>> {
    let tokens = app.look(|desk| desk.read(|reader| Ok(reader.tokens()?))).await?;
    Ok(Json(Page { items: tokens.into_iter().map(shown).collect(), next: None }))
}

/// A token to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    /// The name: letters, digits and `. _ @ + -`.
    name: String,
    /// `viewer`, `operator`, `editor` or `admin`.
    #[schema(value_type = String)]
    role: Role,
    /// Capabilities of runs; those of the role when empty.
    #[serde(default)]
    grants: Vec<String>,
    /// Globs of runbooks; those of the role when empty.
    #[serde(default)]
    runbooks: Vec<String>,
    /// When it ends: RFC 3339; never when it is not named.
    ends: Option<String>,
}

/// A token that was made.
#[derive(Serialize, ToSchema)]
pub(crate) struct Made {
    /// What its holder shows as `Authorization: Bearer …`; it is told only now.
    secret: String,
    /// The token.
    token: Token,
}

/// Make a token
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", request_body = New,
    responses((status = 201, body = Made), (status = "default", body = Problem)))]
pub(crate) async fn create(
    AtLeast(caller): Admin,
    State(app): State<App>,
    Json(new): Json<New>,
) -> Result<(StatusCode, Extension<Note>, Json<Made>), Failure> {
    let about = format!("tokens/{} {}", new.name, new.role.as_str());
    let expires_at = new.ends.as_deref().map(read_instant).transpose()?;
    let made = app.work(move |desk| {
        let New { name, role, grants, runbooks, ends: _ } = new;
        let new = NewToken { name, role, grants, runbooks, expires_at };
        add_token(desk.store(), new, &caller.name(), Some(&caller))
    });
    let (token, secret) = made.await?;
    let note = Note { about: Some(about), ..Note::default() };
    Ok((StatusCode::CREATED, Extension(note), Json(Made { secret, token: shown(token) })))
}

/// Remove a token
#[utoipa::path(delete, path = "/api/v1/tokens/{token}", tag = "tokens",
    params(("token" = String, Path, description = "the name")),
    responses((status = 204), (status = "default", body = Problem)))]
pub(crate) async fn remove(
    _: Admin,
    State(app): State<App>,
    Path(token): Path<String>,
) -> Result<StatusCode, Failure> {
    app.work(move |desk| remove_token(desk.store(), &token)).await?;
    Ok(StatusCode::NO_CONTENT)
}
