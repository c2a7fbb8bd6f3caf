//! The way to programs with an API: the URL of one stands for all that is below it.

use super::{Permit, invalid};
use crate::model::effect::Target;
use crate::model::event::Failure;
use crate::model::url;
use crate::world::http;

impl Permit<'_> {
    /// Makes one exchange with a URL below the effect's own, which ends in `/`.
    ///
    /// Where it redirects to is not followed, so nothing leaves this server.
    pub async fn below(&self, request: &http::Request) -> Result<http::Reply, Failure> {
        let name = url::name_of(&request.url);
        match self.target {
            Target::Named { name: own } if own.ends_with('/') && name.starts_with(own.as_str()) => {
                self.asked(request).await
            }
            _ => Err(invalid(format!("the effect is not about `{name}`"))),
        }
    }
}
