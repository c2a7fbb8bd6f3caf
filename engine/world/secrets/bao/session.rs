//! A login and what comes with it: tokens, their renewal, and their end.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;
use zeroize::Zeroizing;

use super::super::ear::Ear;
use super::super::place::Place;
use super::client::{Answer, Client, Granted, Parameters, Proof};
use super::config::{Auth, Method};
use super::error::Error;
use super::read::Mount;
use crate::model::duration;
use crate::world::http::retry;

/// How long giving back may take at the end of a run.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much of that is left to questions that nobody waits for any more, since they may bring a lease.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Who asks one source, from the first question of a run to its end.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) auth: Auth,
    pub(super) place: Place,
    pub(super) ear: Ear,
    /// Held for reading while something is asked.
    pub(super) busy: tokio::sync::RwLock<()>,
    /// The mounts that are known.
    pub(super) mounts: Mutex<Vec<Mount>>,
    state: tokio::sync::Mutex<State>,
    /// What is to be given back.
    owed: Mutex<Vec<Owed>>,
    renewals: Mutex<Vec<AbortOnDropHandle<()>>>,
}

#[derive(Default)]
struct State {
    held: Option<Proof>,
    /// The login as it was read; a wrapped secret can be read only once.
    parameters: Option<Arc<Parameters>>,
    /// Whether the server has refused a request that carried the login.
    logs_in: bool,
    /// Why a login was refused: one is enough, for servers lock out who tries too often.
    refused: Option<Arc<Error>>,
}

/// Something on the server that ends with the run.
#[derive(Clone)]
struct Owed {
    what: What,
    /// The token that ends it.
    token: Arc<Zeroizing<String>>,
    until: Option<Instant>,
    /// Whether the server has refused the token since, so that it has probably ended.
    is_doubted: bool,
}

#[derive(Clone, PartialEq)]
enum What {
    Token,
    Lease(String),
}

/// Who the server takes the session for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name that its audit log shows.
    pub name: String,
    /// The policies, in order.
    pub policies: Vec<String>,
    /// How long the token is valid; `None` for one without end.
    pub ttl: Option<Duration>,
}

impl Session {
    pub(super) fn new(client: Client, auth: Auth, place: Place, ear: Ear) -> Self {
        let (busy, mounts, state, owed, renewals) = Default::default();
        Self { client, auth, place, ear, busy, mounts, state, owed, renewals }
    }

    /// Asks as whoever is logged in; one whose token has ended logs in again, once.
    pub(super) async fn call(
        self: &Arc<Self>,
        verb: &'static str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(Answer, Proof), Error> {
        let mut was_replaced = false;
        loop {
            let proof = self.proof().await?;
            let answer = self.client.ask(verb, path, body, &proof).await?;
            match &proof {
                // Vault knows no such login, and OpenBao gives no leases by it.
                Proof::Inline(..) if answer.status >= 400 && answer.status != 404 => {
                    self.log_in_from_here().await;
                }
                Proof::Token(token) if answer.status == 403 && !was_replaced => {
                    was_replaced = true;
                    if self.is_alive(&proof).await? || !self.replace(token, &answer).await? {
                        return Ok((answer, proof));
                    }
                }
                Proof::Token(_) | Proof::Inline(..) | Proof::None => return Ok((answer, proof)),
            }
        }
    }

    /// Whether requests carry the login.
    pub(super) async fn is_inline(&self) -> bool {
        self.auth.inline && !self.state.lock().await.logs_in
    }

    /// Stops to let requests carry the login.
    pub(super) async fn log_in_from_here(&self) {
        self.state.lock().await.logs_in = true;
    }

    /// Logs in, even where requests carry the login, and returns who that is; `None` where it may not know itself.
    pub(super) async fn identity(self: &Arc<Self>) -> Result<Option<Identity>, Error> {
        self.log_in_from_here().await;
        let proof = self.proof().await?;
        let answer = self.client.ask("GET", "auth/token/lookup-self", None, &proof).await?;
        if answer.names_policies() {
            return Ok(None);
        }
        if answer.status != 200 {
            return Err(Error::BadToken);
        }
        let text = |key: &str| answer.data[key].as_str().unwrap_or_default().to_owned();
        let policies =
            ["policies", "identity_policies"].iter().filter_map(|key| answer.data[*key].as_array());
        let mut policies: Vec<String> =
            policies.flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        policies.sort();
        policies.dedup();
        let ttl = answer.data["ttl"].as_u64().filter(|ttl| *ttl > 0).map(Duration::from_secs);
        Ok(Some(Identity { name: text("display_name"), policies, ttl }))
    }

    /// Notes a lease, renews it while the run lives, and gives it back at its end.
    pub(super) fn lease(self: &Arc<Self>, answer: &Answer, proof: &Proof) {
        let Proof::Token(token) = proof else { return };
        let ttl = Duration::from_secs(answer.lease_duration);
        let lease = Owed {
            what: What::Lease(answer.lease_id.clone()),
            token: token.clone(),
            until: Some(Instant::now() + ttl),
            is_doubted: false,
        };
        self.owed.lock().push(lease);
        if answer.renewable {
            let body = json!({ "lease_id": answer.lease_id });
            let what = format!("the lease `{}`", answer.lease_id);
            self.renew(what, "sys/leases/renew", body, token.clone(), ttl);
        }
    }

