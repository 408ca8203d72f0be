//! Stages beside each other: what hangs, dies or is lost delays and harms no other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cupel_burnin::{
    BurnInResult, Claim, FailureClass, Outcome, Plan, Progress, Proof, Resource, Run, Stage,
    StageKind, StageName, StageResult, StageSpec, Stopped, Watch, Word, run,
};
use cupel_model::units::Percent;

/// What a played stage does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    /// Works this many milliseconds.
    Works(u64),
    /// Works until it is told to stop.
    Waits,
    /// Never looks at the stop.
    Hangs,
    Dies,
    /// Loses its GPU.
    Loses,
}

struct Played {
    name: StageName,
    claims: Vec<Claim>,
    does: Does,
    at_most: Duration,
    /// When each began and ended.
    log: Arc<Mutex<Vec<(String, Instant, Instant)>>>,
    /// Hanging threads end with the test.
    over: Arc<AtomicBool>,
}

impl Stage for Played {
    fn spec(&self) -> StageSpec {
        StageSpec {
            name: self.name.clone(),
            what: "played".to_owned(),
            claims: self.claims.clone(),
            expected: Duration::from_millis(10),
            at_most: self.at_most,
            required: true,
        }
    }

    fn run(self: Box<Self>, watch: &Watch) -> StageResult {
        let began = Instant::now();
        let mut result = StageResult {
            proof: Proof::of(1, 1, true),
            ..StageResult::new(self.name.clone())
        };
        let nap = || std::thread::sleep(Duration::from_millis(2));
        match self.does {
            Does::Works(time) => {
                while began.elapsed() < Duration::from_millis(time) && watch.stopped().is_none() {
                    watch.advance(Percent::new(50.0).expect("finite"), "work");
                    watch.sample("power", None, 100.0, "W");
                    nap();
                }
            }
            Does::Waits => {
                while watch.stopped().is_none() {
                    nap();
                }
                result.reasons.push(match watch.stopped() {
                    Some(Stopped::TimeUp) => "its time was up".to_owned(),
                    Some(Stopped::Cancelled) | None => "it was cancelled".to_owned(),
                });
            }
            Does::Hangs => {
                while !self.over.load(Ordering::Relaxed) {
                    nap();
                }
            }
            Does::Dies => panic!("played death"),
            Does::Loses => {
                result.class = Some(FailureClass::Lost);
                result.reasons.push("it fell off".to_owned());
                result.lost = self.claims.iter().map(|c| c.resource.clone()).collect();
            }
        }
        let mut log = self.log.lock().expect("log");
        log.push((self.name.to_string(), began, Instant::now()));
        result.judged()
    }
}

#[derive(Default)]
struct Node {
    stages: Vec<Box<dyn Stage>>,
    log: Arc<Mutex<Vec<(String, Instant, Instant)>>>,
    over: Arc<AtomicBool>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

impl Node {
    fn add(&mut self, name: &str, does: Does, claims: &[Claim]) {
        self.stages.push(Box::new(Played {
            name: name.parse().expect("a name"),
            claims: claims.to_vec(),
            does,
            at_most: Duration::from_millis(if does == Does::Hangs { 50 } else { 5000 }),
            log: Arc::clone(&self.log),
            over: Arc::clone(&self.over),
        }));
    }

    fn run(&mut self, cancel_after: Option<Duration>) -> BurnInResult {
        let began = Instant::now();
        let cancel = AtomicBool::new(false);
        let mut all = Run::new(Plan::quick(Word(1)), std::mem::take(&mut self.stages));
        all.grace = Duration::from_millis(300);
        let mut progress = |_: Progress| {
            if cancel_after.is_some_and(|after| began.elapsed() > after) {
                cancel.store(true, Ordering::Relaxed);
            }
        };
        run(all, &mut progress, &cancel)
    }

    fn span(&self, name: &str) -> (Instant, Instant) {
        let log = self.log.lock().expect("log");
        let found = log.iter().find(|(other, _, _)| other == name);
        let (_, began, ended) = found.unwrap_or_else(|| panic!("{name} did not end: {log:?}"));
        (*began, *ended)
    }
}

fn gpu(index: u32) -> Claim {
    Claim::alone(Resource::Gpu { index })
}

fn of<'a>(result: &'a BurnInResult, name: &str) -> &'a StageResult {
    let found = result.stages.iter().find(|s| s.name.to_string() == name);
    found.unwrap_or_else(|| panic!("{name} has no result"))
}

