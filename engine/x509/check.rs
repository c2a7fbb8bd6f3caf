//! What is wrong with a certificate, its chain and its key, in sentences.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::x509::{Certificate, KeyKind, Pair, PublicKey};

/// Bits of the shortest RSA key that clients still take (NIST SP 800-131A, and OpenSSL at its default level).
const RSA_BITS: u32 = 2048;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing to do.
    Note,
    /// Some clients will mind, or all of them will soon.
    Warning,
    /// Clients refuse it, or a server does.
    Error,
}

impl Severity {
    /// Returns the word that scripts and people see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A word for programs: `expired`, `key_mismatch`, `name`.
    pub kind: &'static str,
    /// A sentence for people.
    pub text: String,
}

/// What a certificate should be good for.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Hosts that it must cover; with none, names are not looked at.
    pub names: &'a [String],
    /// When it must be valid.
    pub at: Timestamp,
    /// How long it should be valid from then on, at least.
    pub warn: Duration,
}

/// Says what is wrong with a pair, the worst first; nothing found means that it can be served.
///
/// Whether the root is trusted is not looked at: that is the clients' to say.
pub fn check(pair: &Pair, expected: &Expected<'_>) -> Vec<Finding> {
    let mut found = Found(Vec::new());
    found.key(pair);
    found.names(&pair.leaf, expected.names);
    found.leaf(&pair.leaf, expected);
    for (index, certificate) in pair.chain.iter().enumerate() {
        found.issuer(certificate, index, expected);
    }
    found.chain(pair);
    // A stable sort: findings of one severity keep the order above.
    found.0.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    found.0
}

struct Found(Vec<Finding>);

impl Found {
    fn error(&mut self, kind: &'static str, text: String) {
        self.0.push(Finding { severity: Severity::Error, kind, text });
    }

    fn warning(&mut self, kind: &'static str, text: String) {
        self.0.push(Finding { severity: Severity::Warning, kind, text });
    }

    fn note(&mut self, kind: &'static str, text: String) {
        self.0.push(Finding { severity: Severity::Note, kind, text });
    }

    fn key(&mut self, pair: &Pair) {
        if let Err(error) = pair.demand_match() {
            self.error("key_mismatch", error.to_string());
        }
    }

    fn names(&mut self, leaf: &Certificate, names: &[String]) {
        let listed: Vec<String> = leaf.names.iter().map(ToString::to_string).collect();
        for name in names.iter().filter(|name| !leaf.covers(name)) {
            let text = if listed.is_empty() {
                format!(
                    "`{name}` is not covered: the certificate of `{}` has no alternative names",
                    leaf.words()
                )
            } else {
                format!("`{name}` is not covered: the certificate is for {}", listed.join(", "))
            };
            self.error("name", text);
        }
        if names.is_empty() && listed.is_empty() && !leaf.is_ca {
            let text = format!(
                "the certificate of `{}` has no alternative names, and clients look at no other",
                leaf.words()
            );
            self.warning("no_names", text);
        }
        if !names.is_empty() && !leaf.may_serve {
            let text = format!(
                "the certificate of `{}` is not for servers: its extended key usage says so",
                leaf.words()
            );
            self.error("not_for_servers", text);
        }
    }

    fn leaf(&mut self, leaf: &Certificate, expected: &Expected<'_>) {
        self.dates(leaf, expected);
        self.strength(leaf);
        if leaf.is_self_issued() {
            let text = format!(
                "the certificate of `{}` is signed by itself: only clients that have it trust it",
                leaf.words()
            );
            self.warning("self_signed", text);
        } else if leaf.is_ca {
            let text =
                format!("the certificate of `{}` is that of an authority, not of a server", leaf.words());
            self.warning("leaf_is_ca", text);
        }
    }

    fn issuer(&mut self, certificate: &Certificate, below: usize, expected: &Expected<'_>) {
        self.dates(certificate, expected);
        self.strength(certificate);
        let words = certificate.words();
        // A root of version 1 has no way to say that it is one; clients that trust it do not ask.
        if (!certificate.is_ca && !certificate.is_self_issued()) || !certificate.may_sign {
            let text = format!("`{words}` signed another certificate, and is not allowed to");
            self.error("not_an_issuer", text);
        }
        // Self-issued certificates other than the last are not counted (RFC 5280, 4.2.1.9), and chains have none.
        if let Some(most) = certificate.path_length.filter(|most| (*most as usize) < below) {
            let text = format!("`{words}` allows {most} authorities below itself, and the chain has {below}");
            self.error("path_length", text);
        }
    }

