//! The routes of the API.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::State;
use super::hosts::Section;
use crate::lab::http::server::{Answer, Asked, Face};

/// The API on its port.
pub(super) struct Api(pub(super) Arc<Mutex<State>>);

impl Face for Api {
    fn answer(&self, asked: &Asked) -> Answer {
        let mut state = self.0.lock();
        state.requests.push(format!("{} {}", asked.method, asked.path));
        let number = state.requests.len();
        let answer = state.route(asked).unwrap_or_else(|refusal| refusal);
        if state.faults.expire.contains(&number) {
            state.tokens.clear();
        }
        answer
    }
}

impl State {
    fn route(&mut self, asked: &Asked) -> Result<Answer, Answer> {
        let segments = asked.segments();
        let Some(("api", rest)) = segments.split_first().map(|(first, rest)| (*first, rest)) else {
            return Err(error(404, "Not Found"));
        };
        match (&asked.method[..], rest) {
            ("GET", []) => {
                let version = json!({ "major": 2, "minor": 15, "revision": 1 });
                return Ok(Answer::json(200, &json!({ "status": "OK", "setup": true, "version": version })));
            }
            ("POST", ["tokens"]) => return Ok(self.log_in(asked)),
            _ => {}
        }
        self.admit(asked)?;
        match (&asked.method[..], rest) {
            ("GET", ["tokens"]) => Ok(self.issue()),
            ("GET", ["nginx", "certificates"]) => self.list_certificates(asked),
            ("POST", ["nginx", "certificates"]) => self.create_certificate(asked),
            ("POST", ["nginx", "certificates", "validate"]) => Self::validate(asked),
            ("GET", ["nginx", "certificates", id]) => self.show_certificate(asked, id),
            ("DELETE", ["nginx", "certificates", id]) => self.delete_certificate(id),
            ("POST", ["nginx", "certificates", id, "upload"]) => self.upload(asked, id),
            ("GET", ["nginx", section]) => Ok(self.list_hosts(Section::of(section)?)),
            ("PUT", ["nginx", section, id]) => self.change_host(asked, Section::of(section)?, id),
            _ => Err(error(404, "Not Found")),
        }
    }
}

/// Answers with an error as all routes do.
pub(super) fn error(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({ "error": { "code": status, "message": message } }))
}

/// Refuses a body that is no object or has a key that the schema does not know.
pub(super) fn unknown_key(body: &Value, known: &[&str]) -> Option<Answer> {
    let Some(object) = body.as_object() else { return Some(error(400, "data must be object")) };
    let is_known = object.keys().all(|key| known.contains(&key.as_str()));
    (!is_known).then(|| error(400, "data must NOT have additional properties"))
}
