//! Decoders of messages: one file a kind. Each gets a message without its log prefix and answers
//! with an event if the message is one of its kind.
//!
//! # Invariants
//! - A decoder recognises the shape of a message, from its start; a line that only mentions a
//!   fault is none.
//! - An address in an event is in its text.
//! - Lines that a message is spread over are joined by a [`Thread`], which knows what continues it.
//!
//! # What is absent
//! Prefixes and times (`format`), repetition (`fold`), judgement over events (`health`).

mod aer;
mod driver;
mod edac;
mod ghes;
mod hung_task;
mod lockup;
mod mce;
mod mlx5;
mod nvme;
mod off_bus;
mod oom;
mod other;
mod sxid;
mod thermal;
mod xid;

use aho_corasick::AhoCorasick;
use cupel_model::{Event, EventKind, LogSource, PciAddress, RemedyAction, Severity};

use crate::version::DriverVersion;

/// An event that a message opened, and how it may go on.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The event so far.
    pub event: Event,
    /// What continues it; none for a message of one line.
    pub thread: Option<Thread>,
}

impl From<Event> for Opened {
    fn from(event: Event) -> Self {
        Self {
            event,
            thread: None,
        }
    }
}

/// A message that may go on in later lines.
#[derive(Debug)]
pub(crate) enum Thread {
    /// The three lines of a GPU off the bus.
    OffBus(off_bus::OffBus),
    /// NVRM messages that are printed over several lines.
    Driver(driver::Continued),
    /// PCIe errors of one device.
    Aer(aer::Report),
    /// A firmware record, by its sequence mark.
    Ghes(ghes::Report),
    /// A machine check of one processor.
    Mce(mce::Report),
    /// One victim.
    Oom(oom::Report),
}

/// What a thread says to a later message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accept {
    /// Not mine.
    No,
    /// Mine, and more may come.
    More,
    /// Mine, and that was the last.
    Last,
}

impl Thread {
    /// Offers a later message; what is taken has changed `event`.
    pub fn offer(&mut self, event: &mut Event, message: &str) -> Accept {
        match self {
            Self::OffBus(thread) => thread.offer(event, message),
            Self::Driver(thread) => thread.offer(message),
            Self::Aer(thread) => thread.offer(event, message),
            Self::Ghes(thread) => thread.offer(event, message),
            Self::Mce(thread) => thread.offer(event, message),
            Self::Oom(thread) => thread.offer(event, message),
        }
    }

    /// How many foreign lines may stand between two lines of this message.
    pub fn patience(&self) -> u16 {
        match self {
            Self::OffBus(_) | Self::Driver(_) => 8,
            Self::Aer(_) | Self::Ghes(_) | Self::Mce(_) => 16,
            // The kernel lists memory and tasks in between.
            Self::Oom(_) => 1024,
        }
    }

    /// Whether what was opened became an event; a mere announcement that nothing followed did not.
    pub fn complete(&self) -> bool {
        match self {
            Self::OffBus(thread) => thread.complete(),
            Self::Ghes(thread) => thread.complete(),
            Self::Driver(_) | Self::Aer(_) | Self::Mce(_) | Self::Oom(_) => true,
        }
    }
}

/// Decodes the first line of a message.
pub(crate) fn decode(message: &str, driver: Option<DriverVersion>) -> Option<Opened> {
    if message.starts_with("NVRM: ") {
        return xid::decode(message, driver)
            .or_else(|| off_bus::decode(message))
            .or_else(|| driver::decode(message));
    }
    sxid::decode(message)
        .or_else(|| driver::decode(message))
        .or_else(|| ghes::decode(message))
        .or_else(|| thermal::decode(message))
        .or_else(|| mce::decode(message))
        .or_else(|| aer::decode(message))
        .or_else(|| edac::decode(message))
        .or_else(|| nvme::decode(message))
        .or_else(|| mlx5::decode(message))
        .or_else(|| oom::decode(message))
        .or_else(|| lockup::decode(message))
        .or_else(|| hung_task::decode(message))
        .or_else(|| other::decode(message))
}

