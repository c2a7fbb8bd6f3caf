//! A file with a content: the effect behind `file_put`, `template_put`, `line_ensure` and `block_ensure`.

use std::sync::{Arc, OnceLock};

use rhai::Dynamic;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::bindings::call::on_host;
use crate::bindings::each::{PARALLEL_OPTION, each_host};
use crate::bindings::file::attributes::{Attributes, GROUP, MODE, OWNER};
use crate::bindings::file::content::Fixed;
use crate::bindings::file::probe::{Ask, Known, MOST_DIFF, Observed, Type};
use crate::bindings::file::remote::{Place, Script, token};
use crate::bindings::file::text::Edit;
use crate::bindings::sudo::{Become, SUDO, SUDO_PASSWORD};
use crate::bindings::{Call, Raise, to_dynamic};
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::diff;
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::inventory::Host;
use crate::model::run::Mode;
use crate::model::signature::{self, Opt};

/// The largest file in which lines are edited: it travels to this machine and back.
const MOST_EDIT: usize = 16 << 20;

/// A file that shall hold something.
#[derive(Serialize)]
pub(super) struct Put {
    #[serde(skip)]
    place: Place,
    #[serde(flatten)]
    wanted: Wanted,
    #[serde(flatten)]
    attributes: Attributes,
    #[serde(flatten)]
    manner: Manner,
    #[serde(skip_serializing_if = "Become::is_login")]
    sudo: Become,
    #[serde(skip)]
    show_diff: bool,
    #[serde(skip)]
    found: OnceLock<Found>,
}

/// What it shall hold.
#[derive(Clone, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Wanted {
    /// Exactly this.
    Content(Fixed),
    /// What it holds, with a change.
    Edit(Edit),
}

/// How it is written.
#[derive(Clone, Serialize)]
struct Manner {
    follow: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    parents: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    backup: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    validate: Option<String>,
}

/// What the host said, and what follows from it.
struct Found {
    seen: Observed,
    bytes: Arc<[u8]>,
    sha256: Arc<str>,
    /// Whether the content has to be sent.
    is_other: bool,
    diff: String,
}

impl Found {
    /// Returns the path behind all links.
    fn path<'a>(&'a self, place: &'a Place) -> &'a str {
        self.seen.real.as_deref().unwrap_or(&place.path)
    }
}

/// What is recorded as the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Answer {
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backup: Option<String>,
}

impl Put {
    fn new(call: &Call<'_>, host: &Arc<Host>, wanted: Wanted) -> Result<Self, Raise> {
        let sudo = Become::read(call, host)?;
        let validate = call.option_string("validate")?;
        if let Some(line) = &validate
            && !line.contains("%s")
        {
            let message = format!(
                "`{}`: `validate` wants `%s` where the name of the new file goes, got `{line}`",
                call.name()
            );
            return Err(invalid(message).into());
        }
        Ok(Self {
            place: Place {
                effect: Self::NAME,
                host: host.clone(),
                path: file_path(call, 1)?,
                sudo: sudo.clone(),
            },
            wanted,
            attributes: Attributes::read(call)?,
            manner: Manner {
                follow: call.option_bool("follow", true)?,
                parents: call.option_bool("parents", false)?,
                backup: call.option_bool("backup", false)?,
                validate,
            },
            sudo,
            show_diff: call.option_bool("diff", true)?,
            found: OnceLock::new(),
        })
    }

    /// Asks the host once, and says what has to change.
    async fn look(&self, permit: &Permit<'_>) -> Result<Found, Failure> {
        let most = if self.show_diff { MOST_DIFF } else { 0 };
        let ask = match &self.wanted {
            Wanted::Content(fixed) => {
                let (sha256, bytes) = (&*fixed.sha256, fixed.bytes.len() as u64);
                if fixed.is_secret {
                    Ask::IsSecret { sha256, bytes }
                } else {
                    Ask::Differs { sha256, blake2b: fixed.blake2b.as_deref(), bytes, most }
                }
            }
            Wanted::Edit(_) => Ask::Content(MOST_EDIT),
        };
        let seen = self.place.observe(permit, self.manner.follow, ask).await?;
        self.refuse(&seen, permit.mode())?;
        let path = &self.place.path;
        let (bytes, sha256) = match &self.wanted {
            Wanted::Content(fixed) => (fixed.bytes.clone(), fixed.sha256.clone()),
            Wanted::Edit(edit) => {
                let old = match (seen.r#type, &seen.content) {
                    (Type::File, None) => {
                        let message = format!(
                            "`{path}` has {} bytes; lines are edited in files up to {MOST_EDIT} bytes",
                            seen.size
                        );
                        return Err(self.place.failure("too_large", message));
                    }
                    (_, content) => content.as_deref(),
                };
                if old.is_none() && !edit.creates() && permit.mode() == Mode::Apply {
                    let message = format!("`{path}` does not exist; `create: true` makes it");
                    return Err(self.place.failure("absent", message));
                }
                let new = edit.apply(old.unwrap_or_default());
                if old.is_none() && new.is_empty() {
                    // Nothing is to be removed from a file that is not there.
                    let (bytes, diff) = (Arc::from([]), String::new());
                    return Ok(Found { seen, bytes, sha256: "".into(), is_other: false, diff });
                }
                let sha256 = crate::store::sha256(&new).into();
                (new.into(), sha256)
            }
        };
        let is_other = match &seen.known {
            Known::Hash(found) => **found != *sha256,
            Known::Same(is_same) => !is_same,
            Known::Nothing | Known::Unreadable => true,
        };
        let diff = self.diff(&seen, &bytes, &sha256, is_other);
        Ok(Found { seen, bytes, sha256, is_other, diff })
    }