    /// Gives back what was taken and returns, in words, what could not be given back.
    pub(super) async fn close(&self) -> Vec<String> {
        self.renewals.lock().clear();
        let mut left = Vec::new();
        let giving = async {
            // Whoever is late brings what the loop below does not see; the server ends it in time.
            let _idle = timeout(LAST_ANSWERS, self.busy.write()).await;
            self.give_back(&mut left).await;
        };
        if timeout(PATIENCE, giving).await.is_err() {
            let late = std::mem::take(&mut *self.owed.lock());
            let reason = format!("no answer within {} s", PATIENCE.as_secs());
            left.extend(late.iter().filter_map(|owed| owed.left(&reason)));
            if late.is_empty() && self.state.try_lock().is_err() {
                left.push(format!("a login at OpenBao is not ended ({reason}); it ends by itself"));
            }
        }
        left
    }

    async fn give_back(&self, left: &mut Vec<String>) {
        // A login that is under way ends first, for it makes a token.
        let mut state = self.state.lock().await;
        state.held = None;
        // Tokens first, for they end their leases; what remains are those of tokens that are somebody else's.
        loop {
            let next = {
                let owed = self.owed.lock();
                owed.iter().find(|owed| owed.what == What::Token).or(owed.first()).cloned()
            };
            let Some(owed) = next else { return };
            let proof = Proof::Token(owed.token.clone());
            let answer = match &owed.what {
                What::Token => self.client.ask("POST", "auth/token/revoke-self", None, &proof).await,
                What::Lease(id) => {
                    let body = json!({ "lease_id": id });
                    self.client.ask("POST", "sys/leases/revoke", Some(&body), &proof).await
                }
            };
            let reason = match answer {
                Ok(answer) if answer.status < 300 => None,
                Ok(answer) => Some(format!("{} {}", answer.status, answer.words())),
                Err(error) => Some(error.to_string()),
            };
            let ended = reason.is_none() && owed.what == What::Token;
            self.owed.lock().retain(|other| {
                !Arc::ptr_eq(&other.token, &owed.token) || !(ended || other.what == owed.what)
            });
            left.extend(reason.filter(|_| !owed.is_doubted).and_then(|reason| owed.left(&reason)));
        }
    }

    async fn proof(self: &Arc<Self>) -> Result<Proof, Error> {
        let mut state = self.state.lock().await;
        if let Some(held) = &state.held
            && !(state.logs_in && matches!(held, Proof::Inline(..)))
        {
            return Ok(held.clone());
        }
        let held = self.take(&mut state).await?;
        state.held = Some(held.clone());
        Ok(held)
    }

    /// Reads the token, or logs in; what has failed once is not tried again.
    async fn take(self: &Arc<Self>, state: &mut State) -> Result<Proof, Error> {
        if let Some(error) = &state.refused {
            return Err(Error::Again(error.clone()));
        }
        match self.try_take(state).await {
            Err(error) if !error.is_out_of_reach() => {
                let error = state.refused.insert(Arc::new(error));
                Err(Error::Again(error.clone()))
            }
            done => done,
        }
    }

    async fn try_take(self: &Arc<Self>, state: &mut State) -> Result<Proof, Error> {
        if let Method::Token(origin) = &self.auth.method {
            let token = Arc::new(self.read_token(origin.as_ref()).await?);
            return Ok(Proof::Token(token));
        }
        let parameters = match &state.parameters {
            Some(parameters) if matches!(self.auth.method, Method::AppRole { wrapped: Some(_), .. }) => {
                parameters.clone()
            }
            Some(_) | None => Arc::new(self.read_parameters().await?),
        };
        state.parameters = Some(parameters.clone());
        let path = format!("auth/{}/login", self.mount());
        if self.auth.inline && !state.logs_in {
            return Ok(Proof::Inline(path, parameters));
        }
        let mut granted = self.log_in(&path, &parameters).await?;
        self.ear.learn("bao/token", granted.client_token.as_bytes());
        let token = Arc::new(Zeroizing::new(std::mem::take(&mut granted.client_token)));
        // A batch token is no entry on the server: it cannot be ended, and does not end its leases.
        if granted.token_type != "batch" {
            self.own(&granted, &token);
        }
        Ok(Proof::Token(token))
    }

    fn own(self: &Arc<Self>, granted: &Granted, token: &Arc<Zeroizing<String>>) {
        let ttl = Some(Duration::from_secs(granted.lease_duration)).filter(|ttl| !ttl.is_zero());
        let until = ttl.map(|ttl| Instant::now() + ttl);
        self.owed.lock().push(Owed { what: What::Token, token: token.clone(), until, is_doubted: false });
        if let (true, Some(ttl)) = (granted.renewable, ttl) {
            self.renew("the login".to_owned(), "auth/token/renew-self", json!({}), token.clone(), ttl);
        }
    }

