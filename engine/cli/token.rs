//! `token`: the tokens of the server's API.

use clap::{Args, Subcommand};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::json;

use crate::cli::Context;
use crate::cli::problem::Problem;
use crate::cli::table::{Cell, Table};
use crate::cli::when;
use crate::model::duration;
use crate::model::role::Role;
use crate::store::Token;
use crate::world::clock;

/// Make, list and remove tokens of the server's API
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nlrun token add ci --role operator --grant 'ssh.read' --runbook 'runbooks/certs/*' --for 90d\n  \
    nlrun token list\n  nlrun token remove ci"
)]
pub(crate) struct TokenOptions {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a token and print it, once
    Add(Add),
    /// List tokens
    List,
    /// Forget a token; whoever shows it is refused from now on
    Remove {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Args)]
struct Add {
    /// A name, for lists and for the audit
    name: String,
    /// What its holder may do: viewer, operator, editor or admin
    #[arg(long, value_parser = role)]
    role: Role,
    /// A capability of runs that its holder asks for [default: all that a runbook needs]
    #[arg(long, value_name = "CAPABILITY")]
    grant: Vec<String>,
    /// A glob of runbooks that its holder may run [default: all]
    #[arg(long, value_name = "GLOB")]
    runbook: Vec<String>,
    /// How long it is valid, such as 90d [default: until it is removed]
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
    time: Option<std::time::Duration>,
}

fn role(word: &str) -> Result<Role, String> {
    let all = Role::ALL.map(Role::as_str).join(", ");
    Role::parse(word).ok_or_else(|| format!("a role is one of {all}"))
}

pub(crate) fn token(context: &Context, options: TokenOptions) -> Result<u8, Problem> {
    let project = context.project()?;
    let store = context.store(&project)?;
    match options.what {
        What::Add(add) => {
            for grant in &add.grant {
                grant
                    .parse::<crate::model::capability::Capability>()
                    .map_err(crate::service::ServiceError::from)?;
            }
            let mut random = [0; 32];
            SystemRandom::new()
                .fill(&mut random)
                .map_err(|_| Problem::Other("the system gives no random numbers".to_owned()))?;
            let shown = format!("nlr_{}", base16ct::lower::encode_string(&random));
            let now = clock::now().as_microsecond();
            let token = Token {
                name: add.name,
                role: add.role,
                grants: if add.grant.is_empty() { vec!["*".to_owned()] } else { add.grant },
                runbooks: add.runbook,
                made_at: now,
                made_by: context.place.person.user.clone(),
                expires_at: add.time.map(|time| now.saturating_add(time.as_micros() as i64)),
            };
            if !store.add_token(&token, &hash(&shown))? {
                let hint = format!("`nlrun token remove {}` forgets it", token.name);
                return Err(Problem::usage(format!("there is a token `{}`", token.name), Some(hint)));
            }
            if context.out.json {
                context.out.json(&json!({ "name": token.name, "token": shown }));
            } else {
                context.out.word("keep it: it is shown only now");
                context.out.line(&shown);
            }
        }
        What::List => {
            let tokens = store.reader()?.tokens()?;
            if context.out.json {
                for token in &tokens {
                    context.out.json(&json!(token));
                }
                return Ok(0);
            }
            let mut table =
                Table::new(&context.out, &["token", "role", "grants", "runbooks", "by", "ends"], &[]);
            for token in &tokens {
                table.row([
                    Cell::new(&token.name),
                    Cell::new(token.role.as_str()),
                    Cell::new(token.grants.join(" ")),
                    Cell::new(if token.runbooks.is_empty() {
                        "all".into()
                    } else {
                        token.runbooks.join(" ")
                    }),
                    Cell::new(&token.made_by),
                    Cell::new(token.expires_at.map(when::minute).unwrap_or_else(|| "never".to_owned())),
                ]);
            }
            context.out.raw(table.text().as_bytes());
        }
        What::Remove { name } => {
            if !store.remove_token(&name)? {
                return Err(Problem::usage(format!("there is no token `{name}`"), None));
            }
        }
    }
    Ok(0)
}

fn hash(shown: &str) -> [u8; 32] {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(shown.as_bytes()).into()
}
