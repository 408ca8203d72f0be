//! What happens to a finding, and what came of an upgrade, in systemd's journal, with fields that can
//! be searched for: `journalctl CODE=gpu.off-bus`, `journalctl SERIAL=…`, and `-x` for what it means.
//!
//! # Invariants
//! - One record each change; its message id is the code's ([`crate::catalog`]).
//! - It never waits: a journal that does not take a record costs that record, told in the log.
//!
//! # What is absent
//! The log of the service itself, which goes to standard error. Tokens: no finding holds one.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use cupel_installer::journal::{Ended, Outcome};
use cupel_model::Severity;
use cupel_model::wire::{ChangeKind, FindingChange};
use tokio::sync::broadcast;

use crate::catalog::{ACCEPTED, NOT_BEGUN, REVERTED, message_id};
use crate::output::printable;
use crate::render::words::{place, word};
use crate::service::protocol::Happened;

/// Longest value, in bytes: a record must fit into one datagram.
const LONGEST: usize = 4096;

/// The journal's socket, beside the directory of the service's own one.
pub fn beside(service_socket: &Path) -> Option<PathBuf> {
    let run = service_socket.parent()?.parent()?;
    let path = run.join("systemd/journal/socket");
    path.exists().then_some(path)
}

/// Tells the journal at `path` of every change that comes, until there are no more.
pub async fn tell<N>(path: PathBuf, mut happened: broadcast::Receiver<(N, Happened)>)
where
    N: Clone,
{
    let socket = match UnixDatagram::unbound() {
        Ok(socket) => socket,
        Err(error) => {
            tracing::warn!("findings are not in the journal: {error}");
            return;
        }
    };
    let _ = socket.set_nonblocking(true);
    loop {
        let change = match happened.recv().await {
            Ok((_, Happened::Finding { change })) => change,
            Ok((_, Happened::Event { .. } | Happened::Missed { .. })) => continue,
            Err(broadcast::error::RecvError::Lagged(count)) => {
                tracing::warn!("{count} changes are not in the journal: they came too fast");
                continue;
            }
            Err(broadcast::error::RecvError::Closed) => return,
        };
        if let Err(error) = socket.send_to(&record(&change), &path) {
            tracing::info!("a change is not in the journal: {error}");
        }
    }
}

/// Tells the journal at `path` what came of an exchange of versions, in this sentence.
pub fn exchanged(path: &Path, outcome: &Outcome, sentence: &str) {
    let (code, priority) = match outcome.result {
        Ended::Installed | Ended::Accepted => (ACCEPTED, "5"),
        Ended::NotBegun => (NOT_BEGUN, "4"),
        Ended::Reverted => (REVERTED, "3"),
    };
    let mut record = Record::default();
    record.field("MESSAGE", sentence);
    record.field("PRIORITY", priority);
    record.field("SYSLOG_IDENTIFIER", "cupel");
    record.field("MESSAGE_ID", &message_id(code));
    record.field("CODE", code);
    let from = outcome.from.as_ref().map_or("none", |from| from.as_str());
    record.field("VERSION_FROM", from);
    record.field("VERSION_TO", outcome.to.as_str());
    let sent = UnixDatagram::unbound().and_then(|socket| socket.send_to(&record.0, path));
    if let Err(error) = sent {
        tracing::info!("the exchange is not in the journal: {error}");
    }
}

/// One record in the journal's native protocol.
fn record(change: &FindingChange) -> Vec<u8> {
    let finding = &change.tracked.finding;
    let part = &finding.component;
    // As syslog has them: a fault that blocks work is an error, not an emergency of the system.
    let priority = match (change.change, finding.severity) {
        (ChangeKind::Cleared, _) | (_, Severity::Info) => "5",
        (_, Severity::Warning) => "4",
        (_, Severity::Critical) => "3",
    };
    let did = word(&change.change);
    let mut record = Record::default();
    record.field(
        "MESSAGE",
        &format!("{} {did}: {}", finding.code, finding.summary),
    );
    record.field("PRIORITY", priority);
    record.field("SYSLOG_IDENTIFIER", "cupel");
    record.field("MESSAGE_ID", &message_id(&finding.code));
    record.field("CODE", &finding.code);
    record.field("CHANGE", &did);
    record.field("SEVERITY", &word(&finding.severity));
    record.field("FINDING_ID", &change.tracked.id);
    record.field("COMPONENT", &place(part));
    // The catalogue's text names all three: what is not known is said to be so.
    let pci = part.pci.map(|pci| pci.to_string());
    record.field("PCI", pci.as_deref().unwrap_or("none"));
    record.field("SERIAL", part.serial.as_deref().unwrap_or("unknown"));
    record.0
}

#[derive(Default)]
struct Record(Vec<u8>);

impl Record {
    /// A field: on one line, and no longer than a datagram takes.
    fn field(&mut self, name: &str, value: &str) {
        let value = printable(value).replace('\n', " ");
        let mut end = value.len().min(LONGEST);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        self.0.extend(name.bytes());
        self.0.push(b'=');
        self.0.extend(value[..end].bytes());
        self.0.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_one_line_that_fits() {
        let mut record = Record::default();
        record.field("MESSAGE", "a\nPRIORITY=0\x1b[2J");
        record.field("CODE", &"é".repeat(4000));
        let text = String::from_utf8(record.0).expect("text");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "MESSAGE=a PRIORITY=0\u{fffd}[2J");
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1].len(), "CODE=".len() + LONGEST);
    }

    #[test]
    fn the_journal_is_found_beside_the_service() {
        let directory = tempfile::tempdir().expect("directory");
        let service = directory.path().join("run/cupel/cupel.sock");
        assert_eq!(beside(&service), None);
        let at = directory.path().join("run/systemd/journal");
        std::fs::create_dir_all(&at).expect("directory");
        let journal = UnixDatagram::bind(at.join("socket")).expect("socket");
        let found = beside(&service).expect("found");
        let sender = UnixDatagram::unbound().expect("socket");
        sender.send_to(b"X=y\n", found).expect("sends");
        let mut buffer = [0; 16];
        assert_eq!(journal.recv(&mut buffer).expect("record"), 4);
    }
}
