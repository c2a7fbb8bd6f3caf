//! What Git knows of the project: `git_changed`.

use globset::{Glob, GlobSet, GlobSetBuilder};
use rhai::Dynamic;
use serde::Serialize;
use serde_json::json;

use crate::bindings::declare::of_the_run;
use crate::bindings::{Binding, Call, Function, Raise, to_dynamic};
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::signature::{Opt, Param, Signature, Type};
use crate::world::repository::{ChangeKind, Changed, Fault};

/// A look at which files differ.
#[derive(Serialize)]
struct Compare {
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    to: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    since_fork: bool,
}

impl Effect for Compare {
    const NAME: &'static str = "git.changed";
    const KIND: Kind = Kind::Read;
    type Output = Changed;

    fn target(&self) -> Target {
        Target::Run
    }

    async fn perform(&self, permit: &Permit<'_>, _seen: &Seen<Changed>) -> Result<Done<Changed>, Failure> {
        let root = permit.project().root().to_owned();
        let (from, to, since_fork) = (self.from.clone(), self.to.clone(), self.since_fork);
        let compared = permit.on_disk(move || {
            let repository = crate::world::repository::of(&root)?;
            Some(repository.changed(from.as_deref(), &to, since_fork))
        });
        let compared = compared.await?.ok_or_else(|| {
            invalid("the project is not in a Git repository, so nobody knows what has changed".to_owned())
        })?;
        compared.map(Done::ok).map_err(|fault| match fault {
            Fault::Unknown(name) => {
                let message = format!(
                    "there is no commit `{name}` here; in a pipeline, `GIT_DEPTH: \"0\"` fetches all of them"
                );
                Failure { kind: "unknown_commit".to_owned(), ..invalid(message) }
            }
            other => Failure { kind: "git".to_owned(), ..invalid(other.told()) },
        })
    }
}

fn globs(call: &Call<'_>, key: &str) -> Result<Option<GlobSet>, Raise> {
    let Some(value) = call.option(key) else { return Ok(None) };
    let wrong = || call.wrong_option(key, "a glob such as \"docker/**\", or an array of them", &value);
    let list = match value.clone().try_cast::<rhai::Array>() {
        Some(array) => array,
        None => vec![value.clone()],
    };
    let mut set = GlobSetBuilder::new();
    for one in list {
        let text = one.into_string().map_err(|_| wrong())?;
        let glob: Result<Glob, _> = globset::GlobBuilder::new(&text).literal_separator(true).build();
        set.add(glob.map_err(|_| wrong())?);
    }
    Ok(Some(set.build().map_err(|_| wrong())?))
}

fn git_changed(call: &mut Call<'_>) -> Result<Dynamic, Raise> {
    let from = match call.value(0) {
        value if value.is_unit() => None,
        _ => Some(call.string(0)?).filter(|from| !crate::world::repository::is_nothing(from)),
    };
    let (only, not) = (globs(call, "only")?, globs(call, "not")?);
    let since_fork = call.option_bool("since_fork", false)?;
    let changed = call.perform(&Compare { from, to: call.string(1)?, since_fork })?;
    let wanted = |path: &str| {
        only.as_ref().is_none_or(|only| only.is_match(path))
            && !not.as_ref().is_some_and(|not| not.is_match(path))
    };
    let of = |kind: Option<ChangeKind>| -> Vec<&str> {
        let files = changed.files.iter().filter(|file| kind.is_none_or(|kind| file.kind == kind));
        files.map(|file| file.path.as_str()).filter(|path| wanted(path)).collect()
    };
    let fields = json!({
        "files": of(None),
        "added": of(Some(ChangeKind::Added)),
        "modified": of(Some(ChangeKind::Modified)),
        "deleted": of(Some(ChangeKind::Deleted)),
        "from": changed.from,
        "to": changed.to,
    });
    Ok(to_dynamic(&fields)?)
}

/// The project's repository.
pub const BINDING: Binding = Binding {
    area: "git",
    doc: "What Git knows of the project.",
    functions: &[function!(
        git_changed,
        &[
            Param { name: "from", ty: Type::Any, optional: false },
            Param { name: "to", ty: Type::String, optional: false },
        ],
        &[
            Opt {
                name: "only",
                ty: Type::Any,
                doc: "Globs of the files that matter: one, or an array; `*` stops at `/`, and `**` does not.",
            },
            Opt { name: "not", ty: Type::Any, doc: "Globs of files that do not matter: one, or an array." },
            Opt {
                name: "since_fork",
                ty: Type::Bool,
                doc: "Whether `from` stands for the newest commit that both have in common, as a merge request shows it.",
            },
        ],
        Some(of_the_run("git.changed", Kind::Read)),
        "A map `.files .added .modified .deleted` (arrays of paths, sorted) and `.from .to` (numbers of commits).",
        "Tells which files of the project differ between two commits, branches or tags.\n\nOnly contents count, not what lies between. \
         Without `from`, as `\"\"`, `()` or the number of zeros that GitLab gives for a new branch, `to` is compared with its first parent: \
         of a merge that is the branch that was merged into. A file that was moved is deleted and added. A commit that is not there is a \
         failure `unknown_commit`.",
        r#"try {
    for path in git_changed("", "HEAD", #{ only: "docker/**" }).files { print(path) }
} catch (e) { print(e.message) }"#
    )],
};
