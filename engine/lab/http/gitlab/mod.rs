//! A GitLab, as far as runs and the server use its API (version 4): projects, members, merge requests, notes, statuses of commits.
//!
//! It refuses what the real one refuses: no token, a token of too small a scope, a project that one may not see, a role that is too
//! low, missing and wrong parameters, a second merge request of a branch, a merge of another commit, a status that goes back, a note
//! that is too long or somebody else's, and one request too many.

mod merge;
mod notes;
mod statuses;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::program::{Api, Program};
use super::server::{Answer, Asked};
use super::shown::Shown;
use super::{ANYWHERE, Identity};

pub use merge::MergeRequest;
pub use notes::Note;
pub use statuses::Status;

/// Entries of a page, the most that it gives.
const MOST: usize = 100;

/// Somebody with an account.
#[derive(Debug, Clone)]
pub struct User {
    /// The number.
    pub id: i64,
    /// The name.
    pub username: String,
    /// Whether it is blocked.
    pub is_blocked: bool,
}

/// A token of a user.
#[derive(Debug, Clone)]
pub struct Token {
    /// Whose.
    pub user: i64,
    /// Whether it may write: scope `api` and not `read_api`.
    pub writes: bool,
}

/// A project.
#[derive(Debug, Clone, Default)]
pub struct Project {
    /// The number.
    pub id: i64,
    /// The path.
    pub path: String,
    /// Access levels by user.
    pub members: BTreeMap<i64, i64>,
    /// Days on which memberships end, by user.
    pub ends: BTreeMap<i64, String>,
    /// Heads of branches.
    pub branches: BTreeMap<String, String>,
    /// Branches that maintainers only may merge into.
    pub protected: BTreeSet<String>,
    /// Commits that are known besides the heads.
    pub commits: BTreeSet<String>,
    /// Merge requests by number.
    pub merge_requests: BTreeMap<u64, MergeRequest>,
    /// Statuses of commits, the oldest first.
    pub statuses: Vec<Status>,
}

/// All that one GitLab knows.
pub struct State {
    /// `METHOD path` of every request.
    pub requests: Vec<String>,
    /// Requests that are one too many.
    pub limited: usize,
    /// Requests that a broken proxy answers.
    pub broken: usize,
    /// Accounts by number.
    pub users: BTreeMap<i64, User>,
    /// Tokens by what their holder shows.
    pub tokens: BTreeMap<String, Token>,
    /// Projects by number.
    pub projects: BTreeMap<i64, Project>,
    next: i64,
    _shown: Shown,
}

/// A running GitLab; it ends with this value.
pub type GitLab = Program<State>;

impl GitLab {
    /// Starts a GitLab without projects, accounts and tokens, on any free port with TLS.
    pub fn start(own: &Identity) -> io::Result<Self> {
        Self::start_at(ANYWHERE, own)
    }

    /// Starts it at an address.
    pub fn start_at(at: SocketAddr, own: &Identity) -> io::Result<Self> {
        Self::run("gitlab", at, own, |shown| State {
            requests: Vec::new(),
            limited: 0,
            broken: 0,
            users: BTreeMap::new(),
            tokens: BTreeMap::new(),
            projects: BTreeMap::new(),
            next: 100,
            _shown: shown,
        })
    }
}

impl State {
    /// Adds an account with a token of scope `api`; returns its number.
    pub fn user(&mut self, username: &str, token: &str) -> i64 {
        let id = self.number();
        self.users.insert(id, User { id, username: username.to_owned(), is_blocked: false });
        self.tokens.insert(token.to_owned(), Token { user: id, writes: true });
        id
    }

    /// Adds a project; returns its number.
    pub fn project(&mut self, path: &str) -> i64 {
        let id = self.number();
        let protected = BTreeSet::from(["main".to_owned()]);
        self.projects.insert(id, Project { id, path: path.to_owned(), protected, ..Project::default() });
        id
    }

    /// Returns a project by its path.
    pub fn at(&mut self, path: &str) -> Option<&mut Project> {
        self.projects.values_mut().find(|project| project.path == path)
    }

    fn number(&mut self) -> i64 {
        self.next += 1;
        self.next
    }
}

impl Api for State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        self.requests.push(format!("{} {}", asked.method, asked.path));
        if self.limited > 0 {
            self.limited -= 1;
            return Answer::text(429, "Retry later\n").header("retry-after", "1".to_owned());
        }
        if self.broken > 0 {
            self.broken -= 1;
            return Answer::text(502, "GitLab is not responding");
        }
        self.route(asked).unwrap_or_else(|refusal| refusal)
    }
}

/// Who asks, and what they may do in the project that they ask about.
struct Asker {
    id: i64,
    username: String,
    level: i64,
}

fn message(status: u16, text: &str) -> Answer {
    Answer::json(status, &json!({ "message": text }))
}

fn error(text: &str) -> Answer {
    Answer::json(400, &json!({ "error": text }))
}

