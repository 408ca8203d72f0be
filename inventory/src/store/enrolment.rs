//! Join tokens and identities, as the store gives and takes them.

use std::fmt;

use cupel_model::Timestamp;
use cupel_model::enrolment::{HardwareIdentity, KeyProtection};

use super::Error;
use crate::authority::Issued;
use crate::record::IdentityState;

/// Makes the certificate that is asked for. It is called when it is certain that it may be had.
pub type Sign<'a> = dyn Fn() -> Result<Issued, Error> + Sync + 'a;

/// A rack, as far as it is said where it is: racks of other halls may have the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RackPlace {
    /// Its name.
    pub rack: String,
    /// Its region; `None`: any.
    pub region: Option<String>,
    /// Its site; `None`: any.
    pub site: Option<String>,
    /// Its row; `None`: any.
    pub row: Option<String>,
}

impl RackPlace {
    /// Any rack of this name.
    pub fn named(rack: impl Into<String>) -> Self {
        Self {
            rack: rack.into(),
            region: None,
            site: None,
            row: None,
        }
    }

    /// Whether this is the rack, by all that is said of it here.
    pub fn has(&self, rack: &Self) -> bool {
        let fits = |said: &Option<String>, is: &Option<String>| said.is_none() || said == is;
        self.rack == rack.rack
            && fits(&self.region, &rack.region)
            && fits(&self.site, &rack.site)
            && fits(&self.row, &rack.row)
    }
}

impl fmt::Display for RackPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rack {}", self.rack)?;
        let parts = [
            ("region", &self.region),
            ("site", &self.site),
            ("row", &self.row),
        ];
        let said = parts.into_iter().filter_map(|(what, name)| {
            let name = name.as_ref()?;
            Some(format!("{what} {name}"))
        });
        let said: Vec<_> = said.collect();
        if said.is_empty() {
            return Ok(());
        }
        write!(f, " of {}", said.join(", "))
    }
}

/// For whom alone a join token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Any machine.
    Any,
    /// Machines that are expected in this rack.
    Rack(RackPlace),
    /// The node with this id.
    Node(String),
    /// The machine with this serial number, of the chassis or the system.
    Serial(String),
}

/// A join token without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    /// Its row.
    pub key: i64,
    /// Public half.
    pub id: String,
    /// Its name.
    pub name: String,
    /// SHA-256 of its secret.
    pub hash: Vec<u8>,
    /// How many nodes may join by it.
    pub uses: u32,
    /// How many did.
    pub used: u32,
    /// For whom alone.
    pub bound: Bound,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it is good.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A join token to be stored.
#[derive(Clone, Debug)]
pub struct NewJoin {
    /// Public half.
    pub id: String,
    /// Its name.
    pub name: String,
    /// SHA-256 of its secret.
    pub hash: [u8; 32],
    /// How many nodes may join by it.
    pub uses: u32,
    /// For whom alone.
    pub bound: Bound,
    /// Until when it is good, in microseconds.
    pub expires_at: i64,
}

/// A node that wants an identity.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its id.
    pub node: String,
    /// Which hardware it is; serial numbers that name nothing are left out.
    pub hardware: HardwareIdentity,
    /// What its key is protected by.
    pub key_protection: KeyProtection,
    /// SHA-256 of its public key.
    pub key_digest: [u8; 32],
}

/// A certificate of a node, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The node that may report with it.
    pub node: String,
    /// SHA-256 of its public key.
    pub key_digest: Vec<u8>,
    /// PEM.
    pub certificate: String,
    /// The machine that was enrolled, or that a person accepted.
    pub hardware: HardwareIdentity,
    /// What its key is protected by.
    pub key_protection: KeyProtection,
    /// What it is worth.
    pub state: IdentityState,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// From when on it is good.
    pub not_before: Timestamp,
    /// Until when it is good.
    pub not_after: Timestamp,
    /// From when on the node asks for the next one.
    pub renew_after: Timestamp,
}

/// An identity, and the join token that it came by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedIdentity {
    /// The identity.
    pub identity: Identity,
    /// Name of the join token.
    pub join: String,
}

/// How an enrolment went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enrolled {
    /// It has one now.
    Done(Box<Identity>),
    /// It was given this one before: its answer was lost.
    Again(Box<Identity>),
    /// It may not.
    Refused(JoinRefusal),
}

