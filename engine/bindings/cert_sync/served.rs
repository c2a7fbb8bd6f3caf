//! What servers show of a certificate: the only proof that it arrived.

use std::time::Duration;

use rhai::{Dynamic, Map};
use serde::{Deserialize, Serialize};

use super::keys::Keys;
use super::place::{day, short};
use crate::gate::Permit;
use crate::gate::permit::invalid;
use crate::model::event::Failure;
use crate::model::port::Port;
use crate::world::tls::probe::{Request, StartTls};
use crate::x509::Certificate;

/// How long one look may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where a certificate should be served.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Served {
    /// The target's own host where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    sni: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    starttls: Option<StartTls>,
}

/// What was served there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shown {
    /// `10.0.0.5:443`, with the name that was asked for.
    pub(super) at: String,
    /// Nothing where nobody can tell.
    pub(super) fingerprint: Option<String>,
    /// When it ends, or why nobody can tell.
    pub(super) words: String,
}

impl Served {
    /// Reads a port, or a map `#{ port, host, sni, starttls }`.
    pub(super) fn read(value: &Dynamic) -> Result<Self, Failure> {
        let port = |value: &Dynamic| {
            let number = value.as_int().ok().and_then(|number| u16::try_from(number).ok());
            number.filter(|number| *number > 0).ok_or_else(|| invalid(format!("`{value}` is not a TCP port")))
        };
        let Some(map) = value.clone().try_cast::<Map>() else {
            return Ok(Self { host: None, port: port(value)?, sni: None, starttls: None });
        };
        let mut keys = Keys::new("an entry of `served`".to_owned(), map);
        let starttls = keys.text("starttls")?.map(|text| text.parse::<StartTls>()).transpose();
        let sni = keys.text("sni")?;
        if let Some(name) = &sni
            && !matches!(::url::Host::parse(name), Ok(::url::Host::Domain(_)))
        {
            return Err(invalid(format!("`sni` is a name of a host, not `{name}`")));
        }
        let host = keys.text("host")?.map(|host| crate::model::port::host(&host)).transpose();
        let served = Self {
            host: host.map_err(|error| invalid(error.to_string()))?,
            port: port(&keys.value("port").unwrap_or_default())?,
            sni,
            starttls: starttls.map_err(|error| invalid(error.to_string()))?,
        };
        keys.end()?;
        Ok(served)
    }

    /// Looks once; only what the run may not do, or a cancelled run, is a failure.
    pub(super) async fn look(&self, permit: &Permit<'_>, left: Duration) -> Result<Shown, Failure> {
        let host = match &self.host {
            Some(host) => host.clone(),
            None => permit.own_address()?,
        };
        let port = Port::new(&host, self.port).map_err(|error| invalid(error.to_string()))?;
        let name = self.sni.as_ref().map(|sni| format!(" ({sni})")).unwrap_or_default();
        let at = format!("{}{name}", port.name());
        let request = Request {
            port,
            server_name: self.sni.clone(),
            starttls: self.starttls,
            alpn: Vec::new(),
            ca: None,
            timeout: left.clamp(Duration::from_secs(1), TIMEOUT),
        };
        let unknown = |words: String| Shown { at: at.clone(), fingerprint: None, words };
        match permit.look_served(&request).await {
            Ok(sight) => Ok(match sight.chain.first().map(|der| Certificate::read(der)) {
                Some(Ok(leaf)) => {
                    let words = format!("serves {} until {}", short(&leaf.fingerprint), day(&leaf));
                    Shown { at: at.clone(), fingerprint: Some(leaf.fingerprint), words }
                }
                Some(Err(error)) => unknown(format!("unknown: {error}")),
                None => unknown("unknown: it showed no certificate".to_owned()),
            }),
            Err(failure) if matches!(failure.kind.as_str(), "denied" | "cancelled" | "invalid") => {
                Err(failure)
            }
            Err(failure) => Ok(unknown(format!("unknown: {}", failure.message))),
        }
    }
}

impl Shown {
    /// Whether it is this certificate; what nobody can tell is not.
    pub(super) fn is(&self, fingerprint: &str) -> bool {
        self.fingerprint.as_deref() == Some(fingerprint)
    }
}
