//! The options `sudo` and `sudo_password`, which every function that runs something on a host takes.

use rhai::Dynamic;
use serde::{Serialize, Serializer};

use crate::bindings::call::Content;
use crate::bindings::{Call, Raise};
use crate::gate::permit::invalid;
use crate::model::event::Failure;
use crate::model::inventory::Host;
use crate::model::secret::Secret;
use crate::model::signature::{Opt, Type};
use crate::world::transport::Sudo;

/// Who runs something on a host; it serialises to the user's name, or to nothing for the one who logged in.
#[derive(Clone, Default)]
pub(super) struct Become {
    user: Option<String>,
    password: Option<Secret>,
}

impl Become {
    /// Reads the options of a call, and the inventory for what they leave open.
    pub(super) fn read(call: &Call<'_>, host: &Host) -> Result<Self, Raise> {
        Self::of(call.option("sudo"), call.option_content("sudo_password")?, host)
    }

    /// Takes the values of the two options, and the inventory for what they leave open.
    pub(super) fn of(sudo: Option<Dynamic>, password: Option<Content>, host: &Host) -> Result<Self, Raise> {
        let connection = &host.connection;
        let usual = || connection.sudo_user.clone().unwrap_or_else(|| "root".to_owned());
        let user = match sudo {
            None => connection.sudo.unwrap_or(false).then(usual),
            Some(value) => match value.as_bool() {
                Ok(wanted) => wanted.then(usual),
                Err(_) => Some(value.into_string().map_err(|got| {
                    invalid(format!(
                        "`sudo` is `true`, `false` or the name of a user, not a value of type `{got}`"
                    ))
                })?),
            },
        };
        let password = match password {
            None => None,
            Some(Content::Secret(secret)) => Some(secret),
            Some(Content::Plain(_)) => {
                let message = "`sudo_password` wants a secret: `secret(\"name\")`";
                return Err(invalid(message.to_owned()).into());
            }
        };
        Ok(Self { user, password })
    }

    /// Whether the one who logged in runs it.
    pub(super) fn is_login(&self) -> bool {
        self.user.is_none()
    }

    /// Returns the user to become.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Returns what the transport is told.
    pub(super) fn sudo(&self) -> Result<Option<Sudo>, Failure> {
        let password = match &self.password {
            None => None,
            Some(secret) => {
                let text = secret.expose_str().map_err(|error| invalid(error.to_string()))?;
                Some(zeroize::Zeroizing::new(text.to_owned()))
            }
        };
        Ok(self.user.as_ref().map(|user| Sudo { user: Some(user.clone()), password }))
    }
}

impl Serialize for Become {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.user.serialize(serializer)
    }
}

/// The option `sudo`.
pub(super) const SUDO: Opt = Opt {
    name: "sudo",
    ty: Type::Any,
    doc: "`true` for root, or the user to become; the inventory's `sudo` otherwise.",
};

/// The option `sudo_password`.
pub(super) const SUDO_PASSWORD: Opt = Opt {
    name: "sudo_password",
    ty: Type::Secret,
    doc: "The password for sudo, sent through standard input; the inventory's `sudo_password` otherwise.",
};
