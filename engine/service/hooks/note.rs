//! Orders in notes of merge requests: `nlrun plan`, `nlrun apply`.

use std::collections::BTreeMap;

use super::door::with_gitlab;
use super::work::{Came, cause};
use super::{Hooks, Notes};
use crate::model::event::Failure;
use crate::model::given::Given;
use crate::model::hook::{Access, Command, Event, Kind, Note};
use crate::model::order::{Order, USUAL_PRIORITY};
use crate::model::run::{Mode, RunId, Status};
use crate::service::Repository;
use crate::store::{Review, StoreError};
use crate::world::gitlab::{self, MergeRequest, Person};

/// What can be asked for.
const HELP: &str = "write `nlrun plan [RUNBOOK] [--set NAME=VALUE …]` for a plan, and `nlrun apply [RUNBOOK]` to do exactly what the newest \
                    plan says; without a runbook it is about all of this merge request";

/// What is said to an order: done or not, and in words.
struct Answer {
    is_done: bool,
    text: String,
}

impl Hooks {
    /// Works on a note: an order, or the words of a trigger.
    pub(super) fn noted(&self, event: &Event, repository: &Repository) -> Came {
        let (Some(note), Some(request)) = (&event.note, &event.merge_request) else {
            return Came::Ignored("it is no note of a merge request".to_owned());
        };
        if !note.is_new {
            return Came::Ignored("what is changed afterwards is no order".to_owned());
        }
        let Some(command) = Command::read(&note.text) else { return self.said(event, repository) };
        let Some(notes) = &self.0.settings.notes else {
            return Came::Ignored("notes order nothing here: `server.gitlab.notes` is not set".to_owned());
        };
        let looked = with_gitlab(&self.0.desk, async |door| {
            let project = &self.0.project;
            let me = Person::me(door).await?;
            let level = Person::level(door, project, event.user_id).await?;
            Ok((me, level, MergeRequest::get(door, project, request.number).await?))
        });
        let (me, level, there) = match looked {
            Ok(looked) => looked,
            Err(failure) => return failure.into(),
        };
        if me.id == event.user_id {
            return Came::Ignored("it is a note of nlrun's own".to_owned());
        }
        let Some(there) = there else {
            return Came::Ignored("the merge request is not there any more".to_owned());
        };
        let may = |least: Access| {
            if level >= least as i64 {
                return Ok(());
            }
            let why = format!("{} is no {} of {}, and may not", event.user, least.as_str(), event.project);
            self.put_down(
                event,
                &format!("{}!{}: {}", event.project, request.number, first(note)),
                Some(&why),
            );
            Err(why)
        };
        let done = match command {
            Err(error) => Err(error.to_string()),
            Ok(Command::Help) => Ok(HELP.to_owned()),
            Ok(_) if there.is_fork => Err("what is in forks is not run here".to_owned()),
            Ok(_) if there.state != "opened" => Err(format!("the merge request is {}", there.state)),
            Ok(Command::Plan { runbook, set }) => {
                may(notes.plan).and_then(|()| self.plan(event, note, &there, notes, repository, runbook, set))
            }
            Ok(Command::Apply { runbook }) => {
                may(notes.apply).and_then(|()| self.apply(event, &there, notes, runbook.as_deref()))
            }
        };
        let answer = match done {
            Ok(text) => Answer { is_done: true, text },
            Err(text) => Answer { is_done: false, text },
        };
        match self.answer(event, note, request.number, &answer) {
            Ok(()) => Came::Done(answer.text),
            Err(why) => Came::Later(why),
        }
    }

