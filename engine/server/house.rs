//! What a server does by itself besides starting runs: tells people, and removes what is too old.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::server::App;
use crate::service::{Desk, Notifier};
use crate::store::Keep;
use crate::world::clock;

/// How often it is looked whether somebody must be told.
const LOOK: Duration = Duration::from_secs(1);
/// Every so many looks also at what did not happen: schedules without success.
const WHOLE: u64 = 10;
/// How often old runs are removed.
const PRUNE: SignedDuration = SignedDuration::from_hours(24);

/// Keeps house until the server ends; only the server in the lead does.
pub(crate) async fn keep(mut app: App) {
    let mut notifier = Notifier::new(&app.desk);
    let mut pruned = None;
    for turn in 0_u64.. {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = app.ending.wait_for(|ended| *ended) => return,
        }
        if !app.desk.leads() {
            continue;
        }
        let now = clock::now();
        let looked = tokio::task::spawn_blocking(move || {
            let result = notifier.look(now, turn % WHOLE == 0);
            (notifier, result)
        });
        // A panic in there was told by its hook; without a notifier nobody would be told of anything.
        let Ok((same, result)) = looked.await else {
            notifier = Notifier::new(&app.desk);
            continue;
        };
        notifier = same;
        if let Err(error) = result {
            tracing::error!(%error, "what happened cannot be looked at; it will be again");
        }
        if let Err(error) = notifier.deliver(now).await {
            tracing::error!(%error, "messages cannot be delivered; they will be again");
        }
        let is_due = pruned.is_none_or(|last: Timestamp| now.duration_since(last) >= PRUNE);
        let keep = app.desk.project().config().retention.keep();
        if is_due && keep != Keep::default() {
            pruned = Some(now);
            let desk = app.desk.clone();
            tokio::task::spawn_blocking(move || prune(&desk, &keep));
        }
    }
}

fn prune(desk: &Desk, keep: &Keep) {
    match desk.store().prune(keep, false) {
        Ok(pruned) if pruned.runs.is_empty() => {}
        Ok(pruned) => {
            let freed = pruned.before.saturating_sub(pruned.after);
            tracing::info!(runs = pruned.runs.len(), freed_bytes = freed, "old runs are removed");
        }
        Err(error) => tracing::error!(%error, "old runs cannot be removed"),
    }
}