    /// Refuses what cannot be replaced by a file.
    fn refuse(&self, seen: &Observed, mode: Mode) -> Result<(), Failure> {
        let path = &self.place.path;
        match seen.r#type {
            Type::Directory => Err(self.place.failure("directory", format!("`{path}` is a directory"))),
            Type::Special => {
                let message = format!("`{path}` is neither a file nor a directory");
                Err(self.place.failure("special", message))
            }
            Type::Absent if seen.is_blocked => {
                let message = format!("`{path}` cannot be: something on the way to it is no directory");
                Err(self.place.failure("not_directory", message))
            }
            // In a plan, what makes the folder has not happened yet.
            Type::Absent if !seen.has_parent && !self.manner.parents && mode == Mode::Apply => {
                let message = format!(
                    "the folder of `{path}` does not exist; `dir_ensure` makes it, or `parents: true`"
                );
                Err(self.place.failure("parent", message))
            }
            Type::File if seen.known == Known::Unreadable => Err(self.place.denied()),
            Type::File | Type::Absent | Type::Link => Ok(()),
        }
    }

    fn diff(&self, seen: &Observed, new: &[u8], sha256: &str, is_other: bool) -> String {
        let path = &self.place.path;
        let is_secret = matches!(&self.wanted, Wanted::Content(fixed) if fixed.is_secret);
        let is_there = seen.r#type == Type::File;
        let header = || format!("--- {}\n+++ {path}\n", if is_there { path } else { "/dev/null" });
        let mut text = String::new();
        if seen.r#type == Type::Link {
            text = format!("link to {} → file\n", seen.target.as_deref().unwrap_or_default());
        }
        if is_other {
            let change = if is_secret {
                format!("{}content (secret) would change\n", header())
            } else if !self.show_diff {
                format!("{}content would change\n", header())
            } else if new.len() <= MOST_DIFF && (!is_there || seen.content.is_some()) {
                diff::bytes(seen.content.as_deref(), Some(new), path, path, 3)
            } else {
                let old = match (is_there, &seen.known) {
                    (false, _) => "absent".to_owned(),
                    (true, Known::Hash(found)) => format!("{} bytes, sha256 {found}", seen.size),
                    (true, _) => format!("{} bytes", seen.size),
                };
                format!("{}content: {old} → {} bytes, sha256 {sha256}\n", header(), new.len())
            };
            text.push_str(&change);
        }
        if is_there {
            text += &self.attributes.differences(seen);
        }
        text
    }

    async fn write(&self, permit: &Permit<'_>, found: &Found) -> Result<Option<String>, Failure> {
        let flag = |is_set: bool| if is_set { "1" } else { "" };
        let (mode, owner, token) = (self.attributes.chmod(), self.attributes.chown(), token()?);
        let size = found.bytes.len().to_string();
        let validate = self.manner.validate.as_deref().map(validation).unwrap_or_default();
        let is_secret = matches!(&self.wanted, Wanted::Content(fixed) if fixed.is_secret);
        let (size, stdin): (&str, Arc<[u8]>) = if is_secret {
            // Others on the host can read arguments.
            let mut stdin = format!("{size}\n").into_bytes();
            stdin.extend_from_slice(&found.bytes);
            ("-", stdin.into())
        } else {
            (&size, found.bytes.clone())
        };
        let guard = match (&self.wanted, &found.seen.known) {
            (Wanted::Content(_), _) => "",
            (Wanted::Edit(_), Known::Hash(sha256)) => sha256,
            (Wanted::Edit(_), _) => "absent",
        };
        let arguments = [
            // Links were followed when the host was asked; one that came since is replaced.
            found.path(&self.place),
            flag(self.manner.parents),
            &mode,
            &owner,
            flag(self.manner.backup),
            &validate,
            &token,
            size,
            guard,
        ];
        let out = self.place.run(permit, Script::Put, &arguments, stdin, 64 << 10).await.map_err(
            |mut failure| {
                if is_secret && failure.details["reason"] == "validate" {
                    let path = &self.place.path;
                    failure.message =
                        format!("`{path}` did not pass its validation, whose words may be secret");
                    failure.details["err"] = json!("");
                }
                failure
            },
        )?;
        let backup = String::from_utf8_lossy(out.strip_prefix(b"ok\n").unwrap_or_default()).into_owned();
        Ok(Some(backup).filter(|path| !path.is_empty()))
    }

    fn answer(&self, backup: Option<String>) -> Answer {
        Answer { path: self.place.path.clone(), backup }
    }
}

