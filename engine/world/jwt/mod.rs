//! JSON Web Tokens (RFC 7519) as ID tokens use them: signed, by a key that the issuer publishes.
//!
//! What a token says of itself decides nothing: the algorithm is the key's, and the key is one of the issuer's (RFC 8725, 3.1).

mod key;
mod provider;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Map, Value};

pub use key::{Algorithm, Key, keys};
pub use provider::{Discovery, Provider, ProviderError};

/// The longest token that is looked at, in bytes.
const LONGEST: usize = 16 * 1024;

/// How far the clocks of two machines may be apart.
pub const LEEWAY: Duration = Duration::from_secs(60);

/// Why a token is not accepted. No variant holds any part of its signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// It is no signed token.
    #[error("it is no signed JSON Web Token")]
    Malformed,
    /// It claims another algorithm than its key has.
    #[error("it says `{0}`, which is not the algorithm of its key")]
    Algorithm(String),
    /// Nobody knows its key.
    #[error("its key is none of the issuer's")]
    UnknownKey,
    /// Somebody else made it, or changed it.
    #[error("its signature is wrong")]
    Signature,
    /// It comes from somewhere else.
    #[error("its issuer is another one")]
    Issuer,
    /// It is meant for somebody else.
    #[error("it is meant for another audience")]
    Audience,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet")]
    NotYet,
    /// A claim is missing or is not what it should be.
    #[error("its claim `{0}` is missing or wrong")]
    Claim(&'static str),
    /// The issuer's keys are not known.
    #[error("the issuer's keys cannot be read: {0}")]
    Provider(String),
}

/// A token that was read, and that nobody has vouched for.
pub struct Unverified<'a> {
    algorithm: String,
    kid: Option<String>,
    signed: &'a str,
    claims: Map<String, Value>,
    signature: Vec<u8>,
}

/// What a token must be.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Who made it.
    pub issuer: &'a str,
    /// Whom it is for.
    pub audience: &'a str,
    /// Algorithms of keys that are accepted.
    pub algorithms: &'a [Algorithm],
    /// The present.
    pub now: Timestamp,
}

impl<'a> Unverified<'a> {
    /// Reads a token.
    pub fn read(token: &'a str) -> Result<Self, JwtError> {
        if token.len() > LONGEST {
            return Err(JwtError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(JwtError::Malformed)?;
        let (head, claims) = signed.split_once('.').ok_or(JwtError::Malformed)?;
        let head = object(head)?;
        let text = |name: &str| head.get(name).and_then(Value::as_str).map(str::to_owned);
        if head.contains_key("crit") || head.contains_key("b64") {
            // Extensions that would have to be understood (RFC 7515, 4.1.11).
            return Err(JwtError::Malformed);
        }
        Ok(Self {
            algorithm: text("alg").ok_or(JwtError::Malformed)?,
            kid: text("kid"),
            signed,
            claims: object(claims)?,
            signature: URL_SAFE_NO_PAD.decode(signature).map_err(|_| JwtError::Malformed)?,
        })
    }

    /// Finds its key among the issuer's: by name, or the only one where it names none.
    pub fn key<'k>(&self, keys: &'k [Key]) -> Result<&'k Key, JwtError> {
        match (&self.kid, keys) {
            (Some(kid), keys) => keys.iter().find(|key| key.kid() == Some(kid)).ok_or(JwtError::UnknownKey),
            (None, [only]) => Ok(only),
            (None, _) => Err(JwtError::UnknownKey),
        }
    }

    /// Checks the signature, then the claims that every token has; returns all claims.
    pub fn verify(self, key: &Key, expected: &Expected<'_>) -> Result<Map<String, Value>, JwtError> {
        if self.algorithm != key.algorithm().as_str() || !expected.algorithms.contains(&key.algorithm()) {
            return Err(JwtError::Algorithm(self.algorithm.chars().take(16).collect()));
        }
        key.verify(self.signed.as_bytes(), &self.signature).map_err(|()| JwtError::Signature)?;
        let claims = self.claims;
        if claims.get("iss").and_then(Value::as_str) != Some(expected.issuer) {
            return Err(JwtError::Issuer);
        }
        let is_meant = match claims.get("aud") {
            Some(Value::String(one)) => one == expected.audience,
            Some(Value::Array(several)) => several.iter().any(|one| one == expected.audience),
            _ => false,
        };
        if !is_meant {
            return Err(JwtError::Audience);
        }
        let (now, leeway) = (expected.now.as_second() as f64, LEEWAY.as_secs_f64());
        let time = |name: &'static str| match claims.get(name) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or(JwtError::Claim(name)),
        };
        if now >= time("exp")?.ok_or(JwtError::Claim("exp"))? + leeway {
            return Err(JwtError::Expired);
        }
        if time("nbf")?.is_some_and(|from| now + leeway < from)
            || time("iat")?.is_some_and(|made| now + leeway < made)
        {
            return Err(JwtError::NotYet);
        }
        Ok(claims)
    }
}

