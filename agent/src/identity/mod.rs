//! The identity of this node: what of it can be used here, and how a node gets one.
//!
//! # Invariants
//! - It is used on the node that it is of, unless another inventory is configured with a token;
//!   otherwise it is not, and that is told with what to do.
//! - What is wrong with it costs the identity, never the command or the service.
//!
//! # What is absent
//! How it is asked for and kept on disk (`cupel-reporting`), and when it is renewed (the service).

pub mod enrol;
mod seal;
#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cupel_hardware::{Root, node, smbios};
use cupel_model::Timestamp;
use cupel_model::enrolment::{EnrolmentRequest, HardwareIdentity, KeyProtection};
use cupel_model::snapshot::IdSource;
use cupel_reporting::{
    IdentityDirectory, IdentityDocument, IdentityError, Key, KeyError, NodeIdentity,
};

use crate::config::{self, Origin, Settings};
use crate::status::{Identity, IdentityState};
pub use seal::{Seal, SealError};

/// Which node this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Its id.
    pub node: String,
    /// Where the id comes from.
    pub id_source: Option<IdSource>,
    /// Its host name.
    pub hostname: Option<String>,
    /// Which hardware it is.
    pub hardware: HardwareIdentity,
}

impl Who {
    /// The one beneath the root.
    ///
    /// # Errors
    /// Why it has no id.
    pub fn is_here(root: &Root) -> Result<Self, String> {
        let node = node::collect(root, &smbios::read(root));
        let Some(id) = node.id.value() else {
            let why = node.id.why().unwrap_or("no reason is known");
            return Err(format!("this node has no stable id: {why}"));
        };
        let known = |text: &cupel_model::Reading<String>| text.value().cloned();
        Ok(Self {
            node: id.clone(),
            id_source: node.id_source.value().copied(),
            hostname: known(&node.hostname),
            hardware: HardwareIdentity {
                serial: known(&node.serial),
                chassis_serial: known(&node.chassis_serial),
                board_serial: known(&node.board_serial),
            },
        })
    }

    /// What it asks of the inventory, with this key.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn request(
        &self,
        key: &Key,
        key_protection: KeyProtection,
    ) -> Result<EnrolmentRequest, KeyError> {
        Ok(EnrolmentRequest {
            schema_version: cupel_model::SCHEMA_VERSION,
            cupel_version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.node.clone(),
            id_source: self.id_source,
            hostname: self.hostname.clone(),
            hardware: self.hardware.clone(),
            key_protection,
            request: key.request(&self.node)?,
        })
    }
}

/// An identity that can be used here.
#[derive(Clone, Debug)]
pub struct Usable {
    /// All of it but its key.
    pub document: IdentityDocument,
    /// What is shown to the inventory.
    pub shown: Arc<NodeIdentity>,
}

/// What there is of an identity.
#[derive(Clone, Debug)]
pub enum Found {
    /// None: the node was never enrolled.
    None,
    /// One that can be used.
    Usable(Box<Usable>),
    /// One that cannot.
    Unusable {
        /// What is wrong.
        state: IdentityState,
        /// The same in a sentence, with what to do.
        why: String,
        /// All of it but its key, where it can be read.
        document: Option<Box<IdentityDocument>>,
    },
}

/// Looks for the identity of this node and opens its key.
pub fn open(root: &Root, state_directory: &Path, who: Result<&Who, &String>) -> Found {
    let directory = IdentityDirectory::in_state(state_directory);
    let unusable = |state, why, document: Option<IdentityDocument>| Found::Unusable {
        state,
        why,
        document: document.map(Box::new),
    };
    let document = match directory.document() {
        Ok(Some(document)) => document,
        Ok(None) => return Found::None,
        Err(error) => {
            let why = format!("{}; enrol anew: cupel enrol JOINFILE", whole(&error));
            return unusable(IdentityState::Damaged, why, None);
        }
    };
    match who {
        Ok(who) if who.node == document.node => {}
        Ok(who) => {
            let why = format!(
                "it is of node {}, this is node {}: the disk was moved or copied, or the main board \
                 was replaced. Enrol this node: cupel enrol JOINFILE",
                document.node, who.node
            );
            return unusable(IdentityState::OtherNode, why, Some(document));
        }
        Err(why) => return unusable(IdentityState::OtherNode, why.clone(), Some(document)),
    }
    let sealed = directory.path().join(&document.key);
    let key = directory
        .key(&document)
        .map_err(|error| (IdentityState::Damaged, whole(&error)))
        .and_then(|file| {
            seal::opened(root, &sealed, &file).map_err(|error| {
                let state = match error {
                    SealError::Key(_) => IdentityState::Damaged,
                    SealError::Command(_) | SealError::Said { .. } | SealError::Pipe(_) => {
                        IdentityState::Sealed
                    }
                };
                (state, whole(&error))
            })
        });
    match key {
        Ok(key) => {
            let shown = NodeIdentity::new(&document, key);
            if shown.fits() {
                let shown = Arc::new(shown);
                return Found::Usable(Box::new(Usable { document, shown }));
            }
            let why = "its certificate is for another key; enrol anew: cupel enrol JOINFILE";
            unusable(IdentityState::Damaged, why.to_owned(), Some(document))
        }
        Err((state, why)) => {
            let what = match state {
                IdentityState::Sealed => {
                    "its key cannot be opened: it is sealed to another TPM, or this one was cleared"
                }
                IdentityState::Good
                | IdentityState::Expired
                | IdentityState::OtherNode
                | IdentityState::OtherInventory
                | IdentityState::Damaged => "its key cannot be read",
            };
            let why = format!("{what} ({why}); enrol anew: cupel enrol JOINFILE");
            unusable(state, why, Some(document))
        }
    }
}

