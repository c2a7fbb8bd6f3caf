//! The certificates of a Synology DSM 7, behind its own TLS port.
//!
//! It answers 200 whatever happened; what went wrong is a number in the body. Its web server restarts after an import.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use serde_json::{Value, json};
use url::form_urlencoded;

use super::program::{Api, Program};
use super::server::{Answer, Asked};
use super::shown::{Shown, first};
use super::{ANYWHERE, Identity, multipart};

/// What a DSM is like when it starts.
pub struct Config {
    /// Where it listens.
    pub at: SocketAddr,
    /// Who may log in: account and password.
    pub login: (String, String),
    /// Whether the account is an administrator's.
    pub is_admin: bool,
    /// The code of the second factor, where it is asked for.
    pub code: Option<String>,
    /// The certificate that it made itself.
    pub own: Identity,
}

impl Config {
    /// Listens on any free port, with a login of its own.
    pub fn new(own: Identity) -> Self {
        let login = ("nlrun".to_owned(), "dsm-password-1".to_owned());
        Self { at: ANYWHERE, login, is_admin: true, code: None, own }
    }
}

/// A certificate in its store.
#[derive(Clone)]
pub struct Kept {
    /// Six letters.
    pub id: String,
    /// What people call it.
    pub description: String,
    /// Whether services use it for which nothing else is set, DSM itself among them.
    pub is_default: bool,
    /// The pair.
    pub pair: Identity,
}

/// The store and the sessions of one DSM.
pub struct State {
    /// `api method` of every request.
    pub requests: Vec<String>,
    /// The certificates.
    pub certificates: Vec<Kept>,
    /// Sessions that nobody ended: their number and token.
    pub sessions: Vec<(String, String)>,
    /// Restarts of the web server.
    pub restarts: usize,
    /// Whether a restart takes the connection with it.
    pub drops: bool,
    config: Config,
    shown: Shown,
}

/// A running DSM; it ends with this value.
pub type Synology = Program<State>;

impl Synology {
    /// Starts a DSM with the certificate that it made itself.
    pub fn start(config: Config) -> io::Result<Self> {
        let (at, own) = (config.at, config.own.clone());
        let first = Kept {
            id: "aaaaaa".to_owned(),
            description: String::new(),
            is_default: true,
            pair: config.own.clone(),
        };
        Self::run("synology", at, &own, |shown| State {
            requests: Vec::new(),
            certificates: vec![first],
            sessions: Vec::new(),
            restarts: 0,
            drops: false,
            config,
            shown,
        })
    }
}

impl Api for State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        self.route(asked).unwrap_or_else(refuse)
    }
}

fn refuse(code: u16) -> Answer {
    Answer::json(200, &json!({ "error": { "code": code }, "success": false }))
}

fn agree(data: &Value) -> Answer {
    Answer::json(200, &json!({ "data": data, "success": true }))
}

impl State {
    fn route(&mut self, asked: &Asked) -> Result<Answer, u16> {
        let mut fields: BTreeMap<String, String> = asked.query.iter().cloned().collect();
        if asked
            .header("content-type")
            .is_some_and(|media| media.starts_with("application/x-www-form-urlencoded"))
        {
            fields.extend(form_urlencoded::parse(&asked.body).into_owned());
        }
        let text = |key: &str| fields.get(key).map(String::as_str);
        let (api, method) = (text("api").ok_or(101_u16)?, text("method").ok_or(101_u16)?);
        self.requests.push(format!("{api} {method}"));
        match (asked.path.as_str(), api, method) {
            ("/webapi/query.cgi", "SYNO.API.Info", "query") => {
                let auth = json!({ "maxVersion": 7, "minVersion": 1, "path": "entry.cgi" });
                Ok(agree(&json!({ "SYNO.API.Auth": auth })))
            }
            ("/webapi/entry.cgi", "SYNO.API.Auth", "login") => self.log_in(&fields),
            ("/webapi/entry.cgi", "SYNO.API.Auth", "logout") => {
                self.session(&fields)?;
                self.sessions.retain(|(sid, _)| Some(sid) != fields.get("_sid"));
                Ok(agree(&Value::Null))
            }
            ("/webapi/entry.cgi", "SYNO.Core.Certificate.CRT", "list") => {
                self.admin(&fields)?;
                Ok(agree(&json!({ "certificates": self.certificates.iter().map(json).collect::<Vec<_>>() })))
            }
            ("/webapi/entry.cgi", "SYNO.Core.Certificate", "import") => {
                let token = self.admin(&fields)?;
                // Who only has the session was led here by another page.
                if asked.header("x-syno-token") != Some(&token) || text("SynoToken") != Some(&token) {
                    return Err(119);
                }
                self.import(asked)
            }
            ("/webapi/entry.cgi", _, _) => Err(102),
            _ => Ok(Answer::empty(404)),
        }
    }

