//! The body of a request: JSON, a form, parts, or bytes.

use std::fmt::Write as _;

use rhai::Dynamic;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::text::{Exposed, Text};
use crate::bindings::call::Content;
use crate::bindings::{Call, Raise};
use crate::gate::permit::invalid;
use crate::gate::sentence;
use crate::model::event::Failure;
use crate::store::sha256;

/// A body up to this many bytes of JSON stands in the journal as it is, a longer one by its hash.
const SHOWN: usize = 4 << 10;

/// What is sent.
#[derive(Clone)]
pub(super) enum Body {
    Json { value: Dynamic, shown: Value },
    Form(Vec<(String, Text)>),
    Multipart(Vec<Part>),
    Raw(Content),
}

/// One part of `multipart/form-data` (RFC 7578).
#[derive(Clone)]
pub(super) struct Part {
    name: String,
    content: Content,
    file_name: Option<String>,
    media: Option<String>,
}

impl Body {
    /// Reads the one of `json`, `form`, `multipart` and `body` that is given.
    pub(super) fn read(call: &Call<'_>) -> Result<Option<Self>, Raise> {
        let given: Vec<&str> = ["json", "form", "multipart", "body"]
            .into_iter()
            .filter(|key| call.option(key).is_some())
            .collect();
        let [key] = given[..] else {
            if given.is_empty() {
                return Ok(None);
            }
            let message = format!("`{}` sends one body, and got {}", call.name(), given.join(" and "));
            return Err(invalid(message).into());
        };
        let value = call.option(key).unwrap_or(Dynamic::UNIT);
        Ok(Some(match key {
            "json" => Self::Json { shown: shown(crate::bindings::json(&value)?), value },
            "form" => Self::Form(fields(call, key)?),
            "multipart" => {
                let map = value.clone().try_cast::<rhai::Map>();
                let map = map.ok_or_else(|| call.wrong_option(key, "a map", &value))?;
                Self::Multipart(
                    map.iter().map(|(name, value)| part(call, name, value)).collect::<Result<_, _>>()?,
                )
            }
            _ => {
                let wrong = || call.wrong_option(key, "text, bytes or a secret", &value);
                Self::Raw(Content::from(&value).ok_or_else(wrong)?)
            }
        }))
    }

    /// Returns the media type and the bytes to send.
    pub(super) fn wire(&self) -> Result<(Option<String>, Zeroizing<Vec<u8>>), Failure> {
        let (media, bytes) = match self {
            Self::Json { value, .. } => {
                let bytes =
                    serde_json::to_vec(&Exposed(value)).map_err(|error| invalid(error.to_string()))?;
                (Some("application/json".to_owned()), bytes)
            }
            Self::Form(fields) => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                for (name, value) in fields {
                    form.append_pair(name, value.exposed()?);
                }
                (Some("application/x-www-form-urlencoded".to_owned()), form.finish().into_bytes())
            }
            Self::Multipart(parts) => {
                let boundary = boundary(parts);
                (Some(format!("multipart/form-data; boundary={boundary}")), multipart(parts, &boundary)?)
            }
            Self::Raw(Content::Secret(secret)) => {
                if secret.expose_str().is_ok() {
                    super::text::exposed(secret)?;
                }
                (None, secret.expose().to_vec())
            }
            Self::Raw(Content::Plain(bytes)) => (None, bytes.clone()),
        };
        Ok((media, Zeroizing::new(bytes)))
    }
}

/// Reads a map of texts and secrets; an array gives its name several times.
pub(super) fn fields(call: &Call<'_>, key: &str) -> Result<Vec<(String, Text)>, Raise> {
    let Some(value) = call.option(key) else { return Ok(Vec::new()) };
    let wrong = |value: &Dynamic| call.wrong_option(key, "a map of texts and secrets", value);
    let map = value.clone().try_cast::<rhai::Map>().ok_or_else(|| wrong(&value))?;
    let mut fields = Vec::new();
    for (name, value) in &map {
        let many = value.clone().try_cast::<rhai::Array>().unwrap_or_else(|| vec![value.clone()]);
        for one in many {
            fields.push((name.to_string(), Text::from(&one).ok_or_else(|| wrong(&one))?));
        }
    }
    Ok(fields)
}

