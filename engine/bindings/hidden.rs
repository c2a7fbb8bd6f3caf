//! The option `secret` of functions that read files: what a file holds becomes a secret before anything of it is recorded.

use crate::bindings::{Call, Raise};
use crate::gate::Permit;
use crate::model::event::Failure;
use crate::model::secret::{Secret, SecretName};
use crate::model::signature::{Opt, Type};
use crate::x509;

/// The option.
pub(super) const SECRET: Opt = Opt {
    name: "secret",
    ty: Type::String,
    doc: "A name such as `site/key`: what is read is a secret of that name, and not recorded; certificates in it stay in sight.",
};

/// Reads the option.
pub(super) fn name(call: &Call<'_>) -> Result<Option<SecretName>, Raise> {
    let name = call.option_string("secret")?.map(SecretName::try_from).transpose();
    Ok(name.map_err(|error| crate::gate::permit::invalid(error.to_string()))?)
}

/// Learns what was read, so that it is replaced by its name from here on.
pub(super) fn learn(permit: &Permit<'_>, name: &SecretName, data: &[u8]) -> Result<(), Failure> {
    if x509::beside_certificates(data).is_empty() {
        return Ok(());
    }
    permit.learn(&Secret::new(name.clone(), data.to_vec()))
}
