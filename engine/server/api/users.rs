//! Users: listed, made, changed and removed by admins.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::model::role::Role;
use crate::server::App;
use crate::server::api::{Answer, Page, instant};
use crate::server::caller::{Admin, AtLeast};
use crate::server::extract::{Json, Path};
use crate::server::guard::Note;
use crate::server::problem::{Failure, Problem};
use crate::service::identity::{NewUser, add_user, change_user, remove_user};
use crate::store::UserChange;

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct User {
    /// The name.
    name: String,
    /// `viewer`, `operator`, `editor` or `admin`.
    #[schema(value_type = String)]
    role: Role,
    /// Capabilities of their runs; those of the role when empty.
    grants: Vec<String>,
    /// Globs of runbooks; those of the role when empty.
    runbooks: Vec<String>,
    /// Whether they sign in at the provider, and not with a password here.
    by_provider: bool,
    /// When they were made: RFC 3339.
    made: String,
    /// By whom.
    made_by: String,
    /// When they signed in last.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_in: Option<String>,
}

fn shown(user: crate::store::User) -> User {
    User {
        name: user.name,
        role: user.role,
        grants: user.grants,
        runbooks: user.runbooks,
        by_provider: user.subject.is_some(),
        made: instant(user.made_at),
        made_by: user.made_by,
        signed_in: user.signed_in_at.map(instant),
    }
}

/// List users
#[utoipa::path(get, path = "/api/v1/users", tag = "users",
    responses((status = 200, body = Page<User>), (status = "default", body = Problem)))]
pub(crate) async fn list(_: Admin, State(app): State<App>) -> Answer<Page<User>> {
    let users = app.look(|desk| desk.read(|reader| Ok(reader.users()?))).await?;
    Ok(Json(Page { items: users.into_iter().map(shown).collect(), next: None }))
}

/// A user to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    /// The name: letters, digits and `. _ @ + -`.
    name: String,
    /// The password, of 12 characters at least.
    #[schema(value_type = String)]
    password: Zeroizing<String>,
    /// `viewer`, `operator`, `editor` or `admin`.
    #[schema(value_type = String)]
    role: Role,
    /// Capabilities of their runs; those of the role when empty.
    #[serde(default)]
    grants: Vec<String>,
    /// Globs of runbooks; those of the role when empty.
    #[serde(default)]
    runbooks: Vec<String>,
}

/// Make a user
#[utoipa::path(post, path = "/api/v1/users", tag = "users", request_body = New,
    responses((status = 201, body = User), (status = "default", body = Problem)))]
pub(crate) async fn create(
    AtLeast(caller): Admin,
    State(app): State<App>,
    Json(new): Json<New>,
) -> Result<(StatusCode, axum::Extension<Note>, Json<User>), Failure> {
    let about = format!("users/{} {}", new.name, new.role.as_str());
    let made = app.work(move |desk| {
        let New { name, password, role, grants, runbooks } = new;
        let new = NewUser { name, password, role, grants, runbooks };
        add_user(desk.store(), new, &caller.name(), Some(&caller))
    });
    let note = Note { about: Some(about), ..Note::default() };
    Ok((StatusCode::CREATED, axum::Extension(note), Json(shown(made.await?))))
}

/// What changes of a user; what is not named stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    /// `viewer`, `operator`, `editor` or `admin`.
    #[schema(value_type = Option<String>)]
    role: Option<Role>,
    /// A new password, of 12 characters at least.
    #[schema(value_type = Option<String>)]
    password: Option<Zeroizing<String>>,
    /// Capabilities of their runs; those of the role when empty.
    grants: Option<Vec<String>>,
    /// Globs of runbooks; those of the role when empty.
    runbooks: Option<Vec<String>>,
}

/// Change a user
///
/// All sessions of the user end.
#[utoipa::path(patch, path = "/api/v1/users/{user}", tag = "users", request_body = Change,
    params(("user" = String, Path, description = "the name")),
    responses((status = 204), (status = "default", body = Problem)))]
pub(crate) async fn change(
    AtLeast(caller): Admin,
    State(app): State<App>,
    Path(user): Path<String>,
    Json(change): Json<Change>,
) -> Result<(StatusCode, axum::Extension<Note>), Failure> {
    let mut about = format!("users/{user}");
    for (is_changed, word) in [
        (change.role.is_some(), change.role.map_or("", Role::as_str)),
        (change.password.is_some(), "password"),
        (change.grants.is_some(), "grants"),
        (change.runbooks.is_some(), "runbooks"),
    ] {
        if is_changed {
            about = format!("{about} {word}");
        }
    }
    app.work(move |desk| {
        let Change { role, password, grants, runbooks } = change;
        let change = UserChange { role, grants, runbooks, password: password.map(|text| text.to_string()) };
        change_user(desk.store(), &user, change, Some(&caller))
    })
    .await?;
    Ok((StatusCode::NO_CONTENT, axum::Extension(Note { about: Some(about), ..Note::default() })))
}

/// Remove a user
///
/// All sessions of the user end.
#[utoipa::path(delete, path = "/api/v1/users/{user}", tag = "users",
    params(("user" = String, Path, description = "the name")),
    responses((status = 204), (status = "default", body = Problem)))]
pub(crate) async fn remove(
    _: Admin,
    State(app): State<App>,
    Path(user): Path<String>,
) -> Result<StatusCode, Failure> {
    app.work(move |desk| remove_user(desk.store(), &user)).await?;
    Ok(StatusCode::NO_CONTENT)
}
