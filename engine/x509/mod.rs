//! X.509 certificates and their private keys (RFC 5280): text in, text out; the clock is an argument.
//!
//! [`Bundle`] is what a file holds, [`Pair`] is that put in order, [`check`] says what is wrong with it, and [`Order`] writes it
//! again in the order that a server wants.

mod bundle;
mod certificate;
mod check;
mod curve;
mod error;
mod key;
mod name;
mod order;
mod pair;
mod signature;

use base16ct::lower::encode_string as hex;

pub use bundle::{Bundle, MOST, beside_certificates, public_halves};
pub use certificate::Certificate;
pub use check::{Expected, Finding, Severity, check};
pub use curve::Curve;
pub use error::Error;
pub use key::{KeyKind, PrivateKey, PublicKey};
pub use name::{Name, covers};
pub use order::{Order, pem};
pub use pair::{Pair, Was};
pub use signature::Verdict;

/// Seconds of a day.
const DAY: i64 = 86_400;

/// Returns the whole days from `at` to `until`, rounded down: 0 within the last day, negative after the end.
pub fn days_between(at: jiff::Timestamp, until: jiff::Timestamp) -> i64 {
    (until.as_second() - at.as_second()).div_euclid(DAY)
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex(&sha2::Sha256::digest(bytes))
}