/// The driver's version, where the driver says which one it is as it loads.
pub(crate) fn driver_version(message: &str) -> Option<DriverVersion> {
    driver::version(message)
}

/// An event with nothing but its kind and Cupel's judgement.
fn event(kind: EventKind, code: &str, severity: Severity, action: RemedyAction) -> Event {
    Event {
        time: None,
        source: LogSource::Unknown,
        kind,
        pci: None,
        mig: None,
        xid: None,
        sxid: None,
        mnemonic: None,
        nvidia: None,
        nvlink5: None,
        code: code.to_owned(),
        action,
        severity,
        pid: None,
        process: None,
        repeats: 1,
        first: None,
        last: None,
        raw: String::new(),
    }
}

/// A phrase that gives a message its meaning.
type Phrase = (&'static str, &'static str, Severity, RemedyAction);

/// A table of phrases, searched all at once.
struct Phrases {
    table: &'static [Phrase],
    automaton: Option<AhoCorasick>,
}

impl Phrases {
    fn new(table: &'static [Phrase]) -> Self {
        let automaton = AhoCorasick::new(table.iter().map(|(phrase, ..)| phrase)).ok();
        Self { table, automaton }
    }

    /// The event of the table's first phrase that `text` contains.
    fn event(&self, kind: EventKind, text: &str) -> Option<Event> {
        let found = match &self.automaton {
            Some(automaton) => automaton
                .find_overlapping_iter(text)
                .map(|found| found.pattern().as_usize())
                .min()?,
            None => self
                .table
                .iter()
                .position(|(phrase, ..)| text.contains(phrase))?,
        };
        let (_, code, severity, action) = self.table.get(found)?;
        Some(event(kind, code, *severity, *action))
    }
}

/// A whole PCI address, `dddd:bb:dd.f`, as a token of its own; what follows it may be punctuation.
fn address(token: &str) -> Option<PciAddress> {
    let token = token.trim_end_matches([':', ',', '.', ';', ')']);
    let token = token.strip_prefix("PCI:").unwrap_or(token);
    token.parse().ok()
}

/// Splits `driver dddd:bb:dd.f: rest` (or without driver, or with an interface name behind the
/// address) into address and rest.
fn device(message: &str) -> Option<(PciAddress, &str)> {
    let (head, rest) = message.split_once(": ")?;
    let mut tokens = head.split_ascii_whitespace();
    let first = tokens.next()?;
    let whole = |token: &str| token.contains('.') && token.matches(':').count() == 2;
    let token = if whole(first) { first } else { tokens.next()? };
    if !whole(token) || tokens.count() > 1 {
        return None;
    }
    Some((token.parse().ok()?, rest))
}

/// Splits `name:123` at its last colon into process and pid.
fn process(text: &str) -> (Option<String>, Option<u32>) {
    match text.rsplit_once(':') {
        Some((name, pid)) if !name.is_empty() => match pid.parse() {
            Ok(pid) => (Some(name.to_owned()), Some(pid)),
            Err(_) => (None, None),
        },
        _ => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_prefixes() {
        for (message, want) in [
            ("nvme 0000:04:00.0: PCIe Bus Error", Some("0000:04:00.0")),
            ("0000:04:00.0: AER: x", Some("0000:04:00.0")),
            (
                "mlx5_core 0000:19:00.0 eth0: Link down",
                Some("0000:19:00.0"),
            ),
            ("mlx5_core 0000:19:00.0 eth0 and more: x", None),
            ("nvme nvme0: I/O 1", None),
            ("a 12:30: noon", None),
            ("nothing", None),
        ] {
            let got = device(message).map(|(pci, _)| pci.to_string());
            assert_eq!(got.as_deref(), want, "{message}");
        }
    }
}
