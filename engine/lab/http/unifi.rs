//! The certificates of a UniFi console, as far as others saw its own page use them: nothing of it is documented.

use std::io;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::program::{Api, Program};
use super::server::{Answer, Asked};
use super::shown::{Shown, first};
use super::{ANYWHERE, Identity};

/// What a console is like when it starts.
pub struct Config {
    /// Where it listens.
    pub at: SocketAddr,
    /// Who may log in: name and password.
    pub login: (String, String),
    /// The certificate that it made itself.
    pub own: Identity,
}

impl Config {
    /// Listens on any free port, with a login of its own.
    pub fn new(own: Identity) -> Self {
        Self { at: ANYWHERE, login: ("nlrun".to_owned(), "unifi-password-1".to_owned()), own }
    }
}

/// A certificate that was uploaded.
#[derive(Clone)]
pub struct Kept {
    /// Its number, as the console writes it.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Whether it is shown.
    pub active: bool,
    /// The pair.
    pub pair: Identity,
}

/// The store and the sessions of one console.
pub struct State {
    /// `METHOD path` of every request.
    pub requests: Vec<String>,
    /// The certificates.
    pub certificates: Vec<Kept>,
    /// Sessions that nobody ended: cookie and mark.
    pub sessions: Vec<(String, String)>,
    config: Config,
    shown: Shown,
}

/// A running console; it ends with this value.
pub type Unifi = Program<State>;

impl Unifi {
    /// Starts a console with the certificate that it made itself.
    pub fn start(config: Config) -> io::Result<Self> {
        let (at, own) = (config.at, config.own.clone());
        Self::run("unifi", at, &own, |shown| State {
            requests: Vec::new(),
            certificates: Vec::new(),
            sessions: Vec::new(),
            config,
            shown,
        })
    }
}

impl Api for State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        self.requests.push(format!("{} {}", asked.method, asked.path));
        self.route(asked).unwrap_or_else(|refusal| refusal)
    }
}

fn error(status: u16, code: &str) -> Answer {
    Answer::json(status, &json!({ "code": code, "message": code, "level": "debug" }))
}

impl State {
    fn route(&mut self, asked: &Asked) -> Result<Answer, Answer> {
        let segments = asked.segments();
        if (&asked.method[..], &segments[..]) == ("POST", &["api", "auth", "login"]) {
            return self.log_in(asked);
        }
        let mark = self.session(asked)?;
        if asked.method != "GET" && asked.header("x-csrf-token") != Some(&mark) {
            return Err(error(403, "INVALID_CSRF_TOKEN"));
        }
        match (&asked.method[..], &segments[..]) {
            ("POST", ["api", "auth", "logout"]) => {
                self.sessions.retain(|(_, known)| *known != mark);
                Ok(Answer::json(200, &json!({ "success": true })))
            }
            ("GET", ["api", "userCertificates"]) => {
                Ok(Answer::json(200, &self.certificates.iter().map(row).collect()))
            }
            ("POST", ["api", "userCertificates"]) => self.upload(asked),
            ("PUT", ["api", "userCertificates", id, "status"]) => {
                let is_on = asked.json().and_then(|body| body["active"].as_bool());
                let is_on = is_on.ok_or_else(|| error(400, "VALIDATION_ERROR"))?;
                let place = self.place(id)?;
                self.switch(place, is_on)
            }
            ("DELETE", ["api", "userCertificates", id]) => {
                let place = self.place(id)?;
                self.certificates.remove(place);
                Ok(Answer::empty(204))
            }
            _ => Err(error(404, "NOT_FOUND")),
        }
    }

    fn log_in(&mut self, asked: &Asked) -> Result<Answer, Answer> {
        let body = asked.json().ok_or_else(|| error(400, "VALIDATION_ERROR"))?;
        let text = |key: &str| body[key].as_str().unwrap_or_default();
        if (text("username"), text("password")) != (&self.config.login.0, &self.config.login.1) {
            return Err(error(403, "AUTHENTICATION_FAILED_INVALID_CREDENTIALS"));
        }
        let number = self.requests.len();
        let mark = format!("lab-csrf-mark-{number:08}");
        // A signed token whose middle part holds the mark.
        let payload = json!({ "userId": "lab", "csrfToken": mark }).to_string();
        let cookie = format!("eyJhbGciOiJIUzI1NiJ9.{}.bGFiLXNpZ25hdHVyZQ", URL_SAFE_NO_PAD.encode(payload));
        self.sessions.push((cookie.clone(), mark));
        let header = format!("TOKEN={cookie}; path=/; secure; httponly");
        Ok(Answer::json(200, &json!({ "username": text("username") })).header("set-cookie", header))
    }

    fn session(&self, asked: &Asked) -> Result<String, Answer> {
        let cookies = asked.header("cookie").unwrap_or_default();
        let token = cookies.split("; ").find_map(|cookie| cookie.strip_prefix("TOKEN="));
        let known = self.sessions.iter().find(|(cookie, _)| Some(&cookie[..]) == token);
        known.map(|(_, mark)| mark.clone()).ok_or_else(|| error(401, "UNAUTHORIZED"))
    }

    fn place(&self, id: &str) -> Result<usize, Answer> {
        self.certificates.iter().position(|kept| kept.id == id).ok_or_else(|| error(404, "NOT_FOUND"))
    }

    fn upload(&mut self, asked: &Asked) -> Result<Answer, Answer> {
        let body = asked.json().ok_or_else(|| error(400, "VALIDATION_ERROR"))?;
        let text =
            |key: &str| body[key].as_str().map(str::to_owned).ok_or_else(|| error(400, "VALIDATION_ERROR"));
        let (name, pair) = (text("name")?, Identity { certificate: text("cert")?, key: text("key")? });
        pair.load().map_err(|_| error(400, "USER_CERTIFICATE_INVALID"))?;
        let is_same = |kept: &Kept| first(&kept.pair.certificate) == first(&pair.certificate);
        if self.certificates.iter().any(|kept| kept.name == name && is_same(kept)) {
            return Err(error(400, "USER_CERTIFICATE_DUPLICATE"));
        }
        let id = format!("00000000-0000-4000-8000-{:012}", self.requests.len());
        let kept = Kept { id, name, active: false, pair };
        let answer = Answer::json(201, &row(&kept));
        self.certificates.push(kept);
        Ok(answer)
    }

    fn switch(&mut self, place: usize, is_on: bool) -> Result<Answer, Answer> {
        for (at, kept) in self.certificates.iter_mut().enumerate() {
            kept.active = is_on && at == place;
        }
        let pair = if is_on { &self.certificates[place].pair } else { &self.config.own };
        let loaded = pair.load().map_err(|_| error(500, "INTERNAL_ERROR"))?;
        self.shown.fall_back(loaded);
        Ok(Answer::json(200, &row(&self.certificates[place])))
    }
}

fn row(kept: &Kept) -> Value {
    let leaf = first(&kept.pair.certificate);
    json!({
        "id": kept.id, "name": kept.name, "active": kept.active, "cert": kept.pair.certificate, "key": kept.pair.key,
        "fingerprint": leaf.as_ref().map(|leaf| leaf.fingerprint.clone()),
        "validTo": leaf.map(|leaf| leaf.not_after.to_string()),
    })
}
