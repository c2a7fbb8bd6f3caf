//! The way to Cisco devices: to the effect's own one, at a terminal.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use zeroize::Zeroizing;

use super::{Permit, broke, invalid, told};
use crate::cisco::{Os, secrets};
use crate::model::event::Failure;
use crate::model::inventory::Host;
use crate::model::secret::{Secret, SecretName};
use crate::world::cisco::{Change, Device, Devices, Fault, Made};

/// Fewer bytes than this are no secret that can be told from other words: they are masked where they stand, and nowhere else.
const SHORTEST: usize = 8;

/// Returns the system of a device.
pub fn os_of(host: &Host) -> Result<Os, Failure> {
    let name = host.connection.os.as_deref().ok_or_else(|| {
        let message = format!(
            "`{}` is no network device: the inventory says which system one has: `os: ios`, `os: asa` or `os: ap`",
            host.name
        );
        Failure { host: Some(host.name.clone()), ..invalid(message) }
    })?;
    name.parse().map_err(invalid)
}

impl Permit<'_> {
    /// Reads what runs on the effect's device, with its secrets where it tells them.
    pub async fn device_running(&self, patience: Option<Duration>) -> Result<String, Failure> {
        let text =
            self.at_device(patience, |devices, device, cancel| async move {
                devices.running(&device, &cancel).await
            })
            .await?;
        self.hide(&text)?;
        Ok(text)
    }

    /// Does what [`Permit::device_running`] does, once no change waits for its confirmation any more.
    pub async fn device_settled(
        &self,
        patience: Option<Duration>,
        limit: Duration,
    ) -> Result<String, Failure> {
        let text = self
            .at_device(patience, move |devices, device, cancel| async move {
                devices.settled(&device, limit, &cancel).await
            })
            .await?;
        self.hide(&text)?;
        Ok(text)
    }

    /// Reads what the effect's device would start with.
    pub async fn device_startup(&self, patience: Option<Duration>) -> Result<String, Failure> {
        let text =
            self.at_device(patience, |devices, device, cancel| async move {
                devices.startup(&device, &cancel).await
            })
            .await?;
        self.hide(&text)?;
        Ok(text)
    }

    /// Runs a command of the effect's device that shows something.
    pub async fn device_show(&self, command: &str, patience: Option<Duration>) -> Result<String, Failure> {
        let command = command.to_owned();
        let text = self
            .at_device(patience, |devices, device, cancel| async move {
                devices.show(&device, &command, &cancel).await
            })
            .await?;
        self.hide(&text)?;
        Ok(text)
    }

    /// Changes the configuration of the effect's device.
    pub async fn device_change(&self, change: Change, patience: Option<Duration>) -> Result<Made, Failure> {
        self.at_device(patience, |devices, device, cancel| async move {
            devices.change(&device, &change, &cancel).await
        })
        .await
    }

    /// Lets the effect's device take back a change that waits for its confirmation; says whether there was one.
    pub async fn device_revert(&self, patience: Option<Duration>) -> Result<bool, Failure> {
        self.at_device(patience, |devices, device, cancel| async move {
            devices.revert_now(&device, &cancel).await
        })
        .await
    }

    /// Whether a change of the effect's device waits for its confirmation.
    pub async fn device_pending(&self, patience: Option<Duration>) -> Result<bool, Failure> {
        self.at_device(patience, |devices, device, cancel| async move {
            devices.is_pending(&device, &cancel).await
        })
        .await
    }

    /// Types lines in the configuration mode of the effect's device; returns what it said that is worth knowing.
    pub async fn device_configure(
        &self,
        lines: Vec<String>,
        patience: Option<Duration>,
    ) -> Result<Vec<String>, Failure> {
        self.at_device(patience, |devices, device, cancel| async move {
            devices.configure(&device, &lines, &cancel).await
        })
        .await
    }

    /// Saves what runs on the effect's device.
    pub async fn device_save(&self, patience: Option<Duration>) -> Result<(), Failure> {
        self.at_device(
            patience,
            |devices, device, cancel| async move { devices.save(&device, &cancel).await },
        )
        .await
    }

    /// Makes the secrets of a configuration known, so that they are replaced in everything that is recorded.
    ///
    /// They are masked wherever a configuration is shown; this is for where one turns up elsewhere.
    pub fn hide(&self, text: &str) -> Result<(), Failure> {
        let name = SecretName::try_from("cisco/configuration".to_owned())
            .map_err(|error| invalid(error.to_string()))?;
        for word in secrets(text).into_iter().filter(|word| word.len() >= SHORTEST) {
            let secret = Secret::new(name.clone(), word.as_bytes().to_vec());
            self.gate.redactor.add(&secret).map_err(|error| invalid(error.to_string()))?;
        }
        Ok(())
    }

    /// Notes that the recorded answer is not all of it: a resumed run asks again.
    pub fn conceal(&self) {
        self.note_redacted();
    }

    /// Does something at the effect's device, on the world's own thread.
    async fn at_device<T, F>(
        &self,
        patience: Option<Duration>,
        what: impl FnOnce(Devices, Device, CancellationToken) -> F,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Fault>> + Send + 'static,
    {
        let host = self.host()?.clone();
        let os = os_of(&host)?;
        let endpoint = self.gate.endpoint(&host).await?;
        let enable = match &host.connection.enable_password {
            None => None,
            Some(name) => {
                let name = SecretName::try_from(name.clone()).map_err(|error| invalid(error.to_string()))?;
                let secret = self.gate.secret(&name).await?;
                let text = secret.expose_str().map_err(|error| invalid(error.to_string()))?;
                Some(Zeroizing::new(text.to_owned()))
            }
        };
        let device = Device { endpoint, os, enable, patience };
        // Taken here: only this thread knows whether it cleans up.
        let cancel = self.gate.cancellation.token().clone();
        let work =
            AbortOnDropHandle::new(tokio::spawn(what(self.gate.world.devices().clone(), device, cancel)));
        let result = work.await.map_err(|error| broke(&error))?;
        result.map_err(|fault| Failure { host: Some(host.name.clone()), ..told(&fault) })
    }
}
