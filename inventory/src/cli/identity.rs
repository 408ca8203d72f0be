//! `cupel-inventory identity`: certificates of nodes, and what people say about them.

use anyhow::anyhow;
use clap::Subcommand;
use cupel_model::Timestamp;
use cupel_model::enrolment::KeyProtection;
use serde::Serialize;

use super::exit::Exit;
use super::output::{self, Format};
use super::{GlobalArgs, open};
use crate::record::IdentityState;
use crate::store::{Accepted, ListedIdentity};

/// Options of `identity`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the identity of each node that was ever enrolled
    List(ListArgs),
    /// Take a node's identity away; it works two seconds longer at most
    Revoke(NodeArgs),
    /// Take a node's machine for the right one, as it is: its main board
    /// counts as enrolled, and findings about its identity are closed
    Accept(NodeArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Only those that came by this join token, by its name or public
    /// half
    #[arg(long, value_name = "NAME")]
    join: Option<String>,
}

#[derive(Debug, clap::Args)]
struct NodeArgs {
    /// The node's id
    #[arg(value_name = "NODE")]
    node: String,
}

#[derive(Serialize)]
struct Shown<'a> {
    node: &'a str,
    state: IdentityState,
    key_protection: KeyProtection,
    issued_at: Timestamp,
    not_after: Timestamp,
    renew_after: Timestamp,
    serial: Option<&'a str>,
    chassis_serial: Option<&'a str>,
    board_serial: Option<&'a str>,
    join: &'a str,
}

fn shown(listed: &ListedIdentity) -> Shown<'_> {
    let ListedIdentity { identity, join } = listed;
    Shown {
        node: &identity.node,
        state: identity.state,
        key_protection: identity.key_protection,
        issued_at: identity.issued_at,
        not_after: identity.not_after,
        renew_after: identity.renew_after,
        serial: identity.hardware.serial.as_deref(),
        chassis_serial: identity.hardware.chassis_serial.as_deref(),
        board_serial: identity.hardware.board_serial.as_deref(),
        join,
    }
}

async fn list(args: &ListArgs, global: &GlobalArgs) -> anyhow::Result<Exit> {
    let store = open(global).await?;
    if let Some(name) = &args.join {
        let joins = store.joins().await?;
        if !joins
            .iter()
            .any(|join| join.name == *name || join.id == *name)
        {
            return Err(anyhow!(
                "there is no join token named {name:?}; see `cupel-inventory join list`"
            ));
        }
    }
    let identities = store.identities(args.join.as_deref()).await?;
    if global.output == Format::Json {
        let all: Vec<_> = identities.iter().map(shown).collect();
        output::json(&all)?;
        return Ok(Exit::Fine);
    }
    if identities.is_empty() && args.join.is_some() {
        output::note("No node has an identity that came by this join token.");
    } else if identities.is_empty() {
        output::note("No node was enrolled yet: cupel-inventory join create NAME --url URL");
    }
    for ListedIdentity { identity, join } in &identities {
        let key = match identity.key_protection {
            KeyProtection::Tpm => "tpm",
            KeyProtection::File => "file",
        };
        let board = identity.hardware.board_serial.as_deref();
        output::line(&format!(
            "{:<36}  {:<8}  key: {key:<4}  board: {:<20}  join: {join:<20}  until {}",
            identity.node,
            identity.state.word(),
            board.unwrap_or("-"),
            identity.not_after
        ))?;
    }
    Ok(Exit::Fine)
}

async fn revoke(args: &NodeArgs, global: &GlobalArgs) -> anyhow::Result<Exit> {
    let store = open(global).await?;
    if store.revoke_identity(&args.node).await? {
        output::note(&format!(
            "The identity of {} is revoked, and its key is not taken again. To let the machine \
             report: cupel-inventory join create, then cupel enrol there.",
            args.node
        ));
        return Ok(Exit::Fine);
    }
    Err(anyhow!(
        "node {:?} has no identity that is active; see `cupel-inventory identity list`",
        args.node
    ))
}

async fn accept(args: &NodeArgs, global: &GlobalArgs) -> anyhow::Result<Exit> {
    let store = open(global).await?;
    match store.accept_identity(&args.node).await? {
        Accepted::Done(Some(board)) => output::note(&format!(
            "{} is accepted as it is; main board {board} counts as enrolled.",
            args.node
        )),
        Accepted::Done(None) => {
            output::note(&format!("{} is accepted as it is.", args.node));
        }
        Accepted::Nothing => output::note(&format!(
            "There is nothing to accept: nothing was found about the identity of {}.",
            args.node
        )),
        Accepted::NoNode => {
            return Err(anyhow!("no node {:?} has reported here", args.node));
        }
    }
    Ok(Exit::Fine)
}

/// Lists, revokes or accepts identities.
pub async fn run(args: &Args, global: &GlobalArgs) -> anyhow::Result<Exit> {
    match &args.command {
        Command::List(args) => list(args, global).await,
        Command::Revoke(args) => revoke(args, global).await,
        Command::Accept(args) => accept(args, global).await,
    }
}
