//! The kind `unifi`: the certificate of a UniFi console, as its own page changes it. Ubiquiti documents none of this.
//!
//! A certificate that was written into its files is reverted by the console within minutes; what is uploaded here stays.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::api::{Apart, Api, Ask, Client, exposed, only, secret, unknown_here};
use super::keys::Keys;
use super::place::{Found, Holds, Part, Place, short};
use super::wanted::Wanted;
use crate::bindings::{Call, Raise};
use crate::gate::Permit;
use crate::model::effect::Target;
use crate::model::event::Failure;
use crate::model::secret::Secret;
use crate::world::http::Reply;

/// What a certificate's name begins with there, unless `name` says otherwise.
const NAME: &str = "nlrun";
/// Where certificates are.
const ALL: &str = "api/userCertificates";

/// A console behind its API.
#[derive(Serialize)]
pub(super) struct Unifi {
    url: Api,
    user: String,
    password: Secret,
    name: String,
}

/// A session: a cookie, and the mark that each change has to repeat.
struct Session {
    cookie: Secret,
    mark: Secret,
}

impl Unifi {
    /// Reads the keys of a target.
    pub(super) fn read(call: &Call<'_>, keys: &mut Keys) -> Result<Self, Raise> {
        Ok(Self {
            url: Api::read(call, keys)?,
            user: keys.needed("user")?,
            password: secret(keys, "password")?,
            name: keys.text("name")?.unwrap_or_else(|| NAME.to_owned()),
        })
    }

    async fn log_in(&self, client: &Client<'_>) -> Result<Session, Failure> {
        let body =
            json!({ "username": self.user, "password": exposed(&self.password)?, "rememberMe": false });
        let ask = Ask::json("POST", "api/auth/login", &body);
        let reply = client.ask(&ask).await?;
        if !matches!(reply.status, 200 | 201) {
            return Err(match reply.status {
                400 | 401 | 403 | 499 => unknown_here(&self.url, &said(&reply)),
                _ => client.refused(&ask, &reply, &said(&reply)),
            });
        }
        let mut cookies = reply.headers.iter().filter(|(name, _)| name == "set-cookie");
        let token = cookies.find_map(|(_, value)| value.split(';').next()?.strip_prefix("TOKEN="));
        let token = token.ok_or_else(|| unknown_here(&self.url, "it gave no session"))?;
        let cookie = client.learn("unifi/session", token)?;
        let mark = reply.header("x-csrf-token").map(str::to_owned).or_else(|| marked(token));
        let mark =
            mark.ok_or_else(|| unknown_here(&self.url, "its session has no mark against other pages"))?;
        Ok(Session { cookie, mark: client.learn("unifi/mark", &mark)? })
    }

