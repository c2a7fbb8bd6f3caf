//! What Git knows of the project, and commits on its branches.

mod push;
mod show;

use globset::{Glob, GlobSet, GlobSetBuilder};
use rhai::Dynamic;
use serde::Serialize;
use serde_json::json;

use self::push::git_commit_push;
use self::show::git_show;
use crate::bindings::declare::{of_the_run, text};
use crate::bindings::{Binding, Call, Function, Raise, hidden, to_dynamic};
use crate::gate::permit::{git_failure, invalid};
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;
use crate::model::signature::{Opt, Param, Performs, Signature, Touches, Type};
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
        let compared = compared.await?.ok_or_else(without_repository)?;
        compared.map(Done::ok).map_err(|fault| failed(&fault))
    }
}

/// Turns a fault of Git into a failure, with what pipelines trip over.
fn failed(fault: &Fault) -> Failure {
    match fault {
        Fault::Unknown(name) => {
            let message = format!(
                "there is no commit `{name}` here; in a pipeline, `GIT_DEPTH: \"0\"` fetches all of them"
            );
            Failure { message, ..git_failure(fault) }
        }
        other => git_failure(other),
    }
}

/// Reads a file as a commit has it; nothing where it is not there.
pub(super) async fn at_commit(
    permit: &Permit<'_>,
    revision: String,
    path: String,
) -> Result<Option<Vec<u8>>, Failure> {
    let root = permit.project().root().to_owned();
    let read = permit.on_disk(move || {
        let repository = crate::world::repository::of(&root)?;
        Some(repository.resolve(&revision).and_then(|commit| repository.read(&commit, &path)))
    });
    read.await?.ok_or_else(without_repository)?.map_err(|fault| failed(&fault))
}

fn without_repository() -> Failure {
    invalid("the project is not in a Git repository, so nobody knows its commits".to_owned())
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
    functions: &[
        function!(
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
                Opt {
                    name: "not",
                    ty: Type::Any,
                    doc: "Globs of files that do not matter: one, or an array."
                },
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
        ),
        function!(
            git_show,
            &[text("revision"), text("path")],
            &[hidden::SECRET],
            Some(of_the_run("git.show", Kind::Read)),
            "Text, a secret with `secret: \"name\"`, or `()` where the commit has no such file.",
            "Reads a text file of the project as a commit, branch or tag has it, up to 1 MiB.\n\nA commit that is not there is a failure \
             `unknown_commit`. A resumed run sees the text that it saw before.",
            r#"try {
    let before = git_show("HEAD", "nlrun.yaml");
    print(if before == () { "it is new" } else { before });
} catch (e) { print(e.message) }"#
        ),
        function!(
            git_commit_push,
            &[text("branch"), Param { name: "files", ty: Type::Map, optional: false }, text("message")],
            &[
                Opt {
                    name: "base",
                    ty: Type::String,
                    doc: "The commit in which the files were looked at; the newest of the branch, or of the followed one, by default.",
                },
                Opt {
                    name: "anew",
                    ty: Type::Bool,
                    doc: "Whether the branch begins anew at `base`, whatever it has now: for branches that belong to a runbook.",
                },
                Opt {
                    name: "author",
                    ty: Type::String,
                    doc: "`NAME <MAIL>` of who made the change; the committer of nlrun.yaml by default.",
                },
            ],
            Some(Performs { effect: "git.commit_push", kind: Kind::Ensure, touches: Touches::Text(0) }),
            "A map `.commit .branch .changed .is_new`.",
            "Makes sure that files of a branch hold these texts: by a commit that is pushed to where the project comes from \
             (`server.project` in nlrun.yaml).\n\nThe keys of the map are paths in the repository, the values texts, or `()` for a file that \
             is to go. Nothing happens where the branch has all of it already. A file that is another one on the branch than in `base` is a \
             failure `conflict`, and nothing is pushed; what others have pushed to other files stays. The commit says in its trailers which \
             run made it and what of, so that hooks do not take it for a change by people. A text with a secret in it is refused.",
            r#"try {
    let made = git_commit_push("reports", #{ "reports/health.txt": "all is well\n" }, "Report of health");
    print(`${made.commit} on ${made.branch}`);
} catch (e) { print(e.message) }"#
        ),
    ],
};
