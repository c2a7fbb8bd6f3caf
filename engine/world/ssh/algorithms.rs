//! Which algorithms are offered to a host, and in which order.

use std::borrow::Cow;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Preferred, cipher, compression, kex, mac};

use super::trust::Trust;

const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_GEX_SHA256,
    kex::DH_G16_SHA512,
    kex::DH_G18_SHA512,
    kex::DH_G14_SHA256,
];

const LEGACY_KEX: &[kex::Name] = &[kex::DH_GEX_SHA1, kex::DH_G14_SHA1, kex::DH_G1_SHA1];

const KEX_EXTENSIONS: &[kex::Name] =
    &[kex::EXTENSION_SUPPORT_AS_CLIENT, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT];

const CIPHERS: &[cipher::Name] = &[
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_128_CTR,
    cipher::AES_192_CTR,
    cipher::AES_256_CTR,
];

const LEGACY_CIPHERS: &[cipher::Name] =
    &[cipher::AES_256_CBC, cipher::AES_192_CBC, cipher::AES_128_CBC, cipher::TRIPLE_DES_CBC];

const MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512];

const LEGACY_MACS: &[mac::Name] = &[mac::HMAC_SHA1_ETM, mac::HMAC_SHA1];

/// Lists what is offered: the algorithms of known keys first, and those built on SHA-1 or CBC only when `legacy`.
pub(super) fn preferred(trust: &Trust, legacy: bool) -> Preferred {
    let mut key = host_key_algorithms(legacy);
    let known: Vec<_> = trust.host_keys().map(|key| plain(&key.algorithm())).collect();
    key.sort_by_key(|algorithm| !known.contains(&plain(algorithm)));
    let host_key_certificates = if trust.has_authority() { host_key_algorithms(false) } else { Vec::new() };
    Preferred {
        kex: join(&[KEX, if legacy { LEGACY_KEX } else { &[] }, KEX_EXTENSIONS]),
        key: Cow::Owned(key),
        host_key_certificates: Cow::Owned(host_key_certificates),
        cipher: join(&[CIPHERS, if legacy { LEGACY_CIPHERS } else { &[] }]),
        mac: join(&[MACS, if legacy { LEGACY_MACS } else { &[] }]),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

fn host_key_algorithms(legacy: bool) -> Vec<Algorithm> {
    let mut list = vec![
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
        Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
        Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
    ];
    if legacy {
        list.push(Algorithm::Rsa { hash: None });
    }
    list
}

/// An RSA key is one key, whichever hash signs with it.
fn plain(algorithm: &Algorithm) -> Algorithm {
    match algorithm {
        Algorithm::Rsa { .. } => Algorithm::Rsa { hash: None },
        other => other.clone(),
    }
}

fn join<T: Copy>(lists: &[&[T]]) -> Cow<'static, [T]> {
    Cow::Owned(lists.concat())
}
