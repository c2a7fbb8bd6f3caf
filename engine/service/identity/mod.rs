//! Who comes in at a server: users with passwords and sessions, tokens, people of an OIDC provider, pipelines of GitLab.

mod job;
mod keep;
mod limits;
mod oidc;
mod password;
pub mod settings;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use crate::model::bucket::{Rate, Refused};
use crate::model::role::{Caller, Role};
use crate::service::{Desk, ServiceError};
use crate::store::{Bound, Session, StoreError, User};
use crate::world::clock;
use crate::world::http::Trust;
use crate::world::jwt::{JwtError, ProviderError};
use settings::{Lifetimes, RoleGrants};

pub use job::Shown;
pub use keep::{
    NewToken, NewUser, add_token, add_user, change_user, check_new_user, remove_token, remove_user,
};
pub use limits::{Limiter, network};
pub use oidc::{Answer, Begun};
pub use password::hash_new;

use job::Jobs;
use oidc::Oidc;

/// Hashes of passwords that are computed at once: each takes 19 MiB.
const HASHES: usize = 2;
/// How long a sign-in waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// Sign-ins from one address that fail.
const BY_ADDRESS: Rate = Rate { burst: 20.0, per_second: 1.0 / 6.0 };
/// Sign-ins with one name that fail.
const BY_NAME: Rate = Rate { burst: 10.0, per_second: 1.0 / 15.0 };
/// Requests from one address that show nothing valid.
const BY_STRANGER: Rate = Rate { burst: 60.0, per_second: 1.0 };
/// How old a note of the last use may be, in microseconds.
const USE: i64 = 60_000_000;

