//! When it judges, and what comes of it.

use super::*;

#[test]
fn it_judges_when_everything_was_read_or_has_had_its_time() {
    let mut bench = Bench::new("");
    bench.run(seconds(5.0));
    assert!(!bench.engine.has_judged(), "nothing is known yet");
    bench.read_all();
    bench.run(seconds(0.2));
    assert!(!bench.engine.has_judged(), "the log was not heard of");
    bench
        .engine
        .take(Input::LogUnreadable(Reading::absent("no /dev/kmsg")));
    bench.round();
    assert!(bench.engine.has_judged());

    let mut bench = Bench::new("");
    bench.read(Source::Node);
    bench.run(seconds(44.0));
    // The harness reads everything every 15 s: only what was not read is waited for.
    assert!(!bench.engine.has_judged(), "the log has not had its time");
    bench.run(seconds(2.0));
    assert!(bench.engine.has_judged());
    let unknown = &bench.published().status.coverage.unknown;
    assert!(!unknown.is_empty(), "what nobody read is unknown");
}

#[test]
fn waiting_for_the_machine_costs_nothing() {
    for configuration in ["", INVENTORY] {
        let mut bench = Bench::new(configuration);
        bench.run(seconds(44.0));
        assert!(bench.rounds < 20, "{} rounds in 44 s", bench.rounds);
    }
}

#[test]
fn what_comes_together_is_judged_together() {
    let mut bench = Bench::new("").started();
    let before = bench.published().own.judgements;
    for _ in 0..20 {
        bench.read_all();
        bench.round();
        pass(seconds(0.01));
    }
    assert_eq!(bench.published().own.judgements, before + 1);
    bench.run(seconds(0.2));
    assert_eq!(bench.published().own.judgements, before + 2);
}

#[test]
fn readings_wait_for_each_other_and_events_for_nothing() {
    let mut bench = Bench::new("").started();
    bench.run(seconds(5.0));
    let before = bench.published().own.judgements;
    // As sources of one cadence come: one after the other.
    for source in [Source::Rdma, Source::Network, Source::Gpu] {
        bench.read(source);
        bench.run(seconds(0.04));
    }
    assert_eq!(bench.published().own.judgements, before);
    bench.run(seconds(0.1));
    assert_eq!(bench.published().own.judgements, before + 1);
    bench.run(seconds(1.0));
    bench.log(vec![event(1)], 1);
    bench.round();
    assert_eq!(bench.published().own.judgements, before + 2);
}

#[test]
fn lines_that_mean_nothing_cost_no_judgement() {
    let mut bench = Bench::new("").started();
    let before = bench.published().own.judgements;
    for cursor in 0..100 {
        bench.log(Vec::new(), cursor);
        bench.round();
        pass(seconds(0.1));
    }
    assert_eq!(bench.published().own.judgements, before);
    bench.log(vec![event(1)], 100);
    bench.run(seconds(0.2));
    assert_eq!(bench.published().own.judgements, before + 1);
}

#[test]
fn a_link_that_goes_down_is_raised_confirmed_and_cleared() {
    let mut bench = Bench::new("").started();
    bench.port(2, "DOWN");
    bench.read(Source::Rdma);
    bench.run(seconds(0.3));
    let found = bench.findings();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("rdma.port-down/"), "{found:?}");
    let status = bench.published().status.clone();
    assert!(status.allocation.allowed, "it is provisional");
    bench.run(seconds(200.0));
    let first = bench.published().findings[0].clone();
    assert_eq!(first.finding.confidence, cupel_model::Confidence::Confirmed);
    assert!(!bench.published().status.allocation.allowed);

    bench.port(2, "ACTIVE");
    bench.read(Source::Rdma);
    bench.run(seconds(1.0));
    let waiting = bench.published().findings[0].clone();
    assert!(!waiting.observed && waiting.waits_for.is_some());
    assert_eq!(waiting.finding.since, first.finding.since);
    bench.run(seconds(120.0));
    assert_eq!(bench.findings(), Vec::<String>::new());
    let kinds: Vec<String> = bench
        .heard()
        .into_iter()
        .filter_map(|(_, happened)| match happened {
            crate::service::protocol::Happened::Finding { change } => Some(format!(
                "{:?} {}",
                change.change, change.tracked.finding.code
            )),
            crate::service::protocol::Happened::Event { .. }
            | crate::service::protocol::Happened::Missed { .. } => None,
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "Raised rdma.port-down",
            "Confirmed rdma.port-down",
            "Cleared rdma.port-down"
        ]
    );
}

#[test]
fn the_snapshot_that_is_served_gives_the_same_judgement_elsewhere() {
    let mut bench = Bench::new("").started();
    assert!(
        bench
            .published()
            .whole_snapshot()
            .expect("read")
            .previous
            .is_none()
    );
    bench.run(seconds(100.0));
    let published = bench.published();
    let whole = published.whole_snapshot().expect("read");
    let previous = whole.previous.as_ref().expect("a sample before");
    assert!((30.0..=120.0).contains(&previous.elapsed_seconds.get()));
    let platform = Node::good().platform;
    let again = cupel_health::evaluate(&whole, platform.as_ref(), &Default::default());
    assert_eq!(again.coverage, published.status.coverage);
    let rates = again
        .coverage
        .skipped
        .iter()
        .filter(|not_run| not_run.reason == "one-sample");
    assert_eq!(rates.count(), 0);
}

#[test]
fn ages_grow_while_the_engine_does_nothing() {
    let bench = Bench::new("").started();
    let published = bench.published();
    let age = |status: &crate::status::Status| {
        let gpu = status.sources.iter().find(|source| source.name == "gpu");
        gpu.and_then(|source| source.age_seconds)
            .expect("age")
            .get()
    };
    assert_eq!(age(&published.status), 0.0);
    // The real clock, which is far from that of the test: what matters is that it is asked.
    let later = published.status_at(Timestamp::EPOCH, BOOTED.get() + seconds(7.5));
    assert_eq!(age(&later), 7.5);
    assert_eq!(later.uptime_seconds.get(), 7.5);
    assert_eq!(later.said_at, Timestamp::EPOCH);
}

#[test]
fn workers_that_were_replaced_add_up() {
    let mut bench = Bench::new("").started();
    for replaced in [1, 0, 2] {
        let mut survey = GpuSurvey::unread("x");
        survey.driver.worker = cupel_model::snapshot::WorkerState::Answered { replaced };
        let (taken_at, since_boot) = read_clocks();
        bench.engine.take(Input::Read {
            fragment: Box::new(Fragment {
                source: Source::Gpu,
                taken_at,
                since_boot,
                problems: Vec::new(),
                data: Data::Gpu(survey),
            }),
            took: Duration::ZERO,
        });
        bench.run(seconds(1.0));
    }
    assert_eq!(bench.published().own.gpu_workers_replaced, 3);
}

#[test]
fn what_events_point_at_is_read_at_once() {
    let mut bench = Bench::new("").started();
    assert_eq!(
        bench.log(vec![event(1)], 1),
        [Wish::Read(vec![Source::Pci, Source::Gpu])]
    );
    let unreadable = Input::LogUnreadable(Reading::failed("EIO"));
    assert_eq!(bench.engine.take(unreadable), [Wish::WatchGpus(true)]);
    assert_eq!(bench.log(Vec::new(), 1), [Wish::WatchGpus(false)]);
}
