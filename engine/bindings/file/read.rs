//! Looking at files: `file_stat file_read file_fetch`.

use std::sync::Arc;

use rhai::Dynamic;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::bindings::call::on_host;
use crate::bindings::each::{PARALLEL_OPTION, each_host};
use crate::bindings::file::probe::{Ask, Known, Type};
use crate::bindings::file::put::file_path;
use crate::bindings::file::remote::Place;
use crate::bindings::sudo::{Become, SUDO, SUDO_PASSWORD};
use crate::bindings::{Call, Raise, SecretValue, hidden, to_dynamic};
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Kept, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::inventory::Host;
use crate::model::secret::{Secret, SecretName};
use crate::model::signature::{self, Opt};

/// Bytes that a script may read unless `max_bytes` says otherwise.
const MOST: usize = 4 << 20;
/// Bytes of a file that a run may keep.
const MOST_KEPT: usize = 256 << 20;

fn place(call: &Call<'_>, host: &Arc<Host>, path: String, effect: &'static str) -> Result<Place, Raise> {
    Ok(Place { effect, host: host.clone(), path, sudo: Become::read(call, host)? })
}

/// What a look found, for the script, and where that was.
#[derive(Serialize, Deserialize)]
struct Told {
    #[serde(flatten)]
    fields: Value,
    /// The path behind all links, where it is another one: the log's, for whoever asks what the run touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    real: Option<String>,
}

/// What is at a path.
#[derive(Serialize)]
struct Stat {
    #[serde(skip)]
    place: Place,
    #[serde(skip_serializing_if = "Become::is_login")]
    sudo: Become,
    follow: bool,
}

impl Effect for Stat {
    const NAME: &'static str = "file.stat";
    const KIND: Kind = Kind::Read;
    type Output = Told;

    fn target(&self) -> Target {
        on_host(&self.place.host, Some(&self.place.path))
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Told>) -> Result<Done<Told>, Failure> {
        let seen = self.place.probe(permit, self.follow, Ask::Hash).await?;
        let is_there = seen.r#type != Type::Absent;
        let sha256 = match &seen.known {
            Known::Hash(sha256) => Some(sha256),
            Known::Nothing | Known::Same(_) | Known::Unreadable => None,
        };
        let known = |value: Value| if is_there { value } else { Value::Null };
        let fields = json!({
            "exists": is_there,
            "type": seen.r#type.as_str(),
            "mode": known(json!(format!("{:04o}", seen.mode))),
            "owner": known(json!(seen.owner)),
            "group": known(json!(seen.group)),
            "size": known(json!(seen.size)),
            "mtime": known(json!(seen.mtime)),
            "sha256": sha256,
            "target": seen.target,
        });
        Ok(Done::ok(Told { fields, real: seen.real }))
    }
}

/// The content of a file, for the script.
#[derive(Serialize)]
struct Read {
    #[serde(skip)]
    place: Place,
    #[serde(skip_serializing_if = "Become::is_login")]
    sudo: Become,
    max_bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<SecretName>,
    #[serde(skip)]
    is_blob: bool,
}

/// The recorded answer of a read; the content is kept beside the events.
#[derive(Serialize, Deserialize)]
struct Content {
    bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    real: Option<String>,
    #[serde(skip)]
    data: Vec<u8>,
}

impl Effect for Read {
    const NAME: &'static str = "file.read";
    const KIND: Kind = Kind::Read;
    type Output = Content;

    fn target(&self) -> Target {
        on_host(&self.place.host, Some(&self.place.path))
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Content>) -> Result<Done<Content>, Failure> {
        let (data, real) = content(&self.place, permit, self.max_bytes, "`max_bytes`").await?;
        if let Some(name) = &self.secret {
            hidden::learn(permit, name, &data)?;
        }
        permit.keep("out", &data).await?;
        Ok(Done::ok(Content { bytes: data.len() as u64, real, data }))
    }

    fn restore(&self, mut output: Content, kept: &dyn Kept) -> Content {
        if output.bytes > 0 {
            output.data = kept.stream("out", self.max_bytes).unwrap_or_default();
        }
        output
    }
}

/// Returns what a file holds, and where it is when that is behind links.
async fn content(
    place: &Place,
    permit: &Permit<'_>,
    most: usize,
    limit: &str,
) -> Result<(Vec<u8>, Option<String>), Failure> {
    let seen = place.probe(permit, true, Ask::Content(most)).await?;
    let path = &place.path;
    match (seen.r#type, seen.content) {
        (Type::File, _) if seen.known == Known::Unreadable => Err(place.denied()),
        (Type::File, Some(content)) => Ok((content.to_vec(), seen.real)),
        (Type::File, None) => {
            let message = format!("`{path}` has {} bytes, and {limit} allows {most}", seen.size);
            Err(place.failure("too_large", message))
        }
        (Type::Absent, _) => Err(place.failure("absent", format!("`{path}` does not exist"))),
        (Type::Directory, _) => Err(place.failure("directory", format!("`{path}` is a directory"))),
        (Type::Link | Type::Special, _) => {
            Err(place.failure("special", format!("`{path}` is neither a file nor a directory")))
        }
    }
}

