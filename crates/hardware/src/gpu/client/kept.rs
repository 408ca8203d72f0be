//! Answers that are believed for a while.
//!
//! # Invariants
//! - They are answers of the worker that is asked now: another one begins without any.
//! - A GPU that cannot tell its memory, which is asked for each time, has none: it may be lost.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cupel_model::worker::{Answer, Group};

/// Answers, by NVML index and group.
#[derive(Debug, Default)]
pub(super) struct Kept(BTreeMap<(u32, u8), (Instant, Answer)>);

impl Kept {
    /// The answer, if it is not older than `long`.
    pub(super) fn get(&self, gpu: u32, group: Group, long: Duration) -> Option<Answer> {
        let (at, answer) = self.0.get(&(gpu, place(group)))?;
        (at.elapsed() < long).then(|| answer.clone())
    }

    /// Keeps an answer that is believed for `long`.
    pub(super) fn take_note(&mut self, gpu: u32, group: Group, answer: &Answer, long: Duration) {
        if let Answer::Memory(memory) = answer
            && memory.total_bytes.is_failed()
        {
            self.0.retain(|(other, _), _| *other != gpu);
        }
        if !long.is_zero() {
            let now = Instant::now();
            self.0.insert((gpu, place(group)), (now, answer.clone()));
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Place of a group among all.
fn place(group: Group) -> u8 {
    let place = Group::ALL.iter().position(|other| *other == group);
    place
        .and_then(|place| u8::try_from(place).ok())
        .unwrap_or(u8::MAX)
}
