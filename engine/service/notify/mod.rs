//! Tells people what needs them: looks at what happened, keeps messages for them, and delivers these.
//!
//! What happened stands in the run log (`untold`), written by the transaction that it happened in. A message is kept in the transaction
//! that takes note of it, under a key that exists once, and stays until it is delivered: a crash neither loses nor doubles it.

mod compose;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::broadcast;

use crate::gate::redactor::Redactor;
use crate::gate::sentence;
use crate::model::notice::{Notice, Occasion, pause};
use crate::model::schedule::{Definition, Schedule};
use crate::service::scheduler::Alarm;
use crate::service::{Desk, Place, Project, Schedules, ServiceError};
use crate::store::{Mail, Outgoing, Standing};
use crate::world::clock;
use crate::world::notify::Messenger;
use crate::world::notify::config::Config;

/// How long a failure goes on before people are told again.
const REPEAT: SignedDuration = SignedDuration::from_hours(4);
/// What is looked at in one turn.
const BATCH: usize = 200;
/// Messages to one target in one turn.
const ROUND: usize = 20;
/// How long messages are kept after they were delivered.
const KEEP: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Tells people what needs them, for the server that leads.
pub struct Notifier {
    desk: Desk,
    alarms: broadcast::Receiver<Alarm>,
    messenger: Messenger,
}

/// When a schedule that has no success became stale, if it is.
pub fn stale_since(schedule: &Schedule, standing: Option<&Standing>, now: Timestamp) -> Option<Timestamp> {
    let most = SignedDuration::try_from(schedule.stale_after?).ok()?;
    if !schedule.enabled {
        return None;
    }
    let standing = standing?;
    let good = standing.success.map_or(standing.seen_at, |(_, at)| at.max(standing.seen_at));
    let end = Timestamp::from_microsecond(good).ok()?.checked_add(most).ok()?;
    (end < now).then_some(end)
}

/// Says what is wrong with the settings of notifications: targets that are not right, names that stand for none.
pub fn notify_faults(config: &Config, schedules: &Schedules) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, target) in &config.targets {
        faults.extend(target.fault().map(|fault| format!("target `{name}`: {fault}")));
    }
    let mut unknown = |name: &String, who: &str| {
        if !config.targets.contains_key(name) {
            faults.push(format!("{who} names the target `{name}`, and there is none of this name"));
        }
    };
    for name in &config.default {
        unknown(name, "`server.notify.default`");
    }
    for Definition { schedule, .. } in &schedules.definitions {
        let lists = &schedule.notify;
        for name in [&lists.failure, &lists.recovery, &lists.missed, &lists.stale].into_iter().flatten() {
            unknown(name, &format!("schedule `{}`", schedule.id));
        }
    }
    faults
}

impl Notifier {
    /// Makes the notifier of a server.
    pub fn new(desk: &Desk) -> Self {
        let messenger = Messenger::new(desk.project().root().to_owned());
        Self { desk: desk.clone(), alarms: desk.alarms(), messenger }
    }

