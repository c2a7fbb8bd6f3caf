//! People of an OpenID Connect provider: the authorization code flow with PKCE (RFC 6749, RFC 7636, OpenID Connect Core 1.0).

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use super::settings::OidcSettings;
use super::{IdentityError, digest, off, secret};
use crate::gate::sentence;
use crate::model::role::Role;
use crate::service::{Place, Project};
use crate::world::clock;
use crate::world::http::Trust;
use crate::world::jwt::{Algorithm, Discovery, Provider};

/// How long somebody may take at the provider.
const WAIT: Duration = Duration::from_secs(600);
/// Sign-ins that are under way at once; the oldest one goes where there are more.
const MOST: usize = 1000;

/// A sign-in that has begun.
#[derive(Debug)]
pub struct Begun {
    /// Where the browser goes now.
    pub location: String,
    /// What the browser shows when it comes back.
    pub cookie: String,
}

/// What a browser brings back from the provider.
#[derive(Debug)]
pub struct Answer<'a> {
    /// What it was given when it left.
    pub cookie: &'a str,
    /// `state`.
    pub state: &'a str,
    /// `code`.
    pub code: Option<&'a str>,
    /// `iss` (RFC 9207).
    pub issuer: Option<&'a str>,
    /// `error`.
    pub error: Option<&'a str>,
    /// Where it came back to.
    pub redirect: &'a str,
}

/// Whom the provider has let in.
#[derive(Debug)]
pub(super) struct Back {
    /// The issuer, a space, its `sub`.
    pub(super) subject: String,
    /// What people call them.
    pub(super) name: String,
    /// What they are here, if anything.
    pub(super) role: Option<Role>,
    /// Where they wanted to go.
    pub(super) next: String,
}

impl Back {
    /// Returns who vouches for them.
    pub(super) fn issuer(&self) -> &str {
        self.subject.split(' ').next().unwrap_or_default()
    }
}

/// The provider that people sign in at.
pub(super) struct Oidc {
    provider: Provider,
    settings: OidcSettings,
    pending: Mutex<HashMap<[u8; 32], Pending>>,
}

struct Pending {
    state: [u8; 32],
    nonce: String,
    verifier: Zeroizing<String>,
    next: String,
    since: Duration,
}

impl Oidc {
    pub(super) fn new(settings: OidcSettings, trust: Trust) -> Result<Self, IdentityError> {
        Ok(Self { provider: Provider::new(&settings.issuer, trust)?, settings, pending: Mutex::default() })
    }

    pub(super) fn issuer(&self) -> &str {
        self.provider.issuer()
    }

