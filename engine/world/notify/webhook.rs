//! A request to a URL, signed as Standard Webhooks says (standardwebhooks.com, "webhook scheme", version 1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::json;
use url::Url;
use zeroize::Zeroizing;

use super::config::Webhook;
use super::{Messenger, Undelivered, plain, refused};
use crate::model::notice::Notice;
use crate::world::clock;
use crate::world::secrets::Secrets;

/// What secrets of this scheme begin with; the rest is base64.
const PREFIX: &str = "whsec_";

pub(super) async fn send(
    messenger: &Messenger,
    webhook: &Webhook,
    secrets: &Secrets,
    notice: &Notice,
    id: &str,
) -> Result<(), Undelivered> {
    let url = match (&webhook.url, &webhook.url_secret) {
        (Some(url), _) => Zeroizing::new(url.clone()),
        (None, Some(name)) => {
            let secret = secrets.get(name).await?;
            let text =
                secret.expose_str().map_err(|_| Undelivered::Unfit(name.to_string(), "it is no text"))?;
            Zeroizing::new(text.trim().to_owned())
        }
        (None, None) => return Err(Undelivered::Invalid("a webhook needs `url` or `url_secret`".to_owned())),
    };
    let url =
        Url::parse(&url).map_err(|_| Undelivered::Invalid("the URL of the webhook is none".to_owned()))?;
    let mut body = serde_json::to_value(notice).expect("a notice is plain data");
    body["id"] = id.into();
    body["text"] = json!(notice.text());
    let body = body.to_string();
    let at = clock::now().as_second().to_string();
    let mut headers = vec![
        plain("content-type", "application/json"),
        plain("webhook-id", id),
        plain("webhook-timestamp", at.clone()),
    ];
    if let Some(name) = &webhook.secret {
        let secret = secrets.get(name).await?;
        let given = secret.expose().trim_ascii();
        let key = match given.strip_prefix(PREFIX.as_bytes()) {
            Some(coded) => STANDARD
                .decode(coded)
                .map_err(|_| Undelivered::Unfit(name.to_string(), "what follows `whsec_` is no base64"))?,
            None => given.to_vec(),
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &Zeroizing::new(key));
        let tag = hmac::sign(&key, format!("{id}.{at}.{body}").as_bytes());
        headers.push(plain("webhook-signature", format!("v1,{}", STANDARD.encode(tag))));
    }
    let reply = messenger.exchange("POST", url, headers, body, webhook.ca.as_deref()).await?;
    if (200..300).contains(&reply.status) { Ok(()) } else { Err(refused("the webhook", &reply)) }
}
