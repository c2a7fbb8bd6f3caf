//! The part `clusters:` of `nlrun.yaml`, and how a cluster is found.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kube::config::{ExecInteractiveMode, KubeConfigOptions, Kubeconfig};
use serde::Deserialize;

use super::CONNECT_TIMEOUT;
use crate::model::nearest::did_you_mean;
use crate::model::secret::{Secret, SecretName};
use crate::world::http::Fault;
use crate::world::secrets::Place;

/// Where a cluster is and who asks it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Raw")]
pub enum Config {
    /// A context of a kubeconfig file.
    Context {
        /// The file; `$KUBECONFIG` or `~/.kube/config` by default.
        kubeconfig: Option<PathBuf>,
        /// The context; the cluster's name by default.
        context: Option<String>,
    },
    /// A server and a token.
    Server {
        /// `https://…`.
        server: String,
        /// The certificate authority, PEM; this machine's by default.
        ca: Option<PathBuf>,
        /// The name in the server's certificate, where it is not the one in the URL.
        server_name: Option<String>,
        /// The secret that holds the token.
        token: Option<SecretName>,
    },
    /// The cluster in which nlrun runs, by its service account.
    InCluster,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    server: Option<String>,
    ca: Option<PathBuf>,
    server_name: Option<String>,
    token: Option<SecretName>,
    #[serde(default)]
    in_cluster: bool,
}

/// A cluster that is described in no way, or in several.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a cluster is either `in_cluster: true`, or `server` (with `ca`, `server_name`, `token`), or `context` and `kubeconfig`"
)]
pub struct OneWay;

impl TryFrom<Raw> for Config {
    type Error = OneWay;

    fn try_from(raw: Raw) -> Result<Self, OneWay> {
        let is_server = raw.ca.is_some() || raw.server_name.is_some() || raw.token.is_some();
        let is_context = raw.kubeconfig.is_some() || raw.context.is_some();
        match (raw.in_cluster, raw.server, is_server, is_context) {
            (true, None, false, false) => Ok(Self::InCluster),
            (false, Some(server), _, false) => {
                Ok(Self::Server { server, ca: raw.ca, server_name: raw.server_name, token: raw.token })
            }
            (false, None, false, true) => {
                Ok(Self::Context { kubeconfig: raw.kubeconfig, context: raw.context })
            }
            _ => Err(OneWay),
        }
    }
}

fn wrong(reason: String) -> Fault {
    Fault::Invalid { reason }
}

/// Finds out where a cluster is and who asks it.
pub(super) async fn open(
    name: &str,
    config: Option<&Config>,
    known: &BTreeMap<String, Config>,
    place: &Place,
    token: Option<&Secret>,
) -> Result<kube::Config, Fault> {
    let mut found = match config {
        Some(Config::InCluster) => kube::Config::incluster_env()
            .map_err(|error| wrong(format!("cluster `{name}`: this is not a pod of a cluster: {error}")))?,
        Some(Config::Server { server, ca, server_name, .. }) => {
            let url = server.parse().map_err(|_| wrong(format!("cluster `{name}`: `{server}` is no URL")))?;
            let mut found = kube::Config::new(url);
            if found.cluster_url.scheme_str() != Some("https") {
                return Err(wrong(format!("cluster `{name}`: `{server}` does not begin with `https://`")));
            }
            if let Some(ca) = ca {
                found.root_cert = Some(authorities(name, &place.path(ca))?);
            }
            found.tls_server_name.clone_from(server_name);
            if let Some(token) = token {
                let text = token.expose_str().map_err(|error| wrong(error.to_string()))?;
                found.auth_info.token = Some(text.trim().to_owned().into());
            }
            found
        }
        Some(Config::Context { kubeconfig, context }) => {
            let path = kubeconfig.as_deref().map(|path| place.path(path));
            of_kubeconfig(name, path.as_deref(), context.as_deref().unwrap_or(name), known, place).await?
        }
        None => of_kubeconfig(name, None, name, known, place).await?,
    };
    if found.accept_invalid_certs {
        return Err(wrong(format!(
            "cluster `{name}`: its kubeconfig switches the check of certificates off \
             (`insecure-skip-tls-verify`); give the cluster's `certificate-authority-data` instead"
        )));
    }
    // kube would repeat everything but what it should, up to a quarter of an hour.
    found.default_retry = false;
    found.connect_timeout = Some(CONNECT_TIMEOUT);
    if let Some(exec) = &mut found.auth_info.exec {
        // A run may have no terminal, and where it has one the live view is on it.
        exec.interactive_mode = Some(ExecInteractiveMode::Never);
    }
    Ok(found)
}

