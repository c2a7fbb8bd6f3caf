//! Proves to a server who we are: certificates, agent, key files, password, keyboard-interactive.

use std::sync::Arc;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::ssh_encoding::Encode as _;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use russh::{AgentAuthError, MethodKind, MethodSet, Signer};
use tokio::net::UnixStream;
use zeroize::Zeroizing;

use super::connect::Client;
use super::identities::{Identities, certificates, public_half};
use crate::world::host::Endpoint;
use crate::world::transport::Fault;

/// Rounds of questions a server may ask before it is taken to be playing.
const ROUNDS: usize = 8;

/// Logs in with what `endpoint` offers, in the order certificate, agent, files, password.
///
/// A single key file goes before the agent, so that the common case needs no agent at all.
pub(super) async fn authenticate(
    handle: &mut Handle<Client>,
    endpoint: &Endpoint,
    identities: &Identities,
) -> Result<(), Fault> {
    let mut login =
        Login { handle, endpoint, identities, tried: Vec::new(), offered: Vec::new(), accepted: None };
    if login.run().await? { Ok(()) } else { Err(login.refusal()) }
}

struct Login<'a> {
    handle: &'a mut Handle<Client>,
    endpoint: &'a Endpoint,
    identities: &'a Identities,
    tried: Vec<String>,
    offered: Vec<KeyData>,
    accepted: Option<MethodSet>,
}