#[test]
fn a_hung_gpu_delays_no_other() {
    let mut node = Node::default();
    node.add(
        "cpu",
        Does::Works(30),
        &[Claim::alone(Resource::Processors)],
    );
    for index in 0..8 {
        let does = if index == 3 {
            Does::Hangs
        } else {
            Does::Works(30)
        };
        node.add(&format!("gpu-memory/gpu{index}"), does, &[gpu(index)]);
        node.add(
            &format!("gpu-compute/gpu{index}"),
            Does::Works(30),
            &[gpu(index)],
        );
    }
    let all: Vec<_> = (0..8).map(|index| gpu(index).dispensable()).collect();
    node.add("gpu-links", Does::Works(10), &all);
    let began = Instant::now();
    let result = node.run(None);
    assert_eq!(result.verdict, Outcome::Fail);
    assert_eq!(result.class, Some(FailureClass::Lost));
    let hung = of(&result, "gpu-memory/gpu3");
    assert_eq!(hung.outcome, Outcome::Fail);
    assert!(hung.reasons[0].contains("given up"), "{:?}", hung.reasons);
    assert_eq!(hung.lost, [Resource::Gpu { index: 3 }]);
    let after = of(&result, "gpu-compute/gpu3");
    assert_eq!(after.outcome, Outcome::Incomplete);
    assert_eq!(after.reasons, ["GPU 3 was lost before it began"]);
    // The others were done before the hung one was given up, and the joint stage went on without.
    for index in [0, 1, 2, 4, 5, 6, 7] {
        let (_, ended) = node.span(&format!("gpu-compute/gpu{index}"));
        assert!(ended - began < Duration::from_millis(300), "gpu{index}");
    }
    assert_eq!(of(&result, "gpu-links").outcome, Outcome::Pass);
    assert_eq!(of(&result, "cpu").outcome, Outcome::Pass);
    let beside = &of(&result, "gpu-memory/gpu0").beside;
    assert!(
        beside.contains(&StageName::on(StageKind::GpuMemory, "gpu7")),
        "{beside:?}"
    );
}

#[test]
fn what_disturbs_runs_one_after_the_other() {
    let mut node = Node::default();
    let processors = [Claim::alone(Resource::Processors)];
    node.add("memory", Does::Works(30), &processors);
    node.add("cpu", Does::Works(30), &processors);
    let result = node.run(None);
    assert_eq!(result.verdict, Outcome::Pass);
    let ((_, cpu_ended), (memory_began, _)) = (node.span("cpu"), node.span("memory"));
    assert!(memory_began >= cpu_ended);
    assert_eq!(result.stages[0].name.to_string(), "cpu");
    assert!(result.stages[1].beside.is_empty());
    let series = &result.stages[0].series;
    assert_eq!(series[0].name, "power");
    assert_eq!(series[0].points[0], [0.0, 100.0]);
}

#[test]
fn a_stage_that_dies_is_incomplete_and_what_it_had_is_left_alone() {
    let mut node = Node::default();
    node.add("gpu-memory/gpu0", Does::Dies, &[gpu(0)]);
    node.add("gpu-compute/gpu0", Does::Works(1), &[gpu(0)]);
    node.add("gpu-compute/gpu1", Does::Works(1), &[gpu(1)]);
    let result = node.run(None);
    assert_eq!(result.verdict, Outcome::Incomplete);
    let died = of(&result, "gpu-memory/gpu0");
    assert_eq!(died.reasons, ["the stage died: played death"]);
    assert_eq!(of(&result, "gpu-compute/gpu0").outcome, Outcome::Incomplete);
    assert_eq!(of(&result, "gpu-compute/gpu1").outcome, Outcome::Pass);
}

#[test]
fn a_lost_gpu_is_not_touched_again_and_joint_stages_go_on_while_any_is_left() {
    let mut node = Node::default();
    node.add("gpu-memory/gpu0", Does::Loses, &[gpu(0)]);
    node.add(
        "gpu-links",
        Does::Works(1),
        &[gpu(0).dispensable(), gpu(1).dispensable()],
    );
    node.add("gpu-all-reduce", Does::Works(1), &[gpu(0).dispensable()]);
    let result = node.run(None);
    assert_eq!(of(&result, "gpu-links").outcome, Outcome::Pass);
    assert_eq!(of(&result, "gpu-all-reduce").outcome, Outcome::Incomplete);
    assert_eq!(result.verdict, Outcome::Fail);
}

#[test]
fn cancelling_stops_all_and_names_what_was_not_run() {
    let mut node = Node::default();
    let processors = [Claim::alone(Resource::Processors)];
    node.add("cpu", Does::Waits, &processors);
    node.add("memory", Does::Waits, &processors);
    node.add("nvme/nvme0", Does::Works(5000), &[]);
    node.add("gpu-memory/gpu0", Does::Hangs, &[gpu(0)]);
    let began = Instant::now();
    let result = node.run(Some(Duration::from_millis(30)));
    assert!(began.elapsed() < Duration::from_secs(3));
    assert!(result.cancelled);
    assert_ne!(result.verdict, Outcome::Pass);
    assert_eq!(of(&result, "cpu").reasons, ["it was cancelled"]);
    assert_eq!(result.notes, ["not run: memory"]);
}

#[test]
fn a_stage_whose_time_is_up_is_told() {
    let mut node = Node::default();
    node.stages.push(Box::new(Played {
        name: StageName::only(StageKind::Cpu),
        claims: vec![],
        does: Does::Waits,
        at_most: Duration::from_millis(20),
        log: Arc::clone(&node.log),
        over: Arc::clone(&node.over),
    }));
    let result = node.run(None);
    assert_eq!(result.stages[0].reasons, ["its time was up"]);
    assert_eq!(result.verdict, Outcome::Incomplete);
}
