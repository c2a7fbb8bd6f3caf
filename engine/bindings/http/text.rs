//! Values in a request that may be secrets: shown by name, sent as they are.

use rhai::Dynamic;
use serde::ser::{Error as _, SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};

use crate::bindings::value::SecretValue;
use crate::gate::UNKNOWN_OUTCOME;
use crate::gate::permit::invalid;
use crate::model::event::Failure;
use crate::model::secret::Secret;

/// A text, or a secret in its place; in the journal the secret is its name.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(in crate::bindings) enum Text {
    Plain(String),
    Secret(Secret),
}

impl Text {
    /// Reads a script value; numbers and truth values are texts, too.
    pub(in crate::bindings) fn from(value: &Dynamic) -> Option<Self> {
        if let Some(secret) = value.read_lock::<SecretValue>() {
            return Some(Self::Secret(secret.0.clone()));
        }
        let is_text =
            value.is_string() || value.is_char() || value.is_int() || value.is_float() || value.is_bool();
        is_text.then(|| Self::Plain(value.to_string()))
    }

    /// Returns the text to send.
    pub(in crate::bindings) fn exposed(&self) -> Result<&str, Failure> {
        match self {
            Self::Plain(text) => Ok(text),
            Self::Secret(secret) => exposed(secret),
        }
    }

    pub(super) fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(_))
    }
}

/// Returns a secret as text to send.
///
/// One that came in the answer of an act is known only to the run that got it: a resumed run has a mark in its place.
pub(super) fn exposed(secret: &Secret) -> Result<&str, Failure> {
    let text = secret.expose_str().map_err(|error| invalid(error.to_string()))?;
    if text.as_bytes() == Secret::placeholder(secret.name().clone()).expose() {
        let message = format!(
            "secret `{}` came in an answer before the run was interrupted and was not recorded; ask for it in a new run",
            secret.name()
        );
        return Err(Failure { kind: UNKNOWN_OUTCOME.to_owned(), ..invalid(message) });
    }
    Ok(text)
}

/// A script value as the JSON that is sent, secrets and all.
pub(super) struct Exposed<'a>(pub(super) &'a Dynamic);

impl Serialize for Exposed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = self.0;
        if let Some(secret) = value.read_lock::<SecretValue>() {
            let text = exposed(&secret.0).map_err(|failure| S::Error::custom(failure.message))?;
            return serializer.serialize_str(text);
        }
        if let Some(array) = value.read_lock::<rhai::Array>() {
            let mut list = serializer.serialize_seq(Some(array.len()))?;
            for item in array.iter() {
                list.serialize_element(&Exposed(item))?;
            }
            return list.end();
        }
        if let Some(map) = value.read_lock::<rhai::Map>() {
            let mut object = serializer.serialize_map(Some(map.len()))?;
            for (key, item) in map.iter() {
                object.serialize_entry(key.as_str(), &Exposed(item))?;
            }
            return object.end();
        }
        // Nothing else holds a secret.
        let plain = crate::bindings::json(value).map_err(|failure| S::Error::custom(failure.message))?;
        plain.serialize(serializer)
    }
}
