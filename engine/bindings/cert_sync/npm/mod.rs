//! The kind `npm`: a certificate of Nginx Proxy Manager, by its API, and the hosts that use it.
//!
//! An upload changes files and reloads nothing; one change of any host makes nginx load all of them. So a renewal is one upload and one
//! change, however many hosts there are.

mod login;
mod rows;

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Value, json};

use self::rows::{Host, Row};
use super::api::{Apart, Api, Ask, Client, secret};
use super::keys::Keys;
use super::place::{Found, Holds, Part, Place};
use super::wanted::Wanted;
use crate::bindings::http::files;
use crate::bindings::{Call, Raise};
use crate::gate::Permit;
use crate::gate::permit::invalid;
use crate::model::effect::Target;
use crate::model::event::Failure;
use crate::model::port::Port;
use crate::model::secret::Secret;

/// The list of certificates with those that use them.
const LIST: &str = "api/nginx/certificates?expand=proxy_hosts,redirection_hosts,dead_hosts,streams";

/// An instance behind its API.
#[derive(Serialize)]
pub(super) struct Npm {
    url: Api,
    /// What the certificate is called there.
    name: String,
    user: String,
    password: Secret,
    /// Where hosts are served with TLS.
    #[serde(skip)]
    https: Option<u16>,
    /// A login is good for a day, and an effect takes minutes.
    #[serde(skip)]
    token: Mutex<Option<Secret>>,
}

impl Npm {
    /// Reads the keys of a target.
    pub(super) fn read(call: &Call<'_>, keys: &mut Keys) -> Result<Self, Raise> {
        let https = match keys.value("https") {
            None => Some(443),
            Some(value) if value.as_bool() == Ok(false) => None,
            Some(value) => {
                let port = value.as_int().ok().and_then(|number| u16::try_from(number).ok());
                Some(port.ok_or_else(|| keys.wrong("https", "the port of its hosts, or `false`"))?)
            }
        };
        Ok(Self {
            url: Api::read(call, keys)?,
            name: keys.needed("name")?,
            user: keys.needed("user")?,
            password: secret(keys, "password")?,
            https,
            token: Mutex::default(),
        })
    }

    /// Lists the certificates of this name, the one to keep first.
    async fn rows(&self, client: &Client<'_>) -> Result<(Vec<Row>, Vec<Row>), Failure> {
        let ask = Ask::get(LIST);
        let reply = self.ask(client, &ask).await?;
        if reply.status != 200 {
            return Err(client.refused(&ask, &reply, &said(&reply.body)));
        }
        let rows = rows::read(client, &reply.body)?;
        let rows = rows.ok_or_else(|| client.refused(&ask, &reply, "no list of certificates"))?;
        let (mut own, others): (Vec<Row>, Vec<Row>) =
            rows.into_iter().partition(|row| row.is_custom && row.name == self.name);
        // The one with most hosts costs the fewest changes; of two with none, the newer one is more likely right.
        own.sort_by_key(|row| std::cmp::Reverse((row.hosts.len(), row.id)));
        Ok((own, others))
    }

    /// Returns where the certificate can be seen: a host that is up, and that has a name to ask for.
    fn window<'h>(&self, hosts: impl Iterator<Item = &'h Host>) -> Result<Option<(Port, String)>, Failure> {
        let Some(https) = self.https else { return Ok(None) };
        let mut names = hosts.filter(|host| host.is_enabled).filter_map(Host::name);
        names.next().map(|name| Ok((self.url.other_port(https)?, name))).transpose()
    }

    async fn create(&self, client: &Client<'_>) -> Result<u64, Failure> {
        let body = json!({ "nice_name": self.name, "provider": "other" });
        let ask = Ask::json("POST", "api/nginx/certificates", &body);
        let reply = self.ask(client, &ask).await?;
        let made: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        match made["id"].as_u64() {
            Some(id) if reply.status == 201 => Ok(id),
            _ => Err(client.refused(&ask, &reply, &said(&reply.body))),
        }
    }

    /// Uploads the pair; nothing serves it yet.
    async fn upload(&self, client: &Client<'_>, id: u64, apart: &Apart) -> Result<(), Failure> {
        let mut parts: Vec<(&str, Option<&str>, &[u8])> = vec![
            ("certificate", Some("certificate.pem"), apart.leaf.as_bytes()),
            ("certificate_key", Some("key.pem"), apart.key.as_bytes()),
        ];
        // Given apart, since what was uploaded as such before is kept otherwise and put behind the new one.
        if !apart.chain.is_empty() {
            parts.push(("intermediate_certificate", Some("chain.pem"), apart.chain.as_bytes()));
        }
        let ask = Ask {
            method: "POST",
            path: format!("api/nginx/certificates/{id}/upload"),
            body: Some(files(&parts)?),
            is_safe_twice: true,
            ..Ask::default()
        };
        let reply = self.ask(client, &ask).await?;
        if reply.status == 200 { Ok(()) } else { Err(client.refused(&ask, &reply, &said(&reply.body))) }
    }

    /// Gives a host a certificate, which makes nginx load everything again.
    async fn change(&self, client: &Client<'_>, host: &Host, id: u64, others: &[Row]) -> Result<(), Failure> {
        let path = format!("api/nginx/{}/{}", host.section, host.id);
        let ask = Ask::json("PUT", path, &json!({ "certificate_id": id }));
        let reply = self.ask(client, &ask).await?;
        let after: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        if reply.status == 200 {
            if host.is_enabled && after["meta"]["nginx_online"] == false {
                let why = after["meta"]["nginx_err"].as_str().unwrap_or("it does not say why");
                return Err(client.refused(&ask, &reply, &format!("nginx refuses {}: {why}", host.words)));
            }
            return Ok(());
        }
        let mut why = said(&reply.body);
        // nginx tests all of its files before it takes one, and its answer does not say which one was wrong.
        let broken: Vec<String> = others.iter().filter(|row| row.is_broken()).map(Row::words).collect();
        if reply.status == 500 && !broken.is_empty() {
            why = format!(
                "{why}; nginx takes no change as long as a key is not its certificate's: {}",
                broken.join(", ")
            );
        }
        Err(client.refused(&ask, &reply, &why))
    }

    async fn delete(&self, client: &Client<'_>, id: u64) -> Result<(), Failure> {
        let ask = Ask { method: "DELETE", ..Ask::get(format!("api/nginx/certificates/{id}")) };
        let reply = self.ask(client, &ask).await?;
        match reply.status {
            // Gone is gone, whoever did it.
            200 | 204 | 404 => Ok(()),
            _ => Err(client.refused(&ask, &reply, &said(&reply.body))),
        }
    }
}

