//! `cupel enrol`: gets this node an identity of its own.

use std::path::PathBuf;

use anyhow::Context as _;
use cupel_hardware::clock;

use crate::context::Context;
use crate::exit::Exit;
use crate::identity::enrol::{Todo, plan, sentence};
use crate::identity::{Found, Seal, Who, open, rival};
use crate::install::agree;
use crate::output::{Format, printable};
use crate::status::{Identity, IdentityState};

/// Options of `cupel enrol`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
JOINFILE is what 'cupel-inventory join create' wrote; remove it from the node afterwards. '-' reads
it from the standard input. The node makes a key, which never leaves it, and gets a certificate for
it. From then on the service reports with that, and renews it by itself; no token and no
[inventory] url is needed. Cut short anywhere, run it again. A node whose identity the inventory
takes keeps it.

Examples:
  cupel enrol rack7.join --dry-run       what would be done
  cupel enrol rack7.join --yes
  cupel enrol --status                   what this node is known by

Exit codes: 0 done, or the node has a good identity, 2 wrong usage, or it failed (run it again),
4 refused, here or by the inventory, which says why; with --status: 0 there is an identity that is
used, 2 there is none, or it cannot be used")]
pub struct Args {
    /// The join file; - is the standard input
    #[arg(value_name = "JOINFILE", required_unless_present = "status")]
    join: Option<PathBuf>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// How the key is kept
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    seal: Seal,
    /// Make a new key, although there is a good identity, or one that was begun
    #[arg(long)]
    anew: bool,
    /// Show the identity of this node, and do nothing
    #[arg(long, conflicts_with_all = ["join", "dry_run", "yes", "seal", "anew"])]
    status: bool,
}

/// Enrols.
pub fn run(args: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    if args.status {
        return status(context);
    }
    let join = args.join.as_deref().context("want a join file")?;
    let plan = match plan(context, join, args.seal, args.anew)? {
        Todo::Nothing(document) => {
            if context.format == Format::Text {
                let text = sentence(&document);
                context.out.line(&printable(&text))?;
            } else {
                status(context)?;
            }
            return Ok(Exit::Fine);
        }
        Todo::Enrol(plan) => plan,
    };
    if args.dry_run {
        for line in plan.lines() {
            context.out.line(&line)?;
        }
        return Ok(Exit::Fine);
    }
    agree(&plan.lines(), args.yes)?;
    let document = plan.carry_out(context)?;
    if context.format == Format::Text {
        context.out.line(&printable(&sentence(&document)))?;
        Ok(Exit::Fine)
    } else {
        status(context)
    }
}

fn status(context: &mut Context) -> anyhow::Result<Exit> {
    let who = Who::is_here(&context.root);
    let found = open(&context.root, &context.state_dir(), who.as_ref());
    let settings = context.settings()?;
    let rival = rival(&context.root, &settings);
    let identity = found.status(who.as_ref().ok(), rival, clock::now());
    let exit = match &identity {
        Some(identity) if identity.state == IdentityState::Good => Exit::Fine,
        Some(_) | None => Exit::Error,
    };
    if context.format == Format::Text {
        for line in lines(&found, identity.as_ref()) {
            context.out.line(&printable(&line))?;
        }
    } else {
        let all = serde_json::json!({
            "schema_version": cupel_model::SCHEMA_VERSION,
            "identity": identity,
        });
        context.out.json(&all, context.format)?;
    }
    Ok(exit)
}

fn lines(found: &Found, identity: Option<&Identity>) -> Vec<String> {
    let Some(identity) = identity else {
        return vec!["this node was never enrolled: cupel enrol JOINFILE".to_owned()];
    };
    let document = match found {
        Found::Usable(usable) => Some(&usable.document),
        Found::Unusable { document, .. } => document.as_deref(),
        Found::None => None,
    };
    let mut lines: Vec<String> = document.map(sentence).into_iter().collect();
    if let Some(why) = &identity.why {
        lines.push(match identity.state {
            IdentityState::Good => why.clone(),
            IdentityState::Expired
            | IdentityState::OtherNode
            | IdentityState::OtherInventory
            | IdentityState::Sealed
            | IdentityState::Damaged => format!("it is not used: {why}"),
        });
    }
    lines
}
