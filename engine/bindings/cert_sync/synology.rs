//! The kind `synology`: the certificate of a Synology DSM, by its API.
//!
//! The list of certificates tells dates and no fingerprints, so what is there is seen where it is served; only who changes something
//! logs in, and always out again.

use rhai::Dynamic;
use serde::Serialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::api::{Apart, Api, Ask, Client, exposed, only, secret, unknown_here};
use super::keys::Keys;
use super::place::{Found, Place};
use super::wanted::Wanted;
use crate::bindings::http::files;
use crate::bindings::{Call, Raise};
use crate::gate::Permit;
use crate::gate::permit::invalid;
use crate::model::effect::Target;
use crate::model::event::Failure;
use crate::model::secret::Secret;

/// What a certificate is called there, unless `description` says otherwise.
const DESCRIPTION: &str = "nlrun";
/// What speaks for everything but the list of APIs.
const ENTRY: &str = "webapi/entry.cgi";

/// A DSM behind its API.
#[derive(Serialize)]
pub(super) struct Synology {
    url: Api,
    user: String,
    password: Secret,
    description: String,
    /// Whether services use it for which nothing else is set.
    as_default: bool,
}

/// A session; DSM wants both of it with each change.
struct Session {
    sid: Secret,
    token: Secret,
}

impl Synology {
    /// Reads the keys of a target.
    pub(super) fn read(call: &Call<'_>, keys: &mut Keys) -> Result<Self, Raise> {
        let as_default = keys.value("as_default").unwrap_or(Dynamic::TRUE);
        let as_default = as_default.as_bool().map_err(|_| keys.wrong("as_default", "`true` or `false`"))?;
        Ok(Self {
            url: Api::read(call, keys)?,
            user: keys.needed("user")?,
            password: secret(keys, "password")?,
            description: keys.text("description")?.unwrap_or_else(|| DESCRIPTION.to_owned()),
            as_default,
        })
    }

    async fn ask(&self, client: &Client<'_>, ask: &Ask) -> Result<Result<Value, i64>, Failure> {
        let reply = client.ask(ask).await?;
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        match body["success"].as_bool() {
            Some(true) => Ok(Ok(body["data"].clone())),
            // 200 says only that DSM understood.
            Some(false) => Ok(Err(body["error"]["code"].as_i64().unwrap_or_default())),
            None => Err(client.refused(ask, &reply, "no answer of DSM")),
        }
    }

    async fn log_in(&self, client: &Client<'_>) -> Result<Session, Failure> {
        let info = "webapi/query.cgi?api=SYNO.API.Info&version=1&method=query&query=SYNO.API.Auth";
        let known = self.ask(client, &Ask::get(info)).await?.unwrap_or_default();
        let version = known["SYNO.API.Auth"]["maxVersion"].as_u64().unwrap_or(6).min(7).to_string();
        let path = known["SYNO.API.Auth"]["path"].as_str().unwrap_or("entry.cgi");
        // In the body: a query stands in the log of every proxy between.
        let fields = [
            ("api", "SYNO.API.Auth"),
            ("version", version.as_str()),
            ("method", "login"),
            ("format", "sid"),
            ("enable_syno_token", "yes"),
            ("account", self.user.as_str()),
            ("passwd", exposed(&self.password)?),
        ];
        let answer = self.ask(client, &Ask::form("POST", format!("webapi/{path}"), &fields)).await?;
        let data = answer.map_err(|code| unknown_here(&self.url, &refusal(code)))?;
        let (Some(sid), Some(token)) = (data["sid"].as_str(), data["synotoken"].as_str()) else {
            return Err(unknown_here(&self.url, "it gave no session"));
        };
        Ok(Session { sid: client.learn("synology/sid", sid)?, token: client.learn("synology/token", token)? })
    }

    async fn log_out(&self, client: &Client<'_>, session: &Session) -> Result<(), Failure> {
        let sid = exposed(&session.sid)?;
        let fields = [("api", "SYNO.API.Auth"), ("version", "6"), ("method", "logout"), ("_sid", sid)];
        self.ask(client, &Ask::form("POST", ENTRY, &fields)).await.map(drop)
    }

