//! `user`: who may sign in at the server. No password is ever printed or taken from the command line.

use std::io::{IsTerminal as _, Read as _};

use clap::{Args, Subcommand};
use serde_json::json;
use zeroize::Zeroizing;

use crate::cli::Context;
use crate::cli::problem::Problem;
use crate::cli::table::{Cell, Table};
use crate::cli::when;
use crate::model::role::Role;
use crate::service::identity::{NewUser, add_user, change_user, check_new_user, remove_user};
use crate::store::{Store, UserChange, Verdict};

/// Make, list, change and remove users of the server
///
/// A password comes from standard input or is asked for.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nlrun user add ann --role admin\n  pass show nlrun/bob | nlrun user add bob --role operator --runbook 'runbooks/certs/*'\n  \
    nlrun user role bob viewer\n  nlrun user list"
)]
pub(crate) struct UserOptions {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a user
    Add(Add),
    /// List users
    List,
    /// Remove a user; their sessions end
    Remove {
        /// The name
        name: String,
    },
    /// Give a user another password; their sessions end
    Password {
        /// The name
        name: String,
    },
    /// Give a user another role; their sessions end
    Role {
        /// The name
        name: String,
        /// What they may do: viewer, operator, editor or admin
        #[arg(value_parser = role)]
        role: Role,
    },
}

#[derive(Debug, Args)]
struct Add {
    /// The name: letters, digits and `. _ @ + -`
    name: String,
    /// What they may do: viewer, operator, editor or admin
    #[arg(long, value_parser = role)]
    role: Role,
    /// A capability of runs that they ask for [default: those of the role]
    #[arg(long, value_name = "CAPABILITY")]
    grant: Vec<String>,
    /// A glob of runbooks that they may run [default: those of the role]
    #[arg(long, value_name = "GLOB")]
    runbook: Vec<String>,
}

pub(crate) fn user(context: &Context, options: UserOptions) -> Result<u8, Problem> {
    let project = context.project()?;
    let store = context.store(&project)?;
    let by = &context.place.person.user;
    match options.what {
        What::Add(add) => {
            let target = format!("users/{} {}", add.name, add.role.as_str());
            check_new_user(&store, &add.name)?;
            let password = password(&add.name)?;
            let Add { name, role, grant, runbook } = add;
            let words = format!("{name} signs in as {}, at the server of this project", role.as_str());
            add_user(&store, NewUser { name, password, role, grants: grant, runbooks: runbook }, by, None)?;
            done(context, &store, "users.create", &target)?;
            context.out.word(&words);
        }
        What::List => list(context, &store)?,
        What::Remove { name } => {
            remove_user(&store, &name)?;
            done(context, &store, "users.remove", &format!("users/{name}"))?;
        }
        What::Password { name } => {
            let password = Some(password(&name)?.to_string());
            change_user(&store, &name, UserChange { password, ..UserChange::default() }, None)?;
            done(context, &store, "users.change", &format!("users/{name} password"))?;
        }
        What::Role { name, role } => {
            change_user(&store, &name, UserChange { role: Some(role), ..UserChange::default() }, None)?;
            done(context, &store, "users.change", &format!("users/{name} {}", role.as_str()))?;
        }
    }
    Ok(0)
}

fn list(context: &Context, store: &Store) -> Result<(), Problem> {
    let out = &context.out;
    let users = store.reader()?.users()?;
    let columns = ["user", "role", "grants", "runbooks", "by", "signed in"];
    let mut table = Table::new(out, &columns, &[]);
    for user in &users {
        if out.json {
            out.json(&json!({
                "name": user.name, "role": user.role, "grants": user.grants, "runbooks": user.runbooks,
                "by_provider": user.subject.is_some(), "made": when::utc(user.made_at), "made_by": user.made_by,
                "signed_in": user.signed_in_at.map(when::utc),
            }));
            continue;
        }
        table.row([
            Cell::new(&user.name),
            Cell::new(user.role.as_str()),
            Cell::new(of_role(&user.grants)),
            Cell::new(of_role(&user.runbooks)),
            Cell::new(&user.made_by),
            Cell::new(user.signed_in_at.map_or_else(|| "never".to_owned(), when::age)),
        ]);
    }
    if !out.json {
        out.raw(table.text().as_bytes());
    }
    Ok(())
}

/// Writes what somebody has, or that their role decides.
pub(crate) fn of_role(own: &[String]) -> String {
    if own.is_empty() { "those of the role".to_owned() } else { own.join(" ") }
}

/// Reads a role.
pub(crate) fn role(word: &str) -> Result<Role, String> {
    let all = Role::ALL.map(Role::as_str).join(", ");
    Role::parse(word).ok_or_else(|| format!("a role is one of {all}"))
}

/// Puts into the audit what was done at a terminal: whoever can write the run log may.
pub(crate) fn done(context: &Context, store: &Store, action: &str, target: &str) -> Result<(), Problem> {
    let verdict = Verdict {
        who: context.place.person.user.clone(),
        address: "terminal".to_owned(),
        action: action.to_owned(),
        target: target.to_owned(),
        allowed: true,
        reason: String::new(),
    };
    Ok(store.audit(&verdict)?)
}

/// Takes a password from standard input, or from a person whose typing is not shown.
fn password(name: &str) -> Result<Zeroizing<String>, Problem> {
    let unreadable = |error: std::io::Error| Problem::Other(format!("the password cannot be read: {error}"));
    if std::io::stdin().is_terminal() {
        let ask = |words: &str| rpassword::prompt_password(words).map(Zeroizing::new).map_err(unreadable);
        let (first, again) = (ask(&format!("password of {name}: "))?, ask("again: ")?);
        if *first != *again {
            return Err(Problem::usage("the two passwords differ; nothing was changed", None));
        }
        return Ok(first);
    }
    let mut text = Zeroizing::new(String::new());
    std::io::stdin().lock().read_to_string(&mut text).map_err(unreadable)?;
    // One line end is not part of it.
    let length = text.strip_suffix("\r\n").or(text.strip_suffix('\n')).map_or(text.len(), str::len);
    text.truncate(length);
    if text.is_empty() {
        let hint = "write it to standard input: `… | nlrun user add NAME --role ROLE`";
        return Err(Problem::usage("the password is empty; nothing was changed", Some(hint.to_owned())));
    }
    Ok(text)
}