    /// Triggers whose words a note says.
    fn said(&self, event: &Event, repository: &Repository) -> Came {
        let is_ours = with_gitlab(&self.0.desk, async |door| Ok(Person::me(door).await?.id == event.user_id));
        match self.triggers() {
            Ok(triggers) if !triggers.iter().any(|one| one.trigger.matches(event)) => {
                Came::Ignored("it is no order".to_owned())
            }
            Err(why) => Came::Later(why),
            Ok(_) => match is_ours {
                Ok(true) => Came::Ignored("it is a note of nlrun's own".to_owned()),
                Ok(false) => self.trigger(event, repository),
                Err(failure) => failure.into(),
            },
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one caller; a struct would only rename the list")]
    fn plan(
        &self,
        event: &Event,
        note: &Note,
        there: &MergeRequest,
        notes: &Notes,
        repository: &Repository,
        runbook: Option<String>,
        set: BTreeMap<String, String>,
    ) -> Result<String, String> {
        let head = repository.bring(&format!("!{}", there.number))?;
        if head != there.head {
            return Err(format!(
                "the repository has {head} and not yet {} as its head; ask again",
                there.head
            ));
        }
        let now = Event { commit: head.clone(), ..event.clone() };
        let Some(runbook) = runbook else { return self.plan_all(&now, there, repository) };
        let order = Order {
            runbook,
            params: set.into_iter().map(|(name, value)| (name, Given::Text(value))).collect(),
            mode: Mode::Plan,
            trigger: cause(event),
            grants: notes.grants.iter().map(ToString::to_string).collect(),
            queue: notes.queue.clone(),
            priority: USUAL_PRIORITY,
            behind: false,
            catch_up: false,
            revision: Some(head),
            plan: None,
            locks: Vec::new(),
            deadline: None,
        };
        let key = format!("gitlab:{}:note:{}", event.project, note.id);
        let run = self.enqueue(&now, order, key, &notes.runbooks)?;
        Ok(format!("run {run} makes the plan"))
    }

    /// Plans what the triggers for merge requests name.
    fn plan_all(
        &self,
        event: &Event,
        there: &MergeRequest,
        repository: &Repository,
    ) -> Result<String, String> {
        let mut request = event.merge_request.clone();
        if let Some(request) = &mut request {
            "open".clone_into(&mut request.action);
            request.state.clone_from(&there.state);
            request.head.clone_from(&there.head);
            request.is_fork = there.is_fork;
        }
        // It keeps its note: another note asks for another plan.
        let asked = Event { kind: Kind::MergeRequest, merge_request: request, ..event.clone() };
        match self.trigger(&asked, repository) {
            Came::Done(what) => Ok(what),
            Came::Ignored(why) => Err(format!("there is nothing to plan: {why}; name a runbook")),
            Came::Later(why) => Err(why),
        }
    }

    fn apply(
        &self,
        event: &Event,
        there: &MergeRequest,
        notes: &Notes,
        runbook: Option<&str>,
    ) -> Result<String, String> {
        let told = |error: StoreError| error.to_string();
        let desk = &self.0.desk;
        let reviews = desk.read(|reader| reader.reviews_of(&event.project, there.number)).map_err(told)?;
        let mut newest: BTreeMap<&str, &Review> = BTreeMap::new();
        for review in reviews.iter().filter(|review| review.mode == Mode::Plan) {
            newest.insert(&review.runbook, review);
        }
        let bare = |name: &str| name.trim_start_matches("runbooks/").trim_end_matches(".rhai").to_owned();
        newest.retain(|path, _| runbook.is_none_or(|wanted| bare(wanted) == bare(path)));
        if newest.is_empty() {
            let of = runbook.map(|name| format!(" of `{name}`")).unwrap_or_default();
            return Err(format!("there is no plan{of} to apply; `nlrun plan` makes one"));
        }
        // All of them or none: who applies a merge request means the whole of it.
        for review in newest.values() {
            self.is_applicable(review, there)?;
        }
        let mut runs: Vec<String> = Vec::new();
        for review in newest.values() {
            let order = Order {
                runbook: review.runbook.clone(),
                params: BTreeMap::new(),
                mode: Mode::Apply,
                trigger: cause(event),
                grants: notes.grants.iter().map(ToString::to_string).collect(),
                queue: notes.queue.clone(),
                priority: USUAL_PRIORITY,
                behind: false,
                catch_up: false,
                revision: None,
                plan: Some(review.run),
                locks: Vec::new(),
                deadline: None,
            };
            let now = Event { commit: there.head.clone(), ..event.clone() };
            let run = self.enqueue(&now, order, applied(review.run), &notes.runbooks)?;
            runs.push(format!("run {run} applies plan {}", review.run));
        }
        Ok(runs.join(", "))
    }

    /// Demands that a plan is done, about the newest commit, and not used.
    fn is_applicable(&self, review: &Review, there: &MergeRequest) -> Result<(), String> {
        let (run, runbook) = (review.run, &review.runbook);
        if review.commit != there.head {
            let short = |commit: &str| commit.chars().take(8).collect::<String>();
            return Err(format!(
                "the merge request has moved from {} to {} since plan {run} of `{runbook}`: nothing is applied; `nlrun plan` makes a new one",
                short(&review.commit),
                short(&there.head)
            ));
        }
        match review.status {
            Status::Done | Status::Partial => {}
            Status::Queued | Status::Running => {
                return Err(format!("plan {run} of `{runbook}` is not done yet: ask again when it is"));
            }
            status => return Err(format!("plan {run} of `{runbook}` is {status}: nothing is applied")),
        }
        let used = self
            .0
            .desk
            .read(|reader| reader.triggered(&applied(run)))
            .map_err(|error: StoreError| error.to_string())?;
        match used {
            Some(other) => Err(format!(
                "plan {run} of `{runbook}` was applied by run {other} already; `nlrun plan` makes a new one"
            )),
            None => Ok(()),
        }
    }

    /// Says what came of an order: in the note about this merge request, and by a sign at the order itself.
    fn answer(&self, event: &Event, note: &Note, number: u64, answer: &Answer) -> Result<(), String> {
        let text = format!("{}: {}: {}", event.user, first(note), answer.text);
        self.0.desk.store().answer_note(&event.project, number, &text).map_err(|error| error.to_string())?;
        let sign = if answer.is_done { "eyes" } else { "no_entry_sign" };
        let given = with_gitlab(&self.0.desk, async |door| {
            gitlab::Note::award(door, &event.project, number, note.id, sign).await
        });
        // The words are what counts.
        if let Err(Failure { message, .. }) = given {
            tracing::warn!("a note gets no sign: {message}");
        }
        Ok(())
    }
}

/// Returns the first line of a note, as far as it is repeated.
fn first(note: &Note) -> String {
    let line = note.text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().take(100).collect()
}

fn applied(plan: RunId) -> String {
    format!("gitlab:apply:{plan}")
}