/// Demands a role.
fn at_least(asker: &Asker, level: i64) -> Result<(), Answer> {
    if asker.level < level { Err(message(403, "403 Forbidden")) } else { Ok(()) }
}

/// Returns a page of a list, with the headers that tell of the others.
fn paged(asked: &Asked, items: Vec<Value>) -> Result<Answer, Answer> {
    let number = |name: &str, default: usize| match asked.query(name).map(str::parse) {
        None => Ok(default),
        Some(Ok(number)) if number > 0 => Ok(number),
        Some(_) => Err(error(&format!("{name} does not have a valid value"))),
    };
    let (page, size) = (number("page", 1)?, number("per_page", 20)?.min(MOST));
    let begin = (page - 1) * size;
    let next = if begin + size < items.len() { (page + 1).to_string() } else { String::new() };
    let total = items.len().to_string();
    let shown: Vec<Value> = items.into_iter().skip(begin).take(size).collect();
    Ok(Answer::json(200, &Value::Array(shown))
        .header("x-next-page", next)
        .header("x-page", page.to_string())
        .header("x-per-page", size.to_string())
        .header("x-total", total))
}

/// Undoes the escapes of one part of a path.
fn plain(part: &str) -> String {
    let escaped = part.replace('+', "%2B");
    let pairs = format!("x={escaped}");
    url::form_urlencoded::parse(pairs.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

impl State {
    fn route(&mut self, asked: &Asked) -> Result<Answer, Answer> {
        let segments = asked.segments();
        let Some(rest) = segments.strip_prefix(&["api", "v4"][..]) else {
            return Ok(Answer::text(302, "<html>You are being redirected.</html>")
                .header("location", "/users/sign_in".to_owned()));
        };
        let shown =
            asked.header("private-token").or_else(|| asked.header("authorization")?.strip_prefix("Bearer "));
        let token = shown.and_then(|shown| self.tokens.get(shown)).cloned();
        let token = token.ok_or_else(|| message(401, "401 Unauthorized"))?;
        let user = self.users.get(&token.user).filter(|user| !user.is_blocked).cloned();
        let user = user.ok_or_else(|| message(403, "403 Forbidden - Your account has been blocked."))?;
        if asked.method != "GET" && !token.writes {
            return Err(Answer::json(
                403,
                &json!({
                    "error": "insufficient_scope",
                    "error_description": "The request requires higher privileges than provided by the access token.",
                    "scope": "api",
                }),
            ));
        }
        if rest == ["user"] {
            return match asked.method.as_str() {
                "GET" => Ok(Answer::json(
                    200,
                    &json!({ "id": user.id, "username": user.username, "state": "active" }),
                )),
                _ => Err(message(405, "405 Not Allowed")),
            };
        }
        let ["projects", name, rest @ ..] = rest else {
            return Err(Answer::json(404, &json!({ "error": "404 Not Found" })));
        };
        let name = plain(name);
        let next = self.number();
        let users = self.users.clone();
        let project =
            self.projects.values_mut().find(|project| project.path == name || project.id.to_string() == name);
        let level = project.as_ref().and_then(|project| project.members.get(&user.id)).copied().unwrap_or(0);
        // What one may not see is not there.
        let project = project.filter(|_| level > 0).ok_or_else(|| message(404, "404 Project Not Found"))?;
        let asker = Asker { id: user.id, username: user.username, level };
        match (asked.method.as_str(), rest) {
            ("GET", []) => Ok(Answer::json(
                200,
                &json!({ "id": project.id, "path_with_namespace": project.path, "default_branch": "main" }),
            )),
            ("GET", ["members", "all", id]) => {
                let id: i64 = id.parse().map_err(|_| error("user_id is invalid"))?;
                let level = project.members.get(&id).ok_or_else(|| message(404, "404 Not found"))?;
                let user = users.get(&id).ok_or_else(|| message(404, "404 Not found"))?;
                let state = if user.is_blocked { "blocked" } else { "active" };
                Ok(Answer::json(
                    200,
                    &json!({
                        "id": id, "username": user.username, "state": state, "access_level": level,
                        "expires_at": project.ends.get(&id), "membership_state": "active",
                    }),
                ))
            }
            ("GET", ["repository", "commits", commit]) => {
                project.has(commit)?;
                Ok(Answer::json(200, &json!({ "id": commit })))
            }
            ("GET", ["repository", "commits", commit, "statuses"]) => project.list_statuses(commit, asked),
            ("POST", ["statuses", commit]) => project.post_status(commit, asked, &asker, next),
            (_, ["merge_requests", rest @ ..]) => project.merge_requests(rest, asked, &asker, next),
            _ => Err(Answer::json(404, &json!({ "error": "404 Not Found" }))),
        }
    }
}

impl Project {
    /// Demands a commit that is there.
    fn has(&self, commit: &str) -> Result<(), Answer> {
        let is_there = self.commits.contains(commit)
            || self.branches.values().any(|head| head == commit)
            || self.merge_requests.values().any(|one| one.head == commit);
        if is_there { Ok(()) } else { Err(message(404, "404 Commit Not Found")) }
    }
}
