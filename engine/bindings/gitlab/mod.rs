//! GitLab: notes that are kept up to date, statuses of commits, merge requests. Where it is, and its token, stand in `gitlab:`
//! of nlrun.yaml.

mod merge;
mod note;
mod request;
mod status;

use rhai::{Dynamic, Map};
use serde::{Deserialize, Serialize};

use self::merge::gitlab_merge;
use self::note::gitlab_note;
use self::request::gitlab_mr;
use self::status::gitlab_status;
use crate::bindings::outcome::unanswered;
use crate::bindings::{Binding, Call, Function, Raise};
use crate::gate::permit::invalid;
use crate::gate::{Answered, Effect};
use crate::model::effect::{Kind, Target};
use crate::model::event::{Failure, Verdict};
use crate::model::signature::{Opt, Param, Performs, Signature, Touches, Type};

/// Reads the path of a project, such as `infra/nl`.
fn project(call: &Call<'_>) -> Result<String, Raise> {
    let name = call.string(0)?;
    let is_path = name.contains('/')
        && name.split('/').all(|part| !part.is_empty() && !part.starts_with(['-', '.']))
        && name.chars().all(|c| c.is_alphanumeric() || "_-./".contains(c));
    if !is_path {
        return Err(invalid(format!("`{name}` is not the path of a project, such as `infra/nl`")).into());
    }
    Ok(name)
}

fn about(project: &str) -> Target {
    Target::Named { name: project.to_owned() }
}

/// Demands that a text is there.
fn needed(text: &str, what: &str) -> Result<(), Failure> {
    if text.trim().is_empty() { Err(invalid(format!("{what} is empty"))) } else { Ok(()) }
}

/// What a merge request came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Numbered {
    number: u64,
    url: String,
    state: String,
    head: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    merge_commit: Option<String>,
}

impl From<&crate::world::gitlab::MergeRequest> for Numbered {
    fn from(one: &crate::world::gitlab::MergeRequest) -> Self {
        Self {
            number: one.number,
            url: one.url.clone(),
            state: one.state.clone(),
            head: one.head.clone(),
            merge_commit: one.merge_commit.clone(),
        }
    }
}

/// Performs an effect on a merge request; in plan mode its number may not be known.
fn numbered<E: Effect<Output = Numbered>>(call: &Call<'_>, effect: &E) -> Result<Dynamic, Raise> {
    match call.session.perform(Some(call.site.clone()), effect)? {
        Answered::Known(output, verdict) => {
            let map = Map::from([
                ("number".into(), (output.number as i64).into()),
                ("url".into(), output.url.into()),
                ("state".into(), output.state.into()),
                ("head".into(), output.head.into()),
                ("merge_commit".into(), output.merge_commit.map_or(Dynamic::UNIT, Dynamic::from)),
                ("changed".into(), (verdict == Verdict::Changed).into()),
            ]);
            Ok(map.into())
        }
        Answered::Unplanned => Ok(crate::bindings::Outcome::unplanned(E::NAME, call.site.clone()).into()),
    }
}

/// Performs an effect and returns its fields.
fn told<E: Effect>(
    call: &Call<'_>,
    effect: &E,
    fields: impl FnOnce(E::Output) -> Map,
) -> Result<Dynamic, Raise> {
    match call.session.perform(Some(call.site.clone()), effect)? {
        Answered::Known(output, verdict) => {
            let mut map = fields(output);
            map.insert("changed".into(), (verdict == Verdict::Changed).into());
            Ok(map.into())
        }
        Answered::Unplanned => Err(unanswered(&call.site, E::NAME)),
    }
}

const PROJECT: Param = Param { name: "project", ty: Type::String, optional: false };
const SOURCE: Param = Param { name: "source", ty: Type::String, optional: false };
const TARGET: Param = Param { name: "target", ty: Type::String, optional: false };
const SQUASH: Opt = Opt { name: "squash", ty: Type::Bool, doc: "Whether its commits become one." };
const REMOVE: Opt = Opt {
    name: "remove_source_branch",
    ty: Type::Bool,
    doc: "Whether the source branch goes when it is merged.",
};

const fn performs(effect: &'static str) -> Performs {
    Performs { effect, kind: Kind::Ensure, touches: Touches::Text(0) }
}

