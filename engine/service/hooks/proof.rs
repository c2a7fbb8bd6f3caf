//! Whether an event comes from the GitLab that it should: its secret token, or its signature (Standard Webhooks).

use base64::Engine as _;
use jiff::{SignedDuration, Timestamp};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

/// How far the sender's clock may be from ours.
const APART: SignedDuration = SignedDuration::from_mins(5);

/// A request as it came, as far as it proves something.
#[derive(Debug, Clone, Default)]
pub struct Shown<'a> {
    /// `webhook-id`.
    pub id: Option<&'a str>,
    /// `webhook-timestamp`: seconds since 1970.
    pub timestamp: Option<&'a str>,
    /// `webhook-signature`: `v1,BASE64`, several with spaces between.
    pub signature: Option<&'a str>,
    /// `X-Gitlab-Token`.
    pub token: Option<&'a str>,
    /// The body, byte by byte.
    pub body: &'a [u8],
}

/// Why a request proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unproved {
    /// It has no signature, and needs one.
    #[error("it is not signed; give the webhook a signing token, or leave out `require_signature`")]
    Unsigned,
    /// Headers are missing or make no sense.
    #[error("`webhook-id`, `webhook-timestamp` and `webhook-signature` are needed, all three")]
    Malformed,
    /// It is from long ago, or from the future.
    #[error("its time is more than five minutes from this machine's")]
    Late,
    /// Another key made the signature, or another text was signed.
    #[error("its signature is wrong")]
    Signature,
    /// It shows another secret token, or none.
    #[error("its secret token is wrong or missing")]
    Token,
}

/// The secrets of a webhook.
#[derive(Default)]
pub struct Keys {
    /// The secret token.
    pub token: Option<zeroize::Zeroizing<Vec<u8>>>,
    /// The key for signatures.
    pub signing: Option<hmac::Key>,
    /// Whether a signature is needed.
    pub require_signature: bool,
}

impl Keys {
    /// Reads a signing token: `whsec_` and base64, or the bytes as they are.
    pub fn signing(text: &[u8]) -> hmac::Key {
        let trimmed = text.trim_ascii();
        let decoded = trimmed
            .strip_prefix(b"whsec_")
            .and_then(|rest| base64::engine::general_purpose::STANDARD.decode(rest).ok());
        let bytes = zeroize::Zeroizing::new(decoded.unwrap_or_else(|| trimmed.to_vec()));
        hmac::Key::new(hmac::HMAC_SHA256, &bytes)
    }

    /// Demands a proof.
    ///
    /// Where a signature is shown and can be checked, it alone counts: a wrong one is not made good by a token.
    pub fn check(&self, shown: &Shown<'_>, now: Timestamp) -> Result<(), Unproved> {
        if let (Some(key), Some(_)) = (&self.signing, shown.signature) {
            return signed(key, shown, now);
        }
        if self.require_signature || self.token.is_none() {
            return Err(Unproved::Unsigned);
        }
        match (&self.token, shown.token) {
            (Some(expected), Some(token)) if is_same(expected.trim_ascii(), token.as_bytes()) => Ok(()),
            _ => Err(Unproved::Token),
        }
    }
}

fn signed(key: &hmac::Key, shown: &Shown<'_>, now: Timestamp) -> Result<(), Unproved> {
    let (Some(id), Some(timestamp), Some(signatures)) = (shown.id, shown.timestamp, shown.signature) else {
        return Err(Unproved::Malformed);
    };
    let seconds: i64 = timestamp.parse().map_err(|_| Unproved::Malformed)?;
    let at = Timestamp::from_second(seconds).map_err(|_| Unproved::Malformed)?;
    let mut text = format!("{id}.{timestamp}.").into_bytes();
    text.extend_from_slice(shown.body);
    let is_ours = signatures.split(' ').filter_map(|one| one.strip_prefix("v1,")).any(|one| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(one);
        bytes.is_ok_and(|bytes| hmac::verify(key, &text, &bytes).is_ok())
    });
    if !is_ours {
        return Err(Unproved::Signature);
    }
    if now.duration_since(at).abs() > APART { Err(Unproved::Late) } else { Ok(()) }
}

/// Compares in a time that does not tell where the two differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut random = [0; 32];
    if SystemRandom::new().fill(&mut random).is_err() {
        return false;
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, &random);
    hmac::verify(&key, other, hmac::sign(&key, one).as_ref()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_standard_webhooks_is_right_and_its_changes_are_not() {
        // From the specification of Standard Webhooks, and of its reference libraries.
        let key = Keys::signing(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let keys = Keys { signing: Some(key), ..Keys::default() };
        let shown = Shown {
            id: Some("msg_p5jXN8AQM9LWM0D4loKWxJek"),
            timestamp: Some("1614265330"),
            signature: Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            token: None,
            body: br#"{"test": 2432232314}"#,
        };
        let now = Timestamp::from_second(1_614_265_330).unwrap();
        assert_eq!(keys.check(&shown, now), Ok(()));
        let two = "v1,AAAA v2,x v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(keys.check(&Shown { signature: Some(two), ..shown.clone() }, now), Ok(()));
        for (changed, why) in [
            (Shown { body: br#"{"test": 2432232315}"#, ..shown.clone() }, Unproved::Signature),
            (Shown { id: Some("msg_other"), ..shown.clone() }, Unproved::Signature),
            (Shown { timestamp: Some("1614265331"), ..shown.clone() }, Unproved::Signature),
            (Shown { signature: Some("v1,"), ..shown.clone() }, Unproved::Signature),
            (
                Shown { signature: Some("g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="), ..shown.clone() },
                Unproved::Signature,
            ),
            (Shown { id: None, ..shown.clone() }, Unproved::Malformed),
            (Shown { timestamp: Some("soon"), ..shown.clone() }, Unproved::Malformed),
            (Shown { signature: None, token: Some("x"), ..shown.clone() }, Unproved::Unsigned),
        ] {
            assert_eq!(keys.check(&changed, now), Err(why), "{changed:?}");
        }
        for apart in [-301, 301] {
            assert_eq!(keys.check(&shown, now + SignedDuration::from_secs(apart)), Err(Unproved::Late));
            assert_eq!(keys.check(&shown, now + SignedDuration::from_secs(apart / 2)), Ok(()));
        }
    }

    #[test]
    fn a_token_is_enough_unless_a_signature_is_demanded() {
        let token = || Some(zeroize::Zeroizing::new(b"hunter2\n".to_vec()));
        let keys = Keys { token: token(), ..Keys::default() };
        let now = Timestamp::UNIX_EPOCH;
        let shown = |token| Shown { token, body: b"{}", ..Shown::default() };
        assert_eq!(keys.check(&shown(Some("hunter2")), now), Ok(()));
        for wrong in [None, Some(""), Some("hunter"), Some("hunter22"), Some("HUNTER2")] {
            assert_eq!(keys.check(&shown(wrong), now), Err(Unproved::Token), "{wrong:?}");
        }
        let strict = Keys { token: token(), signing: Some(Keys::signing(b"key")), require_signature: true };
        assert_eq!(strict.check(&shown(Some("hunter2")), now), Err(Unproved::Unsigned));
        // A wrong signature is not made good by the right token.
        let both = Keys { require_signature: false, ..strict };
        let forged = Shown {
            id: Some("1"),
            timestamp: Some("0"),
            signature: Some("v1,AAAA"),
            ..shown(Some("hunter2"))
        };
        assert_eq!(both.check(&forged, now), Err(Unproved::Signature));
        assert_eq!(Keys::default().check(&shown(Some("x")), now), Err(Unproved::Unsigned));
    }
}