    pub(super) async fn begin(&self, redirect: &str, next: &str) -> Result<Begun, IdentityError> {
        let discovery = self.provider.discovery().await?;
        let (cookie, state, nonce, verifier) = (secret()?, secret()?, secret()?, Zeroizing::new(secret()?));
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        let query = Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", redirect)
            .append_pair("scope", &self.settings.scopes.join(" "))
            .append_pair("state", &state)
            .append_pair("nonce", &nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .finish();
        let joint = if discovery.authorization_endpoint.contains('?') { '&' } else { '?' };
        let location = format!("{}{joint}{query}", discovery.authorization_endpoint);
        let since = clock::steady();
        let mut pending = self.pending.lock();
        pending.retain(|_, one| since.saturating_sub(one.since) < WAIT);
        if pending.len() >= MOST
            && let Some(oldest) = pending.iter().min_by_key(|(_, one)| one.since).map(|(key, _)| *key)
        {
            pending.remove(&oldest);
        }
        let state = digest(&state);
        pending.insert(digest(&cookie), Pending { state, nonce, verifier, next: next.to_owned(), since });
        Ok(Begun { location, cookie })
    }

    pub(super) async fn finish(
        &self,
        answer: &Answer<'_>,
        project: &Project,
        place: &Place,
    ) -> Result<Back, IdentityError> {
        let failed = |reason: &str| IdentityError::Oidc(reason.to_owned());
        // Each is good for one answer, also for a wrong one.
        let pending = self.pending.lock().remove(&digest(answer.cookie));
        let pending = pending.ok_or_else(|| failed("this browser has begun none, or too long ago"))?;
        if clock::steady().saturating_sub(pending.since) >= WAIT || pending.state != digest(answer.state) {
            return Err(failed("its `state` is another one"));
        }
        let discovery = self.provider.discovery().await?;
        match answer.issuer {
            Some(issuer) if issuer != self.issuer() => return Err(failed("another provider has answered")),
            None if discovery.authorization_response_iss_parameter_supported => {
                return Err(failed("the answer does not name the provider"));
            }
            Some(_) | None => {}
        }
        if let Some(error) = answer.error {
            return Err(failed(&format!("the provider says `{}`", word(error))));
        }
        let code = answer.code.ok_or_else(|| failed("there is no `code`"))?;
        let token = self.exchange(&discovery, code, &pending, answer.redirect, project, place).await?;
        let algorithms = [Algorithm::Rs256, Algorithm::Es256];
        let claims = self.provider.verify(&token, &self.settings.client_id, &algorithms).await?;
        self.back(&claims, pending)
    }

    /// Turns a code into an ID token.
    async fn exchange(
        &self,
        discovery: &Discovery,
        code: &str,
        pending: &Pending,
        redirect: &str,
        project: &Project,
        place: &Place,
    ) -> Result<Zeroizing<String>, IdentityError> {
        let failed = |reason: String| IdentityError::Oidc(reason);
        let mut post = None;
        let mut basic = None;
        if let Some(name) = &self.settings.client_secret {
            let (project, place, name) = (project.clone(), place.clone(), name.clone());
            let found = off(move || {
                project.secret(&place, &name).map_err(|error| IdentityError::Oidc(sentence(&error)))
            });
            let found = found.await?;
            let shown = found.expose_str().map_err(|error| failed(error.to_string()))?;
            let shown = Zeroizing::new(shown.to_owned());
            let methods = discovery.token_endpoint_auth_methods_supported.as_deref();
            let has = |method: &str| methods.is_some_and(|all| all.iter().any(|one| one == method));
            if has("client_secret_post") && !has("client_secret_basic") {
                post = Some(shown);
            } else {
                // Both parts are encoded as in a form first (RFC 6749, 2.3.1).
                let part = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                let pair = Zeroizing::new(format!("{}:{}", part(&self.settings.client_id), part(&shown)));
                basic = Some(Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes()))));
            }
        }
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect),
            ("client_id", &self.settings.client_id),
            ("code_verifier", &pending.verifier),
        ];
        form.extend(post.iter().map(|shown| ("client_secret", shown.as_str())));
        let form = Zeroizing::new(Serializer::new(String::new()).extend_pairs(form).finish());
        let headers: Vec<(&str, &str)> =
            basic.iter().map(|basic| ("authorization", basic.as_str())).collect();
        let reply = self.provider.post(&discovery.token_endpoint, &headers, &form).await?;
        #[derive(Deserialize)]
        struct Tokens {
            id_token: Option<String>,
            error: Option<String>,
        }
        let tokens: Result<Tokens, _> = serde_json::from_slice(&reply.body);
        match tokens {
            Ok(Tokens { id_token: Some(token), .. }) if reply.status == 200 => Ok(Zeroizing::new(token)),
            Ok(Tokens { error: Some(error), .. }) => {
                Err(failed(format!("the provider gives no token and says `{}`", word(&error))))
            }
            Ok(_) | Err(_) => {
                Err(failed(format!("the provider gives no token, with status {}", reply.status)))
            }
        }
    }

    fn back(&self, claims: &Map<String, Value>, pending: Pending) -> Result<Back, IdentityError> {
        let failed = |reason: &str| IdentityError::Oidc(reason.to_owned());
        let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        if text("nonce") != Some(&pending.nonce) {
            return Err(failed("its `nonce` is another one"));
        }
        let is_shared = claims.get("aud").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
        if (is_shared || claims.contains_key("azp")) && text("azp") != Some(&self.settings.client_id) {
            return Err(failed("its token was made for another client"));
        }
        let sub = text("sub").filter(|sub| sub.len() <= 255).ok_or(IdentityError::Claim("sub"))?;
        let name = text("preferred_username").or_else(|| text("email")).unwrap_or(sub);
        Ok(Back {
            subject: format!("{} {sub}", self.issuer()),
            name: name.chars().take(64).collect(),
            role: role(&self.settings, claims),
            next: pending.next,
        })
    }

    /// Returns where people sign out at the provider.
    pub(super) async fn end(&self, back_to: &str) -> Option<String> {
        let discovery = self.provider.discovery().await.ok()?;
        let mut url = url::Url::parse(discovery.end_session_endpoint.as_deref()?).ok()?;
        if !matches!(url.scheme(), "https" | "http") {
            return None;
        }
        url.query_pairs_mut()
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("post_logout_redirect_uri", back_to);
        Some(url.into())
    }
}

/// Returns the role that may most among those that a claim gives.
fn role(settings: &OidcSettings, claims: &Map<String, Value>) -> Option<Role> {
    let name = settings.roles.claim.as_str();
    // A name may have dots of its own, such as `https://example.net/roles`.
    let found = claims.get(name).or_else(|| {
        let mut parts = name.split('.');
        let first = claims.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    });
    let values: Vec<&str> = match found? {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    values.into_iter().filter_map(|value| settings.roles.map.get(value).copied()).max()
}

/// Returns a code of the provider's, as far as it is one.
fn word(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(40).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_claim_gives_the_role_that_may_most_or_none() {
        let role_of = |claim: &str, claims: Value| {
            let text = format!(
                "issuer: https://i\nclient_id: us\nroles: {{ claim: '{claim}', map: {{ ops: operator, root: admin, all: viewer }} }}\n"
            );
            let settings = crate::model::yaml::from_str(&text, "nlrun.yaml").unwrap();
            role(&settings, claims.as_object().unwrap())
        };
        for (claim, claims, expected) in [
            ("groups", json!({ "groups": ["all", "ops", "x"] }), Some(Role::Operator)),
            ("groups", json!({ "groups": "root" }), Some(Role::Admin)),
            ("groups", json!({ "groups": ["OPS", "rootx"] }), None),
            ("groups", json!({ "groups": { "root": true } }), None),
            ("groups", json!({ "roles": ["root"] }), None),
            ("realm_access.roles", json!({ "realm_access": { "roles": ["ops"] } }), Some(Role::Operator)),
            ("https://x.net/r", json!({ "https://x.net/r": ["all"] }), Some(Role::Viewer)),
        ] {
            assert_eq!(role_of(claim, claims.clone()), expected, "{claim} {claims}");
        }
    }
}