/// Why a join token does not let a node join.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinRefusal {
    /// There is no such token.
    #[error("this join token is not known here: make one with `cupel-inventory join create`")]
    Unknown,
    /// It was revoked.
    #[error("this join token was revoked: make another with `cupel-inventory join create`")]
    Revoked,
    /// Its time is over.
    #[error("this join token expired at {0}: make another with `cupel-inventory join create`")]
    Expired(Timestamp),
    /// As many nodes as may have joined by it.
    #[error(
        "this join token let {0} join and lets no more: make another with \
         `cupel-inventory join create`"
    )]
    UsedUp(String),
    /// It is for another node.
    #[error("this join token is for node {0} alone: use one that is for this node")]
    OtherNode(String),
    /// It is for another machine.
    #[error(
        "this join token is for the machine with serial number {wanted} alone, and this one is \
         {found}: use one that is for this machine"
    )]
    OtherSerial {
        /// Which.
        wanted: String,
        /// This one.
        found: String,
    },
    /// It is for a rack, and nobody expects this machine anywhere.
    #[error(
        "this join token is for {rack}, and {found} is not on the list of what should \
         arrive: put it there with `cupel-inventory import`, or use a token of its own"
    )]
    NotExpected {
        /// Which rack.
        rack: RackPlace,
        /// This machine.
        found: String,
    },
    /// It is for a rack, and this machine is expected in another.
    #[error(
        "this join token is for {rack}, and {found} is expected in {expected}: look whether \
         it stands in the right place, or correct the list with `cupel-inventory import`"
    )]
    OtherRack {
        /// Which rack.
        rack: RackPlace,
        /// This machine.
        found: String,
        /// Where it is expected.
        expected: String,
    },
    /// The node is known with other hardware than this machine tells, and the token is not for that
    /// node. The refusal does not say which: whoever asks may be anybody.
    #[error(
        "node {node} is known here with another {what} than this machine tells: if it is {node} \
         nevertheless, as after a repair, use a join file made with `cupel-inventory join create \
         NAME --url URL --node {node}`"
    )]
    OtherHardware {
        /// The node.
        node: String,
        /// What of it.
        what: &'static str,
        /// Serial number of that which is known.
        known: String,
        /// Serial number of that which the machine tells.
        told: Option<String>,
    },
    /// The key was taken away.
    #[error("this key was revoked and is not taken again: enrol with a new key")]
    RevokedKey,
    /// The key is another node's.
    #[error(
        "this key is the key of node {0}, so one of the two is a copy: enrol with a key that was \
         made on this machine"
    )]
    KeyOf(String),
}

impl JoinRefusal {
    /// Whether the token itself is not good, whoever shows it.
    pub fn is_of_token(&self) -> bool {
        match self {
            Self::Unknown | Self::Revoked | Self::Expired(_) => true,
            Self::UsedUp(_)
            | Self::OtherNode(_)
            | Self::OtherSerial { .. }
            | Self::NotExpected { .. }
            | Self::OtherRack { .. }
            | Self::OtherHardware { .. }
            | Self::RevokedKey
            | Self::KeyOf(_) => false,
        }
    }

    /// The kind, for programs; stable.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unknown => "join-token-unknown",
            Self::Revoked => "join-token-revoked",
            Self::Expired(_) => "join-token-expired",
            Self::UsedUp(_) => "join-token-used-up",
            Self::OtherNode(_) => "join-token-for-another-node",
            Self::OtherSerial { .. } => "join-token-for-another-machine",
            Self::NotExpected { .. } => "machine-not-expected",
            Self::OtherRack { .. } => "machine-expected-elsewhere",
            Self::OtherHardware { .. } => "node-with-other-hardware",
            Self::RevokedKey => "key-revoked",
            Self::KeyOf(_) => "key-of-another-node",
        }
    }
}

/// How a renewal went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// This certificate is good: a new one, or before its time the one that there is.
    Done(Box<Identity>),
    /// It may not.
    Refused(RenewalRefusal),
}

/// Why an identity is not renewed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenewalRefusal {
    /// It is another node's.
    #[error("this certificate is the identity of node {0}: enrol this machine anew")]
    OtherNode(String),
    /// The request is for another key.
    #[error("a renewal keeps the key: to change the key, enrol anew with a join token")]
    OtherKey,
    /// It is good no more.
    #[error("the identity of node {0} is good no more: enrol this machine anew")]
    Ended(String),
    /// The machine has another main board.
    #[error(
        "node {node} was enrolled with main board {enrolled} and has {found} now: a person must \
         say which it is, by `cupel-inventory identity accept {node}` or by enrolling it anew"
    )]
    OtherBoard {
        /// The node.
        node: String,
        /// Serial number of the board that was enrolled.
        enrolled: String,
        /// That of the one it has now.
        found: String,
    },
}

impl RenewalRefusal {
    /// The kind, for programs; stable.
    pub fn word(&self) -> &'static str {
        match self {
            Self::OtherNode(_) => "identity-mismatch",
            Self::OtherKey => "key-changed",
            Self::Ended(_) => "identity-ended",
            Self::OtherBoard { .. } => "board-replaced",
        }
    }
}

/// How accepting a machine as it is went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// There is no such node.
    NoNode,
    /// There was nothing to accept.
    Nothing,
    /// It is done. The main board that counts as enrolled from now on, if it is another one.
    Done(Option<String>),
}
