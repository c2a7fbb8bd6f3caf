//! A secret is a type: it has a name and no text form.

use std::fmt;
use std::str::{FromStr, Utf8Error};
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

/// Names a secret: lower-case letters, digits, `.`, `_`, `-`, in segments parted by `/` (`db/root`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(String);

/// A text that cannot name a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` cannot name a secret: use a-z, 0-9, `.`, `_` and `-` in segments parted by `/`, each beginning with a letter or digit"
)]
pub struct InvalidName(pub String);

impl SecretName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name in the spelling of environment variables: `db/root` is `DB_ROOT`.
    pub fn as_variable(&self) -> String {
        self.0.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
    }
}

impl FromStr for SecretName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        // Names become paths below a folder of secrets, so `..` and hidden files must not be writable here.
        let segment_is_valid = |segment: &str| {
            segment.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && segment.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-'))
        };
        if text.split('/').all(segment_is_valid) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName(text.to_owned()))
        }
    }
}

impl TryFrom<String> for SecretName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> Self {
        name.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A value that is shown, compared and recorded by its name only.
///
/// It has no `Display` and no `Deserialize`; `Debug` prints `secret(name)`, `Serialize` writes `{"$secret":"name"}`.
/// The bytes are wiped when the last clone is dropped.
#[derive(Clone)]
pub struct Secret {
    name: SecretName,
    value: Arc<Zeroizing<Vec<u8>>>,
}

impl Secret {
    /// Takes a value and gives it a name.
    pub fn new(name: SecretName, value: Vec<u8>) -> Self {
        Self { name, value: Arc::new(Zeroizing::new(value)) }
    }

    /// Makes what stands for a secret in a replay, which has no vault: the text that the log shows in its place.
    pub fn placeholder(name: SecretName) -> Self {
        let text = format!("«secret:{name}»");
        Self::new(name, text.into_bytes())
    }

    /// Returns the name.
    pub fn name(&self) -> &SecretName {
        &self.name
    }

    /// Returns the value, for the one place that hands it to the world.
    pub fn expose(&self) -> &[u8] {
        &self.value
    }

    /// Returns the value as text.
    pub fn expose_str(&self) -> Result<&str, NotText> {
        std::str::from_utf8(&self.value).map_err(|source| NotText { name: self.name.clone(), source })
    }
}

/// A secret was needed as text, and its bytes are not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("secret `{name}` is not UTF-8 text")]
pub struct NotText {
    /// Which secret.
    pub name: SecretName,
    /// Where the bytes stop being text.
    pub source: Utf8Error,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret({})", self.name)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("$secret", &self.name)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_confined_to_segments() {
        for good in ["a", "db/root", "9-x", "k8s/nl/token.v2", "a_b"] {
            assert!(good.parse::<SecretName>().is_ok(), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "..", "a/../b", "a/.b", "A", "a b", "_a", "-a", "ä", "a\n"] {
            assert!(bad.parse::<SecretName>().is_err(), "{bad}");
            assert!(serde_json::from_value::<SecretName>(bad.into()).is_err(), "{bad}");
        }
        assert_eq!("db/root.key-1".parse::<SecretName>().unwrap().as_variable(), "DB_ROOT_KEY_1");
    }

    #[test]
    fn no_form_shows_the_value() {
        let secret = Secret::new("db/root".parse().unwrap(), b"hunter2".to_vec());
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "secret(db/root) Some(secret(db/root))");
        assert_eq!(serde_json::to_string(&secret).unwrap(), r#"{"$secret":"db/root"}"#);
        assert_eq!(secret.expose(), b"hunter2");
        assert_eq!(secret.clone().expose_str().unwrap(), "hunter2");
    }

    #[test]
    fn bytes_that_are_no_text_are_told_by_name() {
        let secret = Secret::new("blob".parse().unwrap(), vec![0xff, 0xfe]);
        assert_eq!(secret.expose_str().unwrap_err().to_string(), "secret `blob` is not UTF-8 text");
    }
}
