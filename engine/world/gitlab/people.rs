//! Who somebody is, and what they may do in a project.

use serde_json::Value;

use super::ask::project;
use super::{Ask, Way, maybe, value};
use crate::model::event::Failure;

/// Somebody with an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The account's number.
    pub id: i64,
    /// The account's name.
    pub username: String,
}

impl Person {
    /// Returns whose token it is.
    pub async fn me(way: &impl Way) -> Result<Self, Failure> {
        let me = value(way, &Ask::get("user")).await?;
        let username = me["username"].as_str().unwrap_or_default().to_owned();
        Ok(Self { id: me["id"].as_i64().unwrap_or(-1), username })
    }

    /// Returns the number of what somebody may do in a project, by membership of it or of a group above; 0 for nobody's member.
    ///
    /// Somebody who is blocked, or whose membership has ended, may nothing.
    pub async fn level(way: &impl Way, name: &str, user: i64) -> Result<i64, Failure> {
        let path = project(name, &format!("members/all/{user}"));
        let Some(member) = maybe(way, &Ask::get(path)).await? else { return Ok(0) };
        let is_active = member["state"].as_str().is_none_or(|state| state == "active");
        let level = member["access_level"].as_i64().unwrap_or(0);
        let has_ended = match &member["expires_at"] {
            Value::String(date) => {
                let end: Option<jiff::civil::Date> = date.get(..10).and_then(|date| date.parse().ok());
                let today = crate::world::clock::now().to_zoned(jiff::tz::TimeZone::UTC).date();
                end.is_none_or(|end| end < today)
            }
            _ => false,
        };
        Ok(if is_active && !has_ended { level } else { 0 })
    }
}
