//! What is at a path: everything that one round trip can tell.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::bindings::file::attributes::Attributes;
use crate::bindings::file::remote::Place;
use crate::gate::Permit;
use crate::model::event::Failure;
use crate::model::run::Mode;

/// The most bytes of a file that are fetched for a diff.
pub(super) const MOST_DIFF: usize = 256 << 10;

/// What to ask about a file's content.
#[derive(Clone, Copy)]
pub(super) enum Ask<'a> {
    /// Nothing.
    Nothing,
    /// Its hash.
    Hash,
    /// Its hash, and the content itself up to this many bytes.
    Content(usize),
    /// Whether it is this one, with another digest that may be quicker; what differs is sent for a diff, up to this many bytes.
    Differs { sha256: &'a str, blake2b: Option<&'a str>, bytes: u64, most: usize },
    /// Whether it is this one, and nothing else: a secret's hash would help to guess it.
    IsSecret { sha256: &'a str, bytes: u64 },
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Absent,
    File,
    Directory,
    Link,
    Special,
}

impl Type {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::File => "file",
            Self::Directory => "directory",
            Self::Link => "link",
            Self::Special => "special",
        }
    }
}

/// What is known of a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing was asked, or there is no file.
    Nothing,
    /// Its SHA-256.
    Hash(String),
    /// Whether it is the one that was asked about.
    Same(bool),
    /// Whoever asked may not read it.
    Unreadable,
}

/// What is at a path.
#[derive(Debug, Clone)]
pub(super) struct Observed {
    pub(super) r#type: Type,
    pub(super) mode: u32,
    /// The owner; of what is absent, the one whom it would belong to.
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) owner: String,
    pub(super) group: String,
    pub(super) size: u64,
    pub(super) mtime: i64,
    pub(super) known: Known,
    pub(super) content: Option<Arc<[u8]>>,
    /// Where a link leads.
    pub(super) target: Option<String>,
    /// The path behind all links, where it is another one.
    pub(super) real: Option<String>,
    /// Whether the folder that would hold it is there.
    pub(super) has_parent: bool,
    /// Whether something on the way to it is no folder.
    pub(super) is_blocked: bool,
}

impl Observed {
    pub(super) fn absent() -> Self {
        Self {
            r#type: Type::Absent,
            mode: 0,
            uid: 0,
            gid: 0,
            owner: String::new(),
            group: String::new(),
            size: 0,
            mtime: 0,
            known: Known::Nothing,
            content: None,
            target: None,
            real: None,
            has_parent: true,
            is_blocked: false,
        }
    }

    /// Returns what will be here once a plan is done that makes this of it.
    pub(super) fn become_file(&self, attributes: &Attributes, sha256: &str, content: &Arc<[u8]>) -> Self {
        let mode = if self.r#type == Type::File { self.mode } else { 0o644 };
        Self {
            known: Known::Hash(sha256.to_owned()),
            content: Some(content.clone()),
            target: None,
            ..self.become_entry(Type::File, mode, attributes)
        }
    }

    /// Returns what will be here once a plan is done, when it has no content.
    pub(super) fn become_entry(&self, r#type: Type, mode: u32, attributes: &Attributes) -> Self {
        let name = |wanted: &Option<String>, name: &str| wanted.clone().unwrap_or_else(|| name.to_owned());
        Self {
            r#type,
            mode: attributes.mode.map_or(mode, |mode| mode.0),
            owner: name(&attributes.owner, &self.owner),
            group: name(&attributes.group, &self.group),
            known: Known::Nothing,
            content: None,
            has_parent: true,
            is_blocked: false,
            ..self.clone()
        }
    }

    /// Returns as much of a promised state as the host would have told.
    pub(super) fn told(&self, ask: Ask<'_>) -> Self {
        let mut told = self.clone();
        let Known::Hash(found) = &self.known else { return told };
        let fits = |most: usize| self.content.clone().filter(|content| content.len() <= most);
        match ask {
            Ask::Nothing => (told.known, told.content) = (Known::Nothing, None),
            Ask::Hash => told.content = None,
            Ask::Content(most) => told.content = fits(most),
            Ask::Differs { sha256, most, .. } => {
                told.content = if found == sha256 { None } else { fits(most) };
            }
            Ask::IsSecret { sha256, .. } => {
                (told.known, told.content) = (Known::Same(found == sha256), None);
            }
        }
        told
    }

    /// Returns what the plan compares.
    pub(super) fn pre(&self) -> Value {
        let mut pre = Map::new();
        pre.insert("type".to_owned(), json!(self.r#type.as_str()));
        if let Some(real) = &self.real {
            pre.insert("real".to_owned(), json!(real));
        }
        if self.r#type != Type::Absent {
            // Every link has mode 777 and nothing compares its owner.
            if self.r#type != Type::Link {
                pre.insert("mode".to_owned(), json!(format!("{:04o}", self.mode)));
                pre.insert("owner".to_owned(), json!(self.owner));
                pre.insert("group".to_owned(), json!(self.group));
            }
            if let Some(target) = &self.target {
                pre.insert("target".to_owned(), json!(target));
            }
        }
        match &self.known {
            Known::Hash(sha256) => {
                pre.insert("sha256".to_owned(), json!(sha256));
            }
            Known::Same(is_same) => {
                pre.insert("content".to_owned(), json!(if *is_same { "same" } else { "different" }));
            }
            Known::Nothing | Known::Unreadable => {}
        }
        Value::Object(pre)
    }
}