    /// Replaces the certificate of this description, or adds one.
    async fn import(&self, client: &Client<'_>, session: &Session, apart: &Apart) -> Result<(), Failure> {
        let (sid, token) = (exposed(&session.sid)?, exposed(&session.token)?);
        let fields = [
            ("api", "SYNO.Core.Certificate.CRT"),
            ("version", "1"),
            ("method", "list"),
            ("_sid", sid),
            ("SynoToken", token),
        ];
        let mut ask = Ask { is_safe_twice: true, ..Ask::form("POST", ENTRY, &fields) };
        ask.headers.push(("x-syno-token", Zeroizing::new(token.to_owned())));
        let list = self.ask(client, &ask).await?.map_err(|code| self.failed("list certificates", code))?;
        let rows = list["certificates"].as_array().into_iter().flatten();
        let mut same = rows.filter(|row| row["desc"] == self.description.as_str());
        let id = same.next().and_then(|row| row["id"].as_str()).unwrap_or_default();
        if same.next().is_some() {
            let message = format!("{} has several certificates `{}`", self.url.name(), self.description);
            return Err(invalid(message));
        }
        let query = ::url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("api", "SYNO.Core.Certificate"), ("method", "import"), ("version", "1")])
            .extend_pairs([("SynoToken", token), ("_sid", sid)])
            .finish();
        let is_default = if self.as_default { "true" } else { "false" };
        let mut parts: Vec<(&str, Option<&str>, &[u8])> = vec![
            ("key", Some("key.pem"), apart.key.as_bytes()),
            ("cert", Some("cert.pem"), apart.leaf.as_bytes()),
        ];
        if !apart.chain.is_empty() {
            parts.push(("inter_cert", Some("chain.pem"), apart.chain.as_bytes()));
        }
        parts.push(("id", None, id.as_bytes()));
        parts.push(("desc", None, self.description.as_bytes()));
        parts.push(("as_default", None, is_default.as_bytes()));
        let ask = Ask {
            method: "POST",
            path: format!("{ENTRY}?{query}"),
            headers: vec![("x-syno-token", Zeroizing::new(token.to_owned()))],
            body: Some(files(&parts)?),
            // A certificate without a number would be added twice.
            is_safe_twice: !id.is_empty(),
        };
        match self.ask(client, &ask).await {
            Ok(answer) => answer.map(drop).map_err(|code| self.failed("import the certificate", code)),
            // Its web server restarts; what is served then says whether it took the pair.
            Err(failure) if failure.kind == "lost" => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    fn failed(&self, what: &str, code: i64) -> Failure {
        let message = format!("{} does not {what}: {}", self.url.name(), refusal(code));
        Failure { kind: "status".to_owned(), ..invalid(message) }
    }
}

/// Says what a number means.
fn refusal(code: i64) -> String {
    let words = match code {
        100 => "unknown error",
        105 => "the user may not: it has to be an administrator",
        119 => "the session is over",
        400 => "no such account, or another password",
        401 => "the account is disabled",
        403 | 404 | 406 => "it asks for a second factor: give runs a user without one",
        408..=410 => "the password has to be changed",
        _ => "",
    };
    if words.is_empty() { format!("error {code}") } else { format!("{words} (error {code})") }
}

impl Place for Synology {
    const KIND: &'static str = "synology";

    fn target(&self) -> Target {
        self.url.target()
    }

    fn words(&self) -> String {
        format!("certificate `{}` of {}", self.description, self.url.name())
    }

    async fn look(&self, permit: &Permit<'_>, wanted: &Wanted) -> Result<Found, Failure> {
        let client = self.url.client(permit, wanted);
        Ok(only(client.part(wanted, &self.url.port()?, None).await?))
    }

    async fn put(&self, permit: &Permit<'_>, wanted: &Wanted, _found: &Found) -> Result<(), Failure> {
        let client = self.url.client(permit, wanted);
        let apart = Apart::of(wanted)?;
        let session = self.log_in(&client).await?;
        let imported = self.import(&client, &session, &apart).await;
        let ended = self.log_out(&client, &session).await;
        imported?;
        client.verify(wanted, &self.url.port()?, None).await?;
        // Again, where the restart was in the way: sessions are few.
        if ended.is_err() { self.log_out(&client, &session).await } else { Ok(()) }
    }

    async fn activate(&self, _permit: &Permit<'_>) -> Result<(), Failure> {
        // DSM restarts its web server itself.
        Ok(())
    }
}
