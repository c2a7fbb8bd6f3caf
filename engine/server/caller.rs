//! Who asks: what a request shows is turned into a caller, or refused.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use crate::model::role::{Caller, Role};
use crate::server::App;
use crate::server::guard::Visit;
use crate::server::problem::Failure;
use crate::service::identity::{Shown, SignedIn};

/// How somebody has shown who they are.
#[derive(Debug, Clone)]
pub(crate) enum How {
    /// By a token of the API.
    Token,
    /// By the cookie of a session, which holds this secret.
    Session { secret: String, signed_in: SignedIn },
    /// By an ID token of a pipeline.
    Job(Shown),
}

/// Somebody who has shown who they are.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// Who.
    pub(crate) caller: Caller,
    /// How.
    pub(crate) how: How,
}

/// What a request has shown, as every request carries it behind the guard.
#[derive(Debug, Clone)]
pub(crate) enum Asking {
    /// Nothing.
    Nobody,
    /// Something that is not valid, and why.
    Stranger(Failure),
    /// Who they are.
    Known(Box<Known>),
}

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

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Failure> {
        let caller = match parts.extensions.get::<Asking>() {
            Some(Asking::Known(known)) => &known.caller,
            Some(Asking::Stranger(failure)) => return Err(failure.clone()),
            Some(Asking::Nobody) | None => return Err(Failure::unauthorized()),
        };
        if (caller.role as u8) < ROLE {
            let needed = Role::ALL[usize::from(ROLE)].as_str();
            return Err(Failure::forbidden(format!(
                "this takes the role {needed}, and {} has {}",
                caller.name(),
                caller.role.as_str()
            )));
        }
        Ok(Self(caller.clone()))
    }
}

/// How the caller has shown who they are; refused where nobody has.
impl FromRequestParts<App> for Known {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        Viewer::from_request_parts(parts, app).await?;
        match parts.extensions.get::<Asking>() {
            Some(Asking::Known(known)) => Ok((**known).clone()),
            _ => Err(Failure::unauthorized()),
        }
    }
}

/// Finds out who a request comes from.
pub(super) async fn asking(app: &App, headers: &HeaderMap, visit: &Visit) -> Result<Asking, Failure> {
    let known = |caller, how| Asking::Known(Box::new(Known { caller, how }));
    if let Some(shown) = headers.get(header::AUTHORIZATION) {
        let token = shown.to_str().ok().and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
        });
        let Some(token) = token else { return stranger(app, visit, Failure::unauthorized()) };
        if token.matches('.').count() == 2 {
            return match app.identity.by_job(&token).await {
                Ok((caller, shown)) => Ok(known(caller, How::Job(shown))),
                Err(error) => stranger(app, visit, error.into()),
            };
        }
        let identity = app.identity.clone();
        return match app.look(move |_| Ok(identity.by_token(&token)?)).await? {
            Some(caller) => Ok(known(caller, How::Token)),
            None => stranger(app, visit, Failure::unauthorized()),
        };
    }
    let Some(secret) = cookie(headers, session_cookie(visit.is_https)) else { return Ok(Asking::Nobody) };
    let (identity, shown) = (app.identity.clone(), secret.clone());
    // A session that has ended is nothing to complain about: people come back after the weekend.
    Ok(match app.look(move |_| Ok(identity.by_session(&shown)?)).await? {
        Some(signed_in) => known(signed_in.caller.clone(), How::Session { secret, signed_in }),
        None => Asking::Nobody,
    })
}

/// Lets somebody with something invalid ask for what everybody gets, unless they try too often.
fn stranger(app: &App, visit: &Visit, failure: Failure) -> Result<Asking, Failure> {
    match app.identity.count_stranger(visit.address) {
        Ok(()) => Ok(Asking::Stranger(failure)),
        Err(refused) => Err(Failure::too_many(refused)),
    }
}

/// The cookie of a session. With `__Host-`, no other host and no page without TLS can set it (RFC 6265bis, 4.1.3.2).
pub(super) fn session_cookie(is_https: bool) -> &'static str {
    if is_https { "__Host-nlrun" } else { "nlrun" }
}

/// Returns the value of a cookie; of two with one name, none.
pub(super) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut found = lines.flat_map(|line| line.split(';')).filter_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name && !value.is_empty()).then(|| value.to_owned())
    });
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// Writes a cookie that scripts do not see; `seconds` of 0 takes it away.
pub(super) fn set_cookie(name: &str, value: &str, path: &str, seconds: u64, is_https: bool) -> String {
    let secure = if is_https { "; Secure" } else { "" };
    format!("{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name_and_once() {
        let headers = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::COOKIE, line.parse().unwrap());
            }
            headers
        };
        for (lines, expected) in [
            (&["a=1; nlrun=x; b=2"][..], Some("x")),
            (&["a=1", "nlrun=x"], Some("x")),
            (&["xnlrun=x; nlrunx=y"], None),
            (&["nlrun="], None),
            // Another host of the domain has set a second one: nobody knows which is ours.
            (&["nlrun=x; nlrun=y"], None),
        ] {
            assert_eq!(cookie(&headers(lines), "nlrun").as_deref(), expected, "{lines:?}");
        }
    }
}
