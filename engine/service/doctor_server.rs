//! What `doctor` looks at where there is a server, or settings for one.

use std::net::SocketAddr;

use jiff::Timestamp;

use crate::gate::sentence;
use crate::service::doctor::{Finding, State};
use crate::service::{LISTEN, Project, Schedules, ServiceError, notify_faults, stands};
use crate::store::Store;
use crate::world::tls::files::Files;
use crate::world::{clock, machine};
use crate::x509::Bundle;

/// A certificate that ends sooner than in so many days deserves a look.
const FEW_DAYS: i64 = 14;

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
    tls(project, found);
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
    let leads = store.is_some_and(|store| store.lock_holder("server").is_some());
    if !leads && (settings.listen.is_some() || !schedules.definitions.is_empty()) {
        port(settings.listen.as_deref().unwrap_or(LISTEN), found);
    }
    if let Some(store) = store
        && let Err(error) = log(store, &schedules, clock::now(), found)
    {
        found.push(Finding::new("schedules", State::Fail, error.to_string()));
    }
}

/// Looks at the certificate that the server shows, and whether it needs one.
fn tls(project: &Project, found: &mut Vec<Finding>) {
    let settings = &project.config().server;
    let Some(tls) = &settings.tls else {
        let address: Option<SocketAddr> = settings.listen.as_ref().and_then(|text| text.parse().ok());
        let is_https = settings.url.as_ref().is_some_and(|url| url.starts_with("https://"));
        if address.is_some_and(|address| !address.ip().is_loopback()) && !is_https {
            found.push(
                Finding::new(
                    "server",
                    State::Fail,
                    "it listens beyond this machine without TLS, so it does not start",
                )
                .hint(
                    "`server.tls: {certificate, key}`, or `server.url: https://…` where a proxy speaks TLS",
                ),
            );
        }
        return;
    };
    let (certificate, key) = (project.root().join(&tls.certificate), project.root().join(&tls.key));
    if let Err(error) = Files::open(certificate.clone(), key.clone()) {
        found.push(Finding::new("TLS", State::Fail, sentence(&error)).hint("see `server.tls` in nlrun.yaml"));
        return;
    }
    let bundle = std::fs::read(&certificate).ok().and_then(|bytes| Bundle::read(&bytes).ok());
    if let Some(first) = bundle.as_ref().and_then(|bundle| bundle.certificates.first()) {
        let (days, name) = (first.days_left(clock::now()), certificate.display());
        found.push(match days {
            ..0 => Finding::new("TLS", State::Fail, format!("`{name}` has ended {} days ago", -days))
                .hint("put a new one in its place: the server reads it without a restart"),
            0..FEW_DAYS => Finding::new("TLS", State::Warn, format!("`{name}` ends in {days} days"))
                .hint("put a new one in its place: the server reads it without a restart"),
            _ => Finding::new("TLS", State::Ok, format!("`{name}` is good for {days} days")),
        });
    }
    if machine::is_read_by_others(&key) {
        let text = format!("everybody on this machine may read `{}`", key.display());
        found.push(Finding::new("TLS", State::Warn, text).hint("`chmod 600` it"));
    }
}

/// Looks whether the server could listen where it should; asked only while none runs.
fn port(listen: &str, found: &mut Vec<Finding>) {
    let Ok(address) = listen.parse::<SocketAddr>() else { return };
    found.push(match machine::is_free(address) {
        Ok(true) => Finding::new("server", State::Ok, format!("{address} is free to listen at")),
        Ok(false) => Finding::new("server", State::Warn, format!("another program listens at {address}"))
            .hint("end it, or name another port: `server.listen` in nlrun.yaml"),
        Err(error) => Finding::new("server", State::Fail, format!("nobody can listen at {address}: {error}"))
            .hint("`server.listen` in nlrun.yaml names an address of this machine"),
    });
}

fn log(
    store: &Store,
    schedules: &Schedules,
    now: Timestamp,
    found: &mut Vec<Finding>,
) -> Result<(), ServiceError> {
    match store.lock_holder("server") {
        Some(holder) => {
            found.push(Finding::new("server", State::Ok, format!("one is in the lead: {holder}")));
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