    fn log_in(&mut self, fields: &BTreeMap<String, String>) -> Result<Answer, u16> {
        let text = |key: &str| fields.get(key).map_or("", String::as_str);
        if (text("account"), text("passwd")) != (&self.config.login.0, &self.config.login.1) {
            return Err(400);
        }
        match (&self.config.code, text("otp_code")) {
            (Some(_), "") => return Err(403),
            (Some(code), given) if code != given => return Err(404),
            _ => {}
        }
        let number = self.requests.len();
        let (sid, token) = (format!("lab-session-{number:08}"), format!("labtoken{number:08}"));
        self.sessions.push((sid.clone(), token.clone()));
        Ok(agree(&json!({ "sid": sid, "synotoken": token, "is_portal_port": false })))
    }

    fn session(&self, fields: &BTreeMap<String, String>) -> Result<String, u16> {
        let known = self.sessions.iter().find(|(sid, _)| Some(sid) == fields.get("_sid"));
        known.map(|(_, token)| token.clone()).ok_or(119)
    }

    fn admin(&self, fields: &BTreeMap<String, String>) -> Result<String, u16> {
        let token = self.session(fields)?;
        if self.config.is_admin { Ok(token) } else { Err(105) }
    }

    fn import(&mut self, asked: &Asked) -> Result<Answer, u16> {
        let parts =
            multipart::read(asked.header("content-type").unwrap_or_default(), &asked.body).ok_or(101_u16)?;
        let part = |name: &str| {
            let part = parts.iter().find(|part| part.name == name);
            part.map(|part| String::from_utf8_lossy(part.content).into_owned())
        };
        let (key, leaf) = (part("key").ok_or(101_u16)?, part("cert").ok_or(101_u16)?);
        let pair = Identity { certificate: leaf + &part("inter_cert").unwrap_or_default(), key };
        // What its own page says of such a pair has no number of its own.
        let loaded = pair.load().map_err(|_| 100_u16)?;
        let id = part("id").unwrap_or_default();
        let place = if id.is_empty() {
            let id = format!("lab{:03}", self.certificates.len());
            let description = part("desc").unwrap_or_default();
            self.certificates.push(Kept { id, description, is_default: false, pair });
            self.certificates.len() - 1
        } else {
            let place = self.certificates.iter().position(|kept| kept.id == id).ok_or(114_u16)?;
            self.certificates[place].description = part("desc").unwrap_or_default();
            self.certificates[place].pair = pair;
            place
        };
        if part("as_default").as_deref() == Some("true") {
            for (at, kept) in self.certificates.iter_mut().enumerate() {
                kept.is_default = at == place;
            }
        }
        if self.certificates[place].is_default {
            self.shown.fall_back(loaded);
        }
        self.restarts += 1;
        let answer = agree(&json!({ "id": self.certificates[place].id, "restart_httpd": true }));
        Ok(if self.drops { answer.dropped() } else { answer })
    }
}

fn json(kept: &Kept) -> Value {
    let leaf = first(&kept.pair.certificate);
    let until = leaf.map(|leaf| leaf.not_after.strftime("%b %e %H:%M:%S %Y GMT").to_string());
    let services = if kept.is_default {
        json!([{ "display_name": "DSM Desktop Service", "service": "default", "subscriber": "system" }])
    } else {
        json!([])
    };
    json!({
        "id": kept.id, "desc": kept.description, "is_default": kept.is_default, "is_broken": false,
        "valid_till": until, "services": services,
    })
}