impl Place {
    /// Looks at the path; what may not be looked at is a failure, never "absent".
    pub(super) async fn probe(
        &self,
        permit: &Permit<'_>,
        follow: bool,
        ask: Ask<'_>,
    ) -> Result<Observed, Failure> {
        self.ask_host(permit, if follow { "follow" } else { "" }, ask).await
    }

    /// Looks at the path as if nothing were there: at the one to whom it would belong.
    pub(super) async fn probe_gone(&self, permit: &Permit<'_>) -> Result<Observed, Failure> {
        self.ask_host(permit, "gone", Ask::Nothing).await
    }

    async fn ask_host(&self, permit: &Permit<'_>, how: &str, ask: Ask<'_>) -> Result<Observed, Failure> {
        let (send, most, sum, size, quick) = match ask {
            Ask::Nothing => ("", 0, "", 0, None),
            Ask::Hash => ("h", 0, "", 0, None),
            Ask::Content(most) => ("a", most, "", 0, None),
            Ask::Differs { sha256, blake2b, bytes, most } => ("d", most, sha256, bytes, blake2b),
            Ask::IsSecret { sha256, bytes } => ("s", 0, sha256, bytes, None),
        };
        let (most, size) = (most.to_string(), size.to_string());
        let who = if permit.mode() == Mode::Plan { "1" } else { "" };
        // Hosts without any program for SHA-256 send what has the right length, however long it is.
        let out = self.look(permit, &[how, send, &most, sum, &size, who, quick.unwrap_or_default()]).await?;
        let mut seen = self.read(&out)?;
        self.may_follow(permit, seen.real.as_deref())?;
        if let (Ask::Differs { .. } | Ask::IsSecret { .. } | Ask::Hash | Ask::Content(_), Some(content)) =
            (ask, &seen.content)
        {
            let found = crate::store::sha256(content);
            match (&ask, &seen.known) {
                (Ask::IsSecret { sha256, .. }, Known::Nothing) => {
                    seen.known = Known::Same(found == *sha256);
                    seen.content = None;
                }
                (_, Known::Nothing) => seen.known = Known::Hash(found),
                (_, Known::Hash(sha256)) if *sha256 != found => {
                    return Err(
                        self.failure("meanwhile", format!("`{}` changes while it is read", self.path))
                    );
                }
                (_, Known::Hash(_) | Known::Same(_) | Known::Unreadable) => {}
            }
        }
        Ok(seen)
    }

    /// Refuses a path behind links that the run may not touch; what leads through no link is covered already.
    pub(super) fn may_follow(&self, permit: &Permit<'_>, real: Option<&str>) -> Result<(), Failure> {
        let Some(real) = real else { return Ok(()) };
        // What leads through a missing folder back up could lead anywhere.
        if !real.contains("/..") && permit.may(self.effect, real) {
            return Ok(());
        }
        let message = format!(
            "`{}` leads through a link to `{real}`, which the run may not touch; add \"{}:{}:{real}\" to NEEDS, or \
             target that",
            self.path, self.effect, self.host.name
        );
        Err(self.failure("link", message))
    }

    fn read(&self, mut out: &[u8]) -> Result<Observed, Failure> {
        let garbled = || self.failure("shell", format!("the host says nothing clear about `{}`", self.path));
        let mut seen = Observed::absent();
        let mut found = false;
        while let Some(at) = out.iter().position(|byte| *byte == b'\n') {
            let line = std::str::from_utf8(&out[..at]).map_err(|_| garbled())?;
            out = &out[at + 1..];
            let (key, value) = line.split_once(' ').ok_or_else(garbled)?;
            let mut counted = |value: &str| -> Result<Vec<u8>, Failure> {
                let length: usize = value.parse().map_err(|_| garbled())?;
                let bytes = out.get(..length).ok_or_else(garbled)?.to_vec();
                out = out.get(length + 1..).unwrap_or_default();
                Ok(bytes)
            };
            let number = || value.parse::<u32>().map_err(|_| garbled());
            match key {
                "type" => {
                    found = true;
                    seen.r#type = match value {
                        "absent" => Type::Absent,
                        "file" => Type::File,
                        "directory" => Type::Directory,
                        "link" => Type::Link,
                        "special" => Type::Special,
                        "denied" => return Err(self.denied()),
                        _ => return Err(garbled()),
                    };
                }
                "mode" => seen.mode = u32::from_str_radix(value, 8).map_err(|_| garbled())?,
                "uid" => seen.uid = number()?,
                "gid" => seen.gid = number()?,
                "size" => seen.size = value.parse().map_err(|_| garbled())?,
                "mtime" => seen.mtime = value.parse().map_err(|_| garbled())?,
                "owner" => value.clone_into(&mut seen.owner),
                "group" => value.clone_into(&mut seen.group),
                "sha256" if value == "unreadable" => seen.known = Known::Unreadable,
                "sha256" if value != "none" => seen.known = Known::Hash(value.to_owned()),
                "sha256" => {}
                "same" => seen.known = Known::Same(value == "yes"),
                "parent" => {
                    seen.has_parent = false;
                    seen.is_blocked |= value == "file";
                }
                "target" => {
                    seen.target = Some(String::from_utf8_lossy(&counted(value)?).into_owned());
                }
                "real" => seen.real = Some(String::from_utf8_lossy(&counted(value)?).into_owned()),
                "content" => seen.content = Some(counted(value)?.into()),
                _ => return Err(garbled()),
            }
        }
        if !found || (seen.r#type != Type::Absent && seen.owner.is_empty()) {
            return Err(garbled());
        }
        for (name, id) in [(&mut seen.owner, seen.uid), (&mut seen.group, seen.gid)] {
            if name == "UNKNOWN" {
                *name = id.to_string();
            }
        }
        Ok(seen)
    }
}
