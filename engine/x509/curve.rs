//! The elliptic curves that certificates use (RFC 5480, section 2.1.1.1).

use ecdsa::signature::hazmat::PrehashVerifier as _;
use p256::ecdsa;
use p256::elliptic_curve::sec1::ToSec1Point as _;
use sha2::Digest as _;

use crate::x509::signature::Verdict;

/// `ecdsa-with-SHA1` (RFC 3279, 2.2.3).
pub(super) const SHA1: &str = "1.2.840.10045.4.1";

/// A curve of NIST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// secp256r1, prime256v1.
    P256,
    /// secp384r1.
    P384,
    /// secp521r1.
    P521,
}

/// Evaluates an expression with the library of a curve under one name: each has types of its own.
macro_rules! on {
    ($curve:expr, $library:ident => $value:expr) => {
        match $curve {
            Curve::P256 => {
                use p256 as $library;
                $value
            }
            Curve::P384 => {
                use p384 as $library;
                $value
            }
            Curve::P521 => {
                use p521 as $library;
                $value
            }
        }
    };
}

impl Curve {
    /// Returns the curve of an object identifier in dotted form.
    pub(super) fn of(oid: &str) -> Option<Self> {
        match oid {
            "1.2.840.10045.3.1.7" => Some(Self::P256),
            "1.3.132.0.34" => Some(Self::P384),
            "1.3.132.0.35" => Some(Self::P521),
            _ => None,
        }
    }

    /// Returns the size of the field in bits.
    pub fn bits(self) -> u32 {
        match self {
            Self::P256 => 256,
            Self::P384 => 384,
            Self::P521 => 521,
        }
    }

    fn bytes(self) -> usize {
        self.bits().div_ceil(8) as usize
    }

    /// Returns the public point of a private number (big-endian), uncompressed.
    pub(super) fn point_of(self, private: &[u8]) -> Option<Vec<u8>> {
        // RFC 5915 wants the number as long as the field; some writers leave leading zeroes out.
        let start = private.iter().take_while(|byte| **byte == 0).count();
        let number = &private[start..];
        let mut padded = zeroize::Zeroizing::new(vec![0; self.bytes().checked_sub(number.len())?]);
        // All of the capacity is there at once: growing would leave a copy of the number behind.
        padded.reserve_exact(number.len());
        padded.extend_from_slice(number);
        on!(self, curve => {
            Some(curve::SecretKey::from_slice(&padded).ok()?.public_key().to_sec1_point(false).as_bytes().to_vec())
        })
    }

    /// Returns a point on the curve, uncompressed; `None` for what is no point of it.
    pub(super) fn point(self, bytes: &[u8]) -> Option<Vec<u8>> {
        on!(self, curve => {
            Some(curve::PublicKey::from_sec1_bytes(bytes).ok()?.to_sec1_point(false).as_bytes().to_vec())
        })
    }

    /// Says whether an ECDSA signature in DER (RFC 3279, 2.2.3) was made over `data` with the key of this point.
    pub(super) fn verify(self, point: &[u8], digest: &str, data: &[u8], signature: &[u8]) -> Verdict {
        let hash = match digest {
            SHA1 => ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, data).as_ref().to_vec(),
            "1.2.840.10045.4.3.2" => sha2::Sha256::digest(data).to_vec(),
            "1.2.840.10045.4.3.3" => sha2::Sha384::digest(data).to_vec(),
            "1.2.840.10045.4.3.4" => sha2::Sha512::digest(data).to_vec(),
            _ => return Verdict::Unknown,
        };
        // The libraries refuse hashes of less than half of the field's bytes.
        if hash.len() < self.bytes().div_ceil(2) {
            return Verdict::Unknown;
        }
        let verified = on!(self, curve => {
            curve::ecdsa::VerifyingKey::from_sec1_bytes(point).ok().and_then(|key| {
                let signature = curve::ecdsa::Signature::from_der(signature).ok()?;
                key.verify_prehash(&hash, &signature).ok()
            })
        });
        if verified.is_some() { Verdict::Genuine } else { Verdict::Forged }
    }
}
