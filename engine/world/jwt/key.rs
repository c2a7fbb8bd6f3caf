//! Public keys of an issuer, as a JSON Web Key Set (RFC 7517) lists them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;

/// A way to sign (RFC 7518, 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA, PKCS #1 1.5, SHA-256.
    Rs256,
    /// ECDSA on P-256, SHA-256.
    Es256,
}

impl Algorithm {
    /// Returns its registered name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }
}

/// A public key.
#[derive(Debug, Clone)]
pub struct Key {
    kid: Option<String>,
    material: Material,
}

#[derive(Debug, Clone)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256 { point: Vec<u8> },
}

impl Key {
    /// Returns its name, where it has one.
    pub fn kid(&self) -> Option<&String> {
        self.kid.as_ref()
    }

    /// Returns the one way in which it signs.
    pub fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Rsa { .. } => Algorithm::Rs256,
            Material::P256 { .. } => Algorithm::Es256,
        }
    }

    /// Checks a signature; an RSA key of fewer than 2048 bits never fits.
    pub(super) fn verify(&self, signed: &[u8], signature: &[u8]) -> Result<(), ()> {
        match &self.material {
            Material::Rsa { modulus, exponent } => RsaPublicKeyComponents { n: modulus, e: exponent }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                signed,
                signature,
            ),
            Material::P256 { point } => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature)
            }
        }
        .map_err(drop)
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Reads a key set; keys of other kinds, for other purposes or with other algorithms are left out.
pub fn keys(text: &[u8]) -> Option<Vec<Key>> {
    let set: Set = serde_json::from_slice(text).ok()?;
    Some(set.keys.into_iter().filter_map(key).collect())
}

fn key(listed: Listed) -> Option<Key> {
    if listed.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let bytes = |text: &Option<String>| {
        let text = text.as_deref()?.trim_end_matches('=');
        URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| !bytes.is_empty())
    };
    let material = match (listed.kty.as_str(), listed.crv.as_deref()) {
        ("RSA", _) => {
            // `ring` takes no leading zeros.
            let number = |text| {
                let bytes: Vec<u8> = bytes(text)?;
                Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
            };
            Material::Rsa { modulus: number(&listed.n)?, exponent: number(&listed.e)? }
        }
        ("EC", Some("P-256")) => {
            let (x, y) = (bytes(&listed.x)?, bytes(&listed.y)?);
            if x.len() != 32 || y.len() != 32 {
                return None;
            }
            Material::P256 { point: [vec![4], x, y].concat() }
        }
        _ => return None,
    };
    let key = Key { kid: listed.kid, material };
    let is_own = listed.alg.is_none_or(|algorithm| algorithm == key.algorithm().as_str());
    is_own.then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_sign_in_a_known_way_are_taken() {
        let text = r#"{ "keys": [
            { "kty": "oct", "kid": "shared", "k": "c2VjcmV0" },
            { "kty": "RSA", "kid": "enc", "use": "enc", "n": "AQAB", "e": "AQAB" },
            { "kty": "RSA", "kid": "pss", "alg": "PS256", "n": "AQAB", "e": "AQAB" },
            { "kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB" },
            { "kty": "EC", "kid": "short", "crv": "P-256", "x": "AQAB", "y": "AQAB" },
            { "kty": "EC", "kid": "other", "crv": "P-384", "x": "AQAB", "y": "AQAB" },
            { "kty": "RSA", "kid": "right", "alg": "RS256", "use": "sig", "n": "AQAB", "e": "AQAB" } ] }"#;
        let found = keys(text.as_bytes()).unwrap();
        assert_eq!(found.iter().filter_map(Key::kid).collect::<Vec<_>>(), ["right"]);
        // Three bytes are no RSA key to anybody.
        assert!(found[0].verify(b"x", b"y").is_err());
        assert!(keys(b"{}").is_none() && keys(b"no").is_none());
    }
}