/// The inventory that gave the identity, used or not, where it can be read.
pub fn inventory(state_directory: &Path) -> Option<String> {
    let document = IdentityDirectory::in_state(state_directory).document();
    Some(document.ok()??.inventory)
}

/// What an address of the inventory that gave the identity is trusted by, PEM.
pub fn authority(state_directory: &Path, url: &str) -> Option<String> {
    let document = IdentityDirectory::in_state(state_directory).document();
    let document = document.ok()??;
    document.is_of(url).then_some(document.authority)
}

/// Where the token is.
pub fn token_file(root: &Root, settings: &Settings) -> PathBuf {
    match &settings.inventory.token_file.value {
        Some(path) => path.clone(),
        None => config::on_disk(root, config::TOKEN_FILE).into(),
    }
}

/// The inventory that reports go to with a token, where one is configured. Without a token an
/// address that is configured is another name of the inventory that gave the identity.
pub fn rival<'s>(root: &Root, settings: &'s Settings) -> Option<&'s str> {
    let url = &settings.inventory.url;
    let is_configured = url.origin != Origin::Identity && token_file(root, settings).exists();
    url.value.as_deref().filter(|_| is_configured)
}

impl Found {
    /// The identity, where it can be used beside a [`rival`].
    pub fn usable_beside(&self, rival: Option<&str>) -> Option<&Usable> {
        match self {
            Self::Usable(usable) if rival.is_none_or(|url| usable.document.is_of(url)) => {
                Some(usable)
            }
            Self::Usable(_) | Self::None | Self::Unusable { .. } => None,
        }
    }

    /// What is told of it, beside a [`rival`].
    pub fn status(
        &self,
        who: Option<&Who>,
        rival: Option<&str>,
        now: Timestamp,
    ) -> Option<Identity> {
        let (state, why, document) = match self {
            Self::None => return None,
            Self::Unusable {
                state,
                why,
                document,
            } => (*state, Some(why.clone()), document.as_deref()),
            Self::Usable(usable) => {
                let (state, why) = judged(&usable.document, who, rival, now);
                (state, why, Some(&usable.document))
            }
        };
        Some(Identity {
            state,
            why,
            node: document.map(|is| is.node.clone()),
            inventory: document.map(|is| crate::status::host(&is.inventory)),
            key_protection: document.map(|is| is.key_protection),
            issued_at: document.map(|is| is.not_before),
            not_after: document.map(|is| is.not_after),
            renew_after: document.map(|is| is.renew_after),
            renewal_error: None,
        })
    }
}

/// What there is to say of an identity that can be opened.
fn judged(
    document: &IdentityDocument,
    who: Option<&Who>,
    rival: Option<&str>,
    now: Timestamp,
) -> (IdentityState, Option<String>) {
    if let Some(url) = rival.filter(|url| !document.is_of(url)) {
        let why = format!(
            "it is for {}, and inventory.url is {}: reports go there with the token. Remove the token \
             or inventory.url, or enrol with that inventory",
            crate::status::host(&document.inventory),
            crate::status::host(url)
        );
        return (IdentityState::OtherInventory, Some(why));
    }
    if now >= document.not_after {
        let why = format!(
            "it was good until {}: it was not renewed in time, or this clock is wrong. Enrol anew: \
             cupel enrol JOINFILE",
            document.not_after
        );
        return (IdentityState::Expired, Some(why));
    }
    let enrolled = &document.hardware.board_serial;
    let board = who.map(|who| &who.hardware.board_serial);
    let replaced =
        board.is_some_and(|board| board.is_some() && board != enrolled) && enrolled.is_some();
    let why = replaced.then(|| {
        "the main board is another one than was enrolled: it is used, and not renewed. After a \
         repair: cupel-inventory identity accept NODE; or enrol with a join file for this node"
            .to_owned()
    });
    (IdentityState::Good, why)
}

/// An error and its causes in a line.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

impl From<IdentityError> for SealError {
    fn from(error: IdentityError) -> Self {
        Self::Key(whole(&error))
    }
}
