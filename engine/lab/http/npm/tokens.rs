//! Logins: `POST` and `GET /api/tokens`, and what becomes of a request with a bad one.

use serde_json::json;

use super::State;
use super::face::{error, unknown_key};
use crate::lab::http::server::{Answer, Asked};

impl State {
    /// Logs in.
    pub(super) fn log_in(&mut self, asked: &Asked) -> Answer {
        let Some(body) = asked.json() else { return error(400, "data must be object") };
        if let Some(refusal) = unknown_key(&body, &["identity", "secret", "scope"]) {
            return refusal;
        }
        let text = |key: &str| body[key].as_str();
        let (Some(identity), Some(secret)) = (text("identity"), text("secret")) else {
            return error(400, "data must have required property 'identity'");
        };
        if (identity, secret) != (&self.login.0, &self.login.1) {
            return error(400, "Invalid email or password").after(self.pause);
        }
        self.issue()
    }

    /// Gives out a token.
    pub(super) fn issue(&mut self) -> Answer {
        // Looks like a signed one; only this process knows which are good.
        let number = self.requests.len();
        let token =
            format!("eyJhbGciOiJSUzI1NiJ9.bGFiLXRva2Vu{number:06}.c2lnbmF0dXJlLW9mLXRoZS1sYWI{number:06}");
        self.tokens.push(token.clone());
        Answer::json(200, &json!({ "token": token, "expires": "2099-01-01T00:00:00.000Z" }))
    }

    /// Refuses a request without a good token.
    pub(super) fn admit(&self, asked: &Asked) -> Result<(), Answer> {
        let Some(header) = asked.header("authorization") else {
            // Who is not logged in may not know what there is.
            return Err(error(404, "Not Found"));
        };
        let token = header.strip_prefix("Bearer ").unwrap_or_default();
        if token.split('.').count() != 3 {
            return Err(error(500, "Internal Error"));
        }
        if self.tokens.iter().any(|known| known == token) {
            Ok(())
        } else {
            Err(error(401, "Token has expired"))
        }
    }
}
