//! How a node gets an identity: what will be done, then that.
//!
//! # Invariants
//! - The key is on the disk before the inventory sees it; cut short anywhere, a second run goes on
//!   with the same key, and costs no other use of the token.
//! - A node that has a good identity keeps it, unless a new one is asked for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use cupel_model::enrolment::{JoinFile, KeyProtection};
use cupel_reporting::{
    EnrolError, IdentityDirectory, IdentityDocument, Key, KeyFile, Lock, enrol, is_same_authority,
    is_same_inventory, parse_join, renew,
};

use super::seal::{Sealer, opened};
use super::{Found, Seal, Usable, Who, open};
use crate::config::Origin;
use crate::context::Context;
use crate::exit::Refused;
use crate::install::{numbered, read};
use crate::output::{note, printable};
use crate::service::client;
use crate::service::protocol::Ask;
use crate::status::host;

/// Longest join file, in bytes.
const JOIN_FILE: u64 = 64 * 1024;

/// Standard input, as a file.
const STANDARD_INPUT: &str = "-";

/// How long another enrolment, or a renewal of the service, is waited for.
const PATIENCE: Duration = Duration::from_secs(75);

/// What will be done.
#[derive(Clone, Debug)]
pub struct Plan {
    join: JoinFile,
    who: Who,
    protection: KeyProtection,
    /// Why the key is not sealed, where it could have been asked for.
    unsealed: Option<String>,
    /// A key that an enrolment left which was cut short.
    resumed: Option<String>,
    /// The identity that is replaced.
    replaces: Option<IdentityDocument>,
    directory: PathBuf,
    ca_file: Option<PathBuf>,
}

/// What there is to do.
pub enum Todo {
    /// Nothing: the node has a good identity.
    Nothing(Box<IdentityDocument>),
    /// This.
    Enrol(Box<Plan>),
}

/// A join file; `-` is the standard input.
///
/// # Errors
/// It cannot be read, or is none.
pub fn join_file(path: &Path) -> anyhow::Result<JoinFile> {
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;
    if path.as_os_str() == STANDARD_INPUT {
        let mut bytes = Vec::new();
        std::io::stdin().take(JOIN_FILE).read_to_end(&mut bytes)?;
        return parse_join(&bytes, STANDARD_INPUT).context("cannot use the join file");
    }
    let bytes = read(path, JOIN_FILE)?;
    let mode = std::fs::metadata(path).map(|about| about.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o077 != 0) {
        tracing::warn!("others may read {}: make it 0600", path.display());
    }
    parse_join(&bytes, &path.display().to_string()).context("cannot use the join file")
}

