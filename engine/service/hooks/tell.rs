//! Merge requests are told about their runs: one note each, and a status beside the commit.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::Hooks;
use super::door::{Door, with_gitlab};
use super::text::{Effect, Section, note};
use crate::model::event::{Event, Failure};
use crate::model::run::{Mode, Seq, Status};
use crate::service::{ServiceError, walk};
use crate::store::{Reader, Review, StoreError};
use crate::world::gitlab::{self, MergeRequest, State, failure, marked};
use crate::world::http::retry::pause;

/// The name of the note.
const NAME: &str = "runs";
/// The first pause after a failure.
const FIRST: Duration = Duration::from_secs(2);

/// When a merge request is tried again that could not be told, and how often it was tried.
pub(super) type Tried = HashMap<(String, u64), (Instant, u32)>;

impl Hooks {
    /// Tells every merge request whose runs have got on.
    pub(super) fn tell(&self) -> Result<(), ServiceError> {
        let desk = &self.0.desk;
        let due: BTreeSet<(String, u64)> = desk.read::<_, StoreError>(|reader| {
            let reviews = reader.reviews_to_tell()?.into_iter().map(|one| (one.project, one.merge_request));
            Ok(reviews.chain(reader.answers_to_tell()?).collect())
        })?;
        for (project, number) in due {
            let key = (project.clone(), number);
            if self.0.tried.lock().get(&key).is_some_and(|(at, _)| *at > Instant::now()) {
                continue;
            }
            match self.tell_one(&project, number) {
                Ok(()) => {
                    self.0.tried.lock().remove(&key);
                }
                Err(failure) => {
                    let mut tried = self.0.tried.lock();
                    let times = tried.get(&key).map_or(1, |(_, times)| times + 1);
                    tracing::warn!(
                        "{project}!{number} cannot be told about its runs (try {times}): {}",
                        failure.message
                    );
                    tried.insert(key, (Instant::now() + pause(FIRST, times), times));
                }
            }
        }
        Ok(())
    }

    fn tell_one(&self, project: &str, number: u64) -> Result<(), Failure> {
        let desk = &self.0.desk;
        let inner = |error: ServiceError| failure("store", error.to_string());
        let (reviews, answer) = desk
            .read::<_, ServiceError>(|reader| {
                Ok((reader.reviews_of(project, number)?, reader.answered(project, number)?))
            })
            .map_err(inner)?;
        let answer = answer.map(|(text, _)| text);
        with_gitlab(desk, async |door| {
            let there = MergeRequest::get(door, project, number).await?;
            for review in reviews.iter().filter(|review| review.is_news) {
                self.set_status(door, review).await?;
            }
            // A merge request that is gone is told nothing any more.
            let Some(there) = there else { return Ok(()) };
            let sections = desk.read::<_, ServiceError>(|reader| {
                newest(&reviews)
                    .into_iter()
                    .map(|review| self.section(reader, review, &there))
                    .collect::<Result<Vec<_>, _>>()
            });
            let sections = sections.map_err(inner)?;
            let text = note(answer.as_deref(), &sections, hint(&sections));
            let body = marked(NAME, &text, "the runs have all of it");
            let found = gitlab::Note::find(door, project, number, NAME).await?;
            if !found.as_ref().is_some_and(|note| note.holds(NAME, &body)) {
                gitlab::Note::write(door, project, number, found.map(|note| note.id), &body).await?;
            }
            Ok(())
        })?;
        let store = desk.store();
        let stored = || -> Result<(), StoreError> {
            for review in reviews.iter().filter(|review| review.is_news) {
                store.told(review.run, review.status)?;
            }
            match &answer {
                Some(text) => store.answer_told(project, number, text),
                None => Ok(()),
            }
        };
        stored().map_err(|error| failure("store", error.to_string()))
    }

