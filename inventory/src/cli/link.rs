//! `cupel-inventory link`.
//!
//! # Invariants
//! - The link is good for one sign-in, within [`LIFE`]; the database keeps its digest alone.

use anyhow::{Context as _, anyhow};
use serde::Serialize;

use super::exit::Exit;
use super::output::{self, Format};
use super::{GlobalArgs, open};
use crate::auth::{Scope, digest, secret};
use crate::clock::{Clock, SECOND};
use crate::store::{Store, Token};

/// How long a link works, in microseconds.
const LIFE: i64 = 10 * 60 * SECOND;

/// Options of `link`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The token that it signs in with, by name or public half; without, the
    /// oldest one that may read
    #[arg(long, value_name = "NAME")]
    token: Option<String>,
    /// Where browsers reach the inventory
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8470")]
    url: String,
}

#[derive(Serialize)]
struct Shown<'a> {
    link: &'a str,
    token: &'a str,
}

/// A link that signs in once, by this token.
///
/// # Errors
/// The system gives no random numbers, or the store failed.
pub async fn make(
    store: &Store,
    clock: &Clock,
    token: &Token,
    origin: &str,
) -> anyhow::Result<String> {
    let code = secret()?;
    let until = clock.microseconds() + LIFE;
    store.create_code(token.key, &digest(&code), until).await?;
    Ok(format!(
        "{}/login?code={code}",
        origin.trim_end_matches('/')
    ))
}

/// The token that is named, or the oldest that will do.
fn choose(tokens: Vec<Token>, name: Option<&str>) -> anyhow::Result<Token> {
    let mut good = tokens
        .into_iter()
        .filter(|token| token.revoked_at.is_none() && token.scope.allows(Scope::Read));
    match name {
        Some(name) => good
            .find(|token| token.name == name || token.id == name)
            .with_context(|| {
                format!(
                    "no token {name:?} may read: see `cupel-inventory token list`; one that may \
                     report alone signs nobody in"
                )
            }),
        None => good.next().ok_or_else(|| {
            anyhow!("no token may read: cupel-inventory token create NAME --scope read")
        }),
    }
}

/// Makes a link and shows it.
pub async fn run(args: &Args, global: &GlobalArgs) -> anyhow::Result<Exit> {
    let store = open(global).await?;
    let token = choose(store.tokens().await?, args.token.as_deref())?;
    let link = make(&store, &Clock::system(), &token, &args.url).await?;
    match global.output {
        Format::Text => {
            output::line(&link)?;
            output::note(&format!(
                "It works once, within 10 minutes; the session may read, as token {:?} may.",
                token.name
            ));
        }
        Format::Json => output::json(&Shown {
            link: &link,
            token: &token.name,
        })?,
    }
    Ok(Exit::Fine)
}
