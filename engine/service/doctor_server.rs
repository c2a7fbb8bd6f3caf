//! What `doctor` looks at where there is a server, or settings for one.

use std::net::SocketAddr;

use jiff::Timestamp;

use crate::service::doctor::{Finding, State};
use crate::service::{Project, Schedules, ServiceError, notify_faults, stands};
use crate::store::Store;
use crate::world::clock;

/// Looks at the settings of the server, at who leads, at the clock, and at schedules that are stale.
pub(super) fn server(project: &Project, store: Option<&Store>, found: &mut Vec<Finding>) {
    let settings = &project.config().server;
    let address = |text: &Option<String>| text.clone().filter(|text| text.parse::<SocketAddr>().is_err());
    for (key, text) in
        [("server.listen", &settings.listen), ("server.metrics.listen", &settings.metrics.listen)]
    {
        if let Some(text) = address(text) {
            found.push(
                Finding::new("server", State::Fail, format!("`{key}: {text}` is no address with a port"))
                    .hint("such as `127.0.0.1:7766`"),
            );
        }
    }
    let has_targets = !settings.notify.targets.is_empty();
    match &settings.url {
        Some(text) => {
            let is_fit = url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
            if !is_fit {
                let text = format!("`server.url: {text}` is no address that people can open");
                found.push(
                    Finding::new("server", State::Fail, text).hint("such as `https://nlrun.example.net`"),
                );
            }
        }
        None if has_targets => found.push(
            Finding::new(
                "server",
                State::Warn,
                "messages have no links: nobody says how people reach the server",
            )
            .hint("set `server.url` in nlrun.yaml"),
        ),
        None => {}
    }
    let schedules = match project.schedules() {
        Ok(schedules) => schedules,
        Err(error) => {
            let count = match &error {
                ServiceError::Check(found) => found.len(),
                _ => 1,
            };
            let text = format!("the files of schedules cannot be used: {count} findings");
            found.push(Finding::new("schedules", State::Fail, text).hint("`nlrun schedule lint` shows them"));
            Schedules::default()
        }
    };
    for fault in notify_faults(&settings.notify, &schedules) {
        found.push(Finding::new("notify", State::Fail, fault).hint("see `server.notify` in nlrun.yaml"));
    }
    if has_targets {
        let names: Vec<&str> = settings.notify.targets.keys().map(String::as_str).collect();
        let text = format!("targets: {}", names.join(", "));
        found.push(Finding::new("notify", State::Ok, text).hint("`nlrun notify test NAME` tries one"));
    }
    if !schedules.definitions.is_empty() && clock::is_synchronized() == Some(false) {
        found.push(
            Finding::new(
                "clock",
                State::Warn,
                "it is not set by the network: schedules fire by it all the same",
            )
            .hint("`timedatectl set-ntp true`"),
        );
    }
    if let Some(store) = store
        && let Err(error) = log(store, &schedules, clock::now(), found)
    {
        found.push(Finding::new("schedules", State::Fail, error.to_string()));
    }
}

fn log(
    store: &Store,
    schedules: &Schedules,
    now: Timestamp,
    found: &mut Vec<Finding>,
) -> Result<(), ServiceError> {
    match store.lock_holder("server") {
        Some(holder) => {
            found.push(Finding::new("server", State::Ok, format!("one is in the lead: {holder}")))
        }
        None if !schedules.definitions.is_empty() => found.push(
            Finding::new("server", State::Warn, "no server runs, so no schedule fires")
                .hint("`nlrun serve` starts one"),
        ),
        None => {}
    }
    let reader = store.reader()?;
    for stand in stands(&reader, schedules, None, 0, now)? {
        let name = &stand.definition.schedule.id;
        if let Some(since) = stand.stale_since {
            let text = format!("`{name}` is stale since {since}: it has no success");
            found.push(
                Finding::new("schedules", State::Warn, text)
                    .hint(format!("`nlrun schedule fates {name}` says why")),
            );
        }
        if let Some(pause) = stand.cursor.and_then(|moved| moved.cursor.paused) {
            let text = format!("`{name}` stands still since {}: {}", pause.since, pause.why);
            found.push(
                Finding::new("schedules", State::Warn, text)
                    .hint(format!("`nlrun schedule resume {name}` lets it go on")),
            );
        }
    }
    let stuck = reader.messages(None, 50)?;
    for one in stuck.iter().filter(|one| one.delivered_at.is_none() && one.error.is_some()) {
        let error = one.error.as_deref().unwrap_or_default();
        let text = format!(
            "a message to `{}` is not delivered after {} attempts: {error}",
            one.target, one.attempts
        );
        found.push(Finding::new("notify", State::Warn, text));
    }
    Ok(())
}
