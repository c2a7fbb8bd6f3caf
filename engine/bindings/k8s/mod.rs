//! Kubernetes: objects, nodes and pods of clusters.

mod apply;
mod delete;
mod drain;
mod exchange;
mod look;
mod many;
mod node;
mod patch;
mod pod;
mod prune;
mod reference;
mod rollout;
mod wait;

use delete::k8s_delete;
use drain::k8s_drain;
use look::{k8s_get, k8s_list, k8s_nodes, k8s_secret};
use many::k8s_apply;
use node::{k8s_cordon, k8s_uncordon};
use patch::k8s_patch;
use pod::{k8s_exec, k8s_logs};
use reference::{CLUSTER, KIND, NAME, NAMESPACE};
use rollout::k8s_rollout;
use wait::k8s_wait;

use crate::bindings::{Binding, Function};
use crate::model::effect::Kind;
use crate::model::signature::{Opt, Param, Performs, Signature, Touches, Type};

const fn on_cluster(effect: &'static str, kind: Kind) -> Performs {
    Performs { effect, kind, touches: Touches::Cluster }
}

const TAKE_OVER: Opt = Opt {
    name: "take_over",
    ty: Type::Bool,
    doc: "Whether to touch what Argo CD or OpenTofu own, which would put it back.",
};
const SELECTOR: Opt =
    Opt { name: "selector", ty: Type::String, doc: "Only objects with these labels: `app=shop,tier!=db`." };