fn authorities(name: &str, path: &Path) -> Result<Vec<Vec<u8>>, Fault> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let told = |reason: String| wrong(format!("cluster `{name}`: `{}`: {reason}", path.display()));
    let pem = std::fs::read(path).map_err(|error| told(error.to_string()))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let read = read.map_err(|error| told(error.to_string()))?;
    if read.is_empty() {
        return Err(told("no `BEGIN CERTIFICATE` in it".to_owned()));
    }
    Ok(read.into_iter().map(|certificate| certificate.to_vec()).collect())
}

async fn of_kubeconfig(
    name: &str,
    path: Option<&Path>,
    context: &str,
    known: &BTreeMap<String, Config>,
    place: &Place,
) -> Result<kube::Config, Fault> {
    let told = |error: &(dyn std::error::Error + 'static)| {
        wrong(format!("cluster `{name}`: {}", crate::world::http::innermost(error)))
    };
    let read = match path {
        Some(path) => Kubeconfig::read_from(path).map_err(|error| told(&error))?,
        None => default_kubeconfig(name, known, place)?,
    };
    let contexts = || read.contexts.iter().map(|context| context.name.as_str());
    if !contexts().any(|known| known == context) {
        let clusters = known.keys().map(String::as_str).filter(|known| *known != name);
        let near = did_you_mean(context, contexts().chain(clusters));
        let near = near.map(|near| format!("; {near}")).unwrap_or_default();
        let what = if known.contains_key(name) { "has no context" } else { "nor the kubeconfig has" };
        return Err(wrong(if known.contains_key(name) {
            format!("cluster `{name}`: the kubeconfig {what} `{context}`{near}")
        } else {
            format!("neither `clusters:` of nlrun.yaml {what} `{context}`{near}")
        }));
    }
    let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    kube::Config::from_custom_kubeconfig(read, &options).await.map_err(|error| told(&error))
}

/// Returns the current context of the user's kubeconfig.
pub(super) fn current_context(place: &Place) -> Option<String> {
    default_kubeconfig("", &BTreeMap::new(), place).ok()?.current_context
}

/// Reads the files of `$KUBECONFIG`, or `~/.kube/config`.
fn default_kubeconfig(
    name: &str,
    known: &BTreeMap<String, Config>,
    place: &Place,
) -> Result<Kubeconfig, Fault> {
    let listed = place.variable("KUBECONFIG").and_then(|bytes| String::from_utf8(bytes).ok());
    let paths: Vec<PathBuf> = match listed.filter(|listed| !listed.is_empty()) {
        Some(listed) => std::env::split_paths(&listed).map(|path| place.path(&path)).collect(),
        None => vec![place.path(Path::new("~/.kube/config"))],
    };
    let mut merged: Option<Kubeconfig> = None;
    // A file of the list may be missing, as for `kubectl`.
    for path in paths.iter().filter(|path| path.is_file()) {
        let told = |error: kube::config::KubeconfigError| {
            wrong(format!("`{}`: {}", path.display(), crate::world::http::innermost(&error)))
        };
        let next = Kubeconfig::read_from(path).map_err(told)?;
        merged = Some(match merged {
            Some(before) => before.merge(next).map_err(told)?,
            None => next,
        });
    }
    merged.ok_or_else(|| {
        let near = did_you_mean(name, known.keys().map(String::as_str));
        let near = near.map(|near| format!("; {near}")).unwrap_or_default();
        let paths = paths.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ");
        wrong(format!(
            "there is no cluster `{name}`: `clusters:` of nlrun.yaml has none, and there is no {paths}{near}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_described_in_one_way() {
        let read = |text: &str| serde_saphyr::from_str::<Config>(text).map_err(|error| error.to_string());
        assert_eq!(read("{in_cluster: true}"), Ok(Config::InCluster));
        let context = Config::Context { kubeconfig: None, context: Some("nl".to_owned()) };
        assert_eq!(read("{context: nl}"), Ok(context));
        let server = read("{server: 'https://a:6443', ca: ca.pem, token: k8s/nl}").unwrap();
        assert!(matches!(server, Config::Server { token: Some(_), .. }), "{server:?}");
        for text in ["{}", "{in_cluster: true, context: a}", "{server: a, context: b}", "{ca: a}"] {
            assert!(read(text).unwrap_err().contains("either `in_cluster: true`"), "{text}");
        }
        assert!(read("{insecure: true}").unwrap_err().contains("insecure"));
    }
}
