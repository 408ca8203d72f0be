//! Parts, searches, signing in, problems.

use cupel_model::{ComponentKind, Timestamp};

use super::{CodeCount, Context, FindingLine, NodeLine, Place};

/// Where a part was.
#[derive(Clone, Debug)]
pub struct PartStay {
    /// In which node.
    pub node: String,
    /// That node's host name.
    pub hostname: Option<String>,
    /// Where that node stands.
    pub place: Place,
    /// In which slot.
    pub slot: Option<String>,
    /// From when.
    pub from: Timestamp,
    /// Until when; `None`: it is there now.
    pub until: Option<Timestamp>,
}

/// A finding that a part has or had.
#[derive(Clone, Debug)]
pub struct PartFinding {
    /// In which node.
    pub node: String,
    /// That node's host name.
    pub hostname: Option<String>,
    /// The finding.
    pub finding: FindingLine,
    /// When it was cleared; `None`: it is not.
    pub cleared: Option<Timestamp>,
}

/// One part: `/parts/{serial}`.
#[derive(Clone, Debug)]
pub struct Part {
    /// What every page needs.
    pub context: Context,
    /// Serial number.
    pub serial: String,
    /// What kind.
    pub kind: ComponentKind,
    /// Product name.
    pub name: Option<String>,
    /// Part number.
    pub part_number: Option<String>,
    /// UUID or GUID.
    pub uuid: Option<String>,
    /// Firmware last seen.
    pub firmware: Option<String>,
    /// Where it was, newest first.
    pub stays: Vec<PartStay>,
    /// Its findings, newest first.
    pub findings: Vec<PartFinding>,
}

/// A part that a search found.
#[derive(Clone, Debug)]
pub struct PartLine {
    /// Serial number.
    pub serial: String,
    /// What kind.
    pub kind: ComponentKind,
    /// Product name.
    pub name: Option<String>,
    /// Where it is, or was last.
    pub last: Option<PartStay>,
}

/// A search: `/search?q=…`.
#[derive(Clone, Debug)]
pub struct Search {
    /// What every page needs.
    pub context: Context,
    /// What was asked for; `None`: nothing yet.
    pub q: Option<String>,
    /// Nodes, at most 50, worst first.
    pub nodes: Vec<NodeLine>,
    /// Whether there are more nodes.
    pub more_nodes: bool,
    /// Parts, at most 50.
    pub parts: Vec<PartLine>,
    /// Whether there are more parts.
    pub more_parts: bool,
    /// Codes with findings that are not cleared, most nodes first.
    pub codes: Vec<CodeCount>,
}

/// Why somebody could not sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginError {
    /// No token was given.
    Empty,
    /// There is no such token, or it is revoked.
    Refused,
    /// The token may not read.
    Scope,
    /// Too many attempts.
    TooMany,
    /// The session has ended.
    Expired,
}

/// Signing in: `/login`.
#[derive(Clone, Debug)]
pub struct Login {
    /// What every page needs; nobody is signed in.
    pub context: Context,
    /// What went wrong before.
    pub error: Option<LoginError>,
    /// Where to go afterwards: a path of this server (`/…`).
    pub next: Option<String>,
}

/// A page that there is not: 403, 404, 500, …
#[derive(Clone, Debug)]
pub struct Problem {
    /// What every page needs.
    pub context: Context,
    /// HTTP status.
    pub status: u16,
    /// What happened and what to do, in a sentence; `None`: what the status says.
    pub detail: Option<String>,
}