    async fn log_in(&self, path: &str, parameters: &Parameters) -> Result<Granted, Error> {
        let body = parameters.iter().map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str())));
        let body = Value::Object(body.collect());
        let answer = self.client.ask("POST", path, Some(&body), &Proof::None).await?;
        let mount = || self.mount().to_owned();
        let words = answer.words();
        match (answer.status, answer.auth) {
            (200, Some(granted)) if granted.client_token.is_empty() => Err(Error::SecondFactor(mount())),
            (200, Some(granted)) => Ok(granted),
            (200, None) => Err(Error::Lacks { path: path.to_owned(), lacks: "auth" }),
            (status, _) => Err(Error::Login { mount: mount(), status, words }),
        }
    }

    /// Whether the server still knows a token.
    async fn is_alive(&self, proof: &Proof) -> Result<bool, Error> {
        let answer = self.client.ask("GET", "auth/token/lookup-self", None, proof).await?;
        Ok(answer.status == 200 || answer.names_policies())
    }

    /// Gets another token in place of one that was refused; `false` where it is the policies that refuse.
    async fn replace(
        self: &Arc<Self>,
        refused: &Arc<Zeroizing<String>>,
        answer: &Answer,
    ) -> Result<bool, Error> {
        let mut state = self.state.lock().await;
        let is_current = |held: &Proof| matches!(held, Proof::Token(token) if Arc::ptr_eq(token, refused));
        if !state.held.as_ref().is_some_and(is_current) {
            // Another question has replaced it meanwhile.
            return Ok(true);
        }
        let held = self.take(&mut state).await?;
        if let (Proof::Token(token), Method::Token(_)) = (&held, &self.auth.method)
            && ***token == ***refused
        {
            return if answer.names_policies() { Ok(false) } else { Err(Error::BadToken) };
        }
        for owed in self.owed.lock().iter_mut().filter(|owed| Arc::ptr_eq(&owed.token, refused)) {
            owed.is_doubted = true;
        }
        state.held = Some(held);
        Ok(true)
    }

    /// Renews at two thirds of the time that is left, again and again, until the server gives no more.
    fn renew(
        self: &Arc<Self>,
        what: String,
        path: &'static str,
        body: Value,
        token: Arc<Zeroizing<String>>,
        ttl: Duration,
    ) {
        let session = Arc::downgrade(self);
        let renewal = AbortOnDropHandle::new(tokio::spawn(renewed(session, what, path, body, token, ttl)));
        self.renewals.lock().push(renewal);
    }
}

async fn renewed(
    session: Weak<Session>,
    what: String,
    path: &'static str,
    body: Value,
    token: Arc<Zeroizing<String>>,
    mut ttl: Duration,
) {
    loop {
        let most = ttl.mul_f64(2.0 / 3.0);
        // Fifty runs that began together do not come back together.
        tokio::time::sleep(most.mul_f64(0.8) + retry::pause(most.mul_f64(0.2), 1)).await;
        let Some(session) = session.upgrade() else { return };
        let asked = Instant::now();
        let answer = session.client.ask("POST", path, Some(&body), &Proof::Token(token.clone())).await;
        let left = (asked + ttl.mul_f64(1.0 / 3.0)).saturating_duration_since(Instant::now());
        let granted = match answer {
            Ok(answer) if answer.status == 200 => {
                answer.auth.as_ref().map_or(answer.lease_duration, |auth| auth.lease_duration)
            }
            Ok(answer) => {
                let words = answer.words();
                session.ear.warn(format!(
                    "{what} of OpenBao is not renewed and ends in {}: {} {words}",
                    duration::text(whole(left)),
                    answer.status
                ));
                return;
            }
            // It is asked again while there is time.
            Err(error) if left > Duration::from_secs(2) => {
                session.ear.warn(format!("{what} of OpenBao is not renewed yet: {error}"));
                ttl = left;
                continue;
            }
            Err(_) => return,
        };
        ttl = Duration::from_secs(granted);
        for owed in session.owed.lock().iter_mut() {
            let is_it = match &owed.what {
                What::Token => path == "auth/token/renew-self",
                What::Lease(id) => body["lease_id"] == id.as_str(),
            };
            if is_it && Arc::ptr_eq(&owed.token, &token) {
                owed.until = Some(Instant::now() + ttl);
            }
        }
        // The most that the server allows is reached.
        if ttl < Duration::from_secs(2) {
            return;
        }
    }
}

fn whole(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}

impl Owed {
    /// Tells what stays on the server; nothing of what has ended by itself.
    fn left(&self, reason: &str) -> Option<String> {
        let until = match self.until {
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return None;
                }
                format!("it ends by itself in {}", duration::text(whole(left) + Duration::from_secs(1)))
            }
            None => "it does not end by itself".to_owned(),
        };
        Some(match &self.what {
            What::Token => format!("the login token of OpenBao is not revoked ({reason}); {until}"),
            What::Lease(id) => format!("the lease `{id}` of OpenBao is not revoked ({reason}); {until}"),
        })
    }
}
