//! `k8s apply|diff`: the binding `k8s_apply` for a person with a file, recorded as any other run.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::Context;
use crate::cli::problem::Problem;
use crate::cli::run::{PENDING, warn, watched};
use crate::model::run::{Mode, Status};
use crate::model::runbook::Given;
use crate::service::{Own, Project, Wanted, prepare_own};

/// Apply manifests to a Kubernetes cluster, or show what would change
#[derive(Debug, Args)]
pub(crate) struct K8sOptions {
    #[command(subcommand)]
    verb: K8sVerb,
}

#[derive(Debug, Subcommand)]
enum K8sVerb {
    /// Bring objects to what manifests say, by server-side apply
    ///
    /// Each object is an effect of a recorded run. A cluster is one of `clusters:` in nlrun.yaml, or a context of the kubeconfig.
    #[command(after_help = "Examples:\n  nlrun k8s apply -f k8s/shop.yaml --cluster nl\n  \
        kustomize build . | nlrun k8s apply -f - --cluster nl --dry-run")]
    Apply {
        #[command(flatten)]
        manifests: Manifests,
        /// Only show what would change, as `k8s diff` does
        #[arg(long)]
        dry_run: bool,
        /// Answer yes to questions
        #[arg(long, short)]
        yes: bool,
    },
    /// Show what would change, by the server's dry run; ends with code 2 where something would
    #[command(after_help = "Examples:\n  nlrun k8s diff -f k8s/ --cluster nl")]
    Diff {
        #[command(flatten)]
        manifests: Manifests,
    },
}

#[derive(Debug, Args)]
struct Manifests {
    /// A file or folder with manifests, or `-` for standard input; may be given several times
    #[arg(long = "file", short = 'f', value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The cluster [default: the only one of nlrun.yaml, else the kubeconfig's current context]
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// The namespace of manifests that name none and may have one
    #[arg(long, short, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Remove objects with these labels, in the same namespaces, that are not among the manifests
    #[arg(long, value_name = "SELECTOR")]
    prune: Option<String>,
    /// Take over fields that another manager owns
    #[arg(long)]
    force: bool,
    /// Touch what Argo CD or OpenTofu own, which would put it back
    #[arg(long)]
    take_over: bool,
}

pub(crate) fn k8s(context: &Context, options: &K8sOptions) -> Result<u8, Problem> {
    let (manifests, mode, yes, tells) = match &options.verb {
        K8sVerb::Apply { manifests, dry_run: false, yes } => (manifests, Mode::Apply, *yes, false),
        K8sVerb::Apply { manifests, dry_run: true, .. } => (manifests, Mode::Plan, false, false),
        K8sVerb::Diff { manifests } => (manifests, Mode::Plan, false, true),
    };
    let project = context.project()?;
    let cluster = match &manifests.cluster {
        Some(cluster) => cluster.clone(),
        None => project.default_cluster(&context.place).ok_or_else(|| {
            let hint =
                "write `--cluster NAME`: one of `clusters:` in nlrun.yaml, or a context of the kubeconfig";
            Problem::usage("which cluster?".to_owned(), Some(hint.to_owned()))
        })?,
    };
    let mut given = BTreeMap::new();
    let sources = manifests.files.iter().map(|path| source(context, &project, path, &mut given));
    let sources = sources.collect::<Result<Vec<_>, _>>()?;
    let set = [
        ("cluster", json!(cluster)),
        ("sources", json!(sources)),
        ("namespace", json!(manifests.namespace.clone().unwrap_or_default())),
        ("prune", json!(manifests.prune.clone().unwrap_or_default())),
        ("force", json!(manifests.force)),
        ("take_over", json!(manifests.take_over)),
    ];
    let set: [(&str, Value); 6] = set;
    let wanted = Wanted {
        set: set.into_iter().map(|(name, value)| (name.to_owned(), Given::Value(value))).collect(),
        inventory: context.common.inventory.clone(),
        // Whoever types the verb and the cluster has said yes to this.
        allow: ["k8s.apply", "k8s.list", "k8s.delete"].map(|verb| format!("{verb}:{cluster}/*")).to_vec(),
        ..Wanted::default()
    };
    let prepared = prepare_own(&project, &context.place, Own::K8sApply, &wanted, given)?;
    warn(context, &prepared);
    let store = context.store(&project)?;
    let finished = watched(context, &store, yes, None, mode, |hands| {
        Ok(project.run(&context.place, &store, prepared, mode, hands)?)
    })?;
    let status = finished.ending.status;
    let changes =
        tells && status == Status::Done && store.reader()?.run(finished.run)?.summary.counts.changed > 0;
    Ok(if changes { PENDING } else { status.exit_code() })
}

/// Returns a path of the project, or the name of what is given beside it.
fn source(
    context: &Context,
    project: &Project,
    path: &Path,
    given: &mut BTreeMap<String, Vec<u8>>,
) -> Result<String, Problem> {
    let wrong = |path: &Path, error: std::io::Error| {
        Problem::usage(format!("cannot read `{}`: {error}", path.display()), None)
    };
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map_err(|error| wrong(path, error))?;
        given.insert("given:-".to_owned(), bytes);
        return Ok("given:-".to_owned());
    }
    let real = context.place.cwd.join(path).canonicalize().map_err(|error| wrong(path, error))?;
    if let Ok(inside) = real.strip_prefix(project.root()) {
        return Ok(if inside.as_os_str().is_empty() { ".".to_owned() } else { inside.display().to_string() });
    }
    if real.is_dir() {
        let message = format!("`{}` is outside the project `{}`", path.display(), project.root().display());
        return Err(Problem::usage(message, Some("name its files one by one".to_owned())));
    }
    let name = format!("given:{}", real.display());
    given.insert(name.clone(), std::fs::read(&real).map_err(|error| wrong(path, error))?);
    Ok(name)
}
