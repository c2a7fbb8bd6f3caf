//! `token`: the tokens of the server's API.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::Context;
use crate::cli::problem::Problem;
use crate::cli::table::{Cell, Table};
use crate::cli::user::{done, of_role, role};
use crate::cli::when;
use crate::model::duration;
use crate::model::role::Role;
use crate::service::identity::{NewToken, add_token, remove_token};
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
    /// A capability of runs that its holder asks for [default: those of the role]
    #[arg(long, value_name = "CAPABILITY")]
    grant: Vec<String>,
    /// A glob of runbooks that its holder may run [default: those of the role]
    #[arg(long, value_name = "GLOB")]
    runbook: Vec<String>,
    /// How long it is valid, such as 90d [default: until it is removed]
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
    time: Option<std::time::Duration>,
}

pub(crate) fn token(context: &Context, options: TokenOptions) -> Result<u8, Problem> {
    let project = context.project()?;
    let store = context.store(&project)?;
    match options.what {
        What::Add(add) => {
            let now = clock::now().as_microsecond();
            let new = NewToken {
                name: add.name,
                role: add.role,
                grants: add.grant,
                runbooks: add.runbook,
                expires_at: add.time.map(|time| now.saturating_add(time.as_micros() as i64)),
            };
            let target = format!("tokens/{} {}", new.name, new.role.as_str());
            let (token, shown) = add_token(&store, new, &context.place.person.user, None)?;
            done(context, &store, "tokens.create", &target)?;
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
                Table::new(&context.out, &["token", "role", "grants", "runbooks", "by", "ends", "used"], &[]);
            for token in &tokens {
                table.row([
                    Cell::new(&token.name),
                    Cell::new(token.role.as_str()),
                    Cell::new(of_role(&token.grants)),
                    Cell::new(of_role(&token.runbooks)),
                    Cell::new(&token.made_by),
                    Cell::new(token.expires_at.map_or_else(|| "never".to_owned(), when::minute)),
                    Cell::new(token.used_at.map_or_else(|| "never".to_owned(), when::age)),
                ]);
            }
            context.out.raw(table.text().as_bytes());
        }
        What::Remove { name } => {
            remove_token(&store, &name)?;
            done(context, &store, "tokens.remove", &format!("tokens/{name}"))?;
        }
    }
    Ok(0)
}