    async fn set_status(&self, door: &Door, review: &Review) -> Result<(), Failure> {
        let bare = review.runbook.trim_start_matches("runbooks/").trim_end_matches(".rhai");
        let (state, words) = match review.status {
            Status::Queued => (State::Pending, "waits for its turn"),
            Status::Running | Status::Interrupted => (State::Running, "runs"),
            Status::Done => (State::Success, "done"),
            Status::Partial => (State::Failed, "some hosts failed or were unreachable"),
            Status::Failed => (State::Failed, "failed"),
            Status::Stopped => (State::Failed, "was stopped"),
            Status::InDoubt => (State::Failed, "waits for a decision about acts in doubt"),
            Status::TimedOut => (State::Failed, "took longer than its limit"),
            Status::Cancelled => (State::Canceled, "was cancelled"),
        };
        let status = gitlab::Status {
            commit: review.commit.clone(),
            name: format!("nlrun/{}/{bare}", review.mode.as_str()),
            state,
            reference: None,
            url: self.url(review.run.0),
            description: Some(format!("run {} {words}", review.run)),
            pipeline: None,
            coverage: None,
        };
        match status.post(door, &review.project).await {
            Ok(_) => Ok(()),
            // Of a commit that is gone, and of a state that GitLab does not let go back, there is no more to tell.
            Err(failure) if failure.kind == "transition" || failure.details["status"] == 404 => {
                tracing::warn!(run = %review.run, "{}", failure.message);
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    fn url(&self, run: i64) -> Option<String> {
        let url = self.0.desk.project().config().server.url.as_deref()?;
        Some(format!("{}/runs/{run}", url.trim_end_matches('/')))
    }

    fn section(
        &self,
        reader: &Reader,
        review: &Review,
        there: &MergeRequest,
    ) -> Result<Section, ServiceError> {
        let summary = reader.run(review.run)?.summary;
        let mut effects = Vec::new();
        let mut requests: HashMap<_, Box<crate::model::event::Request>> = HashMap::new();
        walk::<StoreError>(reader, review.run, Seq(0), |record| {
            let (request, diff) = match record.event {
                Event::Forecast { request, changes: true, diff, .. } => (request, diff),
                Event::Intent { address, request, .. } => {
                    requests.insert(address, request);
                    return Ok(());
                }
                Event::Outcome { address, verdict: crate::model::event::Verdict::Changed, diff, .. } => {
                    match requests.remove(&address) {
                        Some(request) => (request, diff),
                        None => return Ok(()),
                    }
                }
                _ => return Ok(()),
            };
            let target = request.target.to_string();
            let group = request.target.host().map_or_else(|| target.clone(), str::to_owned);
            let about = request.about().map(|about| format!(" {about}")).unwrap_or_default();
            effects.push(Effect { group, line: format!("{} {target}{about}", request.effect), diff });
            Ok(())
        })?;
        let mut problems: Vec<String> =
            summary.problems.iter().map(|problem| problem.text.clone()).take(20).collect();
        if let Some(text) = summary.error.as_ref().and_then(|error| error["message"].as_str()) {
            problems.push(text.to_owned());
        }
        Ok(Section {
            run: review.run.0,
            runbook: review.runbook.clone(),
            mode: review.mode,
            status: review.status,
            commit: review.commit.clone(),
            is_newest: review.commit == there.head,
            url: self.url(review.run.0),
            changes: summary.counts.changed,
            incomplete: summary.incomplete,
            problems,
            effects,
        })
    }
}

/// Returns the newest plan and the newest apply after it, of each runbook.
fn newest(reviews: &[Review]) -> Vec<&Review> {
    let mut found: BTreeMap<&str, (Option<&Review>, Option<&Review>)> = BTreeMap::new();
    for review in reviews {
        let (plan, apply) = found.entry(&review.runbook).or_default();
        match review.mode {
            Mode::Plan => (*plan, *apply) = (Some(review), None),
            Mode::Apply => *apply = Some(review),
        }
    }
    found.into_values().flat_map(|(plan, apply)| [apply, plan]).flatten().collect()
}

/// Says what can be done next.
fn hint(sections: &[Section]) -> Option<&'static str> {
    let is_applied = sections.iter().any(|section| section.mode == Mode::Apply);
    let is_ready =
        |section: &Section| section.is_newest && section.changes > 0 && section.status == Status::Done;
    (!is_applied && sections.iter().any(is_ready))
        .then_some("`nlrun apply` does exactly this; `nlrun plan` plans again")
}