/// GitLab.
pub const BINDING: Binding = Binding {
    area: "gitlab",
    doc: "GitLab: notes, statuses of commits and merge requests.",
    functions: &[
        function!(
            gitlab_note,
            &[
                PROJECT,
                Param { name: "number", ty: Type::Int, optional: false },
                Param { name: "text", ty: Type::String, optional: false },
            ],
            &[Opt {
                name: "name",
                ty: Type::String,
                doc: "What tells this note from others of nlrun's in the same merge request; the runbook's name by default.",
            }],
            Some(performs("gitlab.note")),
            "A map `.id .changed`; `.id` is `()` in a plan that would write a new note.",
            "Keeps one note of a merge request up to date, in Markdown.\n\nThe note is found again by a mark that nobody sees, and only \
             among those that the token's own user has written. Secrets that the run knows are replaced by their names, and what is \
             longer than GitLab takes (1,000,000 characters) is cut, with the whole kept as an artifact of the run. The plan shows how \
             the note would change. A grant names the project: `gitlab.note:infra/nl`.",
            r#"try { gitlab_note("infra/nl", 12, "All hosts are up to date.") } catch (e) { print(e.message) }"#
        ),
        function!(
            gitlab_status,
            &[
                PROJECT,
                Param { name: "commit", ty: Type::String, optional: false },
                Param { name: "state", ty: Type::String, optional: false },
            ],
            &[
                Opt {
                    name: "name",
                    ty: Type::String,
                    doc: "What tells it from other statuses of the commit; `nlrun` by default."
                },
                Opt { name: "ref", ty: Type::String, doc: "The branch, where the commit is on several." },
                Opt { name: "url", ty: Type::String, doc: "Where more is to be seen." },
                Opt { name: "description", ty: Type::String, doc: "In a few words; cut to 255 characters." },
                Opt {
                    name: "pipeline",
                    ty: Type::Int,
                    doc: "The number of the pipeline that it belongs to; without it a commit with several gets one more."
                },
                Opt {
                    name: "coverage",
                    ty: Type::Number,
                    doc: "The share of code that tests reach, in percent."
                },
            ],
            Some(performs("gitlab.status")),
            "A map `.state .changed`.",
            "Sets the status of a commit: `pending`, `running`, `success`, `failed`, `canceled` or `skipped`.\n\nA status that is \
             there already as it is wanted is not sent again. GitLab lets none go back, such as from `running` to `pending`: that is a \
             failure `transition`, and another `name` helps. A grant names the project: `gitlab.status:infra/nl`.",
            r#"try { gitlab_status("infra/nl", "4f5e87f0c6", "success", #{ name: "certs" }) } catch (e) { print(e.message) }"#
        ),
        function!(
            gitlab_mr,
            &[PROJECT, SOURCE, TARGET],
            &[
                Opt {
                    name: "title",
                    ty: Type::String,
                    doc: "Its title; `Merge SOURCE into TARGET` by default."
                },
                Opt { name: "description", ty: Type::String, doc: "Its description, in Markdown." },
                Opt { name: "labels", ty: Type::Array, doc: "All its labels." },
                REMOVE,
                SQUASH,
            ],
            Some(performs("gitlab.mr")),
            "A map `.number .url .state .head .merge_commit .changed`; in a plan that would make it, reading them ends the plan.",
            "Makes a merge request from one branch to another, or gives the open one this shape.\n\nWhat is not given stays as it is. \
             Secrets that the run knows are replaced by their names. It is not merged: `gitlab_merge` does that, and needs a grant of \
             its own. A grant names the project: `gitlab.mr:infra/nl`.",
            r#"try { gitlab_mr("infra/nl", "sync/pve", "main", #{ title: "Sync from Proxmox VE" }) } catch (e) { print(e.message) }"#
        ),
        function!(
            gitlab_merge,
            &[PROJECT, SOURCE, TARGET],
            &[
                SQUASH,
                REMOVE,
                Opt {
                    name: "timeout",
                    ty: Type::Duration,
                    doc: "How long it may take until GitLab lets it be merged, pipelines included; 10 min by default."
                },
            ],
            Some(performs("gitlab.merge")),
            "A map `.number .url .state .head .merge_commit .changed`; in a plan that would make it, reading them ends the plan.",
            "Merges the open merge request from one branch to another, as soon as GitLab lets it be merged.\n\nOnly the commit that was \
             looked at is merged; one that was pushed meanwhile is a failure `moved`. What a person has to do something about (an \
             approval, a conflict, an open discussion) is a failure `not_mergeable` at once. Without an open one, the one that was merged \
             last is what was wanted. A grant names the project: `gitlab.merge:infra/nl`.",
            r#"try { gitlab_merge("infra/nl", "sync/pve", "main") } catch (e) { print(e.message) }"#
        ),
    ],
};
