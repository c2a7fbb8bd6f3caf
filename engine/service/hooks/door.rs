//! The server's own way to GitLab.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::model::event::Failure;
use crate::model::secret::Secret;
use crate::service::{Desk, Place, Project};
use crate::world::gitlab::{Ask, Config, MergeRequest, Server, Shape, Way, failure};
use crate::world::http::{Http, Reply};
use crate::world::secrets;

/// Asks GitLab in the server's name.
pub(super) struct Door {
    server: Server,
    token: Secret,
    http: Http,
}

impl Door {
    /// Opens the way, with the token as it is now.
    pub(super) fn open(project: &Project, place: &Place, config: &Config) -> Result<Self, Failure> {
        let files = secrets::Place::new(project.root(), place.variables.iter().cloned());
        let server = Server::new(config, &files)?;
        let token = project.secret_now(place, &config.token).map_err(|why| failure("secret", why))?;
        Ok(Self { server, token, http: Http::default() })
    }
}

impl Way for Door {
    async fn once(&self, ask: &Ask) -> Result<Reply, Failure> {
        let request = self.server.request(ask, &self.token)?;
        self.http.exchange(&request, &CancellationToken::new()).await.map_err(|fault| {
            let details = serde_json::to_value(&fault).unwrap_or_default();
            let kind = details["fault"].as_str().unwrap_or("failed").to_owned();
            Failure { details, ..failure(&kind, format!("GitLab: {} {}: {fault}", ask.method, ask.path)) }
        })
    }

    async fn rest(&self, time: Duration) -> Result<(), Failure> {
        tokio::time::sleep(time).await;
        Ok(())
    }
}

/// Does something with GitLab, on this thread.
pub(super) fn with_gitlab<T>(
    desk: &Desk,
    what: impl AsyncFnOnce(&Door) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let config = desk.project().config().gitlab.as_ref();
    let config =
        config.ok_or_else(|| failure("invalid", "nlrun.yaml of the server has no `gitlab:`".to_owned()))?;
    let door = Door::open(desk.project(), desk.place(), config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failure("runtime", error.to_string()))?;
    runtime.block_on(what(&door))
}

/// Whether the project of an edit is one of GitLab, where merge requests can be opened.
pub(crate) fn has_gitlab(desk: &Desk) -> bool {
    let config = desk.project().config();
    config.gitlab.is_some() && config.server.gitlab.project.is_some()
}

impl Desk {
    /// Returns where people can see a commit; none where nothing says which project of GitLab it is in.
    pub fn commit_link(&self, commit: &str) -> Option<String> {
        let config = self.project().config();
        let (gitlab, project) = (config.gitlab.as_ref()?, config.server.gitlab.project.as_ref()?);
        Some(format!("{}/{project}/-/commit/{commit}", gitlab.url.trim_end_matches('/')))
    }
}

/// Makes sure that a branch has an open merge request into another one; returns its address.
pub(crate) fn merge_request(
    desk: &Desk,
    source: &str,
    target: &str,
    title: &str,
) -> Option<Result<String, Failure>> {
    let project = desk.project().config().server.gitlab.project.clone().filter(|_| has_gitlab(desk))?;
    Some(with_gitlab(desk, async |door| {
        let there = MergeRequest::find(door, &project, source, target, "opened").await?;
        let one = match there {
            Some(there) => there,
            None => {
                let shape = Shape {
                    title: Some(title.to_owned()),
                    remove_source_branch: Some(true),
                    ..Shape::default()
                };
                shape.create(door, &project, source, target).await?
            }
        };
        Ok(one.url)
    }))
}
