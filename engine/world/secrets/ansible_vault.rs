//! Ansible Vault: whole files and inline strings, formats 1.1 and 1.2, read only.
//!
//! The format is `lib/ansible/parsing/vault` of ansible-core: PBKDF2-HMAC-SHA256, AES-256-CTR, then HMAC-SHA256.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use aes::cipher::{KeyIvInit, StreamCipher};
use ring::{hmac, pbkdf2};
use serde_json::Value;
use zeroize::Zeroizing;

const MARK: &str = "$ANSIBLE_VAULT;";
const ROUNDS: NonZeroU32 = NonZeroU32::new(10_000).expect("ten thousand is not zero");

/// Why an Ansible Vault text cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The password does not fit, or the text was changed: the format cannot tell these apart.
    #[error("the vault password is wrong, or the vault text is damaged")]
    WrongPassword,
    /// A header of another format.
    #[error("`{0}` is not a vault format that can be read: only 1.1 and 1.2 with AES256")]
    Format(String),
    /// The text after the header is not what the format demands.
    #[error("the vault text is cut off or damaged")]
    Damaged,
    /// The decrypted file is no YAML map. The parser's words are left out, for they show the text.
    #[error("the vault file is not a YAML map{}", .0.map(|line| format!(": see line {line}")).unwrap_or_default())]
    NotYaml(Option<u64>),
}

/// A vault file whose keys can be read: encrypted as a whole and opened, or in clear with encrypted strings.
pub struct Vault {
    values: BTreeMap<String, Zeroizing<String>>,
}

/// Whether the whole text is encrypted, so that not even its keys can be read without the password.
pub fn is_sealed(text: &str) -> bool {
    text.trim_start().starts_with(MARK)
}

impl Vault {
    /// Reads a vault file; the password is needed only if the file is encrypted as a whole.
    pub fn read(text: &str, password: &[u8]) -> Result<Self, Error> {
        if is_sealed(text) {
            let plain = decrypt(text, password)?;
            Self::of_yaml(std::str::from_utf8(&plain).map_err(|_| Error::NotYaml(None))?)
        } else {
            Self::of_yaml(text)
        }
    }

    fn of_yaml(text: &str) -> Result<Self, Error> {
        // A password may be `on` or `007`.
        let options = serde_saphyr::options! { strict_booleans: true, leading_zero_numbers_as_strings: true };
        let tree: Value = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| Error::NotYaml(error.location().map(|location| location.line())))?;
        let Value::Object(map) = tree else { return Err(Error::NotYaml(None)) };
        let mut values = BTreeMap::new();
        for (key, value) in map {
            flatten(&key.to_lowercase(), value, &mut values);
        }
        Ok(Self { values })
    }

    /// Returns the names of all values, nested keys joined by `/`, in lower case.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Returns one value, decrypted if it is an inline vault string.
    pub fn get(&self, name: &str, password: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match self.values.get(name) {
            Some(value) if is_sealed(value) => {
                decrypt(value, password).map(|mut plain| Some(std::mem::take(&mut *plain)))
            }
            Some(value) => Ok(Some(value.as_bytes().to_vec())),
            None => Ok(None),
        }
    }
}

fn flatten(name: &str, value: Value, into: &mut BTreeMap<String, Zeroizing<String>>) {
    let text = match value {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Object(map) => {
            for (key, value) in map {
                flatten(&format!("{name}/{}", key.to_lowercase()), value, into);
            }
            return;
        }
        // A secret is one value; lists have no names below them.
        Value::Null | Value::Array(_) => return,
    };
    into.insert(name.to_owned(), Zeroizing::new(text));
}

