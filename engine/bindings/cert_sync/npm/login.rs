//! Logging in: once an effect, and once more where a token ends in the middle.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Npm, said};
use crate::bindings::cert_sync::api::{Ask, Client, exposed, unknown_here};
use crate::model::event::Failure;
use crate::model::secret::Secret;
use crate::world::http::Reply;

impl Npm {
    /// Asks with a token.
    pub(super) async fn ask(&self, client: &Client<'_>, ask: &Ask) -> Result<Reply, Failure> {
        let known = self.token.lock().clone();
        let (token, is_new) = match known {
            Some(token) => (token, false),
            None => (self.log_in(client).await?, true),
        };
        let reply = client.ask(&with(ask, &token)?).await?;
        if !is_over(&reply) {
            return Ok(reply);
        }
        if is_new {
            return Err(unknown_here(
                &self.url,
                &format!("it gave a token, and answers {} to it", reply.status),
            ));
        }
        let token = self.log_in(client).await?;
        client.ask(&with(ask, &token)?).await
    }

    async fn log_in(&self, client: &Client<'_>) -> Result<Secret, Failure> {
        let body = json!({ "identity": self.user, "secret": exposed(&self.password)? });
        // It changes nothing to log in twice.
        let ask = Ask { is_safe_twice: true, ..Ask::json("POST", "api/tokens", &body) };
        let reply = client.ask(&ask).await?;
        let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        if let Some(token) = answer["token"].as_str() {
            let token = client.learn("npm/token", token)?;
            *self.token.lock() = Some(token.clone());
            return Ok(token);
        }
        if let Some(challenge) = answer["challenge_token"].as_str() {
            client.learn("npm/challenge", challenge)?;
            let why =
                "it asks for a second factor: give runs a user without one, and with no more than it needs";
            return Err(unknown_here(&self.url, why));
        }
        match reply.status {
            400 | 401 | 403 => Err(unknown_here(&self.url, &said(&reply.body))),
            _ => Err(client.refused(&ask, &reply, &said(&reply.body))),
        }
    }
}

fn with(ask: &Ask, token: &Secret) -> Result<Ask, Failure> {
    let mut headers = ask.headers.clone();
    headers.push(("authorization", Zeroizing::new(format!("Bearer {}", exposed(token)?))));
    Ok(Ask {
        method: ask.method,
        path: ask.path.clone(),
        headers,
        body: ask.body.clone(),
        is_safe_twice: ask.is_safe_twice,
    })
}

/// Whether an answer says that the token is no good; a token that is over is a bad request to some versions.
fn is_over(reply: &Reply) -> bool {
    match reply.status {
        401 | 403 => true,
        400 => said(&reply.body).to_ascii_lowercase().contains("token"),
        _ => false,
    }
}
