//! Events become runs.

use serde_json::Value;

use super::Hooks;
use super::door::with_gitlab;
use crate::model::event::Failure;
use crate::model::hook::{Access, Definition, Event, Kind, Trigger};
use crate::model::order::Order;
use crate::model::role::{Caller, Role};
use crate::model::run::{Mode, RunId, Trigger as Cause};
use crate::service::{Project, Repository, ServiceError};
use crate::store::{Enqueued, Keys, Reader, StoreError, Verdict};
use crate::world::gitlab::Person;
use crate::world::repository::is_nothing;

/// How often an event is worked on before it is given up.
const TRIES: u32 = 8;

/// What came of an event.
pub(super) enum Came {
    /// Something was done.
    Done(String),
    /// There was nothing to do.
    Ignored(String),
    /// It cannot be worked on now.
    Later(String),
}

impl From<Failure> for Came {
    fn from(failure: Failure) -> Self {
        Self::Later(failure.message)
    }
}

impl Hooks {
    /// Works on every event whose time has come.
    pub(super) fn round(&self) -> Result<(), StoreError> {
        let desk = &self.0.desk;
        let store = desk.store();
        for waiting in desk.read::<_, StoreError>(Reader::hooks_waiting)? {
            let came = match serde_json::from_str::<Value>(&waiting.body).map(|payload| Event::read(&payload))
            {
                Ok(Ok(Some(event))) => self.take(&event),
                Ok(Ok(None)) => Came::Ignored("nothing here is about such events".to_owned()),
                Ok(Err(why)) => Came::Ignored(format!("it is no event that can be read: {why}")),
                Err(error) => Came::Ignored(error.to_string()),
            };
            match came {
                Came::Done(what) => {
                    tracing::info!(event = %waiting.id, "{what}");
                    store.settle(&waiting.id, "done", &what)?;
                }
                Came::Ignored(why) => {
                    tracing::debug!(event = %waiting.id, "{why}");
                    store.settle(&waiting.id, "ignored", &why)?;
                }
                Came::Later(why) if waiting.attempts + 1 >= TRIES => {
                    tracing::error!(event = %waiting.id, "given up: {why}");
                    store.settle(&waiting.id, "failed", &why)?;
                }
                Came::Later(why) => {
                    tracing::warn!(event = %waiting.id, "later: {why}");
                    store.again(&waiting.id, 2 << waiting.attempts.min(8), &why)?;
                }
            }
        }
        Ok(())
    }

    fn take(&self, event: &Event) -> Came {
        if event.project != self.0.project {
            return Came::Ignored(format!("it is about {}, not about {}", event.project, self.0.project));
        }
        let Some(repository) = self.0.desk.folders().repository() else {
            return Came::Ignored("the server follows no repository".to_owned());
        };
        match event.kind {
            Kind::Note => self.noted(event, repository),
            Kind::Push => {
                // Whatever it triggers, the repository is another one.
                if !repository.wait(repository.settings().timeout) {
                    return Came::Later("the repository is still being fetched".to_owned());
                }
                if is_nothing(&event.commit) {
                    return Came::Ignored(format!("branch `{}` is gone", event.branch));
                }
                self.trigger(event, repository)
            }
            Kind::MergeRequest | Kind::Pipeline => self.trigger(event, repository),
        }
    }

    /// Returns the triggers of the newest commit of the followed branch: what a branch says of itself counts for nothing.
    pub(super) fn triggers(&self) -> Result<Vec<Definition>, String> {
        let folder = self.0.desk.folders().folder(None)?;
        let project = Project::find(&folder.path).map_err(|error| error.to_string())?;
        project.triggers().map_err(|error| match error {
            ServiceError::Check(found) => {
                let all = found.iter().map(|one| format!("{}:{}: {}", one.file, one.line, one.message));
                all.collect::<Vec<_>>().join("; ")
            }
            other => other.to_string(),
        })
    }

