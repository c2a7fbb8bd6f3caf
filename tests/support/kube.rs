//! A real API server with controllers and two nodes, shared by all tests of this process.
#![allow(clippy::print_stderr, reason = "a test says what it skips")]
#![expect(clippy::disallowed_methods, reason = "tests start servers")]

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::project::Project;

/// A running cluster. It ends when this process does: its script waits for the end of its standard input.
pub struct Kube {
    _child: Child,
    folder: PathBuf,
    /// Whether there are controllers and nodes.
    has_nodes: bool,
}

impl Kube {
    /// Returns the cluster; `None`, with a line on standard error, where its programs are not installed.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Kube>> = OnceLock::new();
        let shared = SHARED.get_or_init(Self::start).as_ref();
        if shared.is_none() {
            eprintln!(
                "skipped: no API server is here: set KUBEBUILDER_ASSETS, or run `tests/kube/kube.sh build` where Go is installed"
            );
        }
        shared
    }

    /// The same, where pods run, too.
    pub fn with_nodes() -> Option<&'static Self> {
        let shared = Self::shared()?;
        if !shared.has_nodes {
            eprintln!("skipped: KUBEBUILDER_ASSETS has no controllers and no nodes");
        }
        Some(shared).filter(|shared| shared.has_nodes)
    }

    fn start() -> Option<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kube/kube.sh");
        let found = Command::new(script).arg("where").stderr(Stdio::null()).output().ok()?;
        let programs = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim());
        if !found.status.success() {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("nlrun-kube-").tempdir().unwrap().keep();
        let mut command = Command::new(script);
        command.arg("run").arg(&folder).env("KUBE_REMOVE", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the API server does not start");
        Some(Self { _child: child, folder, has_nodes: programs.join("node").exists() })
    }

    /// Makes a project that knows the cluster as `nl`, and as `viewer`, `nobody` and `stale` for other users.
    pub fn project(&self) -> Project {
        let kubeconfig = self.folder.join("kubeconfig");
        let cluster = |name: &str, context: &str| {
            format!("  {name}: {{kubeconfig: '{}', context: {context}}}\n", kubeconfig.display())
        };
        let clusters = [("nl", "lab"), ("viewer", "viewer"), ("nobody", "nobody"), ("stale", "stale")];
        let clusters: String = clusters.iter().map(|(name, context)| cluster(name, context)).collect();
        Project::new().file("nlrun.yaml", &format!("clusters:\n{clusters}"))
    }

    /// The kubeconfig.
    pub fn kubeconfig(&self) -> String {
        std::fs::read_to_string(self.folder.join("kubeconfig")).unwrap()
    }
}

/// Returns a name that no other test has.
pub fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{what}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
