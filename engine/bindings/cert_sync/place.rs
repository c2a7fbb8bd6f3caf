//! A place where a certificate belongs: one kind of it a file.

use serde::Serialize;
use serde_json::{Value, json};

use super::wanted::Wanted;
use crate::gate::Permit;
use crate::model::effect::Target;
use crate::model::event::Failure;
use crate::x509::Certificate;

/// Characters of a fingerprint that people are shown.
const SHORT: usize = 12;

/// Where a certificate belongs, and how it gets there; it serialises to what the journal compares.
///
/// `put` and `activate` are called for what `look` found wanting, and must be safe to repeat: a run may end at any point.
pub(super) trait Place: Serialize {
    /// The word that scripts write as `kind`.
    const KIND: &'static str;

    /// Returns what a grant must cover: a host, or a URL.
    fn target(&self) -> Target;

    /// Says what and where it is, for messages: `/etc/ssl/site.pem`.
    fn words(&self) -> String;

    /// Looks at what is there, without changing anything.
    async fn look(&self, permit: &Permit<'_>, wanted: &Wanted) -> Result<Found, Failure>;

    /// Puts certificate and key there, together; what was there comes back where it cannot be used.
    async fn put(&self, permit: &Permit<'_>, wanted: &Wanted, found: &Found) -> Result<(), Failure>;

    /// Makes the server use what is there.
    async fn activate(&self, permit: &Permit<'_>) -> Result<(), Failure>;
}

/// What is at a place.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Found {
    /// Each thing that holds something of the pair: a file, or the slot of an API.
    pub(super) parts: Vec<Part>,
    /// Whether something was put there and the server was never told.
    pub(super) is_due: bool,
    /// What the operator should know.
    pub(super) warnings: Vec<String>,
}

/// One thing that holds something of the pair.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    /// What it is called: a path.
    pub(super) name: String,
    /// What it holds.
    pub(super) holds: Holds,
    /// What it should hold, in words.
    pub(super) wanted: String,
    /// Whether it holds exactly that.
    pub(super) is_right: bool,
}

/// What something holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Holds {
    /// It is not there.
    Absent,
    /// A certificate.
    Certificate {
        /// SHA-256 of the leaf.
        fingerprint: String,
        /// The day on which it ends.
        until: String,
        /// What else is to be seen: that the key beside it is another one, or its mode.
        but: Option<String>,
    },
    /// A key without a certificate, with the SHA-256 of its public half where that can be told.
    Key(Option<String>),
    /// Something else, in words.
    Other(String),
    /// Nobody can tell, and why.
    Unknown(String),
}

impl Found {
    /// Whether nothing has to be put there.
    pub(super) fn is_right(&self) -> bool {
        self.parts.iter().all(|part| part.is_right)
    }

    /// Returns what a plan compares.
    pub(super) fn pre(&self) -> Value {
        let parts: serde_json::Map<String, Value> =
            self.parts.iter().map(|part| (part.name.clone(), part.holds.words(usize::MAX).into())).collect();
        json!({ "parts": parts, "due": self.is_due })
    }

    /// Returns the lines of a diff.
    pub(super) fn diff(&self, wanted: &Wanted) -> String {
        let mut lines = String::new();
        for part in self.parts.iter().filter(|part| !part.is_right) {
            if part.holds != Holds::Absent {
                let other = match &part.holds {
                    Holds::Certificate { fingerprint, but: None, .. }
                        if *fingerprint == wanted.fingerprint() =>
                    {
                        ", with another chain or key"
                    }
                    _ => "",
                };
                lines += &format!("-{}: {}{other}\n", part.name, part.holds.words(SHORT));
            }
            lines += &format!("+{}: {}\n", part.name, part.wanted);
        }
        lines
    }
}

impl Holds {
    /// Returns what certificates in PEM are known by.
    pub(super) fn certificate(leaf: &Certificate, but: Option<String>) -> Self {
        Self::Certificate { fingerprint: leaf.fingerprint.clone(), until: day(leaf), but }
    }

    fn words(&self, most: usize) -> String {
        match self {
            Self::Absent => "nothing".to_owned(),
            Self::Certificate { fingerprint, until, but } => {
                let but = but.as_ref().map(|but| format!(", {but}")).unwrap_or_default();
                format!("{} until {until}{but}", cut(fingerprint, most))
            }
            Self::Key(Some(spki)) => format!("a key with the public half {}", cut(spki, most)),
            Self::Key(None) => "another key".to_owned(),
            Self::Other(words) => words.clone(),
            Self::Unknown(why) => format!("unknown: {why}"),
        }
    }
}

/// Returns the day on which a certificate ends.
pub(super) fn day(certificate: &Certificate) -> String {
    certificate.not_after.strftime("%Y-%m-%d").to_string()
}

/// Returns the beginning of a fingerprint, which is enough for people.
pub(super) fn short(fingerprint: &str) -> &str {
    cut(fingerprint, SHORT)
}

fn cut(fingerprint: &str, most: usize) -> &str {
    fingerprint.get(..most).unwrap_or(fingerprint)
}