impl Place for Npm {
    const KIND: &'static str = "npm";

    fn target(&self) -> Target {
        self.url.target()
    }

    fn words(&self) -> String {
        format!("certificate `{}` of {}", self.name, self.url.name())
    }

    async fn look(&self, permit: &Permit<'_>, wanted: &Wanted) -> Result<Found, Failure> {
        let client = self.url.client(permit, wanted);
        let (own, others) = self.rows(&client).await?;
        let mut found = Found::default();
        let Some((kept, stale)) = own.split_first() else {
            found.parts.push(Part {
                name: format!("`{}`", self.name),
                holds: Holds::Absent,
                wanted: wanted.words(),
                is_right: false,
            });
            found.warnings.push(format!("no host uses {} yet", self.words()));
            return Ok(found);
        };
        let is_right = kept.holds(wanted);
        found.parts.push(Part { name: kept.words(), holds: kept.seen(), wanted: wanted.words(), is_right });
        found.parts.extend(stale.iter().map(|row| Part {
            name: row.words(),
            holds: row.seen(),
            wanted: format!("nothing: its {} go to certificate {}", rows::count(row.hosts.len()), kept.id),
            is_right: false,
        }));
        found.parts.extend(own.iter().flat_map(|row| &row.hosts).filter(|host| host.is_offline).map(
            |host| Part {
                name: host.words.clone(),
                holds: Holds::Other("offline".to_owned()),
                wanted: "online".to_owned(),
                is_right: false,
            },
        ));
        match self.window(kept.hosts.iter().filter(|host| !host.is_offline))? {
            Some((port, name)) => found.parts.push(client.part(wanted, &port, Some(&name)).await?),
            None if kept.hosts.is_empty() => found.warnings.push(format!("no host uses {}", self.words())),
            None => {}
        }
        let broken = others.iter().filter(|row| row.is_broken() && !row.hosts.is_empty());
        found.warnings.extend(broken.map(|row| {
            format!(
                "{} has a key that is not its own: nginx takes no change of any host until that is put right",
                row.words()
            )
        }));
        Ok(found)
    }

    async fn put(&self, permit: &Permit<'_>, wanted: &Wanted, _found: &Found) -> Result<(), Failure> {
        let client = self.url.client(permit, wanted);
        let apart = Apart::of(wanted)?;
        // Read again: of what was planned on, only what is still there may be moved and deleted.
        let (own, others) = self.rows(&client).await?;
        let (kept, stale) = match own.split_first() {
            Some((kept, stale)) => (kept.clone(), stale.to_vec()),
            None => (Row::new(self.create(&client).await?, &self.name), Vec::new()),
        };
        if !kept.holds(wanted) {
            self.upload(&client, kept.id, &apart).await?;
        }
        let offline = kept.hosts.iter().filter(|host| host.is_offline);
        let mut changes: Vec<&Host> = stale.iter().flat_map(|row| &row.hosts).chain(offline).collect();
        if !changes.iter().any(|host| host.is_enabled) {
            // One that is switched off is written down and not loaded.
            changes.extend(kept.hosts.iter().filter(|host| host.is_enabled).min_by_key(|host| host.id));
        }
        let mut others = others;
        others.extend(stale.iter().cloned());
        for host in changes {
            self.change(&client, host, kept.id, &others).await?;
        }
        let hosts = kept.hosts.iter().chain(stale.iter().flat_map(|row| &row.hosts));
        if let Some((port, name)) = self.window(hosts)? {
            client.verify(wanted, &port, Some(&name)).await?;
        }
        if stale.is_empty() {
            return Ok(());
        }
        // A deleted certificate leaves its hosts with a number of nothing: who still has hosts stays.
        let (now, _) = self.rows(&client).await?;
        for row in now.iter().filter(|row| row.id != kept.id) {
            if !row.hosts.is_empty() {
                let message =
                    format!("{} got a host meanwhile, and stays; the next run moves it", row.words());
                return Err(Failure { kind: "changed".to_owned(), ..invalid(message) });
            }
            self.delete(&client, row.id).await?;
        }
        Ok(())
    }

    async fn activate(&self, _permit: &Permit<'_>) -> Result<(), Failure> {
        // Part of what `put` does: hosts that are offline and certificates of the same name want changes, which load everything.
        Ok(())
    }
}

/// Returns what an answer's error says.
fn said(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    body["error"]["message"].as_str().unwrap_or_default().to_owned()
}