    /// Asks for a run of each trigger that an event fits.
    pub(super) fn trigger(&self, event: &Event, repository: &Repository) -> Came {
        let triggers = match self.triggers() {
            Ok(triggers) => triggers,
            Err(why) => return Came::Later(format!("the triggers cannot be read: {why}")),
        };
        let fitting: Vec<&Trigger> = triggers
            .iter()
            .map(|definition| &definition.trigger)
            .filter(|trigger| trigger.matches(event))
            .collect();
        if fitting.is_empty() {
            return Came::Ignored("no trigger fits it".to_owned());
        }
        if event.merge_request.as_ref().is_some_and(|request| request.is_fork) && event.kind != Kind::Note {
            return Came::Ignored(
                "the merge request comes from a fork, and what is in forks is not run here".to_owned(),
            );
        }
        if let (Kind::MergeRequest, Some(request)) = (event.kind, &event.merge_request) {
            if !is_open(event) && !repository.wait(repository.settings().timeout) {
                return Came::Later("the repository is still being fetched".to_owned());
            }
            if is_open(event)
                && let Err(why) = repository.bring(&format!("!{}", request.number))
            {
                return Came::Later(why);
            }
        }
        // What a run has pushed does not make the next one run, as long as nobody has changed it.
        if event.kind == Kind::Push
            && !is_nothing(&event.before)
            && repository.is_own(&event.before, &event.commit).unwrap_or(false)
        {
            return Came::Ignored("every commit of it was made by a run".to_owned());
        }
        let files = self.files(event, repository);
        let (mut did, mut skipped) = (Vec::new(), Vec::new());
        for trigger in fitting {
            // Where nobody knows what has changed, everything may have.
            let covers = match &files {
                Some(files) => trigger.covers(files.iter().map(String::as_str)),
                None => true,
            };
            let cares = trigger.has_paths() || event.kind == Kind::Push;
            if cares && !covers {
                skipped.push(format!("`{}`: none of its files has changed", trigger.id));
                continue;
            }
            if let Some(access) = trigger.access
                && let Some(why) = match self.lacks(event, access) {
                    Ok(why) => why,
                    Err(failure) => return failure.into(),
                }
            {
                self.put_down(event, &format!("trigger {}", trigger.id), Some(&why));
                skipped.push(format!("`{}`: {why}", trigger.id));
                continue;
            }
            match self.order(event, trigger) {
                Ok(run) => did.push(format!("`{}`: run {run}", trigger.id)),
                Err(why) => skipped.push(format!("`{}`: {why}", trigger.id)),
            }
        }
        if did.is_empty() {
            return Came::Ignored(skipped.join("; "));
        }
        Came::Done(did.into_iter().chain(skipped).collect::<Vec<_>>().join("; "))
    }

    /// Returns which files an event has changed, by content; nothing where nobody knows.
    fn files(&self, event: &Event, repository: &Repository) -> Option<Vec<String>> {
        let from = match event.kind {
            Kind::Push if !is_nothing(&event.before) => Some(event.before.clone()),
            Kind::MergeRequest if !is_open(event) => return None,
            Kind::Push | Kind::MergeRequest => match repository.fork(&event.commit).ok()? {
                // A new branch without a commit of its own changes nothing.
                Some(fork) if fork == event.commit => return Some(Vec::new()),
                fork => Some(fork?),
            },
            Kind::Pipeline | Kind::Note => return None,
        };
        let changed = repository.changed(from.as_deref(), &event.commit).ok()?;
        Some(changed.files.into_iter().map(|file| file.path).collect())
    }

    /// Returns why somebody may not, whose access level is lower than this.
    pub(super) fn lacks(&self, event: &Event, access: Access) -> Result<Option<String>, Failure> {
        let level = with_gitlab(&self.0.desk, async |door| {
            Person::level(door, &self.0.project, event.user_id).await
        })?;
        Ok((level < access as i64)
            .then(|| format!("{} is no {} of {}", event.user, access.as_str(), event.project)))
    }

