//! The kind `proxmox`: the certificate of a Proxmox VE node's own web page, by its API.

use serde::Serialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::api::{Apart, Api, Ask, Client, exposed, secret, unknown_here};
use super::keys::Keys;
use super::place::{Found, Holds, Part, Place};
use super::wanted::Wanted;
use crate::bindings::{Call, Raise};
use crate::gate::Permit;
use crate::gate::permit::invalid;
use crate::model::effect::Target;
use crate::model::event::Failure;
use crate::model::secret::Secret;
use crate::world::http::Reply;
use crate::x509::Bundle;

/// The file that pveproxy prefers to the one of the cluster's authority.
const FILE: &str = "pveproxy-ssl.pem";

/// A node behind its API.
#[derive(Serialize)]
pub(super) struct Proxmox {
    url: Api,
    node: String,
    token: Secret,
}

impl Proxmox {
    /// Reads the keys of a target.
    pub(super) fn read(call: &Call<'_>, keys: &mut Keys) -> Result<Self, Raise> {
        let (url, node, token) = (Api::read(call, keys)?, keys.needed("node")?, secret(keys, "token")?);
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if !node.chars().all(is_word) {
            return Err(invalid(format!("`{node}` is no name of a node")).into());
        }
        Ok(Self { url, node, token })
    }

    /// Adds the token, which is `USER@REALM!NAME=UUID`.
    fn with_token(&self, mut ask: Ask) -> Result<Ask, Failure> {
        let token = exposed(&self.token)?.trim();
        let is_whole = token.split_once('=').is_some_and(|(name, uuid)| {
            name.split_once('!').is_some_and(|(user, id)| user.contains('@') && !id.is_empty())
                && !uuid.is_empty()
        });
        if !is_whole {
            let name = self.token.name();
            return Err(invalid(format!("secret `{name}` is no token: it reads `USER@REALM!NAME=UUID`")));
        }
        ask.headers.push(("authorization", Zeroizing::new(format!("PVEAPIToken={token}"))));
        Ok(ask)
    }

    /// Says why an answer is none; the node says it in the reason phrase, and newer ones in the body, too.
    fn refused(&self, client: &Client<'_>, ask: &Ask, reply: &Reply) -> Failure {
        let reason = reply.reason.as_deref().unwrap_or_default();
        match reply.status {
            401 => unknown_here(&self.url, if reason.is_empty() { "401" } else { reason }),
            403 => {
                let need = "; the token needs `Sys.Modify` on `/nodes/NODE`, and a user with it";
                let mut failure = client.refused(ask, reply, "");
                failure.message.push_str(need);
                failure
            }
            _ => {
                let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
                let errors = body["errors"].as_object().into_iter().flatten();
                let errors: Vec<String> =
                    errors.map(|(key, why)| format!("{key}: {}", why.as_str().unwrap_or_default())).collect();
                client.refused(ask, reply, &errors.join("; "))
            }
        }
    }
}

impl Place for Proxmox {
    const KIND: &'static str = "proxmox";

    fn target(&self) -> Target {
        self.url.target()
    }

    fn words(&self) -> String {
        format!("node `{}` of {}", self.node, self.url.name())
    }

    async fn look(&self, permit: &Permit<'_>, wanted: &Wanted) -> Result<Found, Failure> {
        let client = self.url.client(permit, wanted);
        let ask = self.with_token(Ask::get(format!("api2/json/nodes/{}/certificates/info", self.node)))?;
        let reply = client.ask(&ask).await?;
        if reply.status != 200 {
            return Err(self.refused(&client, &ask, &reply));
        }
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let rows =
            body["data"].as_array().ok_or_else(|| client.refused(&ask, &reply, "no list of certificates"))?;
        let row = rows.iter().find(|row| row["filename"] == FILE);
        let bundle = row.map(|row| Bundle::read(row["pem"].as_str().unwrap_or_default().as_bytes()));
        let leaf = match &bundle {
            None => None,
            Some(Ok(bundle)) => bundle.certificates.first(),
            Some(Err(_)) => None,
        };
        let kept = Part {
            name: format!("{} {FILE}", self.node),
            is_right: leaf.is_some_and(|leaf| leaf.fingerprint == wanted.fingerprint()),
            holds: match (row, leaf) {
                (None, _) => Holds::Absent,
                (Some(_), Some(leaf)) => Holds::certificate(leaf, None),
                (Some(_), None) => Holds::Other("something that is no certificate".to_owned()),
            },
            wanted: wanted.words(),
        };
        let served = client.part(wanted, &self.url.port()?, None).await?;
        Ok(Found { parts: vec![kept, served], ..Found::default() })
    }

    async fn put(&self, permit: &Permit<'_>, wanted: &Wanted, _found: &Found) -> Result<(), Failure> {
        let client = self.url.client(permit, wanted);
        let apart = Apart::of(wanted)?;
        // The node checks that the key is the certificate's, and puts the old pair back where it is not.
        let fields = [
            ("certificates", apart.whole.as_str()),
            ("key", apart.key.as_str()),
            ("force", "1"),
            ("restart", "1"),
        ];
        let path = format!("api2/json/nodes/{}/certificates/custom", self.node);
        let ask = self.with_token(Ask { is_safe_twice: false, ..Ask::form("POST", path, &fields) })?;
        match client.ask(&ask).await {
            Ok(reply) if reply.status == 200 => {}
            Ok(reply) => return Err(self.refused(&client, &ask, &reply)),
            // The restart takes the connection with it; what is served then says whether it happened.
            Err(failure) if matches!(failure.kind.as_str(), "lost" | "timed_out") => {}
            Err(failure) => return Err(failure),
        }
        client.verify(wanted, &self.url.port()?, None).await
    }

    async fn activate(&self, _permit: &Permit<'_>) -> Result<(), Failure> {
        // The one request that brings the pair has the proxy restarted, too.
        Ok(())
    }
}
