//! What a login is made of: tokens and secrets from where they are kept, unwrapped where they come wrapped.

use serde_json::json;
use zeroize::Zeroizing;

use super::super::key::{self, Origin};
use super::client::{Parameters, Proof};
use super::config::{CreationPath, Method, RoleId};
use super::error::Error;
use super::session::Session;

impl Session {
    /// Returns where the method is mounted.
    pub(super) fn mount(&self) -> &str {
        match &self.auth.method {
            Method::Token(_) => "token",
            Method::AppRole { mount, .. } | Method::Jwt { mount, .. } | Method::Kubernetes { mount, .. } => {
                mount
            }
        }
    }

    /// Reads a token that exists already; whoever made it ends it.
    pub(super) async fn read_token(&self, origin: Option<&Origin>) -> Result<Zeroizing<String>, Error> {
        if let Some(origin) = origin {
            return self.kept("the token", "bao/token", origin).await;
        }
        let variables = ["BAO_TOKEN", "VAULT_TOKEN"].map(str::to_owned).map(Origin::Env);
        // The file of `bao login` and `vault login`.
        for origin in variables.into_iter().chain([Origin::File("~/.vault-token".into())]) {
            match self.kept("the token", "bao/token", &origin).await {
                Err(Error::Unset { .. }) => {}
                Err(Error::Credential { source: key::Error::Empty, .. }) => {}
                Err(Error::Credential { source: key::Error::File { source, .. }, .. })
                    if source.kind() == std::io::ErrorKind::NotFound => {}
                found => return found,
            }
        }
        Err(Error::NoToken)
    }

    /// Reads what the login sends; what is secret in it is told first.
    pub(super) async fn read_parameters(&self) -> Result<Parameters, Error> {
        let plain = |text: &str| Zeroizing::new(text.to_owned());
        match &self.auth.method {
            Method::Token(_) => Ok(Vec::new()),
            Method::AppRole { mount, role, secret, wrapped } => {
                let role = match role {
                    RoleId::Plain(role) => plain(role),
                    RoleId::Kept(origin) => self.kept("the role_id", "bao/role_id", origin).await?,
                };
                let mut parameters = vec![("role_id", role)];
                if let Some(origin) = secret {
                    let secret = match wrapped {
                        None => self.kept("the secret_id", "bao/secret_id", origin).await?,
                        Some(from) => {
                            let token = self.kept("the wrapped secret_id", "bao/wrapped", origin).await?;
                            self.unwrap(token, mount, from).await?
                        }
                    };
                    parameters.push(("secret_id", secret));
                }
                Ok(parameters)
            }
            Method::Jwt { role, token, .. } => {
                let mut parameters: Parameters = role.iter().map(|role| ("role", plain(role))).collect();
                parameters.push(("jwt", self.identity_token(token).await?));
                Ok(parameters)
            }
            Method::Kubernetes { role, token, .. } => {
                Ok(vec![("role", plain(role)), ("jwt", self.identity_token(token).await?)])
            }
        }
    }

    /// Opens a wrapped secret, after a look at where it was made.
    async fn unwrap(
        &self,
        token: Zeroizing<String>,
        mount: &str,
        from: &CreationPath,
    ) -> Result<Zeroizing<String>, Error> {
        let asked = json!({ "token": token.as_str() });
        let looked = self.client.ask("POST", "sys/wrapping/lookup", Some(&asked), &Proof::None).await?;
        if looked.status != 200 {
            return Err(Error::Unwrapped);
        }
        let found = looked.data["creation_path"].as_str().unwrap_or_default().to_owned();
        let wanted = match from {
            CreationPath::Exactly(path) => path.clone(),
            CreationPath::OfMethod => format!("auth/{mount}/role/ROLE/secret-id"),
        };
        let is_right = match from {
            CreationPath::Exactly(path) => found == path.trim_matches('/'),
            CreationPath::OfMethod => found
                .strip_prefix(&format!("auth/{mount}/role/"))
                .and_then(|rest| rest.strip_suffix("/secret-id"))
                .is_some_and(|role| !role.is_empty() && !role.contains('/')),
        };
        if !is_right {
            return Err(Error::Forged { found, wanted });
        }
        let proof = Proof::Token(token.into());
        let opened = self.client.ask("POST", "sys/wrapping/unwrap", None, &proof).await?;
        if opened.status != 200 {
            return Err(Error::Unwrapped);
        }
        let Some(secret) = opened.data["secret_id"].as_str() else {
            return Err(Error::Lacks { path: "sys/wrapping/unwrap".to_owned(), lacks: "secret_id" });
        };
        self.ear.learn("bao/secret_id", secret.as_bytes());
        Ok(Zeroizing::new(secret.to_owned()))
    }

    /// Reads a token that says who somebody is: short-lived, and written by others with whatever mode they choose.
    async fn identity_token(&self, origin: &Origin) -> Result<Zeroizing<String>, Error> {
        let what = "the token of the login";
        let Origin::File(path) = origin else { return self.kept(what, "bao/jwt", origin).await };
        let path = self.place.path(path);
        let text = std::fs::read_to_string(&path)
            .map_err(|source| Error::Credential { what, source: key::Error::File { path, source } })?;
        self.told(what, "bao/jwt", &text)
    }

    async fn kept(
        &self,
        what: &'static str,
        name: &str,
        origin: &Origin,
    ) -> Result<Zeroizing<String>, Error> {
        let bytes = origin.read(&self.place).await.map_err(|source| match source {
            key::Error::Variable(name) => Error::Unset { what, name },
            source => Error::Credential { what, source },
        })?;
        let text = std::str::from_utf8(&bytes).map_err(|_| Error::NotText(what))?;
        self.told(what, name, text)
    }

    fn told(&self, what: &'static str, name: &str, text: &str) -> Result<Zeroizing<String>, Error> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::Credential { what, source: key::Error::Empty });
        }
        self.ear.learn(name, text.as_bytes());
        Ok(Zeroizing::new(text.to_owned()))
    }
}
