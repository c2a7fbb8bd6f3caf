//! Private keys, and the public keys that belong to them.

use std::fmt;

use x509_parser::asn1_rs::{self, Any, FromDer as _, Integer, OctetString, Oid, Sequence};
use x509_parser::x509::SubjectPublicKeyInfo;
use zeroize::Zeroizing;

use crate::x509::{Curve, Error};

const RSA: &str = "1.2.840.113549.1.1.1";
const RSA_PSS: &str = "1.2.840.113549.1.1.10";
const EC: &str = "1.2.840.10045.2.1";
const ED25519: &str = "1.3.101.112";

/// What a key is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA (RFC 8017).
    Rsa,
    /// ECDSA on a curve (RFC 5480).
    Ec(Curve),
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// Anything else, by its object identifier.
    Other(String),
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa => f.write_str("RSA"),
            Self::Ec(Curve::P256) => f.write_str("EC P-256"),
            Self::Ec(Curve::P384) => f.write_str("EC P-384"),
            Self::Ec(Curve::P521) => f.write_str("EC P-521"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Other(oid) => f.write_str(oid),
        }
    }
}

/// A public key, in one form whatever wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// Both big-endian, without leading zeroes.
    Rsa {
        /// n.
        modulus: Vec<u8>,
        /// e.
        exponent: Vec<u8>,
    },
    /// An uncompressed point.
    Ec(Curve, Vec<u8>),
    /// 32 bytes.
    Ed25519(Vec<u8>),
    /// A kind that is not known, by its object identifier, with the bytes of the key.
    Other(String, Vec<u8>),
}

impl PublicKey {
    /// Reads the SubjectPublicKeyInfo of a certificate (RFC 5280, 4.1.2.7).
    pub(super) fn of(spki: &SubjectPublicKeyInfo<'_>) -> Self {
        let oid = spki.algorithm.algorithm.to_id_string();
        let bytes = spki.subject_public_key.data.as_ref();
        let known = match oid.as_str() {
            RSA | RSA_PSS => content(bytes).and_then(|mut inner| {
                Some(Self::Rsa { modulus: number(&mut inner)?, exponent: number(&mut inner)? })
            }),
            EC => spki
                .algorithm
                .parameters
                .as_ref()
                .and_then(|curve| curve.as_oid().ok())
                .and_then(|curve| Curve::of(&curve.to_id_string()))
                .and_then(|curve| Some(Self::Ec(curve, curve.point(bytes)?))),
            ED25519 => Some(Self::Ed25519(bytes.to_vec())),
            _ => None,
        };
        known.unwrap_or_else(|| Self::Other(oid, bytes.to_vec()))
    }

    /// Returns the modulus, the point, or what another kind has for it.
    pub fn number(&self) -> &[u8] {
        match self {
            Self::Rsa { modulus, .. } => modulus,
            Self::Ec(_, bytes) | Self::Ed25519(bytes) | Self::Other(_, bytes) => bytes,
        }
    }

    /// Returns what it is for.
    pub fn kind(&self) -> KeyKind {
        match self {
            Self::Rsa { .. } => KeyKind::Rsa,
            Self::Ec(curve, _) => KeyKind::Ec(*curve),
            Self::Ed25519(_) => KeyKind::Ed25519,
            Self::Other(oid, _) => KeyKind::Other(oid.clone()),
        }
    }

    /// Returns its size in bits, as people name it; 0 for a kind that is not known.
    pub fn bits(&self) -> u32 {
        match self {
            Self::Rsa { modulus, .. } => {
                let spare = modulus.first().map_or(0, |byte| byte.leading_zeros());
                (modulus.len() as u32 * 8).saturating_sub(spare)
            }
            Self::Ec(curve, _) => curve.bits(),
            Self::Ed25519(_) => 256,
            Self::Other(..) => 0,
        }
    }

    /// Names it for people: `RSA 2048`, `EC P-256`.
    pub fn words(&self) -> String {
        match self {
            Self::Rsa { .. } => format!("RSA {}", self.bits()),
            Self::Ec(..) | Self::Ed25519(_) | Self::Other(..) => self.kind().to_string(),
        }
    }
}

/// How a private key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// RFC 5958, `PRIVATE KEY`.
    Pkcs8,
    /// RFC 8017, `RSA PRIVATE KEY`.
    Pkcs1,
    /// RFC 5915, `EC PRIVATE KEY`.
    Sec1,
}

/// A private key; `Debug` prints what kind it is, and its bytes are wiped when it is dropped.
#[derive(Clone)]
pub struct PrivateKey {
    der: Zeroizing<Vec<u8>>,
    form: Form,
    public: PublicKey,
}

impl PrivateKey {
    /// Reads PKCS#8 (RFC 5958).
    pub(super) fn pkcs8(der: Zeroizing<Vec<u8>>) -> Result<Self, Error> {
        let public = public_of_pkcs8(&der)?;
        Ok(Self { der, form: Form::Pkcs8, public })
    }

