//! What the disk has not taken yet.
//!
//! # Invariants
//! - Later values replace earlier ones; nothing else is lost: what is written down afterwards is
//!   what would be there had the disk taken each change.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;

use super::change::{Change, KernelCursor, WantedDocument};
use super::report_rows::{REFUSED_BYTES, REFUSED_KEPT};
use super::spool::{Candidate, Class, Name, Parcel, RefusedReport, Shelf, Totals};

/// State that is not on disk yet.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Backlog {
    pub tracker: Option<String>,
    /// By key; `None` where the event is gone.
    pub events: BTreeMap<String, Option<String>>,
    pub kernel_cursor: Option<KernelCursor>,
    pub journal_cursor: Option<String>,
    pub wanted: Option<WantedDocument>,
    pub notes: BTreeMap<String, String>,
    /// Reports that were refused before the disk had them, with their bytes if those are few.
    pub refused: Vec<(RefusedReport, Option<Vec<u8>>)>,
}

impl Backlog {
    /// Takes everything of a change but its reports.
    pub fn merge(&mut self, change: &mut Change) {
        replace(&mut self.tracker, change.tracker.take());
        replace(&mut self.kernel_cursor, change.kernel_cursor.take());
        replace(&mut self.journal_cursor, change.journal_cursor.take());
        replace(&mut self.wanted, change.wanted.take());
        self.notes.append(&mut change.notes);
        let gone = std::mem::take(&mut change.events_gone);
        self.events.extend(gone.into_iter().map(|key| (key, None)));
        let rows = std::mem::take(&mut change.events);
        self.events
            .extend(rows.into_iter().map(|row| (row.key, Some(row.json))));
    }

    /// Keeps a report that was refused, and forgets the oldest beyond the number that is kept.
    pub fn refuse(&mut self, refused: RefusedReport, bytes: Vec<u8>) {
        if self.refused.len() >= REFUSED_KEPT {
            self.refused.remove(0);
        }
        let bytes = Some(bytes).filter(|bytes| bytes.len() <= REFUSED_BYTES);
        self.refused.push((refused, bytes));
    }
}

fn replace<T>(old: &mut Option<T>, new: Option<T>) {
    if new.is_some() {
        *old = new;
    }
}

/// Reports that are not on disk yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    parcels: VecDeque<Parcel>,
    totals: Totals,
    /// The one that is being sent.
    pub in_hand: Option<Name>,
}

impl Waiting {
    pub fn push(&mut self, parcel: Parcel) {
        self.totals.add(parcel.report.class, size(&parcel));
        self.parcels.push_back(parcel);
    }

    pub fn first(&self) -> Option<&Parcel> {
        self.parcels.front()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Parcel> {
        self.parcels.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }

    /// None, but the one that is being sent.
    pub fn none_but(in_hand: Option<Name>) -> Self {
        Self {
            in_hand,
            ..Self::default()
        }
    }

    /// Forgets all: they are on disk.
    pub fn clear(&mut self) {
        self.parcels = VecDeque::new();
        self.totals = Totals::default();
    }

    /// Takes out the one with this name.
    pub fn take(&mut self, name: &Name) -> Option<Parcel> {
        let at = self.parcels.iter().position(|parcel| parcel.is(name))?;
        self.take_at(at)
    }

    fn take_at(&mut self, at: usize) -> Option<Parcel> {
        let parcel = self.parcels.remove(at)?;
        self.totals.remove(parcel.report.class, size(&parcel));
        Some(parcel)
    }
}

fn size(parcel: &Parcel) -> u64 {
    u64::try_from(parcel.report.bytes.len()).unwrap_or(u64::MAX)
}

/// A place on this shelf is an index.
fn place(at: usize) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}

impl Shelf for Waiting {
    type Error = Infallible;

    fn totals(&self) -> Totals {
        self.totals
    }

    fn oldest(&self, class: Class, not_at: Option<i64>) -> Result<Option<Candidate>, Infallible> {
        let in_hand = |parcel: &Parcel| self.in_hand.as_ref().is_some_and(|name| parcel.is(name));
        Ok(self
            .parcels
            .iter()
            .enumerate()
            .map(|(at, parcel)| (place(at), parcel))
            .find(|(at, parcel)| {
                parcel.report.class == class && Some(*at) != not_at && !in_hand(parcel)
            })
            .map(|(at, parcel)| Candidate {
                place: at,
                bytes: size(parcel),
                carries: parcel.carries,
            }))
    }

    fn newest_full(&self) -> Result<Option<i64>, Infallible> {
        Ok(self
            .parcels
            .iter()
            .rposition(|parcel| parcel.report.class == Class::Full)
            .map(place))
    }

    fn remove(&mut self, _: Class, candidate: Candidate) -> Result<(), Infallible> {
        if let Ok(at) = usize::try_from(candidate.place) {
            self.take_at(at);
        }
        Ok(())
    }
}