/// The content of a file, for whoever reads the run.
#[derive(Serialize)]
struct Fetch {
    #[serde(skip)]
    place: Place,
    #[serde(skip_serializing_if = "Become::is_login")]
    sudo: Become,
    name: String,
}

/// What was kept.
#[derive(Serialize, Deserialize)]
struct Fetched {
    name: String,
    bytes: u64,
    sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    real: Option<String>,
}

impl Effect for Fetch {
    const NAME: &'static str = "file.fetch";
    const KIND: Kind = Kind::Read;
    type Output = Fetched;

    fn target(&self) -> Target {
        on_host(&self.place.host, Some(&self.place.path))
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Fetched>) -> Result<Done<Fetched>, Failure> {
        let (data, real) = content(&self.place, permit, MOST_KEPT, "an artifact").await?;
        permit.artifact(&self.name, "application/octet-stream", &data).await?;
        let (bytes, sha256) = (data.len() as u64, crate::store::sha256(&data));
        Ok(Done::ok(Fetched { name: self.name.clone(), bytes, sha256, real }))
    }
}

pub(super) fn file_stat(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let path = call.remote_path(1)?;
    let follow = call.option_bool("follow", false)?;
    let make = |call: &Call<'_>, host: &Arc<Host>| {
        let place = place(call, host, path.clone(), Stat::NAME)?;
        Ok(Stat { sudo: place.sudo.clone(), place, follow })
    };
    each_host(call, make, |_, answer, _| Ok(to_dynamic(&answer.fields)?))
}

pub(super) fn file_read(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let path = file_path(call, 1)?;
    let max_bytes = call.option_int("max_bytes", 0)?.map_or(MOST, |bytes| bytes as usize);
    let is_blob = call.option_bool("blob", false)?;
    let secret = hidden::name(call)?;
    let make = |call: &Call<'_>, host: &Arc<Host>| {
        let place = place(call, host, path.clone(), Read::NAME)?;
        Ok(Read { sudo: place.sudo.clone(), place, max_bytes, secret: secret.clone(), is_blob })
    };
    each_host(call, make, |read, answer, _| {
        if let Some(name) = &read.secret {
            return Ok(Dynamic::from(SecretValue(Secret::new(name.clone(), answer.data))));
        }
        if read.is_blob {
            return Ok(Dynamic::from_blob(answer.data));
        }
        let text = String::from_utf8(answer.data).map_err(|_| {
            let message = format!("`{}` is not text in UTF-8; `blob: true` reads bytes", read.place.path);
            read.place.failure("not_text", message)
        })?;
        Ok(text.into())
    })
}

pub(super) fn file_fetch(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let path = file_path(call, 1)?;
    let name = call.string(2)?;
    if name.is_empty() || name.contains(['/', '\0']) || name.starts_with('.') {
        return Err(invalid(format!("`{name}` is not a file name")).into());
    }
    let many = matches!(call.hosts(0)?, crate::bindings::call::HostsArgument::Many(_));
    let make = |call: &Call<'_>, host: &Arc<Host>| {
        let place = place(call, host, path.clone(), Fetch::NAME)?;
        // One name for all hosts would leave nothing but the last one's file.
        let name = if many { format!("{}-{name}", host.name) } else { name.clone() };
        Ok(Fetch { sudo: place.sudo.clone(), place, name })
    };
    each_host(call, make, |fetch, answer, _| {
        let fields = json!({
            "host": fetch.place.host.name, "name": answer.name, "bytes": answer.bytes, "sha256": answer.sha256,
        });
        Ok(to_dynamic(&fields)?)
    })
}

/// The options of `file_stat`.
pub(super) const STAT: &[Opt] = &[
    Opt {
        name: "follow",
        ty: signature::Type::Bool,
        doc: "Look at what a symbolic link leads to, not at the link; `false` by default.",
    },
    SUDO,
    SUDO_PASSWORD,
    PARALLEL_OPTION,
];
/// The options of `file_read`.
pub(super) const READ: &[Opt] = &[
    Opt {
        name: "max_bytes",
        ty: signature::Type::Int,
        doc: "The largest file that is read, in bytes; 4 MiB by default.",
    },
    Opt { name: "blob", ty: signature::Type::Bool, doc: "Return bytes instead of text." },
    hidden::SECRET,
    SUDO,
    SUDO_PASSWORD,
    PARALLEL_OPTION,
];
/// The options of `file_fetch`.
pub(super) const FETCH: &[Opt] = &[SUDO, SUDO_PASSWORD, PARALLEL_OPTION];
