//! Runbooks of nlrun's own, behind verbs that do one thing.

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// `nlrun k8s apply|diff`.
    K8sApply,
}

impl Own {
    /// Returns the path by which the log knows it.
    pub fn path(self) -> &'static str {
        match self {
            Self::K8sApply => "nlrun:k8s-apply.rhai",
        }
    }

    /// Returns its text.
    pub fn text(self) -> &'static str {
        match self {
            Self::K8sApply => include_str!("k8s-apply.rhai"),
        }
    }
}