/// Finds out what there is to do; changes nothing.
///
/// # Errors
/// A refusal, or what cannot be read.
pub fn plan(context: &Context, path: &Path, seal: Seal, anew: bool) -> anyhow::Result<Todo> {
    let join = join_file(path)?;
    let who = Who::is_here(&context.root).map_err(Refused)?;
    let settings = context.settings()?;
    let configured = &settings.inventory.url;
    let state_directory = context.state_dir();
    let found = open(&context.root, &state_directory, Ok(&who));
    if let (Some(url), false) = (&configured.value, configured.origin == Origin::Identity)
        && !is_same_inventory(url, &join.inventory)
    {
        let why = format!(
            "reports go to {} ({}), and the join file is of {}; take inventory.url out of the \
             configuration, or use a join file of that inventory",
            host(url),
            configured.origin,
            host(&join.inventory)
        );
        return Err(Refused(why).into());
    }
    let directory = IdentityDirectory::in_state(&state_directory);
    let pending = directory.pending().unwrap_or_default();
    let replaces = match found {
        Found::None => None,
        Found::Usable(usable) => {
            let old = &usable.document;
            let is_its_authority = join
                .authority
                .as_ref()
                .is_none_or(|authority| is_same_authority(authority, &old.authority));
            let is_kept =
                !anew && pending.is_none() && old.is_of(&join.inventory) && is_its_authority;
            if is_kept && is_taken(&usable, &who, settings.inventory.ca_file.value.as_deref())? {
                return Ok(Todo::Nothing(Box::new(usable.document)));
            }
            Some(usable.document)
        }
        Found::Unusable { document, .. } => document.map(|document| *document),
    };
    // A key that was shown already is the one that the token was spent on.
    let resumed = pending.filter(|(_, key)| {
        !anew
            && match seal {
                Seal::Auto => true,
                Seal::Tpm => key.protection == KeyProtection::Tpm,
                Seal::None => key.protection == KeyProtection::File,
            }
    });
    if let Some((name, key)) = &resumed {
        // A TPM may be busy; another key would cost another use of the token.
        opened(&context.root, &directory.path().join(name), key).context(
            "cannot open the key of an enrolment that was cut short; run it again, or make another \
             key with --anew",
        )?;
    }
    let (protection, unsealed) = match (&resumed, seal) {
        (Some((_, key)), _) => (key.protection, None),
        (None, Seal::None) => (KeyProtection::File, None),
        (None, Seal::Auto | Seal::Tpm) => match Sealer::of(&context.root).objection() {
            None => (KeyProtection::Tpm, None),
            Some(why) if seal == Seal::Tpm => {
                return Err(Refused(format!("the key cannot be sealed: {why}")).into());
            }
            Some(why) => (KeyProtection::File, Some(why)),
        },
    };
    Ok(Todo::Enrol(Box::new(Plan {
        join,
        who,
        protection,
        unsealed,
        resumed: resumed.map(|(name, _)| name),
        replaces,
        directory: state_directory,
        ca_file: settings.inventory.ca_file.value,
    })))
}

/// Whether the inventory takes an identity: it is asked for the next one, which before its time is
/// the same. Where it gives no answer, time decides.
fn is_taken(usable: &Usable, who: &Who, ca_file: Option<&Path>) -> anyhow::Result<bool> {
    let document = &usable.document;
    let request = who.request(&usable.shown.key, document.key_protection)?;
    Ok(
        match renew(&document.inventory, &usable.shown, ca_file, &request) {
            Ok(_) => true,
            Err(EnrolError::Refused(why) | EnrolError::Untrusted(why)) => {
                note(&format!(
                    "the identity of this node is not taken: {}",
                    printable(&why)
                ));
                false
            }
            Err(error) => {
                tracing::info!("it is not known whether the identity is taken: {error}");
                cupel_hardware::clock::now() < document.not_after
            }
        },
    )
}

impl Plan {
    /// The plan, for people.
    pub fn lines(&self) -> Vec<String> {
        let to = host(&self.join.inventory);
        let kept = self.directory.join("identity");
        let kept = kept.display();
        let key = match (&self.resumed, self.protection, &self.unsealed) {
            (Some(_), _, _) => "go on with the key of an enrolment that was cut short".to_owned(),
            (None, KeyProtection::Tpm, _) => {
                format!("make a key, sealed to this machine's TPM, in {kept}")
            }
            (None, KeyProtection::File, None) => {
                format!("make a key in {kept}, in a file that root alone reads")
            }
            (None, KeyProtection::File, Some(why)) => format!(
                "make a key in {kept}, in a file that root alone reads: it cannot be sealed, {why}"
            ),
        };
        let who = &self.who;
        let serials: Vec<String> = [
            ("serial", &who.hardware.serial),
            ("chassis", &who.hardware.chassis_serial),
            ("main board", &who.hardware.board_serial),
        ]
        .into_iter()
        .filter_map(|(name, serial)| Some(format!("{name} {}", serial.as_deref()?)))
        .collect();
        let serials = if serials.is_empty() {
            "its firmware tells no serial number".to_owned()
        } else {
            serials.join(", ")
        };
        let keep = match &self.replaces {
            Some(old) if old.node == who.node => format!(
                "keep it in place of the one that is good until {}",
                old.not_after
            ),
            Some(old) => format!("keep it in place of that of node {}", old.node),
            None => "keep it".to_owned(),
        };
        let steps = [
            key,
            format!("ask {to} for an identity of node {} ({serials})", who.node),
            format!("{keep}, and let the service report with it"),
        ];
        numbered(
            "enrol this node",
            steps.iter().map(|step| printable(step).into_owned()),
        )
    }

