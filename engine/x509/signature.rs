//! Who signed a certificate.

use x509_parser::error::X509Error;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::x509::{Certificate, PublicKey};

/// What checking a signature came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The key made it.
    Genuine,
    /// The key did not make it.
    Forged,
    /// The algorithm is not known here.
    Unknown,
}

impl Certificate {
    /// Says whether the key of `issuer` signed this certificate; names and dates are not looked at.
    pub fn signed_by(&self, issuer: &Self) -> Verdict {
        let (Ok((_, own)), Ok((_, other))) =
            (X509Certificate::from_der(&self.der), X509Certificate::from_der(&issuer.der))
        else {
            return Verdict::Forged;
        };
        if let PublicKey::Ec(curve, point) = &issuer.key {
            let algorithm = own.signature_algorithm.algorithm.to_id_string();
            let data = own.tbs_certificate.as_ref();
            return curve.verify(point, &algorithm, data, &own.signature_value.data);
        }
        match own.verify_signature(Some(other.public_key())) {
            Ok(()) => Verdict::Genuine,
            Err(X509Error::SignatureUnsupportedAlgorithm) => Verdict::Unknown,
            // The library takes no RSA key below 2048 bits, and SHA-1 none below 1024: that says nothing of who signed.
            Err(_) if matches!(issuer.key, PublicKey::Rsa { .. }) && issuer.key.bits() < 2048 => {
                Verdict::Unknown
            }
            Err(_) => Verdict::Forged,
        }
    }
}
