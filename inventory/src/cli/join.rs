//! `cupel-inventory join`: what lets nodes get an identity.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use axum::http::Uri;
use clap::Subcommand;
use cupel_model::Timestamp;
use cupel_model::enrolment::JoinFile;
use serde::Serialize;

use super::exit::{Exit, Refused};
use super::output::{self, Format};
use super::{GlobalArgs, duration, open};
use crate::auth::TokenText;
use crate::authority::Authority;
use crate::clock::{self, Clock};
use crate::name;
use crate::store::{Bound, JoinToken, NewJoin, RackPlace, Store};

/// Options of `join`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a join file: `cupel enrol` gets an identity with it
    Create(Box<CreateArgs>),
    /// List join tokens, old ones too
    List,
    /// Revoke a join token; who has joined by it stays
    Revoke(RevokeArgs),
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// What it is called
    #[arg(value_name = "NAME")]
    name: String,
    /// Where nodes reach this inventory, such as
    /// https://inventory.example:8470
    #[arg(long, value_name = "URL")]
    url: String,
    /// How many nodes may join by it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    uses: u32,
    /// For how long it is good (30m, 24h, 7d)
    #[arg(long = "for", value_name = "TIME", default_value = "24h", value_parser = duration::parse)]
    lasts: Duration,
    /// Only for machines that are expected in this rack (see import)
    #[arg(long, value_name = "RACK", conflicts_with_all = ["node", "serial"])]
    rack: Option<String>,
    /// Of the racks of that name the one in this region
    #[arg(long, value_name = "REGION", requires = "rack")]
    region: Option<String>,
    /// Of the racks of that name the one of this site
    #[arg(long, value_name = "SITE", requires = "rack")]
    site: Option<String>,
    /// Of the racks of that name the one in this row
    #[arg(long, value_name = "ROW", requires = "rack")]
    row: Option<String>,
    /// Only for the node with this id
    #[arg(long, value_name = "ID", conflicts_with = "serial")]
    node: Option<String>,
    /// Only for the machine with this serial number, of its chassis or
    /// its system
    #[arg(long, value_name = "SERIAL")]
    serial: Option<String>,
    /// Write the join file here, for this user alone; else it goes to
    /// standard output
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct RevokeArgs {
    /// Its name or public half
    #[arg(value_name = "NAME")]
    name: String,
}

/// A join token without its secret, or with it when it was just made.
#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    name: &'a str,
    uses: u32,
    used: u32,
    rack: Option<&'a str>,
    region: Option<&'a str>,
    site: Option<&'a str>,
    row: Option<&'a str>,
    node: Option<&'a str>,
    serial: Option<&'a str>,
    created_at: Timestamp,
    expires_at: Timestamp,
    revoked_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    join_file: Option<&'a JoinFile>,
}

fn shown<'a>(token: &'a JoinToken, join_file: Option<&'a JoinFile>) -> Shown<'a> {
    let (mut place, mut node, mut serial) = (None, None, None);
    match &token.bound {
        Bound::Any => {}
        Bound::Rack(rack) => place = Some(rack),
        Bound::Node(id) => node = Some(id.as_str()),
        Bound::Serial(text) => serial = Some(text.as_str()),
    }
    Shown {
        id: &token.id,
        name: &token.name,
        uses: token.uses,
        used: token.used,
        rack: place.map(|place| place.rack.as_str()),
        region: place.and_then(|place| place.region.as_deref()),
        site: place.and_then(|place| place.site.as_deref()),
        row: place.and_then(|place| place.row.as_deref()),
        node,
        serial,
        created_at: token.created_at,
        expires_at: token.expires_at,
        revoked_at: token.revoked_at,
        join_file,
    }
}

/// For whom it is, in words.
fn whom(bound: &Bound) -> String {
    match bound {
        Bound::Any => "any machine".to_owned(),
        Bound::Rack(rack) => format!("machines that are expected in {rack}"),
        Bound::Node(node) => format!("node {node}"),
        Bound::Serial(serial) => format!("the machine with serial number {serial}"),
    }
}

