//! Whatever happens in whatever order: nothing that is settled comes again, nothing is lost unless
//! it was dropped and counted, the order is kept, and there is never more than there may be.

use std::collections::BTreeSet;

use cupel_model::wire::Dropped;
use proptest::prelude::*;

use super::super::spool::sum;
use super::super::{Change, Class, Limits, Opened, Spooled, State};
use super::support::{at, changes, full, heartbeat, mark, noise, opened};
use super::{of, open};

const LIMITS: Limits = Limits {
    disk_bytes: 12 << 10,
    memory_bytes: 5 << 10,
    heartbeats: 3,
};

#[derive(Clone, Debug)]
enum Op {
    Commit(Vec<(Class, usize)>),
    Take,
    Acknowledge,
    Refuse,
    Disk(bool),
    Restart,
    Reboot,
}

fn op() -> impl Strategy<Value = Op> {
    let class = prop_oneof![
        3 => Just(Class::Heartbeat),
        2 => Just(Class::Full),
        3 => Just(Class::Changes),
    ];
    prop_oneof![
        8 => proptest::collection::vec((class, 1_usize..3000), 0..4).prop_map(Op::Commit),
        4 => Just(Op::Take),
        5 => Just(Op::Acknowledge),
        1 => Just(Op::Refuse),
        2 => any::<bool>().prop_map(Op::Disk),
        1 => Just(Op::Restart),
        1 => Just(Op::Reboot),
    ]
}

/// What is true, and what a restart goes back to while the disk takes nothing.
#[derive(Clone, Debug, Default)]
struct Truth {
    /// All that was committed, by number: class and name.
    committed: Vec<(Class, String, u64)>,
    acknowledged: BTreeSet<usize>,
    refused: BTreeSet<usize>,
    /// Sum of `dropped` over all that was acknowledged.
    told: Dropped,
    /// The latest that was taken: nothing before it comes again.
    taken: usize,
}

struct Play {
    directory: tempfile::TempDir,
    opened: Option<Opened>,
    boots: usize,
    truth: Truth,
    durable: Truth,
    in_hand: Option<(usize, Spooled)>,
}

