//! The inventory as the check and the parameters see it.

use crate::model::inventory::Inventory;
use crate::model::nearest::nearest;
use crate::model::runbook::Names;

/// An inventory that answers questions about names.
pub struct Known<'a>(pub &'a Inventory);

impl Names for Known<'_> {
    fn host(&self, name: &str) -> bool {
        self.0.host(name).is_some()
    }

    fn group(&self, name: &str) -> bool {
        self.0.group(name).is_some()
    }

    fn hosts_in(&self, pattern: &str) -> Result<Vec<String>, String> {
        let hosts = self.0.select(pattern).map_err(|error| error.to_string())?;
        Ok(hosts.iter().map(|host| host.name.clone()).collect())
    }

    fn nearest_host(&self, name: &str) -> Option<String> {
        nearest(name, self.0.hosts().map(|host| host.name.as_str())).map(str::to_owned)
    }

    fn nearest_group(&self, name: &str) -> Option<String> {
        nearest(name, self.0.groups().map(|group| group.name.as_str())).map(str::to_owned)
    }
}