    fn dates(&mut self, certificate: &Certificate, expected: &Expected<'_>) {
        let (words, at) = (certificate.words(), expected.at);
        let day = |instant: Timestamp| instant.strftime("%Y-%m-%d %H:%M UTC").to_string();
        if at < certificate.not_before {
            let text =
                format!("the certificate of `{words}` is not valid before {}", day(certificate.not_before));
            self.error("not_yet_valid", text);
        }
        let left = certificate.days_left(at);
        if at > certificate.not_after {
            let text = format!("the certificate of `{words}` expired on {}", day(certificate.not_after));
            self.error("expired", text);
        } else if (certificate.not_after.as_second() - at.as_second()).unsigned_abs()
            < expected.warn.as_secs()
        {
            let days = match left {
                0 => "within a day".to_owned(),
                1 => "in 1 day".to_owned(),
                days => format!("in {days} days"),
            };
            let text =
                format!("the certificate of `{words}` expires {days}, on {}", day(certificate.not_after));
            self.warning("expires", text);
        }
    }

    fn strength(&mut self, certificate: &Certificate) {
        let words = certificate.words();
        // A root is trusted for being known, not for its signature.
        if let Some(digest) = certificate.weak_digest().filter(|_| !certificate.is_self_issued()) {
            self.error(
                "weak_signature",
                format!("the certificate of `{words}` is signed with {digest}, which clients refuse"),
            );
        }
        if let PublicKey::Rsa { .. } = &certificate.key
            && certificate.key.bits() < RSA_BITS
        {
            let bits = certificate.key.bits();
            let text = format!("the key of `{words}` has {bits} bits, and clients want at least {RSA_BITS}");
            self.error("short_key", text);
        }
        if let KeyKind::Other(oid) = certificate.key.kind() {
            self.warning(
                "unknown_key",
                format!("the key of `{words}` is of a kind that is not understood (`{oid}`)"),
            );
        }
    }

    fn chain(&mut self, pair: &Pair) {
        let was = &pair.was;
        let leaf = pair.leaf.words();
        if !was.is_leaf_first {
            self.error(
                "leaf_not_first",
                format!("the certificate of `{leaf}` does not stand first, where servers look for it"),
            );
        }
        if !was.is_chain_sorted {
            let text = "the chain is out of order: each certificate belongs behind the one that it signed"
                .to_owned();
            self.warning("order", text);
        }
        if let Some(issuer) = was.missing.as_ref().filter(|_| pair.chain.is_empty()) {
            let text = format!(
                "the chain is incomplete: the certificate of `{issuer}`, which signed `{leaf}`, is not there"
            );
            self.warning("incomplete", text);
        }
        for certificate in &was.foreign {
            let namesake = std::iter::once(&pair.leaf)
                .chain(&pair.chain)
                .find(|other| other.raw_issuer == certificate.raw_subject && other.der != certificate.der);
            let text = match namesake {
                Some(signed) => format!(
                    "`{}` has the name of who signed `{}`, but its key did not sign it",
                    certificate.words(),
                    signed.words()
                ),
                None => format!("`{}` is no part of the chain of `{leaf}`", certificate.words()),
            };
            self.warning("foreign", text);
        }
        for certificate in &was.crossed {
            let (words, issuer) = (certificate.words(), &certificate.issuer);
            self.note("cross_signed", format!("`{words}` is there a second time, signed by `{issuer}`"));
        }
        for words in &was.duplicates {
            self.warning("duplicate", format!("the certificate of `{words}` is there twice"));
        }
        for (words, algorithm) in &was.unchecked {
            let text = format!("the signature of `{words}` ({algorithm}) cannot be checked here");
            self.warning("unchecked", text);
        }
        if let Some(root) = pair.root() {
            let text = format!(
                "the root `{}` is there: clients have it themselves, or do not trust it",
                root.words()
            );
            self.note("root", text);
        }
    }
}