impl Play {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let opened = open(directory.path(), "boot-0", LIMITS);
        Self {
            directory,
            opened: Some(opened),
            boots: 0,
            truth: Truth::default(),
            durable: Truth::default(),
            in_hand: None,
        }
    }

    fn outbox(&mut self) -> &mut super::super::Outbox {
        &mut self.opened.as_mut().expect("an open outbox").outbox
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Commit(reports) => self.commit(reports),
            Op::Take => self.take(),
            Op::Acknowledge => self.settle(false),
            Op::Refuse => self.settle(true),
            Op::Disk(works) => self.outbox().play_unwritable(!works),
            Op::Restart => self.restart(),
            Op::Reboot => {
                self.boots += 1;
                self.restart();
            }
        }
        self.is_bounded();
        if *self.outbox().state() == State::Saved {
            self.durable = self.truth.clone();
        }
    }

    fn commit(&mut self, reports: &[(Class, usize)]) {
        let first = self.truth.committed.len();
        let mut change = Change::default();
        for (index, (class, size)) in reports.iter().enumerate() {
            let seed = u64::try_from(first + index).expect("number");
            let mark = format!("{}:{}", first + index, noise(seed + 1, *size));
            change.reports.push(match class {
                Class::Heartbeat => heartbeat(&mark),
                Class::Full => full(&mark),
                Class::Changes => changes(&mark),
            });
        }
        let committed = self.outbox().commit(&mut change, at(1)).expect("small");
        assert_eq!(change, Change::default());
        assert_eq!(committed.sequences.len(), reports.len());
        let boot = format!("boot-{}", self.boots);
        for ((class, _), sequence) in reports.iter().zip(committed.sequences) {
            let name = (*class, boot.clone(), sequence);
            assert!(
                !self.truth.committed.contains(&name),
                "{name:?} was given out twice"
            );
            self.truth.committed.push(name);
        }
    }

    fn take(&mut self) {
        let Some(spooled) = self.outbox().next(at(2)) else {
            self.in_hand = None;
            return;
        };
        let report = opened(&spooled.bytes);
        let (number, _) = mark(&report).split_once(':').expect("mark");
        let number: usize = number.parse().expect("number");
        assert_eq!(
            self.truth.committed[number],
            (spooled.class, spooled.boot.clone(), spooled.sequence),
            "what comes out is what went in"
        );
        assert_eq!(
            (report.boot.as_str(), report.sequence, report.node.as_str()),
            (
                spooled.boot.as_str(),
                spooled.sequence,
                spooled.node.as_str()
            )
        );
        assert!(
            !self.truth.acknowledged.contains(&number) && !self.truth.refused.contains(&number),
            "{number} is settled and came again"
        );
        assert!(
            number >= self.truth.taken,
            "{number} came after {}",
            self.truth.taken
        );
        self.truth.taken = number;
        self.in_hand = Some((number, spooled));
    }

    fn settle(&mut self, is_refused: bool) {
        let Some((number, spooled)) = self.in_hand.take() else {
            return;
        };
        if is_refused {
            self.outbox()
                .refuse(&spooled.boot, spooled.sequence, "409: because", at(3));
            self.truth.refused.insert(number);
        } else {
            self.outbox()
                .acknowledge(&spooled.boot, spooled.sequence, at(3));
            self.truth.acknowledged.insert(number);
            self.truth.told = sum(self.truth.told, opened(&spooled.bytes).dropped);
        }
    }

    fn restart(&mut self) {
        if *self.outbox().state() != State::Saved {
            self.truth = self.durable.clone();
        }
        self.in_hand = None;
        self.opened = None;
        let boot = format!("boot-{}", self.boots);
        let opened = open(self.directory.path(), &boot, LIMITS);
        assert_eq!(*opened.outbox.state(), State::Saved);
        self.opened = Some(opened);
    }

    fn is_bounded(&mut self) {
        let in_hand = self
            .in_hand
            .as_ref()
            .map_or(0, |(_, spooled)| spooled.bytes.len());
        let in_hand = u64::try_from(in_hand).expect("size");
        let stats = self.outbox().stats();
        let is_saved = *self.outbox().state() == State::Saved;
        let shelves = if is_saved { 1 } else { 2 };
        let most = if is_saved {
            LIMITS.disk_bytes.max(in_hand)
        } else {
            LIMITS.disk_bytes.max(in_hand) + LIMITS.memory_bytes.max(in_hand)
        };
        assert!(stats.waiting_bytes <= most, "{stats:?}");
        assert!(
            stats.waiting_heartbeats <= shelves * (LIMITS.heartbeats + 1),
            "{stats:?}"
        );
    }

    /// Everything that is left arrives; what does not was dropped, and was told.
    fn finish(mut self) {
        self.outbox().play_unwritable(false);
        assert!(self.outbox().flush(at(4)));
        self.take();
        while self.in_hand.is_some() {
            self.settle(false);
            self.take();
        }
        let missing = (0..self.truth.committed.len())
            .filter(|number| {
                !self.truth.acknowledged.contains(number) && !self.truth.refused.contains(number)
            })
            .fold(Dropped::default(), |all, number| {
                sum(all, self.truth.committed[number].0.one())
            });
        let mut last = of(changes("last"));
        self.outbox().commit(&mut last, at(5)).expect("small");
        let last = self.outbox().next(at(5)).expect("the last");
        let told = sum(self.truth.told, opened(&last.bytes).dropped);
        assert_eq!(told, missing, "what was told is what is missing");
        let stats = self.outbox().stats();
        assert_eq!(stats.waiting_changes, 1, "{stats:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_is_lost_doubled_or_out_of_order(ops in proptest::collection::vec(op(), 1..60)) {
        let mut play = Play::new();
        for op in &ops {
            play.step(op);
        }
        play.finish();
    }
}