fn object(part: &str) -> Result<Map<String, Value>, JwtError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| JwtError::Malformed)
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    struct Signer {
        pair: EcdsaKeyPair,
        keys: Vec<Key>,
    }

    impl Signer {
        fn new() -> Self {
            let random = SystemRandom::new();
            let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
            let pair = EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap();
            let point = pair.public_key().as_ref();
            let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
            let set = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "a", "x": x, "y": y }] });
            Self { pair, keys: keys(set.to_string().as_bytes()).unwrap() }
        }

        fn sign(&self, head: &Value, claims: &Value) -> String {
            let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let signed = format!("{}.{}", encode(head), encode(claims));
            let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
        }
    }

    fn verify(token: &str, keys: &[Key]) -> Result<Map<String, Value>, JwtError> {
        let expected = Expected {
            issuer: "https://i",
            audience: "us",
            algorithms: &[Algorithm::Es256],
            now: Timestamp::from_second(NOW).unwrap(),
        };
        let token = Unverified::read(token)?;
        let key = token.key(keys)?;
        token.verify(key, &expected)
    }

    #[test]
    fn a_right_token_is_accepted_and_every_wrong_one_refused_for_its_own_reason() {
        let signer = Signer::new();
        let head = json!({ "alg": "ES256", "kid": "a" });
        let right =
            json!({ "iss": "https://i", "aud": ["x", "us"], "exp": NOW + 5, "nbf": NOW, "sub": "me" });
        let with = |name: &str, value: Value| {
            let mut claims = right.clone();
            claims[name] = value;
            signer.sign(&head, &claims)
        };
        assert_eq!(verify(&signer.sign(&head, &right), &signer.keys).unwrap()["sub"], "me");
        for (token, reason) in [
            (with("iss", json!("https://j")), JwtError::Issuer),
            (with("iss", json!(null)), JwtError::Issuer),
            (with("aud", json!("them")), JwtError::Audience),
            (with("aud", json!({ "us": 1 })), JwtError::Audience),
            (with("exp", json!(NOW - 60)), JwtError::Expired),
            (with("exp", json!("soon")), JwtError::Claim("exp")),
            (with("exp", json!(null)), JwtError::Claim("exp")),
            (with("nbf", json!(NOW + 61)), JwtError::NotYet),
            (with("iat", json!(NOW + 61)), JwtError::NotYet),
            (signer.sign(&json!({ "alg": "none", "kid": "a" }), &right), JwtError::Algorithm("none".into())),
            (
                signer.sign(&json!({ "alg": "HS256", "kid": "a" }), &right),
                JwtError::Algorithm("HS256".into()),
            ),
            (
                signer.sign(&json!({ "alg": "RS256", "kid": "a" }), &right),
                JwtError::Algorithm("RS256".into()),
            ),
            (signer.sign(&json!({ "alg": "ES256", "kid": "b" }), &right), JwtError::UnknownKey),
            (signer.sign(&json!({ "alg": "ES256", "kid": "a", "crit": ["x"] }), &right), JwtError::Malformed),
            (signer.sign(&json!({ "kid": "a" }), &right), JwtError::Malformed),
            (Signer::new().sign(&head, &right), JwtError::Signature),
            ("a.b.c".into(), JwtError::Malformed),
            (String::new(), JwtError::Malformed),
            ("x".repeat(LONGEST + 1), JwtError::Malformed),
        ] {
            assert_eq!(verify(&token, &signer.keys), Err(reason), "{token}");
        }
        // Within a minute clocks may differ.
        verify(&with("exp", json!(NOW - 59)), &signer.keys).unwrap();
        verify(&with("nbf", json!(NOW + 60)), &signer.keys).unwrap();
        // Without a name the only key is meant, and one of several is not.
        let nameless = signer.sign(&json!({ "alg": "ES256" }), &right);
        verify(&nameless, &signer.keys).unwrap();
        let two = [signer.keys.clone(), Signer::new().keys].concat();
        assert_eq!(verify(&nameless, &two), Err(JwtError::UnknownKey));
        // A changed claim, a changed head, and no signature at all.
        let token = signer.sign(&head, &right);
        let parts: Vec<&str> = token.split('.').collect();
        let other = with("sub", json!("root"));
        let claims = other.split('.').nth(1).unwrap();
        assert_eq!(
            verify(&format!("{}.{claims}.{}", parts[0], parts[2]), &signer.keys),
            Err(JwtError::Signature)
        );
        assert_eq!(verify(&format!("{}.{}.", parts[0], parts[1]), &signer.keys), Err(JwtError::Signature));
    }
}
