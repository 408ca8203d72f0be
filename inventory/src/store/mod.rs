//! What the inventory keeps.
//!
//! # Invariants
//! - All SQL is below this module, one module a backend; the rest of the program sees [`Store`].
//! - What [`Store::ingest`] has answered is on the disk.
//!
//! # What is absent
//! HTTP; who may ask what.

mod enrolment;
mod error;
mod fleet;
mod sqlite;
mod types;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

pub use enrolment::*;
pub use error::Error;
pub use fleet::{Choices, CodeCount, FleetFilter, FleetLine, FleetPage, RackCount, RackName};
pub use sqlite::Opened;
pub use types::*;

use crate::ingest::Incoming;
use crate::record::{
    By, Change, Delivery, ExpectedEntry, ExpectedList, ExpectedMode, ExpectedRecord, ExpectedState,
    FindingRecord, HistoryEntry, HistoryKind, MaintenanceEvent, NodePatch, NodeRecord, NodeSummary,
    Page, PartSummary, Parts, Summary, Topology,
};

/// The store: everything that is asked of a database, whichever it is.
#[derive(Clone, Debug)]
pub struct Store {
    backend: Arc<sqlite::Sqlite>,
}

/// Hands a question to the backend.
macro_rules! ask {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl Store { $(
            $(#[$doc])*
            ///
            /// # Errors
            /// [`Error`].
            pub async fn $name(&self, $($arg: $type),*) -> Result<$answer, Error> {
                self.backend.$name($($arg),*).await
            }
        )* }
    };
}

impl Store {
    /// Opens the store in a directory, makes it if it is not there, and brings its schema up to
    /// date.
    ///
    /// # Errors
    /// [`Error::Newer`] for a schema that is not known here; else what the system says.
    pub async fn open(options: &Options) -> Result<(Self, Opened), Error> {
        let (backend, opened) = sqlite::Sqlite::open(options).await?;
        Ok((Self { backend }, opened))
    }

    /// The directory that it lies in.
    pub fn directory(&self) -> &Path {
        self.backend.directory()
    }

    /// Ends in good order.
    pub async fn close(&self) {
        self.backend.close().await;
    }

    /// Sets what is kept for how long.
    pub fn retain(&self, retention: Retention) {
        self.backend.retain(retention);
    }

    /// Number of the newest change, and wakes up when there is a newer one.
    pub fn watch(&self) -> watch::Receiver<i64> {
        self.backend.watch()
    }

    /// Stores a report, or finds that it is stored. Waits for the commit.
    ///
    /// # Errors
    /// [`Error::OtherContent`], [`Error::Full`], [`Error::Busy`], …
    pub async fn ingest(&self, report: Incoming) -> Result<Ingested, Error> {
        self.backend.ingest(Box::new(report)).await
    }
}

