//! The effect `cert.sync`: a pair at a place, and the server that serves it.

use std::sync::Arc;
use std::time::Duration;

use rhai::{Dynamic, Map};
use serde::{Deserialize, Serialize};

use super::keys::Keys;
use super::place::{Found, Place, short};
use super::served::{Served, Shown};
use super::wanted::Wanted;
use crate::bindings::wait::poll;
use crate::gate::permit::invalid;
use crate::gate::{Done, Effect, Permit, Seen};
use crate::model::effect::{Kind, Target};
use crate::model::event::Failure;

/// How long a server may take until it serves what it was given, unless `patience` says otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often in a row it has to be seen: a process of the server that is on its way out may answer once more.
const ROUNDS: u32 = 3;

/// Brings a pair to a place, and has it served.
#[derive(Serialize)]
pub(super) struct Sync<P: Place> {
    kind: &'static str,
    #[serde(flatten)]
    wanted: Wanted,
    #[serde(flatten)]
    place: P,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    served: Vec<Served>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
    #[serde(skip)]
    patience: Duration,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Synced {
    /// Whether the server was told to use it.
    activated: bool,
    fingerprint: String,
    served: Vec<Shown>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    /// What was found, on its way from looking to doing.
    #[serde(skip)]
    found: Option<Arc<Found>>,
}

impl<P: Place> Sync<P> {
    /// Reads the keys that targets of every kind have, and refuses what is left over.
    pub(super) fn new(wanted: Wanted, place: P, mut keys: Keys) -> Result<Self, Failure> {
        let served = keys.list("served").iter().map(Served::read).collect::<Result<_, _>>()?;
        let names = keys.texts("names")?;
        let patience = keys.duration("patience")?.unwrap_or(PATIENCE);
        keys.end()?;
        Ok(Self { kind: P::KIND, wanted, place, served, names, patience })
    }

    async fn look_served(&self, permit: &Permit<'_>, left: Duration) -> Result<Vec<Shown>, Failure> {
        let looks = self.served.iter().map(|served| served.look(permit, left));
        futures_util::future::try_join_all(looks).await
    }

    fn are_right(&self, served: &[Shown]) -> bool {
        served.iter().all(|shown| shown.is(self.wanted.fingerprint()))
    }

    /// Waits until every endpoint serves it: a server that restarts shows nothing for a while, or the old one.
    async fn verified(&self, permit: &Permit<'_>) -> Result<Vec<Shown>, Failure> {
        let mut rounds = if self.served.is_empty() { ROUNDS } else { 0 };
        let seen = poll(permit, self.patience, async |left| {
            let served = self.look_served(permit, left).await?;
            rounds = if self.are_right(&served) { rounds + 1 } else { 0 };
            Ok(if rounds >= ROUNDS { Ok(served) } else { Err(served) })
        })
        .await?;
        seen.or_else(|served| {
            if self.are_right(&served) {
                return Ok(served);
            }
            let wrong = served.iter().filter(|shown| !shown.is(self.wanted.fingerprint()));
            let wrong: Vec<String> = wrong.map(|shown| format!("{} {}", shown.at, shown.words)).collect();
            let message = format!(
                "{} is at {}, and after {} s it is not served: {}; the next run tells the server again",
                short(self.wanted.fingerprint()),
                self.place.words(),
                self.patience.as_secs(),
                wrong.join("; ")
            );
            let details = serde_json::json!({ "fault": "not_served", "served": served });
            Err(Failure { kind: "not_served".to_owned(), details, ..invalid(message) })
        })
    }

    fn diff(&self, found: &Found, served: &[Shown]) -> String {
        let mut lines = found.diff(&self.wanted);
        if found.is_due {
            lines += &format!("-{}: put there, and the server was never told\n", self.place.words());
        }
        for shown in served.iter().filter(|shown| !shown.is(self.wanted.fingerprint())) {
            lines +=
                &format!("-{} {}\n+{} serves {}\n", shown.at, shown.words, shown.at, self.wanted.words());
        }
        lines
    }
}

impl<P: Place> Effect for Sync<P> {
    const NAME: &'static str = "cert.sync";
    const KIND: Kind = Kind::Ensure;
    type Output = Synced;

    fn target(&self) -> Target {
        self.place.target()
    }

    async fn observe(&self, permit: &Permit<'_>) -> Result<Seen<Synced>, Failure> {
        let mut warnings = self.wanted.vet(&self.names, permit.now())?;
        let found = self.place.look(permit, &self.wanted).await?;
        let served = self.look_served(permit, self.patience).await?;
        warnings.extend(found.warnings.iter().cloned());
        let changes = !found.is_right() || found.is_due || !self.are_right(&served);
        let mut pre = found.pre();
        // Why nobody can tell may differ from look to look, and is no other state.
        pre["served"] = served
            .iter()
            .map(|shown| (shown.at.clone(), shown.fingerprint.clone().map_or("unknown".into(), Into::into)))
            .collect::<serde_json::Map<_, serde_json::Value>>()
            .into();
        let diff = changes.then(|| self.diff(&found, &served));
        let promised = served.iter().map(|shown| Shown {
            at: shown.at.clone(),
            fingerprint: Some(self.wanted.fingerprint().to_owned()),
            words: format!("serves {}", self.wanted.words()),
        });
        let output = Synced {
            activated: changes,
            fingerprint: self.wanted.fingerprint().to_owned(),
            served: promised.collect(),
            warnings,
            found: Some(Arc::new(found)),
        };
        Ok(Seen { pre, changes, diff, output: Some(output) })
    }

    async fn perform(&self, permit: &Permit<'_>, seen: &Seen<Synced>) -> Result<Done<Synced>, Failure> {
        let noted = seen.output.as_ref();
        let found = noted.and_then(|output| output.found.clone());
        let found = found.ok_or_else(|| invalid("nobody has looked at the place".to_owned()))?;
        if !found.is_right() {
            self.place.put(permit, &self.wanted, &found).await?;
        }
        self.place.activate(permit).await?;
        let served = self.verified(permit).await?;
        let warnings = noted.map(|output| output.warnings.clone()).unwrap_or_default();
        let fingerprint = self.wanted.fingerprint().to_owned();
        Ok(Done::changed(Synced { activated: true, fingerprint, served, warnings, found: None }))
    }
}

impl Synced {
    /// Returns what a script gets.
    pub(super) fn map(self, target: &Target, is_changed: bool) -> Map {
        let texts = |texts: Vec<String>| texts.into_iter().map(Dynamic::from).collect::<rhai::Array>().into();
        let served: rhai::Array = self
            .served
            .into_iter()
            .map(|shown| {
                let mut fields = Map::new();
                fields.insert("at".into(), shown.at.into());
                fields.insert("fingerprint".into(), shown.fingerprint.map_or(Dynamic::UNIT, Dynamic::from));
                Dynamic::from_map(fields)
            })
            .collect();
        let mut map = Map::new();
        map.insert("target".into(), target.to_string().into());
        map.insert("changed".into(), is_changed.into());
        map.insert("activated".into(), self.activated.into());
        map.insert("fingerprint".into(), self.fingerprint.into());
        map.insert("served".into(), served.into());
        map.insert("warnings".into(), texts(self.warnings));
        map
    }
}