/// The base URL without a slash at its end.
fn base(text: &str) -> anyhow::Result<String> {
    let bad = |why: &str| anyhow!("--url {text:?} {why}, such as https://inventory.example:8470");
    let url: Uri = text.parse().map_err(|_| bad("is no URL"))?;
    let host = url
        .host()
        .ok_or_else(|| bad("names no host: give a whole URL"))?;
    let loopback = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    match url.scheme_str() {
        Some("https") => {}
        Some("http") if loopback => {}
        _ => {
            return Err(bad(
                "is not https, and the join token would travel in the clear: give an https URL",
            ));
        }
    }
    if url.query().is_some() || !matches!(url.path(), "" | "/") {
        return Err(bad("has more than scheme, host and port: give these"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn bound(args: &CreateArgs) -> anyhow::Result<Bound> {
    let checked = |text: &str, what: &str, fine: bool| {
        fine.then(|| text.to_owned())
            .ok_or_else(|| anyhow!("{text:?} is no {what}"))
    };
    if let Some(rack) = &args.rack {
        let word = |text: &str, what| checked(text, what, name::is_word(text));
        let part = |text: &Option<String>, what| {
            let text = text.as_deref();
            text.map(|text| word(text, what)).transpose()
        };
        return Ok(Bound::Rack(RackPlace {
            rack: word(rack, "name of a rack")?,
            region: part(&args.region, "name of a region")?,
            site: part(&args.site, "name of a site")?,
            row: part(&args.row, "name of a row")?,
        }));
    }
    if let Some(node) = &args.node {
        return Ok(Bound::Node(checked(node, "node's id", name::is_id(node))?));
    }
    if let Some(serial) = &args.serial {
        let known = name::serial(serial);
        let known = known.ok_or_else(|| anyhow!("{serial:?} names no single machine"))?;
        return Ok(Bound::Serial(known.to_owned()));
    }
    Ok(Bound::Any)
}

/// Refuses a rack that is not one rack by the list of what should arrive.
async fn look_for_rack(store: &Store, place: &RackPlace) -> anyhow::Result<()> {
    let found = store.expected_racks(place).await?;
    if found.is_empty() {
        output::note(&format!(
            "Nothing is expected in {place} yet, and nobody can join by this before that: \
             cupel-inventory import FILE"
        ));
    }
    if found.len() > 1 {
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        return Err(Refused(format!(
            "{place} may be any of {}: {}. Say which, by --region, --site and --row",
            found.len(),
            found.join("; ")
        ))
        .into());
    }
    Ok(())
}

/// The join file, with words for whoever finds it.
fn text(token: &JoinToken, file: &JoinFile) -> anyhow::Result<String> {
    Ok(format!(
        "# Join file {name:?} for cupel: whoever has it may join. Keep it secret, and remove it when\n\
         # the machines have joined. On each machine:  cupel enrol THIS-FILE\n\
         # Good until {until}, for {uses} at most: {whom}.\n\
         {toml}",
        name = token.name,
        until = token.expires_at,
        uses = token.uses,
        whom = whom(&token.bound),
        toml = toml::to_string(file)?,
    ))
}

/// The file that the join file goes to; it must not be there yet.
fn create_file(path: &Path) -> anyhow::Result<File> {
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot create {}", path.display()))
}

async fn create(args: &CreateArgs, global: &GlobalArgs) -> anyhow::Result<Exit> {
    if !name::is_word(&args.name) {
        return Err(anyhow!("{:?} is no name for a join token", args.name));
    }
    let inventory = base(&args.url)?;
    let bound = bound(args)?;
    let store = open(global).await?;
    if let Bound::Rack(place) = &bound {
        look_for_rack(&store, place).await?;
    }
    let now = Clock::system().microseconds();
    let authority = Authority::open(&global.data, now)?;
    let token = TokenText::joining()?;
    let lasts = i64::try_from(args.lasts.as_micros()).unwrap_or(i64::MAX);
    let new = NewJoin {
        id: token.id().to_owned(),
        name: args.name.clone(),
        hash: token.hash(),
        uses: args.uses,
        bound,
        expires_at: now.saturating_add(lasts),
    };
    let opened = match &args.file {
        Some(path) => Some((path, create_file(path)?)),
        None => None,
    };
    let made = match store.create_join(&new).await {
        Ok(made) => made,
        Err(error) => {
            if let Some((path, _)) = &opened {
                let _ = std::fs::remove_file(path);
            }
            return Err(error.into());
        }
    };
    let file = JoinFile {
        inventory,
        token: token.reveal(),
        authority: Some(authority.certificate().to_owned()),
    };
    let words = text(&made, &file)?;
    if let Some((path, mut file)) = opened {
        file.write_all(words.as_bytes())
            .and_then(|()| file.sync_all())
            .with_context(|| format!("cannot write {}", path.display()))?;
        output::note(&format!(
            "{} lets {} join until {}. On each machine: cupel enrol {}",
            path.display(),
            whom(&made.bound),
            made.expires_at,
            path.file_name().unwrap_or_default().display()
        ));
        if global.output == Format::Json {
            output::json(&shown(&made, None))?;
        }
        return Ok(Exit::Fine);
    }
    match global.output {
        Format::Text => {
            output::line(words.trim_end())?;
            output::note("This is shown once; the inventory keeps only the token's digest.");
        }
        Format::Json => output::json(&shown(&made, Some(&file)))?,
    }
    Ok(Exit::Fine)
}

/// What a join token is worth, in words.
fn worth(token: &JoinToken, now: Timestamp) -> String {
    match token.revoked_at {
        Some(at) => format!("revoked {at}"),
        None if token.expires_at <= now => format!("expired {}", token.expires_at),
        None if token.used >= token.uses => "used up".to_owned(),
        None => format!("until {}", token.expires_at),
    }
}

async fn list(global: &GlobalArgs) -> anyhow::Result<Exit> {
    let store = open(global).await?;
    let tokens = store.joins().await?;
    if global.output == Format::Json {
        let all: Vec<_> = tokens.iter().map(|token| shown(token, None)).collect();
        output::json(&all)?;
        return Ok(Exit::Fine);
    }
    if tokens.is_empty() {
        output::note("There are no join tokens yet: cupel-inventory join create NAME --url URL");
    }
    let now = clock::time(Clock::system().microseconds());
    for token in &tokens {
        output::line(&format!(
            "{}  {:<24} {:>9}  {:<40} {}",
            token.id,
            token.name,
            format!("{}/{}", token.used, token.uses),
            whom(&token.bound),
            worth(token, now)
        ))?;
    }
    Ok(Exit::Fine)
}

async fn revoke(args: &RevokeArgs, global: &GlobalArgs) -> anyhow::Result<Exit> {
    let store = open(global).await?;
    if store.revoke_join(&args.name).await? {
        output::note(&format!(
            "Nobody can join by {} any more. Who has joined by it stays: see `cupel-inventory \
             identity list`.",
            args.name
        ));
        return Ok(Exit::Fine);
    }
    Err(anyhow!(
        "there is no join token named {:?} that is not revoked; see `cupel-inventory join list`",
        args.name
    ))
}

/// Makes, lists or revokes join tokens.
pub async fn run(args: &Args, global: &GlobalArgs) -> anyhow::Result<Exit> {
    match &args.command {
        Command::Create(args) => create(args, global).await,
        Command::List => list(global).await,
        Command::Revoke(args) => revoke(args, global).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_a_token_may_travel_to() {
        for fine in [
            "https://inventory.example:8470",
            "https://10.0.0.5/",
            "http://127.0.0.1:8470",
            "http://[::1]:8470",
            "http://localhost:1",
        ] {
            assert!(!base(fine).expect(fine).ends_with('/'), "{fine}");
        }
        for bad in [
            "",
            "inventory.example:8470",
            "http://inventory.example",
            "ftp://localhost",
            "https://a/b",
            "https://a?b",
        ] {
            assert!(base(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_join_file_is_read_as_it_is_written() {
        let token = JoinToken {
            key: 1,
            id: "0123456789ab".to_owned(),
            name: "rack 7\u{85}".to_owned(),
            hash: Vec::new(),
            uses: 8,
            used: 0,
            bound: Bound::Rack(RackPlace::named("k\"7")),
            created_at: Timestamp::EPOCH,
            expires_at: Timestamp::EPOCH,
            revoked_at: None,
        };
        let file = JoinFile {
            inventory: "https://inventory.example:8470".to_owned(),
            token: "cupel_join_0123456789ab_secret".to_owned(),
            authority: Some(
                "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n".into(),
            ),
        };
        let written = text(&token, &file).expect("written");
        let back: JoinFile = toml::from_str(&written).expect(&written);
        assert_eq!(back, file);
    }
}