    /// Looks at what happened and keeps messages about what needs somebody; in a `whole` look also at what did not happen.
    pub fn look(&mut self, now: Timestamp, whole: bool) -> Result<(), ServiceError> {
        let is_idle = self.alarms.is_empty()
            && self.desk.read::<_, ServiceError>(|reader| Ok(reader.untold(1)?.is_empty()))?;
        if is_idle && !whole {
            return Ok(());
        }
        let config = &self.desk.project().config().server.notify;
        let schedules = self.desk.schedules();
        let names: Vec<&str> = schedules.definitions.iter().map(|one| one.schedule.id.as_str()).collect();
        self.desk.store().see(&names)?;
        let (untold, standings) =
            self.desk.read::<_, ServiceError>(|reader| Ok((reader.untold(BATCH)?, reader.standings()?)))?;
        let standings: BTreeMap<&str, &Standing> =
            standings.iter().map(|one| (one.schedule.as_str(), one)).collect();
        let mut told = Told { config, now, mail: Vec::new() };
        let (mut failing, mut stale) = (Vec::new(), Vec::new());
        let link = |path: String| {
            let url = self.desk.project().config().server.url.as_ref()?;
            Some(format!("{}{path}", url.trim_end_matches('/')))
        };
        for one in &untold {
            let name = one.schedule.as_deref();
            let found = name.and_then(|name| schedules.find(name));
            let schedule = found.map(|definition| &definition.schedule);
            if let Some((run, status)) = one.ended {
                let was_stale = name.and_then(|name| standings.get(name)?.stale_at).is_some();
                let repeat = told.repeat();
                let Some(occasion) = compose::occasion(one, status, was_stale, repeat) else { continue };
                let notice = self.desk.read::<_, ServiceError>(|reader| {
                    // Retention may have been faster.
                    let Ok(row) = reader.run(run) else { return Ok(None) };
                    let start = crate::service::start_of(reader, run)?;
                    Ok(compose::ended(occasion, one, &row, &start, schedule, link(format!("/runs/{run}"))))
                })?;
                let Some(notice) = notice else { continue };
                if occasion == Occasion::Failure {
                    failing.extend(name.map(str::to_owned));
                }
                told.about(schedule, &format!("{}:{run}", occasion.as_str()), &notice);
            } else if let (Some((state, reason, count, instant)), Some(name)) = (&one.fate, name) {
                let link = link("/schedules".to_owned());
                let (key, notice) =
                    compose::undelivered(name, state, reason, *count, *instant, schedule, link);
                // Of many of one sort the first one says it all; the list of the schedule has each.
                let window = one.at / told.repeat().as_micros().max(1) as i64;
                let key =
                    if state == "paused" { format!("{key}:{}", one.id) } else { format!("{key}:{window}") };
                told.about(schedule, &key, &notice);
            }
        }
        for Definition { schedule, .. } in &schedules.definitions {
            let standing = standings.get(schedule.id.as_str()).copied();
            let since = stale_since(schedule, standing, now);
            match (since, standing.and_then(|standing| standing.stale_at)) {
                (Some(since), None) => {
                    let notice = compose::stale(schedule, standing, since, link("/schedules".to_owned()));
                    told.about(Some(schedule), &format!("stale:{}:{since}", schedule.id), &notice);
                    stale.push((schedule.id.clone(), true));
                }
                (None, Some(_)) => stale.push((schedule.id.clone(), false)),
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
        while let Ok(alarm) = self.alarms.try_recv() {
            if let Some((key, notice)) = compose::alarm(&alarm, now, link("/schedules".to_owned())) {
                told.about(None, &key, &notice);
            }
        }
        let ids: Vec<i64> = untold.iter().map(|one| one.id).collect();
        if !(ids.is_empty() && told.mail.is_empty() && stale.is_empty()) {
            self.desk.store().tell(&ids, &told.mail, &failing, &stale)?;
        }
        Ok(())
    }

    /// Delivers what is due; what cannot be delivered is tried again later.
    pub async fn deliver(&self, now: Timestamp) -> Result<(), ServiceError> {
        let due = self
            .desk
            .read::<_, ServiceError>(|reader| Ok(reader.due_messages(now.as_microsecond(), BATCH)?))?;
        if due.is_empty() {
            return Ok(());
        }
        let mut by_target: BTreeMap<&str, Vec<&Outgoing>> = BTreeMap::new();
        for message in &due {
            by_target.entry(&message.target).or_default().push(message);
        }
        // A target that does not answer must not hold up the others.
        let rounds = by_target.into_iter().map(|(target, messages)| self.round(target, messages));
        for result in futures_util::future::join_all(rounds).await {
            result?;
        }
        let before = now.checked_sub(KEEP).unwrap_or(now).as_microsecond();
        Ok(self.desk.store().forget_messages(before)?)
    }

    async fn round(&self, name: &str, messages: Vec<&Outgoing>) -> Result<(), ServiceError> {
        let (project, store) = (self.desk.project(), self.desk.store());
        for message in messages.into_iter().take(ROUND) {
            let id = format!("nlrun-{}-{}", message.id, message.made_at);
            let sent = send(project, self.desk.place(), &self.messenger, name, &message.notice, &id).await;
            let Err(error) = sent else {
                store.delivered(message.id)?;
                continue;
            };
            let now = clock::now();
            let made = Timestamp::from_microsecond(message.made_at).unwrap_or(now);
            let again = pause(message.attempts, now.duration_since(made));
            tracing::error!(target = name, attempts = message.attempts + 1, %error, "a message cannot be delivered");
            let again = again.and_then(|pause| now.checked_add(pause).ok()).map(Timestamp::as_microsecond);
            store.undelivered(message.id, &error, again)?;
            // The next one would fare no better.
            break;
        }
        Ok(())
    }
}

/// Messages as they are made.
struct Told<'a> {
    config: &'a Config,
    now: Timestamp,
    mail: Vec<Mail>,
}

impl Told<'_> {
    fn repeat(&self) -> SignedDuration {
        self.config.repeat.and_then(|time| SignedDuration::try_from(time).ok()).unwrap_or(REPEAT)
    }

