//! What whoever follows is told: each thing once.

use super::*;
use crate::service::protocol::Happened;

/// What a client that begins to follow now is told first, and the number from which it goes on.
fn begins(bench: &Bench) -> (u64, u64) {
    let published = bench.published();
    let count = published
        .told
        .events
        .iter()
        .map(|event| event.repeats)
        .sum();
    (count, published.told.last)
}

#[test]
fn wherever_one_begins_to_follow_each_event_is_told_once() {
    let mut bench = Bench::new("").started();
    let mut total = 0;
    let mut begun = vec![begins(&bench)];
    let mut told: Vec<(u64, u64)> = Vec::new();
    for step in 0_u64..400 {
        if step % 3 == 0 {
            bench.log(vec![other(u32::try_from(step % 5).expect("small"))], step);
            total += 1;
        }
        bench.round();
        for (number, happened) in bench.heard() {
            if let Happened::Event { event } = happened {
                told.push((number, event.repeats));
            }
        }
        begun.push(begins(&bench));
        pass(seconds(0.05));
    }
    bench.run(seconds(10.0));
    for (number, happened) in bench.heard() {
        if let Happened::Event { event } = happened {
            told.push((number, event.repeats));
        }
    }
    assert!(
        told.windows(2).all(|pair| pair[0].0 < pair[1].0),
        "numbers grow"
    );
    for (place, (first, last)) in begun.into_iter().enumerate() {
        let rest: u64 = told
            .iter()
            .filter(|(number, _)| *number > last)
            .map(|(_, repeats)| repeats)
            .sum();
        assert_eq!(first + rest, total, "who began at step {place}");
    }
}

#[test]
fn what_a_start_found_on_disk_is_told_first() {
    let mut bench = Bench::new("").started();
    bench.log(vec![other(1), other(2), other(2)], 3);
    bench.run(seconds(2.0));
    let again = Bench::that_kept("", bench.kept());
    let again = again.started();
    assert_eq!(begins(&again), (3, 0));
}
