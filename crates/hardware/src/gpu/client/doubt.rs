//! A second opinion on GPUs that an open driver library no longer reaches, or never did.
//!
//! A library that is open keeps the list of GPUs, and their handles, from when it was opened: of one
//! that was lost since it still has a handle, and of one that came back it has none. A new process
//! sees what is. So where there is doubt a second worker opens the driver, and takes over if it
//! reaches whoever the first one reaches.
//!
//! # Invariants
//! - The first worker is given up only for a second one that knows at least as much: a sick GPU may
//!   keep every new process from opening the driver.
//! - A new doubt is looked into at once, an old one every [`AGAIN`].

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::super::survey::Listed;
use super::{Client, Closed, Run};
use cupel_model::PciAddress;

/// How often a doubt that stays is looked into.
const AGAIN: Duration = Duration::from_secs(300);

/// GPUs in doubt, and when they were last looked into.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    gpus: BTreeSet<u32>,
    at: Option<Instant>,
}

impl Doubt {
    /// Whether it is time to look into `gpus`; then they count as looked into.
    fn is_due(&mut self, gpus: BTreeSet<u32>, fresh: bool, now: Instant) -> bool {
        let news = !gpus.is_subset(&self.gpus);
        let long_ago = self.at.is_none_or(|at| now.duration_since(at) >= AGAIN);
        let due = !gpus.is_empty() && !fresh && (news || long_ago);
        if due || fresh {
            self.at = Some(now);
        }
        self.gpus = gpus;
        due
    }
}

/// Whether the driver reaches this GPU. One that is left alone is another matter.
fn is_in_doubt(listed: &Listed) -> bool {
    let silent = listed.gpu.memory.total_bytes.is_failed() && listed.gpu.hung.is_none();
    listed.address.value().is_none() || silent
}

impl Client {
    /// Reads every GPU; once more, with another worker, where some are in doubt and that one is of
    /// another opinion.
    pub(super) fn read_twice_if_in_doubt(
        &mut self,
        run: &mut Run,
        now: Instant,
        gpus: &mut Vec<Listed>,
    ) -> Result<(), Closed> {
        self.read_all(run, now, gpus)?;
        let alone = self.left_alone(now);
        let in_doubt: BTreeSet<u32> = gpus
            .iter()
            .filter(|listed| !alone.contains(&listed.index) && is_in_doubt(listed))
            .map(|listed| listed.index)
            .collect();
        let fresh = self
            .open
            .as_ref()
            .is_none_or(|open| open.since >= run.begun);
        if !self.doubt.is_due(in_doubt, fresh, now) || !self.took_second_opinion(now, gpus) {
            return Ok(());
        }
        gpus.clear();
        self.read_all(run, now, gpus)
    }

    /// Opens the driver with a second worker; says whether that one took over.
    fn took_second_opinion(&mut self, now: Instant, gpus: &[Listed]) -> bool {
        let Ok(Ok(second)) = self.open_once(&self.left_alone(now)) else {
            return false;
        };
        let reached = |gpus: &[Listed]| -> BTreeSet<PciAddress> {
            let reached = gpus.iter().filter(|listed| !is_in_doubt(listed));
            reached.filter_map(|listed| listed.address.get()).collect()
        };
        let listed: BTreeSet<PciAddress> = second
            .opened
            .gpus
            .iter()
            .filter_map(|address| address.get())
            .collect();
        let first = self.open.as_ref().map(|open| &open.opened.gpus);
        if !reached(gpus).is_subset(&listed) || first == Some(&second.opened.gpus) {
            return false;
        }
        self.open = Some(second);
        self.kept.clear();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_doubt_is_looked_into_at_once_and_an_old_one_now_and_then() {
        let begun = Instant::now();
        let after = |seconds: u64| begun + Duration::from_secs(seconds);
        let of = |gpus: &[u32]| gpus.iter().copied().collect::<BTreeSet<u32>>();
        let mut doubt = Doubt::default();
        assert!(!doubt.is_due(of(&[]), false, after(0)), "nothing in doubt");
        assert!(doubt.is_due(of(&[3]), false, after(1)));
        assert!(!doubt.is_due(of(&[3]), false, after(2)), "looked into");
        assert!(doubt.is_due(of(&[3, 5]), false, after(3)), "another one");
        assert!(!doubt.is_due(of(&[5]), false, after(4)));
        assert!(doubt.is_due(of(&[5]), false, after(303)), "it stays");
        assert!(!doubt.is_due(of(&[]), false, after(304)), "it is over");
        assert!(doubt.is_due(of(&[5]), false, after(305)), "it comes back");
        assert!(
            !doubt.is_due(of(&[1]), true, after(306)),
            "a worker that has just begun"
        );
        assert!(!doubt.is_due(of(&[1]), false, after(307)));
    }
}
