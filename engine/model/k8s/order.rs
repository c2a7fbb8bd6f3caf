//! In which order objects are applied: what others need comes first.

/// When an object's turn comes; all of one rank are applied before the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// Kinds and namespaces, without which nothing else can be written.
    Ground,
    /// What workloads refer to: accounts, roles, configuration, storage, services.
    Base,
    /// Workloads, custom resources, and everything that is not named here.
    Rest,
    /// What the API server asks about every later write: webhooks, policies, aggregated APIs.
    Guard,
}

impl Rank {
    /// Returns the rank of a kind of an API group.
    pub fn of(group: &str, kind: &str) -> Self {
        match (group, kind) {
            ("", "Namespace")
            | ("apiextensions.k8s.io", "CustomResourceDefinition")
            | ("scheduling.k8s.io", "PriorityClass") => Self::Ground,
            (
                "",
                "ConfigMap" | "LimitRange" | "PersistentVolume" | "PersistentVolumeClaim" | "ResourceQuota"
                | "Secret" | "Service" | "ServiceAccount",
            )
            | ("networking.k8s.io", "IngressClass" | "NetworkPolicy")
            | ("node.k8s.io", "RuntimeClass")
            // A binding is refused while its role is not there and its author does not hold the role's rights.
            | ("rbac.authorization.k8s.io", "ClusterRole" | "Role")
            | ("storage.k8s.io", _) => Self::Base,
            ("admissionregistration.k8s.io", _) | ("apiregistration.k8s.io", "APIService") => Self::Guard,
            _ => Self::Rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_need_comes_first() {
        let ranks = [
            ("", "Namespace"),
            ("rbac.authorization.k8s.io", "ClusterRole"),
            ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
            ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ]
        .map(|(group, kind)| Rank::of(group, kind));
        assert_eq!(ranks, [Rank::Ground, Rank::Base, Rank::Rest, Rank::Guard]);
        // The group counts: another project's `Service` is a custom resource.
        assert_eq!(Rank::of("serving.knative.dev", "Service"), Rank::Rest);
    }
}