impl Login<'_> {
    async fn run(&mut self) -> Result<bool, Fault> {
        let certificates = certificates(&self.endpoint.certificate_files, &self.endpoint.identity_files);
        let file_first = certificates.is_empty() && self.endpoint.identity_files.len() == 1;
        for (path, certificate) in certificates {
            if self.certificate(&path.display().to_string(), certificate).await? {
                return Ok(true);
            }
        }
        if file_first {
            if self.files().await? || self.agent().await? {
                return Ok(true);
            }
        } else if self.agent().await? || self.files().await? {
            return Ok(true);
        }
        if let Some(password) = self.endpoint.password.clone() {
            if self.password(&password).await? {
                return Ok(true);
            }
            // A device asks for the same one both ways, and counts each refusal towards a lock-out.
            let is_wrong =
                !self.endpoint.posix && self.accepted.is_some() && self.accepts(MethodKind::Password);
            if !is_wrong && self.keyboard_interactive(&password).await? {
                return Ok(true);
            }
        }
        // Some devices log everybody in; and the answer says what the server would have accepted.
        if self.tried.is_empty() || self.accepted.is_none() {
            let result = self.handle.authenticate_none(self.endpoint.user.as_str()).await;
            return self.settle(result, None);
        }
        Ok(false)
    }

    fn accepts(&self, kind: MethodKind) -> bool {
        !self.handle.is_closed() && self.accepted.as_ref().is_none_or(|methods| methods.contains(&kind))
    }

    fn settle<E: std::fmt::Display>(
        &mut self,
        result: Result<AuthResult, E>,
        what: Option<String>,
    ) -> Result<bool, Fault> {
        match result {
            Ok(AuthResult::Success) => return Ok(true),
            Ok(AuthResult::Failure { remaining_methods, partial_success }) => {
                if !remaining_methods.is_empty() {
                    self.accepted = Some(remaining_methods);
                }
                self.tried.extend(
                    what.map(|what| if partial_success { format!("{what} (accepted)") } else { what }),
                );
            }
            Err(error) => {
                self.tried.extend(what.map(|what| format!("{what} ({error})")));
            }
        }
        if self.handle.is_closed() {
            return Err(self.refusal());
        }
        Ok(false)
    }

    async fn files(&mut self) -> Result<bool, Fault> {
        for path in &self.endpoint.identity_files {
            if !self.accepts(MethodKind::PublicKey) {
                return Ok(false);
            }
            let key = match self.identities.load(path, self.endpoint.passphrase.as_ref()).await {
                Ok(key) => key,
                Err(reason) => {
                    self.tried.push(reason);
                    continue;
                }
            };
            if self.offered.contains(key.public_key().key_data()) {
                continue;
            }
            let what = format!("key {}", path.display());
            let hashes = self.hashes(key.public_key(), &what).await?;
            self.offered.push(key.public_key().key_data().clone());
            for hash in hashes {
                if !self.accepts(MethodKind::PublicKey) {
                    return Ok(false);
                }
                let key = PrivateKeyWithHashAlg::new(Arc::clone(&key), hash);
                let result = self.handle.authenticate_publickey(self.endpoint.user.as_str(), key).await;
                if self.settle(result, Some(what.clone()))? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    async fn certificate(&mut self, shown: &str, certificate: Certificate) -> Result<bool, Fault> {
        if !self.accepts(MethodKind::PublicKey) {
            return Ok(false);
        }
        let what = format!("certificate {shown}");
        let public = PublicKey::from(certificate.public_key().clone());
        let Some(&hash) = self.hashes(&public, &what).await?.first() else { return Ok(false) };
        let user = self.endpoint.user.as_str();
        for path in &self.endpoint.identity_files {
            if public_half(path).is_some_and(|half| half.key_data() != public.key_data()) {
                continue;
            }
            let Ok(key) = self.identities.load(path, self.endpoint.passphrase.as_ref()).await else {
                continue;
            };
            if key.public_key().key_data() == public.key_data() {
                let mut signer = FileSigner(key);
                let result =
                    self.handle.authenticate_certificate_with(user, certificate, hash, &mut signer).await;
                return self.settle(result, Some(what));
            }
        }
        if let Some(mut agent) = self.open_agent().await {
            let result = self.handle.authenticate_certificate_with(user, certificate, hash, &mut agent).await;
            return self.settle(result, Some(what));
        }
        self.tried.push(format!("{what} (its private key is not there)"));
        Ok(false)
    }

    async fn open_agent(&mut self) -> Option<AgentClient<UnixStream>> {
        let socket = self.endpoint.agent.as_ref()?;
        match AgentClient::connect_uds(socket).await {
            Ok(mut agent) => {
                // Agents that know no binding refuse it and work all the same.
                if let Some(binding) = self.handle.agent_session_binding() {
                    let _ = agent.bind_session(binding, false).await;
                }
                Some(agent)
            }
            Err(error) => {
                self.tried.push(format!("agent {} ({error})", socket.display()));
                None
            }
        }
    }

    async fn agent(&mut self) -> Result<bool, Fault> {
        if !self.accepts(MethodKind::PublicKey) {
            return Ok(false);
        }
        let Some(mut agent) = self.open_agent().await else { return Ok(false) };
        let mut list = match agent.request_identities().await {
            Ok(list) => list,
            Err(error) => {
                self.tried.push(format!("agent ({error})"));
                return Ok(false);
            }
        };
        let named: Vec<_> =
            self.endpoint.identity_files.iter().filter_map(|path| public_half(path)).collect();
        let is_named = |identity: &AgentIdentity| {
            named.iter().any(|key| key.key_data() == identity.public_key().key_data())
        };
        if self.endpoint.identities_only {
            list.retain(is_named);
        }
        // Servers allow about six attempts: the keys that were named go first.
        list.sort_by_key(|identity| !is_named(identity));
        for identity in list {
            if !self.accepts(MethodKind::PublicKey) {
                return Ok(false);
            }
            let public = identity.public_key().into_owned();
            let what = format!("agent key {}", public.fingerprint(HashAlg::Sha256));
            if let AgentIdentity::PublicKey { key, .. } = &identity {
                if self.offered.contains(key.key_data()) {
                    continue;
                }
                self.offered.push(key.key_data().clone());
            }
            for hash in self.hashes(&public, &what).await? {
                if !self.accepts(MethodKind::PublicKey) {
                    return Ok(false);
                }
                let user = self.endpoint.user.as_str();
                let result = match identity.clone() {
                    AgentIdentity::PublicKey { key, .. } => {
                        self.handle.authenticate_publickey_with(user, key, hash, &mut agent).await
                    }
                    AgentIdentity::Certificate { certificate, .. } => {
                        self.handle.authenticate_certificate_with(user, certificate, hash, &mut agent).await
                    }
                };
                if self.settle(result, Some(what.clone()))? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Lists the hashes an RSA key may sign with, to be tried in turn; none when only SHA-1 is left and the host is not
    /// `legacy`. A key of another kind has its own, which is not named.
    async fn hashes(&mut self, key: &PublicKey, what: &str) -> Result<Vec<Option<HashAlg>>, Fault> {
        if !key.algorithm().is_rsa() {
            return Ok(vec![None]);
        }
        match self.handle.best_supported_rsa_hash().await {
            // sshd announces all that it was built with, whatever its configuration accepts.
            Ok(Some(Some(hash))) if self.endpoint.legacy => Ok(vec![Some(hash), None]),
            Ok(Some(Some(hash))) => Ok(vec![Some(hash)]),
            Ok(_) if self.endpoint.legacy => Ok(vec![None]),
            // The server did not say what it can: all since 2016 know this one.
            Ok(None) => Ok(vec![Some(HashAlg::Sha512)]),
            Ok(Some(None)) => {
                self.tried.push(format!("{what} (the server takes it only with SHA-1: `legacy: true`)"));
                Ok(Vec::new())
            }
            Err(_) => Err(self.refusal()),
        }
    }

    async fn password(&mut self, password: &Zeroizing<String>) -> Result<bool, Fault> {
        if !self.accepts(MethodKind::Password) {
            return Ok(false);
        }
        let result = self.handle.authenticate_password(self.endpoint.user.as_str(), password.as_str()).await;
        self.settle(result, Some("password".to_owned()))
    }

    async fn keyboard_interactive(&mut self, password: &Zeroizing<String>) -> Result<bool, Fault> {
        use KeyboardInteractiveAuthResponse as Response;
        if !self.accepts(MethodKind::KeyboardInteractive) {
            return Ok(false);
        }
        let what = Some("keyboard-interactive".to_owned());
        let user = self.endpoint.user.as_str();
        let mut response = self.handle.authenticate_keyboard_interactive_start(user, None).await;
        let mut asked = String::new();
        for _ in 0..ROUNDS {
            let prompts = match response {
                Ok(Response::InfoRequest { prompts, .. }) => prompts,
                Ok(Response::Success) => return Ok(true),
                Ok(Response::Failure { remaining_methods, partial_success }) => {
                    let result = AuthResult::Failure { remaining_methods, partial_success };
                    return self.settle::<russh::Error>(Ok(result), what);
                }
                Err(error) => return self.settle(Err(error), what),
            };
            asked = prompts.iter().map(|prompt| prompt.prompt.trim()).collect::<Vec<_>>().join(", ");
            // What is echoed is no password: a user name, or "press enter".
            let answers = prompts
                .iter()
                .map(|prompt| if prompt.echo { String::new() } else { password.as_str().to_owned() })
                .collect();
            response = self.handle.authenticate_keyboard_interactive_respond(answers).await;
        }
        // A password that has to be changed, or a code that only a person can read.
        self.tried
            .push(format!("keyboard-interactive (the server kept asking, last `{}`)", asked.escape_debug()));
        Ok(false)
    }

    fn refusal(&self) -> Fault {
        let tried = if self.tried.is_empty() {
            "there was no key, agent or password to offer".to_owned()
        } else {
            format!("tried {}", self.tried.join(", "))
        };
        let accepts = self.accepted.as_ref().map(|methods| {
            let names: Vec<String> = methods.iter().map(String::from).collect();
            format!("; the server accepts {}", names.join(", "))
        });
        let closed = if self.handle.is_closed() { "; the server closed the connection" } else { "" };
        Fault::Authentication {
            user: self.endpoint.user.clone(),
            reason: format!("{tried}{}{closed}", accepts.unwrap_or_default()),
        }
    }
}

/// Signs with a key from a file, because russh signs RSA certificates with SHA-1 otherwise.
struct FileSigner(Arc<PrivateKey>);

impl Signer for FileSigner {
    type Error = AgentAuthError;

    async fn auth_sign(
        &mut self,
        _key: &AgentIdentity,
        hash: Option<HashAlg>,
        mut data: Vec<u8>,
    ) -> Result<Vec<u8>, Self::Error> {
        sign(&self.0, hash, &mut data).map_err(AgentAuthError::Key)?;
        Ok(data)
    }
}

/// Appends the signature of `data` to it, as one string of the SSH wire format.
fn sign(key: &PrivateKey, hash: Option<HashAlg>, data: &mut Vec<u8>) -> Result<(), russh::keys::Error> {
    use russh::keys::signature::Signer as _;
    let signature = match key.key_data() {
        KeypairData::Rsa(pair) => (pair, hash).try_sign(data),
        pair => pair.try_sign(data),
    };
    let signature = signature.map_err(|_| russh::keys::Error::InvalidSignature)?;
    let mut encoded = Vec::new();
    signature.encode(&mut encoded)?;
    encoded.encode(data)?;
    Ok(())
}
