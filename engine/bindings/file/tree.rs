//! x
pub(super) const LIST: &str = "";
pub(super) const UNPACK: &str = "";