/// Why somebody does not come in, or may not change who does.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Which of the two is not told.
    #[error("the name or the password is wrong")]
    Wrong,
    /// Too many tries.
    #[error("too many tries; wait {} s", .0.wait.as_secs() + 1)]
    TooMany(Refused),
    /// Too many people sign in at once.
    #[error("too many people sign in at this moment; try again")]
    Busy,
    /// An ID token.
    #[error("the ID token is not accepted: {0}")]
    Token(#[from] JwtError),
    /// An ID token does not say what it must.
    #[error("the ID token is not accepted: its claim `{0}` is missing")]
    Claim(&'static str),
    /// No rule of `server.gitlab.id_tokens` fits.
    #[error("no rule of `server.gitlab.id_tokens` in nlrun.yaml fits this ID token")]
    NoRule,
    /// An ID token asks for a run twice.
    #[error("this ID token has asked for a run before; a job shows a new one for each run")]
    Replayed,
    /// The server has no such way to come in.
    #[error("this server knows no {0}")]
    NotConfigured(&'static str),
    /// The issuer is of no use.
    #[error("the issuer of ID tokens cannot be used: {0}")]
    Provider(#[from] ProviderError),
    /// The provider did not let somebody in, or what it says is not what was asked for.
    #[error("the sign-in at the provider failed: {0}")]
    Oidc(String),
    /// The provider knows somebody who is nobody here.
    #[error("{0} has no role at this server")]
    NoRole(String),
    /// Two are called the same.
    #[error("there is a {what} `{name}`")]
    Taken {
        /// `user` or `token`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Nobody is called so.
    #[error("there is no {what} `{name}`")]
    NoSuch {
        /// `user` or `token`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A name that could be taken for something else.
    #[error("`{0}` cannot be a name: letters, digits and `. _ @ + -`, at most 64, a letter or digit first")]
    Name(String),
    /// A password that can be guessed.
    #[error("the password has fewer than {least} characters")]
    Weak {
        /// The least.
        least: usize,
    },
    /// A password that is too long.
    #[error("the password has more than {most} bytes")]
    Long {
        /// The most.
        most: usize,
    },
    /// What a provider says is not changed here.
    #[error("role and password of `{0}` come from the provider")]
    Elsewhere(String),
    /// Nobody gives what they do not have.
    #[error("{0}, which is more than you have yourself")]
    Beyond(String),
    /// A capability is none.
    #[error(transparent)]
    Capability(#[from] crate::model::capability::CapabilityError),
    /// A capability covers nothing.
    #[error("no function performs `{verb}`{hint}")]
    Verb {
        /// The verb.
        verb: String,
        /// What may have been meant.
        hint: String,
    },
    /// A glob is none.
    #[error("`{0}` is no glob of runbooks")]
    Glob(String),
    /// A file of nlrun.yaml cannot be read.
    #[error("`{path}`: {source}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The run log.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something of the service.
    #[error(transparent)]
    Service(Box<ServiceError>),
    /// The system gives no random numbers, or no thread.
    #[error("the system gives no random numbers or no thread")]
    Random,
}

impl From<ServiceError> for IdentityError {
    fn from(error: ServiceError) -> Self {
        Self::Service(Box::new(error))
    }
}

/// Somebody who is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// Who.
    pub caller: Caller,
    /// What a form or a script shows besides the cookie.
    pub csrf: String,
    /// When the session ends at the latest: microseconds since 1970, UTC.
    pub ends_at: i64,
}

impl SignedIn {
    /// Whether a request shows what only pages of this server know.
    pub fn csrf_fits(&self, shown: &str) -> bool {
        // Digests are compared, so that the time says nothing of the values.
        digest(shown) == digest(&self.csrf)
    }
}

/// A session that has begun: its secret goes to the browser, and nowhere else.
#[derive(Debug)]
pub struct NewSession {
    /// What the cookie holds.
    pub secret: String,
    /// How long it lasts at most.
    pub lifetime: Duration,
    /// Who is signed in.
    pub signed_in: SignedIn,
}

/// Knows who comes in. Cheap to clone.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    desk: Desk,
    roles: BTreeMap<Role, RoleGrants>,
    lifetimes: Lifetimes,
    jobs: Option<Jobs>,
    oidc: Option<Oidc>,
    hashing: Semaphore,
    by_address: Limiter,
    by_name: Limiter,
    by_stranger: Limiter,
    by_caller: Limiter,
}

impl Identity {
    /// Reads who may come in from the project's settings.
    pub fn open(desk: &Desk) -> Result<Self, IdentityError> {
        let settings = &desk.project().config().server;
        let root = desk.project().root();
        let jobs = settings.gitlab.id_tokens.clone();
        let jobs = jobs.map(|jobs| Jobs::new(jobs.clone(), trust(root, jobs.ca.as_deref())?)).transpose()?;
        let oidc = settings.oidc.clone();
        let oidc = oidc.map(|oidc| Oidc::new(oidc.clone(), trust(root, oidc.ca.as_deref())?)).transpose()?;
        Ok(Self(Arc::new(Inner {
            desk: desk.clone(),
            roles: settings.roles.clone(),
            lifetimes: settings.sessions.clone(),
            jobs,
            oidc,
            hashing: Semaphore::new(HASHES),
            by_address: Limiter::new(BY_ADDRESS),
            by_name: Limiter::new(BY_NAME),
            by_stranger: Limiter::new(BY_STRANGER),
            by_caller: Limiter::new(settings.requests.rate()),
        })))
    }

    /// Whether anybody can come in at all.
    pub fn has_anybody(&self) -> Result<bool, StoreError> {
        if self.0.jobs.is_some() || self.0.oidc.is_some() {
            return Ok(true);
        }
        self.0.desk.read(|reader| Ok(!reader.users()?.is_empty() || !reader.tokens()?.is_empty()))
    }

    /// Returns the address of the provider that people can sign in at.
    pub fn provider(&self) -> Option<&str> {
        self.0.oidc.as_ref().map(Oidc::issuer)
    }

    /// Counts a request of somebody who is known.
    pub fn count(&self, caller: &Caller) -> Result<(), Refused> {
        self.0.by_caller.take(&caller.name())
    }

    /// Counts a request that shows something that is not valid.
    pub fn count_stranger(&self, address: IpAddr) -> Result<(), Refused> {
        self.0.by_stranger.take(&network(address))
    }

    /// Returns who holds a token of the API.
    pub fn by_token(&self, shown: &str) -> Result<Option<Caller>, StoreError> {
        let hash = digest(shown);
        let desk = &self.0.desk;
        let Some(token) = desk.read(|reader| reader.token(&hash))? else { return Ok(None) };
        if token.used_at.is_none_or(|at| clock::now().as_microsecond() - at > USE) {
            desk.store().touch_token(&token.name)?;
        }
        Ok(Some(self.resolved(token.caller())))
    }

    /// Returns who is signed in with the secret of a session.
    pub fn by_session(&self, secret: &str) -> Result<Option<SignedIn>, StoreError> {
        let hash = digest(secret);
        let now = clock::now().as_microsecond();
        let idle_since = now - self.0.lifetimes.idle.as_micros() as i64;
        let desk = &self.0.desk;
        let found = desk.read(|reader| reader.session(&hash, idle_since))?;
        let Some(Session { user, used_at, ends_at, .. }) = found else { return Ok(None) };
        if now - used_at > USE {
            desk.store().touch_session(&hash)?;
        }
        Ok(Some(self.signed_in(&user, secret, ends_at)))
    }

    /// Returns the pipeline that an ID token of GitLab stands for.
    pub async fn by_job(&self, token: &str) -> Result<(Caller, Shown), IdentityError> {
        let jobs = self.0.jobs.as_ref().ok_or(IdentityError::NotConfigured("ID tokens"))?;
        let (caller, shown) = jobs.caller(token).await?;
        Ok((self.resolved(caller), shown))
    }

    /// Lets an ID token ask for a run, once; again with the same idempotency key.
    pub fn redeem(&self, shown: &Shown, key: Option<&str>) -> Result<(), IdentityError> {
        let store = self.0.desk.store();
        match store.bind_id_token(&shown.issuer, &shown.jti, key, shown.expires_at)? {
            Bound::New | Bound::Again => Ok(()),
            Bound::Replayed => Err(IdentityError::Replayed),
        }
    }

    /// Takes back that an ID token has asked for a run, because there is none.
    pub fn release(&self, shown: &Shown) -> Result<(), StoreError> {
        self.0.desk.store().unbind_id_token(&shown.issuer, &shown.jti)
    }

    /// Signs a user in by password, and ends the session that the browser had before.
    pub async fn sign_in(
        &self,
        name: &str,
        password: String,
        address: IpAddr,
        before: Option<String>,
    ) -> Result<NewSession, IdentityError> {
        let from = network(address);
        let called = name.to_lowercase();
        self.0.by_address.take(&from).map_err(IdentityError::TooMany)?;
        self.0.by_name.take(&called).map_err(IdentityError::TooMany)?;
        let turn = tokio::time::timeout(PATIENCE, self.0.hashing.acquire()).await;
        let _turn = turn.map_err(|_| IdentityError::Busy)?.map_err(|_| IdentityError::Busy)?;
        let (own, name) = (self.clone(), name.to_owned());
        let session = off(move || {
            let hash = own.0.desk.read(|reader| reader.password(&name))?;
            if !password::fits(&password, hash.as_deref()) {
                return Err(IdentityError::Wrong);
            }
            own.begin(&name, address, before.as_deref())
        })
        .await?;
        self.0.by_address.give_back(&from);
        self.0.by_name.give_back(&called);
        Ok(session)
    }

    /// Whether somebody of this name could sign in here.
    pub fn is_user(&self, name: &str) -> Result<bool, StoreError> {
        self.0.desk.read(|reader| Ok(reader.user(name)?.is_some()))
    }

    /// Ends a session.
    pub fn sign_out(&self, secret: &str) -> Result<(), StoreError> {
        self.0.desk.store().end_session(&digest(secret))
    }

    /// Begins a sign-in at the provider, which will send the browser back to `redirect`.
    pub async fn begin_oidc(
        &self,
        redirect: &str,
        next: &str,
        address: IpAddr,
    ) -> Result<Begun, IdentityError> {
        let oidc = self.0.oidc.as_ref().ok_or(IdentityError::NotConfigured("provider to sign in at"))?;
        self.0.by_address.take(&network(address)).map_err(IdentityError::TooMany)?;
        oidc.begin(redirect, next).await
    }

    /// Ends a sign-in at the provider: who comes back is signed in, and goes on to the address that is returned.
    pub async fn finish_oidc(
        &self,
        answer: &oidc::Answer<'_>,
        address: IpAddr,
        before: Option<String>,
    ) -> Result<(NewSession, String), IdentityError> {
        let oidc = self.0.oidc.as_ref().ok_or(IdentityError::NotConfigured("provider to sign in at"))?;
        let (project, place) = (self.0.desk.project(), self.0.desk.place());
        let back = oidc.finish(answer, project, place).await?;
        self.0.by_address.give_back(&network(address));
        let own = self.clone();
        let (session, next) = off(move || {
            let name = keep::known_by_provider(own.0.desk.store(), &back)?;
            let session = own.begin(&name, address, before.as_deref())?;
            Ok::<_, IdentityError>((session, back.next))
        })
        .await?;
        Ok((session, next))
    }

    /// Returns where people sign out at the provider, if it has such a place and can be asked.
    pub async fn end_of_oidc(&self, back_to: &str) -> Option<String> {
        self.0.oidc.as_ref()?.end(back_to).await
    }

    fn begin(&self, name: &str, address: IpAddr, before: Option<&str>) -> Result<NewSession, IdentityError> {
        let desk = &self.0.desk;
        if let Some(before) = before {
            desk.store().end_session(&digest(before))?;
        }
        let secret = secret()?;
        let lifetime = self.0.lifetimes.absolute;
        let ends_at = clock::now().as_microsecond().saturating_add(lifetime.as_micros() as i64);
        desk.store().begin_session(name, &digest(&secret), &address.to_canonical().to_string(), ends_at)?;
        let user = desk.read(|reader| reader.user(name))?.ok_or(IdentityError::Wrong)?;
        Ok(NewSession { signed_in: self.signed_in(&user, &secret, ends_at), secret, lifetime })
    }

    fn signed_in(&self, user: &User, secret: &str, ends_at: i64) -> SignedIn {
        SignedIn {
            caller: self.resolved(user.caller()),
            csrf: crate::store::hex(&digest(&format!("csrf {secret}"))),
            ends_at,
        }
    }

    /// Gives a caller what their role has where nothing more is said of them.
    fn resolved(&self, mut caller: Caller) -> Caller {
        let usual = self.0.roles.get(&caller.role);
        if caller.grants.is_empty() {
            caller.grants = usual.map(|usual| usual.grants.clone()).unwrap_or_default();
        }
        if caller.grants.is_empty() {
            caller.grants.push("*".to_owned());
        }
        if caller.runbooks.is_empty() {
            caller.runbooks = usual.map(|usual| usual.runbooks.clone()).unwrap_or_default();
        }
        caller
    }
}

/// Makes a secret that nobody guesses, as text.
fn secret() -> Result<String, IdentityError> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| IdentityError::Random)?;
    Ok(base16ct::lower::encode_string(&bytes))
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn trust(root: &Path, ca: Option<&Path>) -> Result<Trust, IdentityError> {
    let Some(ca) = ca else { return Ok(Trust::System) };
    let path = root.join(ca);
    match std::fs::read(&path) {
        Ok(pem) => Ok(Trust::Roots(pem.into())),
        Err(source) => Err(IdentityError::File { path: path.display().to_string(), source }),
    }
}

/// Works off the threads that serve requests.
async fn off<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, IdentityError> + Send + 'static,
) -> Result<T, IdentityError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| IdentityError::Random)?
}
