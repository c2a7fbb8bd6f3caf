//! Who may come in and do what: users, tokens and roles, for admins.

use axum::extract::State;
use serde_json::{Value, json};

use crate::model::role::Role;
use crate::server::App;
use crate::server::api;
use crate::server::caller::{Admin, AtLeast};
use crate::server::extract::Path;
use crate::server::page::{Html, render};
use crate::server::problem::Failure;
use crate::store::{Token, User};
use crate::world::clock;

/// Returns the words of all roles, the one that may least first.
fn roles_all() -> [&'static str; 4] {
    Role::ALL.map(Role::as_str)
}

fn shown(user: User) -> Value {
    json!({
        "name": user.name, "role": user.role, "grants": user.grants, "runbooks": user.runbooks,
        "provider": user.subject.as_deref().and_then(|subject| subject.split(' ').next()),
        "made_at": user.made_at, "made_by": user.made_by, "signed_in_at": user.signed_in_at,
    })
}

pub(super) async fn users(_: Admin, State(app): State<App>) -> Html {
    let users = app.look(|desk| desk.read(|reader| Ok(reader.users()?))).await?;
    let users: Vec<Value> = users.into_iter().map(shown).collect();
    Ok(render::page(
        "users.html",
        json!({ "title": "Users", "tab": "users", "users": users, "roles": roles_all() }),
    ))
}

pub(super) async fn user(AtLeast(caller): Admin, State(app): State<App>, Path(name): Path<String>) -> Html {
    let wanted = name.clone();
    let found = app.look(move |desk| desk.read(|reader| Ok(reader.user(&wanted)?))).await?;
    let found = found.ok_or_else(|| Failure::not_found(format!("there is no user `{name}`")))?;
    let is_own = caller.name() == found.caller().name();
    let page = json!({
        "title": format!("User {name}"), "tab": "", "user": shown(found), "is_own": is_own, "roles": roles_all(),
    });
    Ok(render::page("user.html", page))
}

pub(super) async fn tokens(_: Admin, State(app): State<App>) -> Html {
    let tokens = app.look(|desk| desk.read(|reader| Ok(reader.tokens()?))).await?;
    let now = clock::now().as_microsecond();
    let one = |token: Token| {
        json!({
            "name": token.name, "role": token.role, "grants": token.grants, "runbooks": token.runbooks,
            "made_at": token.made_at, "made_by": token.made_by, "used_at": token.used_at,
            "ends_at": token.expires_at, "is_over": token.expires_at.is_some_and(|at| at <= now),
        })
    };
    let tokens: Vec<Value> = tokens.into_iter().map(one).collect();
    let page = json!({ "title": "Tokens", "tab": "tokens", "tokens": tokens, "roles": roles_all() });
    Ok(render::page("tokens.html", page))
}

pub(super) async fn roles(_: Admin, State(app): State<App>) -> Html {
    let roles = app.look(|desk| Ok(api::roles::shown(desk))).await?;
    Ok(render::page("roles.html", json!({ "title": "Roles", "tab": "roles", "roles": roles })))
}