/// Turns `visudo -cf %s` into a line that gets the name of the file as `$1`.
fn validation(line: &str) -> String {
    line.replace("'%s'", "%s").replace("\"%s\"", "%s").replace("%s", "\"$1\"")
}

impl Effect for Put {
    const NAME: &'static str = "file.put";
    const KIND: Kind = Kind::Ensure;
    type Output = Answer;

    fn target(&self) -> Target {
        on_host(&self.place.host, Some(&self.place.path))
    }

    async fn observe(&self, permit: &Permit<'_>) -> Result<Seen<Answer>, Failure> {
        let found = self.look(permit).await?;
        let seen = Seen {
            pre: found.seen.pre(),
            changes: found.is_other || !found.diff.is_empty(),
            diff: Some(found.diff.clone()).filter(|diff| !diff.is_empty()),
            output: Some(self.answer(None)),
        };
        if seen.changes {
            self.place.promise(permit, found.seen.become_file(&self.attributes, &found.sha256, &found.bytes));
        }
        // An effect is observed once; if ever twice, the first answer is as good.
        let _ = self.found.set(found);
        Ok(seen)
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Answer>) -> Result<Done<Answer>, Failure> {
        let found = match self.found.get() {
            Some(found) => found,
            None => &self.look(permit).await?,
        };
        if found.is_other {
            let backup = self.write(permit, found).await?;
            return Ok(Done::changed(self.answer(backup)));
        }
        let (mode, owner) = (self.attributes.chmod(), self.attributes.chown());
        let arguments = [found.path(&self.place), &mode, &owner];
        self.place.run(permit, Script::Adjust, &arguments, Arc::from([]), 1024).await?;
        Ok(Done::changed(self.answer(None)))
    }
}

/// Returns the argument of this index as the path of a file.
pub(super) fn file_path(call: &Call<'_>, index: usize) -> Result<String, Raise> {
    let path = call.remote_path(index)?;
    if path.ends_with('/') {
        return Err(invalid(format!("`{}` wants the path of a file, got `{path}`", call.name())).into());
    }
    Ok(path)
}

/// Performs it on each host of a call.
pub(super) fn put_each(
    call: &Call<'_>,
    wanted: impl Fn(&Host) -> Result<Wanted, Raise>,
) -> Result<Dynamic, Raise> {
    each_host(
        call,
        |call, host| Put::new(call, host, wanted(host)?),
        |put, answer, changed| {
            let fields = json!({
                "host": put.place.host.name, "path": answer.path, "changed": changed, "backup": answer.backup,
            });
            Ok(to_dynamic(&fields)?)
        },
    )
}

pub(super) fn file_put(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let fixed = Fixed::read(call)?;
    put_each(call, |_| Ok(Wanted::Content(fixed.clone())))
}

/// The option `backup`.
pub(super) const BACKUP: Opt = Opt {
    name: "backup",
    ty: signature::Type::Bool,
    doc: "Keep the old file beside it, named by the host's clock: `NAME.20260131T120000Z~`.",
};
/// The option `validate`.
pub(super) const VALIDATE: Opt = Opt {
    name: "validate",
    ty: signature::Type::String,
    doc: "A line for the host's shell that must succeed before the file becomes live; `%s` is the new file.",
};
/// The option `follow`.
pub(super) const FOLLOW: Opt = Opt {
    name: "follow",
    ty: signature::Type::Bool,
    doc: "Whether a symbolic link stays and the file behind it changes (the default), or the link is replaced.",
};
/// The option `parents`.
pub(super) const PARENTS: Opt = Opt {
    name: "parents",
    ty: signature::Type::Bool,
    doc: "Make missing folders above it, with mode 0755; `false` by default.",
};
/// The option `diff`.
pub(super) const DIFF: Opt = Opt {
    name: "diff",
    ty: signature::Type::Bool,
    doc: "`false` keeps the old and the new content out of the run log.",
};

/// The options of `file_put`.
pub(super) const OPTIONS: &[Opt] = &[
    Opt {
        name: "content",
        ty: signature::Type::Content,
        doc: "Text, bytes or a secret, instead of the third argument.",
    },
    Opt { name: "source", ty: signature::Type::LocalPath, doc: "A file of the project with the content." },
    MODE,
    OWNER,
    GROUP,
    BACKUP,
    VALIDATE,
    FOLLOW,
    PARENTS,
    DIFF,
    SUDO,
    SUDO_PASSWORD,
    PARALLEL_OPTION,
];
