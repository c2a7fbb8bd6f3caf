//! Users and tokens: made, changed and removed by whoever may.

use std::collections::BTreeSet;

use globset::Glob;
use zeroize::Zeroizing;

use super::oidc::Back;
use super::{IdentityError, digest, hash_new, secret};
use crate::bindings;
use crate::model::capability::Capability;
use crate::model::nearest::did_you_mean;
use crate::model::role::{Caller, Role};
use crate::store::{Store, Token, User, UserChange};
use crate::world::clock;

/// A user to make.
pub struct NewUser {
    /// The name.
    pub name: String,
    /// The password, in the clear.
    pub password: Zeroizing<String>,
    /// What they may do.
    pub role: Role,
    /// Capabilities of their runs; those of the role when empty.
    pub grants: Vec<String>,
    /// Globs of runbooks; those of the role when empty.
    pub runbooks: Vec<String>,
}

/// A token to make.
pub struct NewToken {
    /// The name.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// Capabilities of runs; those of the role when empty.
    pub grants: Vec<String>,
    /// Globs of runbooks; those of the role when empty.
    pub runbooks: Vec<String>,
    /// When it ends: microseconds since 1970, UTC.
    pub expires_at: Option<i64>,
}

/// Refuses a name that nobody can have, or that somebody has: before a password is typed for it.
pub fn check_new_user(store: &Store, name: &str) -> Result<(), IdentityError> {
    check_name(name)?;
    match store.reader()?.user(name)? {
        Some(user) => Err(IdentityError::Taken { what: "user", name: user.name }),
        None => Ok(()),
    }
}

/// Makes a user; `giver` is who asks through the server, and gives no more than they have.
pub fn add_user(
    store: &Store,
    new: NewUser,
    by: &str,
    giver: Option<&Caller>,
) -> Result<User, IdentityError> {
    check_name(&new.name)?;
    check_given(new.role, &new.grants, &new.runbooks, giver)?;
    let password = hash_new(&new.password)?;
    let user = User {
        name: new.name,
        subject: None,
        role: new.role,
        grants: new.grants,
        runbooks: new.runbooks,
        made_at: clock::now().as_microsecond(),
        made_by: by.to_owned(),
        signed_in_at: None,
    };
    if !store.add_user(&user, Some(&password))? {
        return Err(IdentityError::Taken { what: "user", name: user.name });
    }
    Ok(user)
}

/// Changes a user and ends their sessions; a password comes in the clear.
pub fn change_user(
    store: &Store,
    name: &str,
    mut change: UserChange,
    giver: Option<&Caller>,
) -> Result<(), IdentityError> {
    let no_such = || IdentityError::NoSuch { what: "user", name: name.to_owned() };
    let user = store.reader()?.user(name)?.ok_or_else(no_such)?;
    if user.subject.is_some() && (change.role.is_some() || change.password.is_some()) {
        return Err(IdentityError::Elsewhere(user.name));
    }
    let after = |new: &Option<Vec<String>>, old: Vec<String>| new.clone().unwrap_or(old);
    let (grants, runbooks) = (after(&change.grants, user.grants), after(&change.runbooks, user.runbooks));
    check_given(change.role.unwrap_or(user.role), &grants, &runbooks, giver)?;
    change.password = change.password.map(|password| hash_new(&password)).transpose()?;
    if !store.change_user(name, &change)? {
        return Err(no_such());
    }
    Ok(())
}

/// Forgets a user and ends their sessions.
pub fn remove_user(store: &Store, name: &str) -> Result<(), IdentityError> {
    if store.remove_user(name)? {
        return Ok(());
    }
    Err(IdentityError::NoSuch { what: "user", name: name.to_owned() })
}

/// Makes a token; returns what its holder will show, which nobody can tell later.
pub fn add_token(
    store: &Store,
    new: NewToken,
    by: &str,
    giver: Option<&Caller>,
) -> Result<(Token, String), IdentityError> {
    check_name(&new.name)?;
    check_given(new.role, &new.grants, &new.runbooks, giver)?;
    let shown = format!("nlr_{}", secret()?);
    let token = Token {
        name: new.name,
        role: new.role,
        grants: new.grants,
        runbooks: new.runbooks,
        made_at: clock::now().as_microsecond(),
        made_by: by.to_owned(),
        expires_at: new.expires_at,
        used_at: None,
    };
    if !store.add_token(&token, &digest(&shown))? {
        return Err(IdentityError::Taken { what: "token", name: token.name });
    }
    Ok((token, shown))
}

/// Forgets a token: whoever shows it is refused from now on.
pub fn remove_token(store: &Store, name: &str) -> Result<(), IdentityError> {
    if store.remove_token(name)? {
        return Ok(());
    }
    Err(IdentityError::NoSuch { what: "token", name: name.to_owned() })
}