    /// Does something in a session, and ends that whatever comes of it: seats are few.
    async fn signed_in<T>(
        &self,
        client: &Client<'_>,
        work: impl AsyncFnOnce(&Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let session = self.log_in(client).await?;
        let done = work(&session).await;
        let out = Ask::json("POST", "api/auth/logout", &json!({}));
        let ended = self.send(client, &session, out).await;
        let done = done?;
        ended.map(|_| done)
    }

    /// Returns a certificate's name there, one of its own: the old one goes only when the new one is shown.
    fn named(&self, wanted: &Wanted) -> String {
        format!("{} {}", self.name, short(wanted.fingerprint()))
    }

    async fn send(
        &self,
        client: &Client<'_>,
        session: &Session,
        mut ask: Ask,
    ) -> Result<(Ask, Reply), Failure> {
        ask.headers.push(("cookie", Zeroizing::new(format!("TOKEN={}", exposed(&session.cookie)?))));
        ask.headers.push(("x-csrf-token", Zeroizing::new(exposed(&session.mark)?.to_owned())));
        let reply = client.ask(&ask).await?;
        Ok((ask, reply))
    }

    /// Lists the certificates with our name, or nlrun's mark behind it.
    async fn own(&self, client: &Client<'_>, session: &Session) -> Result<Vec<(String, String)>, Failure> {
        let (ask, reply) = self.send(client, session, Ask::get(ALL)).await?;
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let rows = body.as_array().filter(|_| reply.status == 200);
        let rows = rows.ok_or_else(|| client.refused(&ask, &reply, &said(&reply)))?;
        for key in rows.iter().filter_map(|row| row["key"].as_str()) {
            client.learn("unifi/key", key)?;
        }
        let ours = |name: &str| {
            name.strip_prefix(&self.name).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        let rows = rows.iter().filter_map(|row| Some((row["id"].as_str()?, row["name"].as_str()?)));
        Ok(rows.filter(|(_, name)| ours(name)).map(|(id, name)| (id.to_owned(), name.to_owned())).collect())
    }

    async fn replace(&self, client: &Client<'_>, session: &Session, wanted: &Wanted) -> Result<(), Failure> {
        let apart = Apart::of(wanted)?;
        let name = self.named(wanted);
        let known = self.own(client, session).await?;
        let id = match known.iter().find(|(_, known)| *known == name) {
            Some((id, _)) => id.clone(),
            None => {
                let body = json!({ "name": name, "key": apart.key.as_str(), "cert": apart.whole });
                let (ask, reply) = self.send(client, session, Ask::json("POST", ALL, &body)).await?;
                let made: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
                let id = made["id"].as_str().filter(|_| matches!(reply.status, 200 | 201));
                id.ok_or_else(|| client.refused(&ask, &reply, &said(&reply)))?.to_owned()
            }
        };
        let ask = Ask::json("PUT", format!("{ALL}/{id}/status"), &json!({ "active": true }));
        match self.send(client, session, ask).await {
            Ok((_, reply)) if reply.status == 200 => {}
            Ok((ask, reply)) => return Err(client.refused(&ask, &reply, &said(&reply))),
            Err(failure) if failure.kind == "lost" => {}
            Err(failure) => return Err(failure),
        }
        client.verify(wanted, &self.url.port()?, None).await?;
        for (old, _) in known.iter().filter(|(old, _)| *old != id) {
            let ask = Ask { method: "DELETE", ..Ask::get(format!("{ALL}/{old}")) };
            let (ask, reply) = self.send(client, session, ask).await?;
            if !matches!(reply.status, 200 | 204 | 404) {
                return Err(client.refused(&ask, &reply, &said(&reply)));
            }
        }
        Ok(())
    }
}

/// Returns the mark that stands in the middle of a session's token.
fn marked(token: &str) -> Option<String> {
    let middle = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    let claims: Value = serde_json::from_slice(&middle).ok()?;
    claims["csrfToken"].as_str().map(str::to_owned)
}

/// Returns what an answer's error says.
fn said(reply: &Reply) -> String {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let text = |key: &str| body[key].as_str().map(str::to_owned);
    text("message").or_else(|| text("code")).unwrap_or_default()
}

impl Place for Unifi {
    const KIND: &'static str = "unifi";

    fn target(&self) -> Target {
        self.url.target()
    }

    fn words(&self) -> String {
        format!("certificate `{}` of {}", self.name, self.url.name())
    }

    async fn look(&self, permit: &Permit<'_>, wanted: &Wanted) -> Result<Found, Failure> {
        let client = self.url.client(permit, wanted);
        let mut found = only(client.part(wanted, &self.url.port()?, None).await?);
        // What is served does not tell whether a run ended before it removed the old one; `put` would, so only then is it asked for.
        if found.is_right() {
            let name = self.named(wanted);
            let known = self.signed_in(&client, async |session| self.own(&client, session).await).await?;
            let old = known.into_iter().filter(|(_, known)| *known != name);
            found.parts.extend(old.map(|(_, known)| Part {
                name: format!("{} `{known}`", self.url.name()),
                holds: Holds::Other("a certificate that is not served any more".to_owned()),
                wanted: "nothing".to_owned(),
                is_right: false,
            }));
        }
        Ok(found)
    }

    async fn put(&self, permit: &Permit<'_>, wanted: &Wanted, _found: &Found) -> Result<(), Failure> {
        let client = self.url.client(permit, wanted);
        self.signed_in(&client, async |session| self.replace(&client, session, wanted).await).await
    }

    async fn activate(&self, _permit: &Permit<'_>) -> Result<(), Failure> {
        // Part of what `put` does, since the old one is deleted only behind it.
        Ok(())
    }
}
