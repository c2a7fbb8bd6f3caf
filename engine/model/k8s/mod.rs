//! Kubernetes objects as plain data: manifests, kinds of a cluster, order, what of an object is compared.

mod catalog;
mod manifest;
mod object;
mod order;
mod owner;
mod status;

pub use catalog::{Catalog, Resource, UnknownKind};
pub use manifest::{Manifest, ManifestError, read};
pub use object::{Id, normal, yaml};
pub use order::Rank;
pub use owner::{Owner, owner};
pub use status::{Cause, Status};