    /// Puts a decision about an event into the audit: allowed, or refused for a reason.
    pub(super) fn put_down(&self, event: &Event, target: &str, refused: Option<&str>) {
        let verdict = Verdict {
            // No user and no token of this server has such a name.
            who: format!("gitlab {}", event.user),
            address: "webhook".to_owned(),
            action: "runs.create".to_owned(),
            target: target.chars().take(200).collect(),
            allowed: refused.is_none(),
            reason: refused.unwrap_or_default().chars().take(500).collect(),
        };
        if let Err(error) = self.0.desk.store().audit(&verdict) {
            tracing::error!(%error, "a decision is not in the audit");
        }
    }

    fn order(&self, event: &Event, trigger: &Trigger) -> Result<RunId, String> {
        let revision = match event.kind {
            Kind::Push | Kind::Pipeline => Some(event.commit.clone()),
            Kind::MergeRequest if is_open(event) => Some(event.commit.clone()),
            // What runs then is what the followed branch has, whatever the merge request has or had.
            Kind::MergeRequest | Kind::Note => None,
        };
        let order = Order {
            runbook: trigger.runbook.clone(),
            params: trigger.given(event),
            mode: trigger.mode,
            trigger: cause(event),
            grants: trigger.grants.clone(),
            queue: trigger.queue.clone(),
            priority: trigger.priority,
            behind: false,
            catch_up: false,
            revision,
            plan: None,
            locks: trigger.locks.clone(),
            deadline: None,
        };
        let action = event.merge_request.as_ref().map(|request| request.state.as_str()).unwrap_or_default();
        let key = format!("gitlab:{}:{}:{action}:{}", event.project, event.identity(), trigger.id);
        self.enqueue(event, order, key, &[])
    }

    /// Puts an order into its queue, once; a merge request is told about it.
    pub(super) fn enqueue(
        &self,
        event: &Event,
        order: Order,
        key: String,
        runbooks: &[String],
    ) -> Result<RunId, String> {
        let desk = &self.0.desk;
        let caller = Caller {
            role: Role::Operator,
            grants: order.grants.clone(),
            runbooks: runbooks.to_vec(),
            trigger: order.trigger.clone(),
            plans_only: false,
        };
        let wanted = format!("{} {}", order.mode.as_str(), order.runbook);
        let (order, _) = desk.admit(order, &caller).map_err(|error| {
            let why = error.to_string();
            if matches!(error, ServiceError::NotYours { .. }) {
                self.put_down(event, &wanted, Some(&why));
            }
            why
        })?;
        let keys = Keys { once: Some(key), overlap: None };
        let enqueued = desk.enqueue(&order, &keys).map_err(|error| error.to_string())?;
        let run = enqueued.run();
        if let Enqueued::New(run) = enqueued {
            let about = format!("runs/{run} {} {} by {}", order.mode.as_str(), order.runbook, order.trigger);
            self.put_down(event, &about, None);
        }
        let is_told = order.mode == Mode::Plan || order.plan.is_some();
        if let (Some(request), true) = (&event.merge_request, is_told) {
            let (project, number) = (&event.project, request.number);
            let review = desk.store().review(run, project, number, &event.commit, &order.runbook, order.mode);
            review.map_err(|error| error.to_string())?;
        }
        Ok(run)
    }
}

/// Whether the merge request of an event is still open.
fn is_open(event: &Event) -> bool {
    event.merge_request.as_ref().is_some_and(|request| !matches!(request.state.as_str(), "merged" | "closed"))
}

/// Returns who or what a run remembers as its cause.
pub(super) fn cause(event: &Event) -> Cause {
    Cause::Webhook {
        project: event.project.clone(),
        event: event.kind.as_str().to_owned(),
        user: event.user.clone(),
        merge_request: event.merge_request.as_ref().map(|request| request.number as i64),
    }
}
