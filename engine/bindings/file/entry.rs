//! What has no content: `dir_ensure link_ensure file_absent`.

use std::sync::Arc;

use rhai::Dynamic;
use serde::Serialize;
use serde_json::json;

use crate::bindings::call::on_host;
use crate::bindings::each::{PARALLEL_OPTION, each_host};
use crate::bindings::file::attributes::{Attributes, GROUP, MODE, OWNER};
use crate::bindings::file::probe::{Ask, Known, MOST_DIFF, Observed, Type};
use crate::bindings::file::put::{DIFF, PARENTS};
use crate::bindings::file::remote::{Place, Script, token};
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

/// The path that was asked for: all that these effects answer.
type Answer = String;

fn place(call: &Call<'_>, host: &Arc<Host>, effect: &'static str) -> Result<Place, Raise> {
    let path = call.remote_path(1)?;
    let path = if path.len() > 1 { path.trim_end_matches('/').to_owned() } else { path };
    Ok(Place { effect, host: host.clone(), path, sudo: Become::read(call, host)? })
}

fn show(place: &Place, path: &str, changed: bool) -> Result<Dynamic, Raise> {
    Ok(to_dynamic(&json!({ "host": place.host.name, "path": path, "changed": changed }))?)
}

fn seen(observed: &Observed, place: &Place, diff: String) -> Seen<Answer> {
    Seen {
        pre: observed.pre(),
        changes: !diff.is_empty(),
        diff: Some(diff).filter(|diff| !diff.is_empty()),
        output: Some(place.path.clone()),
    }
}

/// Returns the path behind all links, as it was seen.
fn real<'a>(place: &'a Place, seen: &'a Seen<Answer>) -> &'a str {
    seen.pre["real"].as_str().unwrap_or(&place.path)
}

/// Refuses a path whose folder is missing; in a plan, what makes it has not happened yet.
fn refuse_orphan(place: &Place, found: &Observed, parents: bool, mode: Mode) -> Result<(), Failure> {
    let path = &place.path;
    if found.is_blocked {
        let message = format!("`{path}` cannot be: something on the way to it is no directory");
        return Err(place.failure("not_directory", message));
    }
    if found.has_parent || parents || mode == Mode::Plan {
        return Ok(());
    }
    let message = format!("the folder of `{path}` does not exist; `dir_ensure` makes it, or `parents: true`");
    Err(place.failure("parent", message))
}

/// A folder.
#[derive(Serialize)]
struct Folder {
    #[serde(skip)]
    place: Place,
    #[serde(flatten)]
    attributes: Attributes,
    parents: bool,
    #[serde(skip_serializing_if = "Become::is_login")]
    sudo: Become,
}

impl Effect for Folder {
    const NAME: &'static str = "dir.ensure";
    const KIND: Kind = Kind::Ensure;
    type Output = Answer;

    fn target(&self) -> Target {
        on_host(&self.place.host, Some(&self.place.path))
    }

    async fn observe(&self, permit: &Permit<'_>) -> Result<Seen<Answer>, Failure> {
        // A link to a folder is as good as one.
        let found = self.place.observe(permit, true, Ask::Nothing).await?;
        let diff = match found.r#type {
            Type::Directory => self.attributes.differences(&found),
            Type::Absent => {
                refuse_orphan(&self.place, &found, self.parents, permit.mode())?;
                let mode = self.attributes.mode.map_or(0o755, |mode| mode.0);
                format!("absent → directory, mode {mode:04o}\n")
            }
            Type::File | Type::Link | Type::Special => {
                let message = format!("`{}` is there and is no directory", self.place.path);
                return Err(self.place.failure("not_directory", message));
            }
        };
        if !diff.is_empty() {
            let mode = if found.r#type == Type::Directory { found.mode } else { 0o755 };
            self.place.promise(permit, found.become_entry(Type::Directory, mode, &self.attributes));
        }
        Ok(seen(&found, &self.place, diff))
    }

    async fn perform(&self, permit: &Permit<'_>, seen: &Seen<Answer>) -> Result<Done<Answer>, Failure> {
        let (mode, owner) = (self.attributes.chmod(), self.attributes.chown());
        let arguments = [real(&self.place, seen), &mode, &owner, if self.parents { "1" } else { "" }];
        self.place.run(permit, Script::Make, &arguments, Arc::from([]), 1024).await?;
        Ok(Done::changed(self.place.path.clone()))
    }
}