/// Keeps whom a provider knows, with the role that they have now; returns the name here.
pub(super) fn known_by_provider(store: &Store, back: &Back) -> Result<String, IdentityError> {
    let known = store.reader()?.user_of(&back.subject)?;
    let Some(role) = back.role else {
        // Who has lost every role is out everywhere.
        if let Some(user) = known {
            store.change_user(&user.name, &UserChange::default())?;
        }
        return Err(IdentityError::NoRole(back.name.clone()));
    };
    if let Some(user) = known {
        if user.role != role {
            store.change_user(&user.name, &UserChange { role: Some(role), ..UserChange::default() })?;
        }
        return Ok(user.name);
    }
    let name: String = back
        .name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._@+-".contains(c) { c } else { '-' })
        .take(64)
        .collect();
    check_name(&name)?;
    let user = User {
        name,
        subject: Some(back.subject.clone()),
        role,
        grants: Vec::new(),
        runbooks: Vec::new(),
        made_at: clock::now().as_microsecond(),
        made_by: back.issuer().to_owned(),
        signed_in_at: None,
    };
    if !store.add_user(&user, None)? {
        return Err(IdentityError::Taken { what: "user", name: user.name });
    }
    Ok(user.name)
}

/// Checks a name: no space in it, so that none reads like `token ci` or `schedule nightly` in the audit.
fn check_name(name: &str) -> Result<(), IdentityError> {
    let is_right = name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._@+-".contains(c));
    if is_right { Ok(()) } else { Err(IdentityError::Name(name.chars().take(64).collect())) }
}

fn check_given(
    role: Role,
    grants: &[String],
    runbooks: &[String],
    giver: Option<&Caller>,
) -> Result<(), IdentityError> {
    let verbs: BTreeSet<&str> =
        bindings::signatures().into_iter().filter_map(|one| one.performs.map(|it| it.effect)).collect();
    for grant in grants {
        let capability = grant.parse::<Capability>()?;
        // Nobody would notice that it never covers anything.
        if !verbs.iter().any(|verb| capability.concerns(verb)) {
            let verb = grant.split(':').next().unwrap_or_default().to_owned();
            let hint = did_you_mean(&verb, verbs.iter().copied());
            let hint = hint.map(|hint| format!(": {hint}")).unwrap_or_default();
            return Err(IdentityError::Verb { verb, hint });
        }
    }
    for glob in runbooks {
        Glob::new(glob).map_err(|_| IdentityError::Glob(glob.clone()))?;
    }
    let Some(giver) = giver else { return Ok(()) };
    if role > giver.role {
        return Err(IdentityError::Beyond(format!("the role {}", role.as_str())));
    }
    // What is not named is what the role has, which may be everything.
    let is_within =
        |given: &[String], own: &[String]| !given.is_empty() && given.iter().all(|one| own.contains(one));
    if !giver.grants.iter().any(|grant| grant == "*") && !is_within(grants, &giver.grants) {
        return Err(IdentityError::Beyond("capabilities beyond your own".to_owned()));
    }
    if !giver.runbooks.is_empty() && !is_within(runbooks, &giver.runbooks) {
        return Err(IdentityError::Beyond("runbooks beyond your own".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run::Trigger;

    #[test]
    fn names_read_like_nothing_else() {
        for name in ["ann", "ann.b@example.net", "a-1", "0day"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "token ci", "schedule", "-a", ".a", "a/b", "ä", "a\n", &"a".repeat(65), "<b>"] {
            assert_eq!(check_name(name).is_ok(), name == "schedule", "{name}");
        }
    }

    #[test]
    fn nobody_gives_what_they_do_not_have() {
        let giver = |grants: &[&str], runbooks: &[&str]| Caller {
            role: Role::Admin,
            grants: grants.iter().map(|text| (*text).to_owned()).collect(),
            runbooks: runbooks.iter().map(|text| (*text).to_owned()).collect(),
            trigger: Trigger::User { user: "root".into() },
            plans_only: false,
        };
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        for (grants, runbooks, giver, is_allowed) in [
            (&["ssh.exec"][..], &[][..], giver(&["*"], &[]), true),
            (&[], &[], giver(&["*"], &[]), true),
            (&["ssh.read"], &[], giver(&["ssh.read"], &[]), true),
            (&["ssh.exec"], &[], giver(&["ssh.read"], &[]), false),
            (&[], &[], giver(&["ssh.read"], &[]), false),
            (&[], &["runbooks/a/*"], giver(&["*"], &["runbooks/a/*"]), true),
            (&[], &[], giver(&["*"], &["runbooks/a/*"]), false),
            (&[], &["**"], giver(&["*"], &["runbooks/a/*"]), false),
        ] {
            let checked = check_given(Role::Admin, &list(grants), &list(runbooks), Some(&giver));
            assert_eq!(checked.is_ok(), is_allowed, "{grants:?} {runbooks:?} by {giver:?}");
        }
        let operator = Caller { role: Role::Operator, ..giver(&["*"], &[]) };
        assert!(check_given(Role::Admin, &[], &[], Some(&operator)).is_err());
        assert!(check_given(Role::Admin, &list(&[":"]), &[], None).is_err());
        for grant in ["*", "ssh.*", "file.put:@web:/srv/**", "secret.read"] {
            assert!(check_given(Role::Admin, &list(&[grant]), &[], None).is_ok(), "{grant}");
        }
        for (grant, part) in [("ssh.raed", "did you mean `ssh.read`?"), ("everything", "`everything`")] {
            let error = check_given(Role::Admin, &list(&[grant]), &[], None).unwrap_err().to_string();
            assert!(error.contains(part), "{grant}: {error}");
        }
    }
}