    /// Keeps a message for everybody who is told of this: those whom the schedule names, else the project's default.
    fn about(&mut self, schedule: Option<&Schedule>, key: &str, notice: &Notice) {
        let named = schedule.map(|schedule| match notice.occasion {
            Occasion::Failure | Occasion::Paused => &schedule.notify.failure,
            Occasion::Recovery => &schedule.notify.recovery,
            Occasion::Stale => &schedule.notify.stale,
            Occasion::Missed => &schedule.notify.missed,
            Occasion::Server | Occasion::Test => &self.config.default,
        });
        let names = named.filter(|names| !names.is_empty()).unwrap_or(&self.config.default);
        for name in names {
            // One that is not there is a finding of the check, and not a reason to fail here.
            let Some(target) = self.config.targets.get(name) else { continue };
            let quiet = target.quiet.as_ref().or(self.config.quiet.as_ref());
            let due = quiet.map_or(self.now, |quiet| quiet.due(notice.occasion, self.now));
            self.mail.push(Mail {
                key: format!("{key}:{name}"),
                target: name.clone(),
                notice: notice.clone(),
                due_at: due.as_microsecond(),
            });
        }
    }
}

/// Makes one attempt to tell a target something; the error is in words, without secrets.
pub async fn send(
    project: &Project,
    place: &Place,
    messenger: &Messenger,
    name: &str,
    notice: &Notice,
    id: &str,
) -> Result<(), String> {
    let Some(target) = project.config().server.notify.targets.get(name) else {
        return Err(format!("there is no target `{name}` in `server.notify.targets`"));
    };
    let redactor = Redactor::default();
    let hidden = redactor.clone();
    let secrets = project.secrets(place);
    secrets.listen(Box::new(move |secret| drop(hidden.add(secret))));
    for name in [
        target.mail.as_ref().and_then(|mail| mail.password.as_ref()),
        target.matrix.as_ref().map(|matrix| &matrix.token),
        target.webhook.as_ref().and_then(|webhook| webhook.url_secret.as_ref()),
        target.webhook.as_ref().and_then(|webhook| webhook.secret.as_ref()),
    ]
    .into_iter()
    .flatten()
    {
        // What cannot be fetched is told by the attempt itself.
        if let Ok(secret) = secrets.get(name).await {
            drop(redactor.add(&secret));
        }
    }
    let sent = messenger.send(target, &secrets, notice, id).await;
    secrets.close().await;
    sent.map_err(|error| redactor.text(&sentence(&error)).into_owned())
}

/// Returns the message of `nlrun notify test`.
pub fn test_notice(project: &Project) -> Notice {
    Notice {
        occasion: Occasion::Test,
        subject: "[nlrun] a test of notifications".to_owned(),
        what: "somebody tries whether messages arrive here; nothing is wrong".to_owned(),
        link: project.config().server.url.clone(),
        ..Notice::default()
    }
}