/// Decrypts one vault text, header included.
pub fn decrypt(text: &str, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut lines = text.trim_start().lines();
    let header = lines.next().unwrap_or_default().trim();
    match header.split(';').collect::<Vec<_>>()[..] {
        ["$ANSIBLE_VAULT", "1.1", "AES256"] | ["$ANSIBLE_VAULT", "1.2", "AES256", _] => {}
        _ => return Err(Error::Format(header.chars().take(60).collect())),
    }
    let body: String = lines.map(str::trim).collect();
    let inner = unhex(body.as_bytes())?;
    let mut parts = inner.split(|byte| *byte == b'\n').map(unhex);
    let (Some(salt), Some(tag), Some(data), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Error::Damaged);
    };
    let (salt, tag, data) = (salt?, tag?, data?);

    let mut keys = Zeroizing::new([0; 80]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, &salt, password, &mut *keys);
    let (cipher_key, rest) = keys.split_at(32);
    let (tag_key, start) = rest.split_at(32);
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, tag_key), &data, &tag)
        .map_err(|_| Error::WrongPassword)?;
    let mut plain = Zeroizing::new(data);
    apply_keystream(cipher_key, start, &mut plain);
    let padding = usize::from(*plain.last().ok_or(Error::Damaged)?);
    let length =
        plain.len().checked_sub(padding).filter(|_| (1..=16).contains(&padding)).ok_or(Error::Damaged)?;
    plain.truncate(length);
    Ok(plain)
}

fn apply_keystream(key: &[u8], start: &[u8], data: &mut [u8]) {
    ctr::Ctr128BE::<aes::Aes256>::new_from_slices(key, start)
        .expect("80 derived bytes are split into 32, 32 and 16")
        .apply_keystream(data);
}

fn unhex(text: &[u8]) -> Result<Vec<u8>, Error> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8).ok_or(Error::Damaged);
    if text.len() % 2 == 1 {
        return Err(Error::Damaged);
    }
    text.chunks_exact(2).map(|pair| Ok(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V11: &str = include_str!("fixtures/vault-1.1.yml");
    const V12: &str = include_str!("fixtures/vault-1.2.yml");
    const INLINE: &str = include_str!("fixtures/vault-inline.yml");

    #[test]
    fn files_made_by_ansible_vault_are_read() {
        for (file, name, value) in [
            (V11, "db/root", "vault-s3cret"),
            (V11, "db/port", "5432"),
            (V11, "key", "-----BEGIN KEY-----\nabcdefgh\n-----END KEY-----\n"),
            (V12, "api_token", "tok:äé"),
            (INLINE, "nested/token", "inline-s3cret"),
            (INLINE, "plain", "in clear"),
        ] {
            let vault = Vault::read(file, b"swordfish").unwrap();
            assert_eq!(vault.get(name, b"swordfish").unwrap().as_deref(), Some(value.as_bytes()), "{name}");
            assert!(vault.names().any(|known| known == name));
            assert!(vault.get("db", b"swordfish").unwrap().is_none());
        }
        assert!(is_sealed(V12) && !is_sealed(INLINE));
    }

    #[test]
    fn plain_values_keep_their_spelling() {
        let vault = Vault::read("{a: on, b: 007, c: y, d: true, e: 12}", b"").unwrap();
        for (name, value) in [("a", "on"), ("b", "007"), ("c", "y"), ("d", "true"), ("e", "12")] {
            assert_eq!(vault.get(name, b"").unwrap().as_deref(), Some(value.as_bytes()), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        assert!(matches!(Vault::read(V11, b"wrong"), Err(Error::WrongPassword)));
        let inline = Vault::read(INLINE, b"wrong").unwrap();
        assert!(matches!(inline.get("nested/token", b"wrong"), Err(Error::WrongPassword)));
        for (text, says) in [
            (V11.replace(";1.1;", ";1.0;"), "`$ANSIBLE_VAULT;1.0;AES256` is not a vault format"),
            (V11.replace("AES256", "AES"), "is not a vault format"),
            (V11[..300].to_owned(), "damaged"),
            (V11.lines().next().unwrap().to_owned(), "damaged"),
            ("a: [".to_owned(), "not a YAML map: see line 1"),
            ("- a".to_owned(), "not a YAML map"),
        ] {
            let error = Vault::read(&text, b"swordfish").err().unwrap().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn every_changed_digit_is_noticed() {
        let body = V11.find('\n').unwrap() + 1;
        for at in (body..V11.len()).step_by(37) {
            let mut text = V11.as_bytes().to_vec();
            text[at] = if text[at] == b'3' { b'6' } else { b'3' };
            assert!(decrypt(std::str::from_utf8(&text).unwrap(), b"swordfish").is_err(), "{at}");
        }
    }
}