    /// Reads the RSAPrivateKey of PKCS#1 (RFC 8017, A.1.2).
    pub(super) fn pkcs1(der: Zeroizing<Vec<u8>>) -> Result<Self, Error> {
        let public = public_of_rsa(&der).ok_or_else(damaged)?;
        Ok(Self { der, form: Form::Pkcs1, public })
    }

    /// Reads an ECPrivateKey (RFC 5915, section 3), which must name its curve.
    pub(super) fn sec1(der: Zeroizing<Vec<u8>>) -> Result<Self, Error> {
        let public = public_of_ec(&der, None)?;
        Ok(Self { der, form: Form::Sec1, public })
    }

    /// Returns the public key, which is worked out from the private one.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Returns it in DER, in the form in which it was read.
    pub fn expose(&self) -> &[u8] {
        &self.der
    }

    /// Returns its label in PEM.
    pub(super) fn label(&self) -> &'static str {
        match self.form {
            Form::Pkcs8 => "PRIVATE KEY",
            Form::Pkcs1 => "RSA PRIVATE KEY",
            Form::Sec1 => "EC PRIVATE KEY",
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.public.words())
    }
}

fn damaged() -> Error {
    Error::Damaged { place: String::new(), what: "private key" }
}

/// Reads a number from the front of `bytes`, without leading zeroes, so that the same numbers are the same bytes.
fn number(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let any: Any<'_> = next(bytes)?;
    let start = any.data.iter().take_while(|byte| **byte == 0).count();
    (any.tag() == asn1_rs::Tag::Integer).then(|| any.data[start..].to_vec())
}

/// Reads one value from the front of `bytes`.
fn next<'a, T: asn1_rs::FromDer<'a>>(bytes: &mut &'a [u8]) -> Option<T> {
    let (rest, value) = T::from_der(bytes).ok()?;
    *bytes = rest;
    Some(value)
}

/// Reads the content of the sequence that `der` is.
fn content(der: &[u8]) -> Option<&[u8]> {
    let (rest, any) = Any::from_der(der).ok()?;
    (any.tag() == asn1_rs::Tag::Sequence && rest.is_empty()).then_some(any.data)
}

fn public_of_pkcs8(der: &[u8]) -> Result<PublicKey, Error> {
    let mut inner = content(der).ok_or_else(damaged)?;
    // EncryptedPrivateKeyInfo (RFC 5958, section 3) begins with an algorithm in place of a version.
    if Sequence::from_der(inner).is_ok() {
        return Err(Error::Encrypted { place: String::new() });
    }
    let _version: Integer<'_> = next(&mut inner).ok_or_else(damaged)?;
    let algorithm: Any<'_> = next(&mut inner).ok_or_else(damaged)?;
    let key: OctetString<'_> = next(&mut inner).ok_or_else(damaged)?;
    let mut algorithm = algorithm.data;
    let oid: Oid<'_> = next(&mut algorithm).ok_or_else(damaged)?;
    match oid.to_id_string().as_str() {
        RSA | RSA_PSS => public_of_rsa(key.as_ref()).ok_or_else(damaged),
        EC => {
            let curve: Oid<'_> = next(&mut algorithm).ok_or_else(damaged)?;
            public_of_ec(key.as_ref(), Some(&curve.to_id_string()))
        }
        ED25519 => {
            let mut inner = key.as_ref();
            let seed: OctetString<'_> = next(&mut inner).ok_or_else(damaged)?;
            let pair =
                ring::signature::Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).map_err(|_| damaged())?;
            Ok(PublicKey::Ed25519(ring::signature::KeyPair::public_key(&pair).as_ref().to_vec()))
        }
        other => Err(Error::KeyKind { place: String::new(), kind: other.to_owned() }),
    }
}

fn public_of_rsa(der: &[u8]) -> Option<PublicKey> {
    let mut inner = content(der)?;
    let _version = number(&mut inner)?;
    let (modulus, exponent) = (number(&mut inner)?, number(&mut inner)?);
    // d, p, q, dP, dQ, qInv: a key that is cut short has not all of them.
    for _ in 0..6 {
        Zeroizing::new(number(&mut inner)?);
    }
    Some(PublicKey::Rsa { modulus, exponent })
}

fn public_of_ec(der: &[u8], curve: Option<&str>) -> Result<PublicKey, Error> {
    let mut inner = content(der).ok_or_else(damaged)?;
    let _version: Integer<'_> = next(&mut inner).ok_or_else(damaged)?;
    let number: OctetString<'_> = next(&mut inner).ok_or_else(damaged)?;
    let curve = match curve {
        Some(curve) => curve.to_owned(),
        None => {
            // `[0] parameters`, explicitly tagged, holds the object identifier of the curve.
            let parameters: Any<'_> = next(&mut inner).ok_or_else(damaged)?;
            let (_, oid) = Oid::from_der(parameters.data).map_err(|_| damaged())?;
            oid.to_id_string()
        }
    };
    let Some(known) = Curve::of(&curve) else {
        return Err(Error::KeyKind { place: String::new(), kind: curve });
    };
    Ok(PublicKey::Ec(known, known.point_of(number.as_ref()).ok_or_else(damaged)?))
}