fn part(call: &Call<'_>, name: &str, value: &Dynamic) -> Result<Part, Raise> {
    let wanted = "texts, secrets and maps such as #{ file: \"path\" } or #{ content: …, name: … }";
    let wrong = || call.wrong_option("multipart", wanted, value);
    let Some(map) = value.clone().try_cast::<rhai::Map>() else {
        let content = match Text::from(value).ok_or_else(wrong)? {
            Text::Plain(text) => Content::Plain(text.into_bytes()),
            Text::Secret(secret) => Content::Secret(secret),
        };
        return Ok(Part { name: name.to_owned(), content, file_name: None, media: None });
    };
    if map.keys().any(|key| !matches!(key.as_str(), "file" | "content" | "name" | "type")) {
        return Err(wrong());
    }
    let text =
        |key: &str| map.get(key).map(|value| value.clone().into_string().map_err(|_| wrong())).transpose();
    let (file, content) = (text("file")?, map.get("content").map(Content::from));
    let (content, own_name) = match (file, content) {
        (Some(path), None) => {
            let project = call.session.gate().world.project();
            let bytes = project.read(&path).map_err(|error| invalid(sentence(&error)))?;
            let name = path.rsplit('/').next().unwrap_or_default().to_owned();
            (Content::Plain(bytes), Some(name))
        }
        (None, Some(Some(content))) => (content, None),
        _ => return Err(wrong()),
    };
    Ok(Part { name: name.to_owned(), content, file_name: text("name")?.or(own_name), media: text("type")? })
}

/// Returns a boundary that follows from what it parts, so that a request is the same each time.
fn boundary(parts: &[Part]) -> String {
    let mut all = Vec::new();
    for part in parts {
        all.extend_from_slice(sha256(part.content.bytes()).as_bytes());
    }
    let mut boundary = "nlrun-".to_owned();
    // Nobody can choose a content that holds a hash of itself.
    boundary.push_str(&sha256(&all)[..40]);
    boundary
}

fn multipart(parts: &[Part], boundary: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    for part in parts {
        let mut head =
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"", quoted(&part.name));
        if let Some(name) = &part.file_name {
            let _ = write!(head, "; filename=\"{}\"", quoted(name));
        }
        if let Some(media) = &part.media {
            if media.contains(['\r', '\n']) {
                return Err(invalid(format!("`{}` is no media type", media.escape_debug())));
            }
            let _ = write!(head, "\r\nContent-Type: {media}");
        } else if part.file_name.is_some() {
            head.push_str("\r\nContent-Type: application/octet-stream");
        }
        head.push_str("\r\n\r\n");
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(part.content.bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok(bytes)
}

/// Writes files as `multipart/form-data`: each a name, the name of its file, and what it holds. Returns the media type, too.
pub(in crate::bindings) fn files(
    files: &[(&str, Option<&str>, &[u8])],
) -> Result<(String, Zeroizing<Vec<u8>>), Failure> {
    let parts: Vec<Part> = files
        .iter()
        .map(|(name, file, bytes)| Part {
            name: (*name).to_owned(),
            content: Content::Plain(bytes.to_vec()),
            file_name: file.map(str::to_owned),
            media: None,
        })
        .collect();
    let boundary = boundary(&parts);
    let bytes = Zeroizing::new(multipart(&parts, &boundary)?);
    Ok((format!("multipart/form-data; boundary={boundary}"), bytes))
}

/// Escapes a name as browsers do (WHATWG HTML, multipart form data).
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

fn shown(value: Value) -> Value {
    let text = value.to_string();
    if text.len() <= SHOWN { value } else { by_hash(text.as_bytes()) }
}

fn by_hash(bytes: &[u8]) -> Value {
    json!({ "sha256": sha256(bytes), "bytes": bytes.len() })
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let content = |content: &Content| match content {
            Content::Secret(secret) => json!(secret),
            Content::Plain(bytes) => by_hash(bytes),
        };
        let shown = match self {
            Self::Json { shown, .. } => json!({ "json": shown }),
            Self::Form(fields) => json!({ "form": fields }),
            Self::Multipart(parts) => {
                let parts = parts.iter().map(|part| {
                    json!({
                        "name": part.name, "file": part.file_name, "type": part.media, "content": content(&part.content),
                    })
                });
                json!({ "multipart": parts.collect::<Vec<_>>() })
            }
            Self::Raw(raw) => json!({ "content": content(raw) }),
        };
        shown.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_laid_out_as_rfc_7578_wants() {
        let plain = |text: &str| Content::Plain(text.as_bytes().to_vec());
        let parts = [
            Part { name: "a\"\r\n".to_owned(), content: plain("1"), file_name: None, media: None },
            Part {
                name: "f".to_owned(),
                content: plain("x\r\n"),
                file_name: Some("n.txt".to_owned()),
                media: Some("text/plain".to_owned()),
            },
        ];
        let text = String::from_utf8(multipart(&parts, "B").unwrap()).unwrap();
        assert_eq!(
            text,
            "--B\r\nContent-Disposition: form-data; name=\"a%22%0D%0A\"\r\n\r\n1\r\n\
             --B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"n.txt\"\r\nContent-Type: text/plain\r\n\r\n\
             x\r\n\r\n--B--\r\n"
        );
    }
}
