//! What a plan promised of paths: effects on one path, on a folder above it and on what is below build on each other.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::bindings::file::attributes::Attributes;
use crate::bindings::file::probe::{Ask, Observed, Type};
use crate::bindings::file::remote::Place;
use crate::gate::Permit;
use crate::model::event::Failure;
use crate::model::run::Mode;

/// The most promised links that lead to each other.
const LINKS: usize = 40;

/// Numbers promises, so that an older one about something in a folder that was removed since counts no more.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The state that a path will have.
pub(super) struct Promise {
    state: Observed,
    at: u64,
    /// When everything below it went.
    emptied_at: Option<u64>,
}

/// How a path stands in a plan.
pub(super) enum Standing {
    /// It will be this.
    Promised(Observed),
    /// It went with this folder above it.
    Gone(String),
    /// A link among its folders will lead there.
    Through(String),
    /// Nothing was promised: it is what the host says.
    Unknown,
}

/// Returns how a path stands.
pub(super) fn standing(permit: &Permit<'_>, path: &str) -> Standing {
    let own = permit.promised::<Promise>(path);
    let own_at = own.as_ref().map_or(0, |own| own.at);
    let mut gone = None;
    for above in folders(path) {
        let Some(promise) = permit.promised::<Promise>(above) else { continue };
        if promise.emptied_at.is_some_and(|at| at > own_at) {
            gone = Some(above.to_owned());
        }
        if promise.state.r#type == Type::Link
            && let Standing::Promised(link) = standing(permit, above)
        {
            return Standing::Through(join(above, &link) + &path[above.len()..]);
        }
    }
    match (gone, own) {
        (Some(above), _) => Standing::Gone(above),
        (None, Some(own)) => Standing::Promised(own.state.clone()),
        (None, None) => Standing::Unknown,
    }
}

/// Whether something will be below a path, so that a folder will be there whoever makes it.
pub(super) fn holds_something(permit: &Permit<'_>, path: &str) -> bool {
    let is_there = |below: &String| matches!(standing(permit, below), Standing::Promised(state) if state.r#type != Type::Absent);
    // What was removed again may stand before what is there, but not often.
    [1, usize::MAX]
        .into_iter()
        .any(|most| permit.promised_below::<Promise>(path, most).iter().any(|(below, _)| is_there(below)))
}

/// Returns the promised states below a path, by their names within it.
pub(super) fn below(permit: &Permit<'_>, path: &str) -> Vec<(String, Observed)> {
    let promised = permit.promised_below::<Promise>(path, usize::MAX);
    let states = promised.into_iter().filter_map(|(below, _)| match standing(permit, &below) {
        Standing::Promised(state) => Some((below[path.len() + 1..].to_owned(), state)),
        Standing::Gone(_) | Standing::Through(_) | Standing::Unknown => None,
    });
    states.collect()
}

/// Notes the state that a path will have.
pub(super) fn note(permit: &Permit<'_>, path: &str, state: Observed) {
    if permit.mode() != Mode::Plan {
        return;
    }
    let at = NEXT.fetch_add(1, Ordering::Relaxed);
    let emptied_at = if state.r#type == Type::Directory {
        permit.promised::<Promise>(path).and_then(|before| before.emptied_at)
    } else {
        Some(at)
    };
    permit.promise(path, Promise { state, at, emptied_at });
}

/// Returns the folders above a path, nearest first.
fn folders(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('/').map(|(at, _)| &path[..at]).filter(|above| !above.is_empty())
}

/// Returns where a link leads.
fn join(link: &str, state: &Observed) -> String {
    let target = state.target.as_deref().unwrap_or_default();
    let path = state.real.as_deref().unwrap_or(link);
    let folder = if target.starts_with('/') { "" } else { path.rsplit_once('/').map_or("", |parts| parts.0) };
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(target.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

impl Place {
    /// Looks at the path, or in a plan at what earlier effects would have made of it.
    pub(super) async fn observe(
        &self,
        permit: &Permit<'_>,
        follow: bool,
        ask: Ask<'_>,
    ) -> Result<Observed, Failure> {
        if permit.mode() != Mode::Plan {
            return self.probe(permit, follow, ask).await;
        }
        let (mut path, mut probed) = (self.path.clone(), None);
        for _ in 0..LINKS {
            let seen = match standing(permit, &path) {
                Standing::Promised(link) if follow && link.r#type == Type::Link => {
                    (path, probed) = (join(&path, &link), None);
                    continue;
                }
                Standing::Through(behind) => {
                    (path, probed) = (behind, None);
                    continue;
                }
                Standing::Promised(state) => state.told(ask),
                Standing::Gone(above) => {
                    let mut seen = self.at(&above).probe_gone(permit).await?;
                    seen.real = seen.real.map(|real| real + &path[above.len()..]);
                    seen.is_blocked = false;
                    seen
                }
                Standing::Unknown => match probed.take() {
                    Some(seen) => seen,
                    None => {
                        let seen = self.at(&path).probe(permit, follow, ask).await?;
                        if let Some(real) = &seen.real {
                            // Promises are kept by the path behind all links.
                            path.clone_from(real);
                            probed = Some(seen);
                            continue;
                        }
                        seen
                    }
                },
            };
            return self.seen_at(permit, path, seen);
        }
        Err(self.failure("loop", format!("`{}` is a link that leads to itself", self.path)))
    }

    /// Completes what is at another path by where that is.
    fn seen_at(&self, permit: &Permit<'_>, path: String, mut seen: Observed) -> Result<Observed, Failure> {
        if seen.r#type == Type::Absent && holds_something(permit, seen.real.as_ref().unwrap_or(&path)) {
            seen = seen.become_entry(Type::Directory, 0o755, &Attributes::default());
        }
        seen.real = seen.real.or(Some(path)).filter(|real| *real != self.path);
        self.may_follow(permit, seen.real.as_deref())?;
        Ok(seen)
    }

    /// Notes the state that the path will have; plan mode only.
    pub(super) fn promise(&self, permit: &Permit<'_>, state: Observed) {
        let path = state.real.clone();
        note(permit, path.as_deref().unwrap_or(&self.path), state);
    }

    fn at(&self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self.clone() }
    }
}
