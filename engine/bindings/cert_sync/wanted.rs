//! The pair that shall be everywhere.

use std::time::Duration;

use jiff::Timestamp;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use super::place::{day, short};
use crate::bindings::cert_load::Ready;
use crate::gate::permit::invalid;
use crate::model::event::Failure;
use crate::x509::{self, Bundle, Expected, Finding, Order, Pair, Severity};

/// What clients mind whatever the order of the certificates was: they are written in the right one.
const SORTED: [&str; 4] = ["leaf_not_first", "order", "duplicate", "foreign"];
/// What is wrong enough to leave the old certificate where it is.
const REFUSED: [&str; 4] = ["expired", "not_yet_valid", "name", "key_mismatch"];

/// A certificate, its chain and its private key; it serialises to the leaf's fingerprint and that of its public key.
pub(super) struct Wanted {
    pair: Pair,
}

impl Wanted {
    /// Puts together what a script gave; a replay does without the key.
    pub(super) fn new(ready: &Ready, is_replay: bool) -> Result<Self, Failure> {
        let key = |bytes: &[u8]| Bundle::read(bytes).and_then(Bundle::key);
        let key = if is_replay { Ok(None) } else { key(ready.key.expose()).map(Some) };
        let pair = Bundle::read(ready.certificate.as_bytes()).and_then(|bundle| Pair::of(bundle, key?));
        Ok(Self { pair: pair.map_err(|error| refused(&error.to_string()))? })
    }

    /// Returns the leaf's fingerprint: SHA-256 in lower-case hexadecimal.
    pub(super) fn fingerprint(&self) -> &str {
        &self.pair.leaf.fingerprint
    }

    /// Returns SHA-256 of the public key, in lower-case hexadecimal.
    pub(super) fn spki(&self) -> &str {
        &self.pair.leaf.spki
    }

    /// Returns the pair.
    pub(super) fn pair(&self) -> &Pair {
        &self.pair
    }

    /// Names it for people.
    pub(super) fn words(&self) -> String {
        format!("{} until {}", short(self.fingerprint()), day(&self.pair.leaf))
    }

    /// Writes it in the order that a place wants.
    pub(super) fn write(&self, order: &Order) -> Result<Zeroizing<String>, Failure> {
        order.write(&self.pair).map_err(|error| refused(&error.to_string()))
    }

    /// Refuses a pair that no server should be given; returns what operators should know of one that is given.
    pub(super) fn vet(&self, names: &[String], at: Timestamp) -> Result<Vec<String>, Failure> {
        if self.pair.key.is_none() {
            return Err(refused(&x509::Error::NoKey.to_string()));
        }
        let found = x509::check(&self.pair, &Expected { names, at, warn: Duration::ZERO });
        let is_refused = |finding: &Finding| REFUSED.contains(&finding.kind);
        let wrong: Vec<&str> =
            found.iter().filter(|finding| is_refused(finding)).map(|finding| finding.text.as_str()).collect();
        if !wrong.is_empty() {
            return Err(refused(&wrong.join("; ")));
        }
        let is_told =
            |finding: &Finding| finding.severity != Severity::Note && !SORTED.contains(&finding.kind);
        Ok(found.into_iter().filter(is_told).map(|finding| finding.text).collect())
    }
}

fn refused(why: &str) -> Failure {
    let message = format!("nothing was touched, for this pair cannot be served: {why}");
    Failure { kind: "certificate".to_owned(), ..invalid(message) }
}

impl Serialize for Wanted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("fingerprint", self.fingerprint())?;
        map.serialize_entry("spki", self.spki())?;
        map.end()
    }
}
