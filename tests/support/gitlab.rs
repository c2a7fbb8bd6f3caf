//! The lab's strict GitLab with a certificate of its own, and a project in it.
#![allow(clippy::unwrap_used, dead_code, reason = "a test may panic, and each uses a part of it")]

use nlrun::lab::http::Identity;
use nlrun::lab::http::gitlab::{self, MergeRequest, State};
use parking_lot::MutexGuard;
use sha2::{Digest as _, Sha256};

/// The token of the user `nlrun`, who is a maintainer of the project.
pub const TOKEN: &str = "glpat-lab-0123456789";
/// The project's path.
pub const PROJECT: &str = "infra/nl";

/// A GitLab with the project `infra/nl`; it ends with this value.
pub struct GitLab {
    program: gitlab::GitLab,
    pin: String,
    /// The account of the token.
    pub bot: i64,
    /// The project's number.
    pub project: i64,
}

impl GitLab {
    /// Starts it, with the branch `main` at this commit.
    pub fn start(main: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let made =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let own = Identity { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() };
        let pin = nlrun::store::hex(&Sha256::digest(made.cert.der()));
        let program = gitlab::GitLab::start(&own).unwrap();
        let (bot, project) = {
            let mut state = program.state();
            let (bot, project) = (state.user("nlrun", TOKEN), state.project(PROJECT));
            let made = state.at(PROJECT).unwrap();
            made.members.insert(bot, 40);
            made.branches.insert("main".to_owned(), main.to_owned());
            (bot, project)
        };
        Self { program, pin, bot, project }
    }

    /// What it knows.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.program.state()
    }

    /// `gitlab:` in nlrun.yaml; the token is the secret `gitlab/api`.
    pub fn config(&self) -> String {
        format!(
            "gitlab:\n  url: https://{}\n  token: gitlab/api\n  pin: {}\n",
            self.program.address, self.pin
        )
    }

    /// Adds an account with this access level to the project, and a token of the same name.
    pub fn member(&self, name: &str, level: i64) -> i64 {
        let mut state = self.state();
        let id = state.user(name, name);
        if level > 0 {
            state.at(PROJECT).unwrap().members.insert(id, level);
        }
        id
    }

    /// Adds a branch with an open merge request into `main`; returns its number.
    pub fn merge_request(&self, branch: &str, head: &str) -> u64 {
        let mut state = self.state();
        let project = state.at(PROJECT).unwrap();
        project.branches.insert(branch.to_owned(), head.to_owned());
        let number = project.merge_requests.len() as u64 + 1;
        project.merge_requests.insert(
            number,
            MergeRequest {
                number,
                title: format!("Merge {branch}"),
                description: String::new(),
                source: branch.to_owned(),
                target: "main".to_owned(),
                head: head.to_owned(),
                state: "opened".to_owned(),
                labels: Vec::new(),
                removes: false,
                squash: false,
                source_project: project.id,
                readiness: vec!["mergeable"],
                merge_commit: None,
                notes: Vec::new(),
            },
        );
        number
    }

    /// The texts of the notes of a merge request.
    pub fn notes(&self, number: u64) -> Vec<String> {
        let mut state = self.state();
        let one = &state.at(PROJECT).unwrap().merge_requests[&number];
        one.notes.iter().map(|note| note.body.clone()).collect()
    }

    /// Every state that the statuses of this name have had, over all commits.
    pub fn history(&self, name: &str) -> Vec<String> {
        let mut state = self.state();
        let statuses = state.at(PROJECT).unwrap().statuses.iter();
        statuses.filter(|status| status.name == name).flat_map(|status| status.history.clone()).collect()
    }
}