ask! {
    /// A page of nodes.
    nodes(filter: &NodeFilter, want: Want) -> Page<NodeSummary>;
    /// All that is known of a node.
    node(id: &str) -> Option<NodeRecord>;
    /// Whether there is a node with this id.
    has_node(id: &str) -> bool;
    /// The newest snapshot of a node.
    snapshot(id: &str) -> Option<StoredSnapshot>;
    /// Sets what the patch names, if the node has this revision. `by`: name of the token.
    patch_node(id: &str, patch: &NodePatch, revision: Option<i64>, by: &str) -> Patched;
    /// A page of a node's history, newest first; `kinds`: only these, all when it is empty.
    history(id: &str, kinds: &[HistoryKind], want: Want) -> Page<HistoryEntry>;
    /// How many entries of this kind a node's history has.
    history_count(id: &str, kind: HistoryKind) -> u64;
    /// How a node stood: when, and its standing from then on, oldest first.
    standings(id: &str, from: i64) -> Vec<(i64, i64)>;
    /// Measurements of a node between two times, oldest first.
    samples(id: &str, from: i64, to: i64) -> Vec<Sample>;
    /// All parts with this serial number.
    parts(serial: &str) -> Parts;
    /// Parts whose serial number, part number or UUID contains the text.
    search_parts(text: &str, limit: u32) -> Vec<PartSummary>;
    /// A page of findings, newest first.
    findings(filter: &FindingFilter, want: Want) -> Page<FindingRecord>;
    /// The finding with this key, the number in its ticket.
    finding(key: i64) -> Option<FindingRecord>;
    /// Takes a new list of what should arrive.
    put_expected(
        entries: &[ExpectedEntry],
        mode: ExpectedMode,
        revision: Option<i64>,
        may_remove: bool
    ) -> ListChanged;
    /// The list of what should arrive, with what became of it.
    expected(state: Option<ExpectedState>, want: Want) -> ExpectedList;
    /// The entry with this chassis serial.
    expected_entry(serial: &str) -> Option<ExpectedRecord>;
    /// Revision of the list.
    expected_revision() -> i64;
    /// The fleet in numbers, and the groups of it.
    summary(by: Option<By>) -> Summary;
    /// A page of deliveries, oldest first.
    deliveries(want: Want) -> Page<Delivery>;
    /// A page of maintenance events, newest first.
    maintenance(filter: &MaintenanceFilter, want: Want) -> Page<MaintenanceEvent>;
    /// A page of the topology.
    topology(limit: u32, offset: u64) -> Topology;
    /// Changes after this one, oldest first: the kind of event, and the change.
    changes_after(id: i64, limit: u32) -> Vec<(String, Change)>;
    /// Wakes whoever listens, if another process has changed something.
    tell() -> ();
    /// The first and last change that are kept.
    changes_kept() -> (i64, i64);
    /// A page of the fleet, worst first.
    fleet_page(wanted: &FleetFilter, limit: u32, offset: u64) -> FleetPage;
    /// Every rack with its counts.
    racks(wanted: &FleetFilter) -> Vec<RackCount>;
    /// Codes of open findings, most nodes first.
    codes(wanted: &FleetFilter, limit: u32) -> Vec<CodeCount>;
    /// Regions, sites and platforms that there are.
    choices() -> Choices;
    /// Stores a token.
    create_token(new: &NewToken) -> Token;
    /// All tokens, revoked ones too.
    tokens() -> Vec<Token>;
    /// The token with this public half.
    token(id: &str) -> Option<Token>;
    /// Revokes a token by name or public half. `false`: there is none, or it is revoked.
    revoke_token(name: &str) -> bool;
    /// Notes that a token was used, to the hour.
    token_used(key: i64) -> ();
    /// Begins a session of a token.
    begin_session(token_key: i64, hash: &[u8; 32], expires_at: i64) -> ();
    /// The token of a session that has not ended.
    session(hash: &[u8; 32]) -> Option<Token>;
    /// Ends a session.
    end_session(hash: &[u8; 32]) -> ();
    /// Stores a code that signs in once.
    create_code(token_key: i64, hash: &[u8; 32], expires_at: i64) -> ();
    /// Takes a code away and gives its token, if it is still good.
    take_code(hash: &[u8; 32]) -> Option<Token>;
    /// Stores a join token.
    create_join(new: &NewJoin) -> JoinToken;
    /// All join tokens, old ones too.
    joins() -> Vec<JoinToken>;
    /// The join token with this public half.
    join(id: &str) -> Option<JoinToken>;
    /// Revokes a join token by name or public half. `false`: there is none, or it is revoked.
    revoke_join(name: &str) -> bool;
    /// Gives a node an identity, if the join token lets it.
    enrol(asked: &Asked, sign: &Sign<'_>, join_key: i64) -> Enrolled;
    /// Gives a node its next certificate. `shown`: SHA-256 of the one that it has.
    renew(asked: &Asked, sign: &Sign<'_>, shown: &[u8; 32]) -> Renewed;
    /// The identity with this certificate, by its SHA-256.
    identity(fingerprint: &[u8; 32]) -> Option<Identity>;
    /// Where racks of this name are expected, of those that are in the place.
    expected_racks(place: &RackPlace) -> Vec<RackPlace>;
    /// The newest identity of each node; of those that came by this join token, or of all.
    identities(join: Option<&str>) -> Vec<ListedIdentity>;
    /// Takes the identity of a node away. `false`: it has none that is active.
    revoke_identity(node: &str) -> bool;
    /// Takes a node's machine for the right one, as it is.
    accept_identity(node: &str) -> Accepted;
    /// Notes that the identity of `node` was shown by a machine that calls itself another one.
    elsewhere(node: &str, by: &str, address: Option<&str>) -> ();
    /// Notes that a certificate was shown which was superseded, unless it was a moment ago.
    older_copy(fingerprint: &[u8; 32], address: Option<&str>) -> ();
    /// Judges the silence of all nodes.
    sweep(now: i64, listening_since: i64) -> Swept;
    /// Forgets what is older than it must be kept.
    prune() -> Pruned;
    /// Writes a whole copy to a file that does not exist yet.
    backup(to: &Path) -> ();
    /// The store in numbers.
    figures() -> Figures;
}
