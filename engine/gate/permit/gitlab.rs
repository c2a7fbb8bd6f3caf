//! The way to GitLab: to one project of it.

use std::time::Duration;

use super::{Permit, invalid};
use crate::model::effect::Target;
use crate::model::event::Failure;
use crate::world::gitlab::{Ask, Server, Way};
use crate::world::http::Reply;

impl Way for Permit<'_> {
    /// Asks about the effect's own project, with the token of `gitlab:` in nlrun.yaml.
    async fn once(&self, ask: &Ask) -> Result<Reply, Failure> {
        match self.target {
            Target::Named { name } if Server::is_about(ask, name) => {}
            _ => return Err(invalid(format!("the effect is not about `{}`", ask.path))),
        }
        let config = self.gate.world.gitlab();
        let (config, place) = config.ok_or_else(|| {
            let text =
                "nlrun.yaml names no GitLab; write `gitlab: {url: https://…, token: NAME-OF-A-SECRET}`";
            invalid(text.to_owned())
        })?;
        let server = Server::new(config, place)?;
        let token = self.gate.secret(&config.token).await?;
        self.asked(&server.request(ask, &token)?).await
    }

    async fn rest(&self, time: Duration) -> Result<(), Failure> {
        self.sleep(time).await
    }
}