    /// Does it, and tells the service.
    ///
    /// # Errors
    /// [`Refused`] by the inventory; else the disk, or no answer.
    pub fn carry_out(&self, context: &Context) -> anyhow::Result<IdentityDocument> {
        let directory = IdentityDirectory::in_state(&self.directory);
        let lock = directory
            .lock(PATIENCE)
            .context("cannot keep an identity (only root may)")?;
        let (name, key) = match &self.resumed {
            Some(name) => {
                let pending = directory.pending()?.filter(|(pending, _)| pending == name);
                let (name, file) = pending.ok_or_else(|| {
                    Refused("another enrolment went on meanwhile; run it again".to_owned())
                })?;
                let key = opened(&context.root, &directory.path().join(&name), &file)?;
                (name, key)
            }
            None => {
                let key = Key::generate()?;
                (self.kept(context, &directory, &lock, &key)?, key)
            }
        };
        let request = self.who.request(&key, self.protection)?;
        let answer = match enrol(&self.join, self.ca_file.as_deref(), &request, &key) {
            Ok(answer) => answer,
            Err(EnrolError::Refused(why)) => {
                // A key that was not shown before is known to nobody.
                if self.resumed.is_none() {
                    directory.forget_pending(&lock)?;
                }
                return Err(Refused(why)).context(match self.resumed {
                    None => "the inventory gives no identity",
                    Some(_) => {
                        "the inventory gives no identity for the key of the enrolment that was cut \
                         short (--anew makes another)"
                    }
                });
            }
            Err(error) => {
                return Err(error).context(
                    "there is no identity yet; run it again: the key is kept, and an answer that \
                     was lost costs nothing",
                );
            }
        };
        let document = IdentityDocument::new(
            answer,
            &self.join.inventory,
            self.who.hardware.clone(),
            self.protection,
            &name,
        );
        directory.commit(&lock, &document)?;
        drop(lock);
        if let Err(error) = client::done(&client::path(&context.root), &Ask::Reload {}) {
            tracing::info!("the service was not told: {error:#}");
            note("no service runs that could be told; it reports with it from its next start on");
        }
        Ok(document)
    }

    /// Writes a new key down; its name.
    fn kept(
        &self,
        context: &Context,
        directory: &IdentityDirectory,
        lock: &Lock,
        key: &Key,
    ) -> anyhow::Result<String> {
        match self.protection {
            KeyProtection::File => Ok(directory.keep(
                lock,
                &KeyFile {
                    protection: KeyProtection::File,
                    bytes: key.pem().as_bytes().to_vec(),
                },
            )?),
            KeyProtection::Tpm => {
                let mut name = String::new();
                Sealer::of(&context.root)
                    .seal(key, |file| {
                        name = directory.keep(lock, file)?;
                        Ok(directory.path().join(&name))
                    })
                    .context("cannot seal the key; --seal none keeps it in a file")?;
                Ok(name)
            }
        }
    }
}

/// What an identity is, in a sentence.
pub fn sentence(document: &IdentityDocument) -> String {
    let protection = match document.key_protection {
        KeyProtection::Tpm => "sealed to this machine's TPM",
        KeyProtection::File => "in a file that root alone reads",
    };
    format!(
        "node {} is known to {} until {}, and renews that by itself; its key is {protection}",
        document.node,
        host(&document.inventory),
        document.not_after
    )
}
