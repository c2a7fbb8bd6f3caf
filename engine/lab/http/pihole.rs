//! A Pi-hole 6: sessions with few seats, settings, and a certificate that is a file, read when FTL starts.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::program::{Api, Program};
use super::server::{Answer, Asked};
use super::shown::Shown;
use super::{ANYWHERE, Identity};

/// What a Pi-hole is like when it starts.
pub struct Config {
    /// Where it listens, with TLS.
    pub at: SocketAddr,
    /// The password of its web page.
    pub password: String,
    /// An app password, which may not change settings.
    pub app_password: String,
    /// Sessions at a time.
    pub seats: usize,
    /// `webserver.tls.cert`: a file with key and certificates.
    pub file: PathBuf,
    /// The certificate that it makes itself where that file cannot be used.
    pub own: Identity,
}

impl Config {
    /// Listens on any free port, with passwords of its own and sixteen seats.
    pub fn new(own: Identity, file: PathBuf) -> Self {
        let (password, app_password) = ("pihole-password-1".to_owned(), "pihole-app-password-1".to_owned());
        Self { at: ANYWHERE, password, app_password, seats: 16, file, own }
    }
}

/// A session.
#[derive(Clone)]
pub struct Session {
    sid: String,
    is_app: bool,
}

/// The settings and the sessions of one Pi-hole.
pub struct State {
    /// `METHOD path` of every request.
    pub requests: Vec<String>,
    /// Sessions that nobody ended.
    pub sessions: Vec<Session>,
    /// Starts of FTL, the first included.
    pub starts: usize,
    config: Config,
    shown: Shown,
}

impl State {
    /// Starts FTL again: it reads its certificate, and nobody is logged in.
    pub fn restart(&mut self) {
        let text = std::fs::read_to_string(&self.config.file).unwrap_or_default();
        let pair = Identity { certificate: text.clone(), key: text };
        if let Ok(loaded) = pair.load().or_else(|_| self.config.own.load()) {
            self.shown.fall_back(loaded);
        }
        self.sessions.clear();
        self.starts += 1;
    }
}

/// A running Pi-hole; it ends with this value.
pub type Pihole = Program<State>;

impl Pihole {
    /// Starts a Pi-hole.
    pub fn start(config: Config) -> io::Result<Self> {
        let (at, own) = (config.at, config.own.clone());
        Self::run("pihole", at, &own, |shown| {
            let mut state = State { requests: Vec::new(), sessions: Vec::new(), starts: 0, config, shown };
            state.restart();
            state
        })
    }
}

impl Api for State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        self.requests.push(format!("{} {}", asked.method, asked.path));
        self.route(asked).unwrap_or_else(|refusal| refusal)
    }
}

fn error(status: u16, key: &str, message: &str) -> Answer {
    Answer::json(status, &json!({ "error": { "key": key, "message": message, "hint": null }, "took": 0.001 }))
}

impl State {
    fn route(&mut self, asked: &Asked) -> Result<Answer, Answer> {
        let segments = asked.segments();
        if (&asked.method[..], &segments[..]) == ("POST", &["api", "auth"]) {
            return self.log_in(asked);
        }
        let sid = asked.header("x-ftl-sid");
        let session = self.sessions.iter().find(|session| Some(&session.sid[..]) == sid).cloned();
        let session = session.ok_or_else(|| error(401, "unauthorized", "Unauthorized"))?;
        match (&asked.method[..], &segments[..]) {
            ("DELETE", ["api", "auth"]) => {
                self.sessions.retain(|other| other.sid != session.sid);
                Ok(Answer::empty(204))
            }
            ("GET", ["api", "config"]) => {
                let tls = json!({ "cert": self.config.file.display().to_string() });
                let webserver =
                    json!({ "tls": tls, "api": { "app_sudo": false, "max_sessions": self.config.seats } });
                Ok(Answer::json(200, &json!({ "config": { "webserver": webserver }, "took": 0.001 })))
            }
            ("PATCH", ["api", "config"]) => {
                if session.is_app {
                    let why = "Unable to change configuration (read-only)";
                    return Err(error(403, "forbidden", why));
                }
                let body = asked.json().ok_or_else(|| error(400, "bad_request", "No request body data"))?;
                let file = body["config"]["webserver"]["tls"]["cert"].as_str();
                self.config.file = file.map_or_else(|| self.config.file.clone(), PathBuf::from);
                Ok(Answer::json(200, &body))
            }
            ("POST", ["api", "action", "restartdns"]) => {
                self.restart();
                Ok(Answer::json(200, &json!({ "status": "ok", "took": 0.001 })))
            }
            _ => Err(error(404, "not_found", "Not found")),
        }
    }

    fn log_in(&mut self, asked: &Asked) -> Result<Answer, Answer> {
        let body = asked.json().ok_or_else(|| error(400, "bad_request", "No request body data"))?;
        let password =
            body["password"].as_str().ok_or_else(|| error(400, "bad_request", "No password found"))?;
        let is_app = password == self.config.app_password;
        let session = |valid: bool, sid: Value, message: &str| {
            let validity = if valid { 1800 } else { -1 };
            json!({ "session": {
                "valid": valid, "totp": false, "sid": sid, "csrf": if valid { json!("lab-csrf-0001") } else { Value::Null },
                "validity": validity, "message": message,
            }, "took": 0.001 })
        };
        if !is_app && password != self.config.password {
            return Err(Answer::json(401, &session(false, Value::Null, "password incorrect")));
        }
        if self.sessions.len() >= self.config.seats {
            return Err(error(429, "api_seats_exceeded", "API seats exceeded"));
        }
        let sid = format!("lab-sid-{:012}", self.requests.len());
        self.sessions.push(Session { sid: sid.clone(), is_app });
        Ok(Answer::json(200, &session(true, sid.into(), "password correct")))
    }
}