/// A symbolic link.
#[derive(Serialize)]
struct Link {
    #[serde(skip)]
    place: Place,
    to: String,
    force: bool,
    parents: bool,
    #[serde(skip_serializing_if = "Become::is_login")]
    sudo: Become,
}

impl Effect for Link {
    const NAME: &'static str = "link.ensure";
    const KIND: Kind = Kind::Ensure;
    type Output = Answer;

    fn target(&self) -> Target {
        on_host(&self.place.host, Some(&self.place.path))
    }

    async fn observe(&self, permit: &Permit<'_>) -> Result<Seen<Answer>, Failure> {
        let found = self.place.observe(permit, false, Ask::Nothing).await?;
        let path = &self.place.path;
        let old = match found.r#type {
            Type::Link => {
                let target = found.target.clone().unwrap_or_default();
                if target == self.to {
                    return Ok(seen(&found, &self.place, String::new()));
                }
                format!("link to {target}")
            }
            Type::Absent => {
                refuse_orphan(&self.place, &found, self.parents, permit.mode())?;
                "absent".to_owned()
            }
            Type::Directory => {
                return Err(self.place.failure("directory", format!("`{path}` is a directory")));
            }
            Type::File | Type::Special if !self.force => {
                let message = format!("`{path}` is there and is no link; `force: true` replaces a file");
                return Err(self.place.failure("exists", message));
            }
            Type::File | Type::Special => found.r#type.as_str().to_owned(),
        };
        let link = found.become_entry(Type::Link, 0o777, &Attributes::default());
        self.place.promise(permit, Observed { target: Some(self.to.clone()), ..link });
        Ok(seen(&found, &self.place, format!("{old} → link to {}\n", self.to)))
    }

    async fn perform(&self, permit: &Permit<'_>, seen: &Seen<Answer>) -> Result<Done<Answer>, Failure> {
        let flag = |is_set: bool| if is_set { "1" } else { "" };
        let token = token()?;
        let arguments = [real(&self.place, seen), &self.to, flag(self.force), &token, flag(self.parents)];
        self.place.run(permit, Script::Link, &arguments, Arc::from([]), 1024).await?;
        Ok(Done::changed(self.place.path.clone()))
    }
}

/// Nothing at a path.
#[derive(Serialize)]
struct Nothing {
    #[serde(skip)]
    place: Place,
    recursive: bool,
    #[serde(skip_serializing_if = "Become::is_login")]
    sudo: Become,
    #[serde(skip)]
    show_diff: bool,
}

impl Effect for Nothing {
    const NAME: &'static str = "file.absent";
    const KIND: Kind = Kind::Ensure;
    type Output = Answer;

    fn target(&self) -> Target {
        on_host(&self.place.host, Some(&self.place.path))
    }

    async fn observe(&self, permit: &Permit<'_>) -> Result<Seen<Answer>, Failure> {
        let ask = Ask::Content(if self.show_diff { MOST_DIFF } else { 0 });
        let found = self.place.observe(permit, false, ask).await?;
        let path = &self.place.path;
        let diff = match (found.r#type, &found.content) {
            (Type::Absent, _) => String::new(),
            (Type::Directory, _) if !self.recursive => {
                let message =
                    format!("`{path}` is a directory; `recursive: true` removes it with all it holds");
                return Err(self.place.failure("directory", message));
            }
            (Type::File, Some(content)) if self.show_diff => diff::bytes(Some(content), None, path, path, 3),
            (Type::File, _) => match &found.known {
                Known::Hash(sha256) if self.show_diff => {
                    format!("file of {} bytes, sha256 {sha256} → absent\n", found.size)
                }
                _ => format!("file of {} bytes → absent\n", found.size),
            },
            (Type::Link, _) => {
                format!("link to {} → absent\n", found.target.as_deref().unwrap_or_default())
            }
            (Type::Directory, _) => "directory with all it holds → absent\n".to_owned(),
            (Type::Special, _) => "special file → absent\n".to_owned(),
        };
        if !diff.is_empty() {
            let nothing = found.become_entry(Type::Absent, 0, &Attributes::default());
            self.place.promise(permit, Observed { target: None, ..nothing });
        }
        Ok(seen(&found, &self.place, diff))
    }