/// Kubernetes.
pub const BINDING: Binding = Binding {
    area: "k8s",
    doc: "Objects of Kubernetes clusters. A cluster is one of `clusters:` in nlrun.yaml, or a context of the kubeconfig; a kind is \
          spelled as in manifests (`Deployment`), with its group where several have it (`Certificate.cert-manager.io`).",
    functions: &[
        function!(
            k8s_apply,
            &[CLUSTER, Param { name: "manifests", ty: Type::Any, optional: false }],
            &[
                Opt {
                    name: "namespace",
                    ty: Type::String,
                    doc: "The namespace of manifests that name none and may have one.",
                },
                Opt {
                    name: "prune",
                    ty: Type::String,
                    doc: "Labels such as `app=shop`: objects with them in the manifests' namespaces, of the same and of the usual \
                          kinds, that are not among the manifests are removed; volumes only where the manifests have some.",
                },
                Opt {
                    name: "force",
                    ty: Type::Bool,
                    doc: "Whether to take over fields that another manager owns; `false` by default.",
                },
                TAKE_OVER,
                Opt { name: "manager", ty: Type::String, doc: "Who owns the fields; `nlrun` by default." },
                Opt { name: "parallel", ty: Type::Int, doc: "How many objects at a time; 8 by default." },
            ],
            Some(on_cluster("k8s.apply", Kind::Ensure)),
            "An array of outcomes `.kind .namespace .name .action .changed .warnings`; `.action` is `created`, `configured`, \
             `unchanged` or `pruned`.",
            "Brings objects to what manifests say, by server-side apply.\n\nManifests are YAML with one object a document, a map, an \
             array of maps (secrets may stand in maps), or `#{ source: path }`: a file of the project, all below a folder, or an \
             array of such paths. Namespaces and kinds come first, then what workloads need, then the rest, \
             then webhooks; each object is an effect of its own with its own diff. Fields of other managers are left alone. Plan mode \
             asks the server for a dry run.",
            r#"try {
    k8s_apply("nl", #{
        apiVersion: "v1", kind: "ConfigMap", metadata: #{ name: "shop", namespace: "web" }, data: #{ colour: "green" },
    });
} catch (e) { print(e.message) }"#
        ),
        function!(
            k8s_get,
            &[CLUSTER, KIND, NAME],
            &[
                NAMESPACE,
                Opt {
                    name: "optional",
                    ty: Type::Bool,
                    doc: "Whether a missing object is `()`; by default it is a failure `not_found`.",
                },
            ],
            Some(on_cluster("k8s.get", Kind::Read)),
            "The object as a map.",
            "Reads one object.\n\nOf a secret it shows certificates only; `k8s_secret` hands out its values.",
            r#"try {
    let shop = k8s_get("nl", "Deployment", "shop", #{ namespace: "web" });
    print(shop.spec.replicas);
} catch (e) { print(e.message) }"#
        ),
        function!(
            k8s_list,
            &[CLUSTER, KIND],
            &[
                Opt { name: "namespace", ty: Type::String, doc: "The namespace; all of them by default." },
                SELECTOR,
                Opt {
                    name: "fields",
                    ty: Type::String,
                    doc: "Only objects with these fields, where the kind supports it: `spec.nodeName=worker-1`.",
                },
            ],
            Some(on_cluster("k8s.list", Kind::Read)),
            "An array of objects as maps.",
            "Reads the objects of a kind.",
            r#"try {
    for pod in k8s_list("nl", "Pod", #{ namespace: "web", selector: "app=shop" }) { print(pod.metadata.name) }
} catch (e) { print(e.message) }"#
        ),
        function!(
            k8s_nodes,
            &[CLUSTER],
            &[SELECTOR],
            Some(on_cluster("k8s.list", Kind::Read)),
            "An array of maps `.name .ready .unschedulable .roles .version .kernel .address .labels .taints`.",
            "Reads the nodes in short.",
            r#"try {
    for node in k8s_nodes("nl") { check(node.ready, `${node.name} is ready`) }
} catch (e) { print(e.message) }"#
        ),
        function!(
            k8s_secret,
            &[CLUSTER, Param { name: "namespace", ty: Type::String, optional: false }, NAME,],
            &[],
            Some(on_cluster("k8s.secret", Kind::Read)),
            "A map from key to value: certificates as text, everything else as secrets.",
            "Reads the values of a secret.\n\nThey are known to the redactor from then on; a resumed run reads them again. A missing \
             secret is a failure `not_found`.",
            r#"try {
    let tls = k8s_secret("nl", "cert-manager", "site-tls");
    print(cert_parse(tls["tls.crt"]).subject);
} catch (e) { print(e.message) }"#
        ),
        function!(
            k8s_delete,
            &[CLUSTER, KIND, NAME],
            &[
                NAMESPACE,
                Opt {
                    name: "grace",
                    ty: Type::Duration,
                    doc: "How long a pod may take to end; its own setting by default.",
                },
                Opt {
                    name: "orphan",
                    ty: Type::Bool,
                    doc: "Whether to leave what the object brought, such as a Deployment's pods.",
                },
                TAKE_OVER,
                Opt {
                    name: "timeout",
                    ty: Type::Duration,
                    doc: "How long the object may take to go; 2 min by default.",
                },
            ],
            Some(on_cluster("k8s.delete", Kind::Ensure)),
            "An outcome `.ok .changed .existed`.",
            "Removes an object and waits until it is gone; one that is not there is fine.\n\nWhat keeps it from going, a finalizer \
             for instance, is named.",
            r#"try { k8s_delete("nl", "ConfigMap", "shop-old", #{ namespace: "web" }) } catch (e) { print(e.message) }"#
        ),
        function!(
            k8s_patch,
            &[CLUSTER, KIND, NAME, Param { name: "patch", ty: Type::Any, optional: false }],
            &[
                NAMESPACE,
                Opt {
                    name: "type",
                    ty: Type::String,
                    doc: "`merge` (RFC 7386, by default), `json` (RFC 6902, an array) or `strategic`.",
                },
                Opt {
                    name: "subresource",
                    ty: Type::String,
                    doc: "`status` or `scale` instead of the object."
                },
                TAKE_OVER,
            ],
            Some(on_cluster("k8s.patch", Kind::Ensure)),
            "An outcome `.ok .changed`.",
            "Changes fields of an object that exists; the server's dry run says whether anything would change.",
            r#"try {
    k8s_patch("nl", "Deployment", "shop", #{ spec: #{ replicas: 3 } }, #{ namespace: "web" });
} catch (e) { print(e.message) }"#
        ),
        function!(
            k8s_wait,
            &[CLUSTER, KIND, NAME, Param { name: "until", ty: Type::Any, optional: false }],
            &[
                NAMESPACE,
                Opt {
                    name: "fails",
                    ty: Type::Any,
                    doc: "A state, or an array of them, that ends the wait with a failure."
                },
                Opt { name: "timeout", ty: Type::Duration, doc: "How long to wait; 10 min by default." },
            ],
            Some(on_cluster("k8s.wait", Kind::Read)),
            "An outcome `.ok .seconds`.",
            "Waits until an object is in a state.\n\nA state is a condition (`Ready`, `Ready=False`), `rollout` of a Deployment, \
             StatefulSet or DaemonSet, `complete` of a Job, `deleted`, or a field's value (`status.phase=Running`, \
             `.operation=nothing`); of an array, all. What will never \
             be, such as a Job that failed, ends the wait with a failure `failed`. Plan mode looks once, and does not wait for what \
             the plan itself would bring.",
            r#"try {
    k8s_wait("nl", "Deployment", "shop", "rollout", #{ namespace: "web", timeout: "5m" });
} catch (e) { print(e.message) }"#
        ),
        function!(
            k8s_rollout,
            &[CLUSTER, KIND, NAME],
            &[
                NAMESPACE,
                Opt { name: "timeout", ty: Type::Duration, doc: "How long it may take; 10 min by default." },
            ],
            Some(on_cluster("k8s.rollout", Kind::Act)),
            "An outcome `.ok .changed .seconds`.",
            "Restarts the pods of a Deployment, StatefulSet or DaemonSet by its own strategy, and waits until the new ones are there.",
            r#"k8s_rollout("nl", "Deployment", "shop", #{ namespace: "web", timeout: "5m" });"#
        ),
        function!(
            k8s_cordon,
            &[CLUSTER, Param { name: "node", ty: Type::Any, optional: false }],
            &[],
            Some(on_cluster("k8s.cordon", Kind::Ensure)),
            "An outcome `.ok .changed`.",
            "Closes a node for new pods.",
            r#"try { k8s_cordon("nl", "worker-1") } catch (e) { print(e.message) }"#
        ),
        function!(
            k8s_uncordon,
            &[CLUSTER, Param { name: "node", ty: Type::Any, optional: false }],
            &[],
            Some(on_cluster("k8s.uncordon", Kind::Ensure)),
            "An outcome `.ok .changed`.",
            "Opens a node for new pods.",
            r#"try { k8s_uncordon("nl", "worker-1") } catch (e) { print(e.message) }"#
        ),
        function!(
            k8s_drain,
            &[CLUSTER, Param { name: "node", ty: Type::Any, optional: false }],
            &[
                Opt {
                    name: "timeout",
                    ty: Type::Duration,
                    doc: "How long the pods may take to go; 10 min by default.",
                },
                Opt {
                    name: "grace",
                    ty: Type::Duration,
                    doc: "How long each pod may take to end; its own setting by default.",
                },
                Opt {
                    name: "delete_emptydir",
                    ty: Type::Bool,
                    doc: "Whether pods may lose what they keep in an emptyDir.",
                },
                Opt {
                    name: "force",
                    ty: Type::Bool,
                    doc: "Whether pods go that no controller would bring back.",
                },
            ],
            Some(on_cluster("k8s.drain", Kind::Ensure)),
            "An outcome `.ok .changed .pods .left`: the pods that went, and those that stay with why.",
            "Closes a node for new pods and evicts those on it, within their disruption budgets.\n\nPods of daemon sets and static \
             pods stay. Where a budget or a pod that does not end is in the way, the failure `timed_out` names it, and the node stays \
             closed; register `defer(|| k8s_uncordon(…))` before.",
            r#"try { k8s_drain("nl", "worker-1", #{ timeout: "5m" }) } catch (e) { print(e.message) }"#
        ),
        function!(
            k8s_exec,
            &[
                CLUSTER,
                Param { name: "namespace", ty: Type::String, optional: false },
                Param { name: "pod", ty: Type::String, optional: false },
                Param { name: "command", ty: Type::Array, optional: false },
            ],
            &[
                Opt {
                    name: "container",
                    ty: Type::String,
                    doc: "The container; the pod's default one otherwise.",
                },
                Opt { name: "stdin", ty: Type::Content, doc: "What the command reads." },
                Opt { name: "ok", ty: Type::Any, doc: "Exit codes that are no failure; 0 by default." },
                Opt {
                    name: "timeout",
                    ty: Type::Duration,
                    doc: "How long the command may take; 10 min by default.",
                },
            ],
            Some(on_cluster("k8s.exec", Kind::Act)),
            "An outcome `.ok .changed .code .out .err`.",
            "Runs a command in a container; plan mode only lists it.\n\nThe API cannot end a command: after a time-out or a \
             cancelled run it goes on in the container.",
            r#"k8s_exec("nl", "web", "db-0", ["pg_isready"]);"#
        ),
        function!(
            k8s_logs,
            &[
                CLUSTER,
                Param { name: "namespace", ty: Type::String, optional: false },
                Param { name: "pod", ty: Type::String, optional: false },
            ],
            &[
                Opt {
                    name: "container",
                    ty: Type::String,
                    doc: "The container; the pod's default one otherwise.",
                },
                Opt { name: "tail", ty: Type::Int, doc: "Only so many last lines." },
                Opt { name: "since", ty: Type::Duration, doc: "Only what is not older." },
                Opt { name: "previous", ty: Type::Bool, doc: "Of the container before the last restart." },
            ],
            Some(on_cluster("k8s.logs", Kind::Read)),
            "Text, at most 4 MiB.",
            "Reads what a container has said.",
            r#"try { print(k8s_logs("nl", "web", "db-0", #{ tail: 20 })) } catch (e) { print(e.message) }"#
        ),
    ],
};
