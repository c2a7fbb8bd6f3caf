//! What past runs tell: the facts that are not in a run's row.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use crate::model::effect::{Kind, Target};
use crate::model::event::{Event, Request, Start};
use crate::model::inventory::{ALL, Inventory};
use crate::model::run::{RunId, Seq};
use crate::runner::caps::Touched;
use crate::service::ServiceError;
use crate::store::{Filter, Reader, Record, StoreError};

/// Events read at once; bounds the memory of everything that walks a run.
const PAGE: usize = 1000;

/// Returns what a run was started with; of one that waits in a queue, what was asked for.
pub fn start_of(reader: &Reader, run: RunId) -> Result<Start, ServiceError> {
    let mut asked = None;
    for record in reader.events(run, Seq(0), 2)? {
        match record.event {
            Event::Started(start) => return Ok(*start),
            Event::Queued(order) => asked = Some(Start::from(order.as_ref())),
            _ => {}
        }
    }
    asked.ok_or_else(|| ServiceError::Unusable { run: run.0, reason: "it has no first event".to_owned() })
}

/// Hands every event of a run after the given one to a visitor, in order, and returns the number of the last one.
pub fn walk<E: From<StoreError>>(
    reader: &Reader,
    run: RunId,
    mut after: Seq,
    mut visit: impl FnMut(Record) -> Result<(), E>,
) -> Result<Seq, E> {
    loop {
        let page = reader.events(run, after, PAGE)?;
        let is_last = page.len() < PAGE;
        for record in page {
            after = record.seq;
            visit(record)?;
        }
        if is_last {
            return Ok(after);
        }
    }
}

/// How many past runs tell what a runbook uses.
const LOOKED_AT: usize = 50;

/// Returns what the latest runs of a runbook touched: effect and target.
pub fn used(reader: &Reader, runbook: &str) -> Result<BTreeSet<(String, Touched)>, ServiceError> {
    let filter = Filter { runbook: Some(runbook.to_owned()), limit: LOOKED_AT, ..Filter::default() };
    let mut used = BTreeSet::new();
    for row in reader.runs(&filter)? {
        // What a read found is in its outcome, not in its intent.
        let mut asked = HashMap::new();
        walk::<StoreError>(reader, row.id, Seq(0), |record| {
            match record.event {
                Event::Intent { address, request, pre } => {
                    note(&mut used, &request, &pre);
                    if request.kind == Kind::Read {
                        asked.insert(address, request);
                    }
                }
                Event::Forecast { request, pre, .. } => note(&mut used, &request, &pre),
                Event::Outcome { address, value, .. } => {
                    if let Some(request) = asked.remove(&address) {
                        note(&mut used, &request, &value);
                    }
                }
                _ => {}
            }
            Ok(())
        })?;
    }
    Ok(used)
}

/// Notes what an effect touched; `told` may say where its path led.
fn note(used: &mut BTreeSet<(String, Touched)>, request: &Request, told: &Value) {
    let touched = match &request.target {
        Target::Run => return,
        Target::Host { host, path, .. } => {
            let host = host.to_string();
            if let (Some(path), Some(real)) = (path, told.get("real").and_then(Value::as_str)) {
                let behind =
                    Touched::Behind { host: host.clone(), path: path.clone(), real: real.to_owned() };
                used.insert((request.effect.clone(), behind));
            }
            Touched::Host { host, path: path.clone() }
        }
        Target::Named { name } => Touched::Named(name.clone()),
    };
    used.insert((request.effect.clone(), touched));
}

/// Returns the groups by the hosts that they hold; of groups with the same hosts the first by name, `all` last.
pub fn groups_by_hosts(inventory: &Inventory) -> BTreeMap<BTreeSet<String>, String> {
    let mut groups = BTreeMap::new();
    let (all, others): (Vec<_>, Vec<_>) = inventory.groups().partition(|group| group.name == ALL);
    for group in others.into_iter().chain(all).filter(|group| group.hosts.len() > 1) {
        let hosts: BTreeSet<String> = group.hosts.iter().cloned().collect();
        groups.entry(hosts).or_insert_with(|| group.name.clone());
    }
    groups
}