    async fn perform(&self, permit: &Permit<'_>, seen: &Seen<Answer>) -> Result<Done<Answer>, Failure> {
        let arguments = [real(&self.place, seen), if self.recursive { "1" } else { "" }];
        self.place.run(permit, Script::Remove, &arguments, Arc::from([]), 1024).await?;
        Ok(Done::changed(self.place.path.clone()))
    }
}

pub(super) fn dir_ensure(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let make = |call: &Call<'_>, host: &Arc<Host>| {
        let place = place(call, host, Folder::NAME)?;
        let (attributes, parents) = (Attributes::read(call)?, call.option_bool("parents", true)?);
        Ok(Folder { sudo: place.sudo.clone(), place, attributes, parents })
    };
    each_host(call, make, |folder, path, changed| show(&folder.place, &path, changed))
}

pub(super) fn link_ensure(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let to = call.string(2)?;
    if to.is_empty() || to.contains('\0') {
        return Err(invalid(format!("`link_ensure` wants a path that the link leads to, got `{to}`")).into());
    }
    let make = |call: &Call<'_>, host: &Arc<Host>| {
        let place = place(call, host, Link::NAME)?;
        let (force, parents) = (call.option_bool("force", false)?, call.option_bool("parents", false)?);
        Ok(Link { sudo: place.sudo.clone(), place, to: to.clone(), force, parents })
    };
    each_host(call, make, |link, path, changed| show(&link.place, &path, changed))
}

pub(super) fn file_absent(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let make = |call: &Call<'_>, host: &Arc<Host>| {
        let place = place(call, host, Nothing::NAME)?;
        let recursive = call.option_bool("recursive", false)?;
        if place.path == "/" || (recursive && place.path.matches('/').count() == 1) {
            let message = format!("`file_absent` does not remove `{}`: folders at the top stay", place.path);
            return Err(invalid(message).into());
        }
        let show_diff = call.option_bool("diff", true)?;
        Ok(Nothing { sudo: place.sudo.clone(), place, recursive, show_diff })
    };
    each_host(call, make, |nothing, path, changed| show(&nothing.place, &path, changed))
}

/// The options of `dir_ensure`.
pub(super) const FOLDER: &[Opt] = &[
    MODE,
    OWNER,
    GROUP,
    Opt {
        name: "parents",
        ty: signature::Type::Bool,
        doc: "Make missing folders above it, with mode 0755; `true` by default.",
    },
    SUDO,
    SUDO_PASSWORD,
    PARALLEL_OPTION,
];
/// The options of `link_ensure`.
pub(super) const LINK: &[Opt] = &[
    Opt {
        name: "force",
        ty: signature::Type::Bool,
        doc: "Replace a file that stands in the way; folders are never replaced.",
    },
    PARENTS,
    SUDO,
    SUDO_PASSWORD,
    PARALLEL_OPTION,
];
/// The options of `file_absent`.
pub(super) const ABSENT: &[Opt] = &[
    Opt {
        name: "recursive",
        ty: signature::Type::Bool,
        doc: "Remove a folder with all it holds; folders at the top, such as `/etc`, are refused.",
    },
    DIFF,
    SUDO,
    SUDO_PASSWORD,
    PARALLEL_OPTION,
];
