//! One certificate.

use std::net::IpAddr;

use jiff::Timestamp;
use x509_parser::asn1_rs::Oid;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2sn};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::time::ASN1Time;

use crate::x509::curve;
use crate::x509::{Error, Name, PrivateKey, PublicKey, covers, days_between, hex, sha256};

/// What a certificate says (RFC 5280, section 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Whose it is, in the order in which it is written: `C=US, O=Example, CN=example.com`.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Its number with that issuer, in lower-case hexadecimal.
    pub serial: String,
    /// The first instant at which it is valid.
    pub not_before: Timestamp,
    /// The last instant at which it is valid.
    pub not_after: Timestamp,
    /// The DNS names and addresses that it is for, in its own order.
    pub names: Vec<Name>,
    /// SHA-256 of the DER, in lower-case hexadecimal.
    pub fingerprint: String,
    /// SHA-256 of the SubjectPublicKeyInfo in DER, in lower-case hexadecimal; it stays the same when a key is certified again.
    pub spki: String,
    /// Whether its basic constraints call it an authority.
    pub is_ca: bool,
    /// How many authorities may stand between it and a leaf; no bound if not given.
    pub path_length: Option<u32>,
    /// Whether its key may sign certificates, as far as the key usage says.
    pub may_sign: bool,
    /// Whether its extended key usage allows it for servers.
    pub may_serve: bool,
    /// How it is signed: `ecdsa-with-SHA256`, or an object identifier.
    pub algorithm: String,
    /// The key that it is for.
    pub key: PublicKey,
    /// The certificate itself.
    pub der: Vec<u8>,
    /// The subject as it is written, to compare names with.
    pub(super) raw_subject: Vec<u8>,
    /// The issuer as it is written.
    pub(super) raw_issuer: Vec<u8>,
}

impl Certificate {
    /// Reads DER.
    pub fn read(der: &[u8]) -> Result<Self, Error> {
        let damaged = || Error::Damaged { place: String::new(), what: "certificate" };
        let (rest, read) = X509Certificate::from_der(der).map_err(|_| damaged())?;
        // The signed part repeats how it is signed (RFC 5280, 4.1.1.2); only that one cannot be changed by others.
        if read.signature_algorithm != read.tbs_certificate.signature {
            return Err(damaged());
        }
        let der = der[..der.len() - rest.len()].to_vec();
        // Devices have 9999-12-31T23:59:59Z for no end at all (RFC 5280, 4.1.2.5), which is just beyond what instants reach.
        let time = |time: ASN1Time| {
            let seconds = time.timestamp().min(Timestamp::MAX.as_second());
            Timestamp::from_second(seconds).map_err(|_| damaged())
        };
        let names = match read.subject_alternative_name().map_err(|_| damaged())? {
            Some(names) => names.value.general_names.iter().filter_map(name).collect(),
            None => Vec::new(),
        };
        let basic = read.basic_constraints().map_err(|_| damaged())?.map(|basic| basic.value);
        let usage = read.key_usage().map_err(|_| damaged())?;
        let extended = read.extended_key_usage().map_err(|_| damaged())?;
        let spki = read.public_key();
        let oid = &read.signature_algorithm.algorithm;
        Ok(Self {
            subject: read.subject().to_string(),
            issuer: read.issuer().to_string(),
            serial: serial(read.raw_serial()),
            not_before: time(read.validity().not_before)?,
            not_after: time(read.validity().not_after)?,
            names,
            fingerprint: sha256(&der),
            spki: sha256(spki.raw),
            is_ca: basic.is_some_and(|basic| basic.ca),
            path_length: basic.and_then(|basic| basic.path_len_constraint),
            may_sign: usage.is_none_or(|usage| usage.value.key_cert_sign()),
            may_serve: extended.is_none_or(|usage| usage.value.server_auth || usage.value.any),
            algorithm: algorithm(oid),
            key: PublicKey::of(spki),
            raw_subject: read.subject().as_raw().to_vec(),
            raw_issuer: read.issuer().as_raw().to_vec(),
            der,
        })
    }

    /// Whether it is for this host; see [`covers`].
    pub fn covers(&self, host: &str) -> bool {
        covers(&self.names, host)
    }

    /// Whether a private key belongs to it.
    pub fn has_key(&self, key: &PrivateKey) -> bool {
        // A kind that is not known has no private key that could be read.
        self.key == *key.public()
    }

    /// Returns the whole days that it is still valid, rounded down; negative after its end.
    pub fn days_left(&self, at: Timestamp) -> i64 {
        days_between(at, self.not_after)
    }

    /// Whether subject and issuer are the same: a root, or signed by itself.
    pub fn is_self_issued(&self) -> bool {
        self.raw_subject == self.raw_issuer
    }

    /// Names it for people: the subject, or its first name where there is none.
    pub fn words(&self) -> String {
        match self.names.first() {
            Some(name) if self.subject.is_empty() => name.to_string(),
            _ => self.subject.clone(),
        }
    }

    /// Returns the digest of its signature where that no longer protects: collisions can be made.
    pub(super) fn weak_digest(&self) -> Option<&'static str> {
        let algorithm = self.algorithm.to_ascii_lowercase();
        [("md2", "MD2"), ("md4", "MD4"), ("md5", "MD5"), ("sha1", "SHA-1")]
            .into_iter()
            .find(|(part, _)| algorithm.contains(part))
            .map(|(_, name)| name)
    }
}

fn name(name: &GeneralName<'_>) -> Option<Name> {
    match name {
        GeneralName::DNSName(name) => Some(Name::Dns(name.to_ascii_lowercase())),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok().map(Name::Ip)
        }
        // Mail addresses, URIs and the rest name no server.
        _ => None,
    }
}

fn algorithm(oid: &Oid<'_>) -> String {
    match oid.to_id_string() {
        dotted if dotted == curve::SHA1 => "ecdsa-with-SHA1".to_owned(),
        dotted => oid2sn(oid, oid_registry()).map_or(dotted, str::to_owned),
    }
}

fn serial(bytes: &[u8]) -> String {
    match bytes {
        // The zero that keeps a number positive is not part of it.
        [0, rest @ ..] if !rest.is_empty() => hex(rest),
        _ => hex(bytes),
    }
}
