//! `cupel-inventory token`.

use anyhow::anyhow;
use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use super::exit::Exit;
use super::output::{self, Format};
use super::{GlobalArgs, open};
use crate::auth::{Scope, TokenText};
use crate::name;
use crate::store::{NewToken, Store, Token};

/// Options of `token`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a token and show it, once
    Create(CreateArgs),
    /// List tokens, revoked ones too
    List,
    /// Revoke a token; it works two seconds longer at most
    Revoke(RevokeArgs),
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// What it is called
    #[arg(value_name = "NAME")]
    name: String,
    /// What it may do: report (post reports, nothing else), read, or
    /// admin (read, and set what operators set; it may not report)
    #[arg(long, value_enum, value_name = "SCOPE")]
    scope: ScopeWord,
    /// The one node that it may report for, by its id
    #[arg(long, value_name = "ID")]
    node: Option<String>,
}

#[derive(Debug, clap::Args)]
struct RevokeArgs {
    /// Its name or public half
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ScopeWord {
    Report,
    Read,
    Admin,
}

impl From<ScopeWord> for Scope {
    fn from(word: ScopeWord) -> Self {
        match word {
            ScopeWord::Report => Self::Report,
            ScopeWord::Read => Self::Read,
            ScopeWord::Admin => Self::Admin,
        }
    }
}

/// A token without its secret, or with it when it was just made.
#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    name: &'a str,
    scope: Scope,
    node: Option<&'a str>,
    created_at: cupel_model::Timestamp,
    last_used_at: Option<cupel_model::Timestamp>,
    revoked_at: Option<cupel_model::Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

fn shown<'a>(token: &'a Token, text: Option<String>) -> Shown<'a> {
    Shown {
        id: &token.id,
        name: &token.name,
        scope: token.scope,
        node: token.node.as_deref(),
        created_at: token.created_at,
        last_used_at: token.last_used_at,
        revoked_at: token.revoked_at,
        token: text,
    }
}

/// Makes and stores a token.
///
/// # Errors
/// There is one of this name, or the store failed.
pub async fn make(
    store: &Store,
    name: &str,
    scope: Scope,
    node: Option<&str>,
) -> anyhow::Result<(Token, TokenText)> {
    let text = TokenText::new()?;
    let new = NewToken {
        id: text.id().to_owned(),
        name: name.to_owned(),
        scope,
        node: node.map(str::to_owned),
        hash: text.hash(),
    };
    Ok((store.create_token(&new).await?, text))
}

async fn create(args: &CreateArgs, global: &GlobalArgs) -> anyhow::Result<Exit> {
    let scope = Scope::from(args.scope);
    if !name::is_word(&args.name) {
        return Err(anyhow!("{:?} is no name for a token", args.name));
    }
    if let Some(node) = &args.node {
        if scope != Scope::Report {
            return Err(anyhow!("--node is for tokens of scope report"));
        }
        if !name::is_id(node) {
            return Err(anyhow!("{node:?} is no node's id"));
        }
    }
    let store = open(global).await?;
    let (token, text) = make(&store, &args.name, scope, args.node.as_deref()).await?;
    match global.output {
        Format::Text => {
            output::line(&text.reveal())?;
            output::note("This token is shown once; the inventory keeps only its digest.");
        }
        Format::Json => output::json(&shown(&token, Some(text.reveal())))?,
    }
    Ok(Exit::Fine)
}

async fn list(global: &GlobalArgs) -> anyhow::Result<Exit> {
    let store = open(global).await?;
    let tokens = store.tokens().await?;
    if global.output == Format::Json {
        let all: Vec<_> = tokens.iter().map(|token| shown(token, None)).collect();
        output::json(&all)?;
        return Ok(Exit::Fine);
    }
    if tokens.is_empty() {
        output::note("There are no tokens yet: cupel-inventory token create NAME --scope SCOPE");
    }
    for token in &tokens {
        let used = match (token.revoked_at, token.last_used_at) {
            (Some(at), _) => format!("revoked {at}"),
            (None, Some(at)) => format!("used {at}"),
            (None, None) => "never used".to_owned(),
        };
        let node = token.node.as_deref().unwrap_or("any node");
        let whose = if token.scope == Scope::Report {
            node
        } else {
            "-"
        };
        output::line(&format!(
            "{}  {:<7} {:<24} {whose:<36} {used}",
            token.id,
            token.scope.word(),
            token.name
        ))?;
    }
    Ok(Exit::Fine)
}

async fn revoke(args: &RevokeArgs, global: &GlobalArgs) -> anyhow::Result<Exit> {
    let store = open(global).await?;
    if store.revoke_token(&args.name).await? {
        output::note(&format!("Token {} is revoked.", args.name));
        return Ok(Exit::Fine);
    }
    Err(anyhow!(
        "there is no token named {:?} that is not revoked; see `cupel-inventory token list`",
        args.name
    ))
}

/// Makes, lists or revokes tokens.
pub async fn run(args: &Args, global: &GlobalArgs) -> anyhow::Result<Exit> {
    match &args.command {
        Command::Create(args) => create(args, global).await,
        Command::List => list(global).await,
        Command::Revoke(args) => revoke(args, global).await,
    }
}
