//! A message in a room of Matrix (client-server API v1.11, 10.6.2 "Sending events to a room").

use serde_json::json;
use url::Url;

use super::config::Matrix;
use super::{Messenger, Undelivered, plain, refused};
use crate::model::notice::Notice;
use crate::world::secrets::Secrets;

pub(super) async fn send(
    messenger: &Messenger,
    matrix: &Matrix,
    secrets: &Secrets,
    notice: &Notice,
    id: &str,
) -> Result<(), Undelivered> {
    let token = secrets.get(&matrix.token).await?;
    let token =
        token.expose_str().map_err(|_| Undelivered::Unfit(matrix.token.to_string(), "it is no text"))?;
    let invalid = || Undelivered::Invalid(format!("`{}` is no URL of a homeserver", matrix.homeserver));
    let mut url = Url::parse(&matrix.homeserver).map_err(|_| invalid())?;
    // The room's id has `!` and `:`, and from version 12 on no server: it is one segment, whatever is in it.
    url.path_segments_mut().map_err(|()| invalid())?.pop_if_empty().extend([
        "_matrix",
        "client",
        "v3",
        "rooms",
        &matrix.room,
        "send",
        "m.room.message",
        id,
    ]);
    let body = json!({
        "msgtype": "m.text",
        "body": format!("{}\n{}", notice.subject, notice.text()),
        "format": "org.matrix.custom.html",
        "formatted_body": notice.html(),
    });
    let headers = vec![
        plain("authorization", format!("Bearer {}", token.trim())),
        plain("content-type", "application/json"),
    ];
    let reply = messenger.exchange("PUT", url, headers, body.to_string(), matrix.ca.as_deref()).await?;
    if (200..300).contains(&reply.status) { Ok(()) } else { Err(refused("Matrix", &reply)) }
}
