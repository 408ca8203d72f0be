//! Adapters: each sends to itself, then to the others, by perftest where it is installed.
//!
//! # Invariants
//! - perftest compares no data, so nothing here proves data: bandwidth, latency and the adapters'
//!   error counters are what is judged.
//! - Two adapters that cannot reach each other may be on two fabrics, as they are meant to be: that
//!   is an empty cell, not a failure. An adapter that cannot reach itself is a failure.

use std::sync::Arc;
use std::time::Duration;

use cupel_hardware::rdma::perftest::{self, End, Perftest, PerftestError};
use cupel_hardware::{Root, rdma};
use cupel_model::Reading;
use cupel_model::snapshot::RdmaDevice;

use crate::counters::adapter_changes;
use crate::floors::Floors;
use crate::plan::{Plan, percent};
use crate::resource::{Claim, Resource};
use crate::result::{Coverage, FailureClass, Floor, Matrix, Measured, Proof, StageResult};
use crate::stage::{Stage, StageSpec, Watch};
use crate::stage_kind::{StageKind, StageName};

/// What it may take beyond its time: programs that do not end are killed after 15 s.
const SLACK: Duration = Duration::from_secs(60);
/// TCP ports on the loopback interface over which two ends find each other, above those that the
/// kernel gives out by itself.
const FIRST_TCP: u16 = 61_400;

/// An adapter that is to be tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterUnderTest {
    /// Kernel's name, e.g. `mlx5_0`.
    pub name: String,
    /// Hardware type, where it says: adapters of one type are compared.
    pub hca_type: Option<String>,
    /// First port that is active; none cannot be tested.
    pub port: Option<u32>,
    /// NUMA node that it hangs on.
    pub numa_node: Option<u32>,
}

/// One adapter by itself.
#[derive(Debug)]
pub(crate) struct LoopbackStage {
    pub(crate) plan: Plan,
    pub(crate) adapter: AdapterUnderTest,
    /// Its place among all, for a TCP port of its own.
    pub(crate) number: u16,
    pub(crate) perftest: Reading<Perftest>,
    pub(crate) root: Root,
    pub(crate) floors: Arc<Floors>,
    pub(crate) required: bool,
}

/// Half of the kind's time is for each of the two stages.
fn half(plan: &Plan) -> Duration {
    plan.budget(StageKind::Rdma) / 2
}

fn claims(adapter: &AdapterUnderTest) -> Vec<Claim> {
    let mut claims = vec![Claim::alone(Resource::Adapter {
        name: adapter.name.clone(),
    })];
    claims.extend(
        adapter
            .numa_node
            .map(|node| Claim::shared(Resource::Memory { node })),
    );
    claims
}

impl Stage for LoopbackStage {
    fn spec(&self) -> StageSpec {
        let time = half(&self.plan);
        if let Reading::Absent(why) | Reading::Unsupported(why) | Reading::Failed(why) =
            &self.perftest
        {
            return StageSpec {
                name: StageName::on(StageKind::Rdma, self.adapter.name.clone()),
                what: format!("cannot be tested: {why}"),
                claims: Vec::new(),
                expected: Duration::ZERO,
                at_most: SLACK,
                required: self.required,
            };
        }
        StageSpec {
            name: StageName::on(StageKind::Rdma, self.adapter.name.clone()),
            what: format!(
                "{} sends to itself",
                self.adapter.hca_type.as_deref().unwrap_or("the adapter")
            ),
            claims: claims(&self.adapter),
            expected: time,
            at_most: time + SLACK,
            required: self.required,
        }
    }

    fn run(self: Box<Self>, watch: &Watch) -> StageResult {
        let name = StageName::on(StageKind::Rdma, self.adapter.name.clone());
        let programs = match &self.perftest {
            Reading::Value(programs) => programs,
            Reading::Absent(why) | Reading::Unsupported(why) | Reading::Failed(why) => {
                return StageResult::unsupported(name, why.clone());
            }
        };
        let Some(port) = self.adapter.port else {
            return StageResult::incomplete(name, "none of its ports is active");
        };
        let end = End {
            device: self.adapter.name.clone(),
            port,
        };
        let mut result = StageResult {
            proof: Proof::none(),
            notes: vec!["perftest compares no data".to_owned()],
            ..StageResult::new(name)
        };
        let before = self.state();
        let tcp = FIRST_TCP + self.number;
        let mut covered = 0;
        watch.advance(percent(0.0, 1.0), "latency to itself");
        match perftest::latency(programs, &end, &end, tcp) {
            Ok(latency) => {
                covered += 1;
                self.keep(
                    &mut result,
                    "loopback latency, typical",
                    latency.typical,
                    "µs",
                );
                self.keep(&mut result, "loopback latency, 99 %", latency.most, "µs");
            }
            Err(error) => result.reasons.push(error.to_string()),
        }
        if watch.stopped().is_none() {
            watch.advance(percent(1.0, 3.0), "bandwidth to itself");
            let time = half(&self.plan).saturating_sub(Duration::from_secs(2));
            match perftest::bandwidth(programs, &end, &end, tcp, time) {
                Ok(rate) => {
                    covered += 1;
                    let on = Some(Resource::Adapter {
                        name: self.adapter.name.clone(),
                    });
                    watch.sample("bandwidth", on, rate, "Gb/s");
                    self.keep(&mut result, "loopback", rate, "Gb/s");
                }
                Err(error) => {
                    // What ran and gave no value tells nothing; what could not speak to itself does.
                    if matches!(error, PerftestError::Failed { .. }) {
                        result.class = Some(FailureClass::Lost);
                    }
                    result.reasons.push(error.to_string());
                }
            }
        }
        result.coverage = Coverage {
            unit: "measurements".to_owned(),
            asked: 2,
            covered,
            percent: percent(covered as f64, 2.0),
        };
        if let (Some(before), Some(after)) = (before, self.state()) {
            result.counters = adapter_changes(&before, &after);
        }
        result.judged()
    }
}

impl LoopbackStage {
    fn state(&self) -> Option<RdmaDevice> {
        self.root
            .is_live()
            .then(|| rdma::one(&self.root, &self.adapter.name).0)
    }

    fn keep(&self, result: &mut StageResult, name: &str, value: f64, unit: &str) {
        let measured = Measured::uncalibrated(name, value, unit);
        let measured = match &self.adapter.hca_type {
            Some(kind) if unit == "Gb/s" => measured.among(kind.clone()),
            Some(_) | None => measured,
        };
        let measured = self.floors.hold(StageKind::Rdma, measured);
        result.measured.push(measured);
    }
}

/// Every adapter to every other, one after the other.
#[derive(Debug)]
pub(crate) struct PairsStage {
    pub(crate) plan: Plan,
    pub(crate) adapters: Vec<AdapterUnderTest>,
    pub(crate) programs: Perftest,
    pub(crate) floors: Arc<Floors>,
}

impl PairsStage {
    /// Ends that can be tried.
    fn ends(&self) -> Vec<End> {
        let end = |adapter: &AdapterUnderTest| {
            Some(End {
                device: adapter.name.clone(),
                port: adapter.port?,
            })
        };
        self.adapters.iter().filter_map(end).collect()
    }

    /// The pairs that there is time for: each to the next one first, then to the one after that.
    fn pairs(&self, ends: usize) -> Vec<(usize, usize)> {
        // A second of sending, and what starting and ending two programs takes.
        let each = Duration::from_secs(3).as_secs_f64();
        let most = (half(&self.plan).as_secs_f64() / each).floor();
        let all =
            (1..ends).flat_map(|step| (0..ends).map(move |from| (from, (from + step) % ends)));
        all.enumerate()
            .take_while(|(number, _)| (*number as f64) < most.max(1.0))
            .map(|(_, pair)| pair)
            .collect()
    }
}

impl Stage for PairsStage {
    fn spec(&self) -> StageSpec {
        let time = half(&self.plan);
        StageSpec {
            name: StageName::on(StageKind::Rdma, "pairs"),
            what: format!("{} adapters send to each other", self.adapters.len()),
            claims: self
                .adapters
                .iter()
                .flat_map(claims)
                .map(Claim::dispensable)
                .collect(),
            expected: time,
            at_most: time + SLACK,
            required: false,
        }
    }

    fn run(self: Box<Self>, watch: &Watch) -> StageResult {
        let name = StageName::on(StageKind::Rdma, "pairs");
        let ends: Vec<End> = self
            .ends()
            .into_iter()
            .filter(|end| {
                !watch.is_lost(&Resource::Adapter {
                    name: end.device.clone(),
                })
            })
            .collect();
        if ends.len() < 2 {
            return StageResult::skipped(name, "there are no two adapters with an active port");
        }
        let mut cells = vec![vec![None; ends.len()]; ends.len()];
        let pairs = self.pairs(ends.len());
        let mut result = StageResult {
            proof: Proof::none(),
            notes: vec!["perftest compares no data".to_owned()],
            ..StageResult::new(name)
        };
        let mut reached = 0;
        for (number, (from, to)) in pairs.iter().enumerate() {
            if watch.stopped().is_some() {
                result
                    .reasons
                    .push("it was stopped before its time".to_owned());
                break;
            }
            let (a, b) = (&ends[*from], &ends[*to]);
            watch.advance(
                percent(number as f64, pairs.len() as f64),
                format!("{} to {}", a.device, b.device),
            );
            let time = Duration::from_secs(1);
            match perftest::bandwidth(&self.programs, a, b, FIRST_TCP + 99, time) {
                Ok(rate) => {
                    reached += 1;
                    cells[*from][*to] = Some(rate);
                }
                Err(error) => result
                    .notes
                    .push(format!("{} to {}: {error}", a.device, b.device)),
            }
        }
        if reached == 0 {
            result.reasons.push("no adapter reached another".to_owned());
        }
        let names: Vec<String> = ends.iter().map(|end| end.device.clone()).collect();
        result.coverage = Coverage {
            unit: "pairs".to_owned(),
            asked: reached,
            covered: reached,
            percent: percent(1.0, 1.0),
        };
        result.matrices.push(Matrix {
            name: "adapter to adapter".to_owned(),
            unit: "Gb/s".to_owned(),
            rows: names.clone(),
            columns: names,
            cells,
            floor: match self.floors.find(StageKind::Rdma, "pair", "Gb/s") {
                Floor::Uncalibrated => Floor::Uncalibrated,
                floor @ (Floor::AtLeast { .. } | Floor::AtMost { .. }) => floor,
            },
        });
        result.judged()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::Outcome;
    use crate::result::Word;

    fn adapter(name: &str, port: Option<u32>) -> AdapterUnderTest {
        AdapterUnderTest {
            name: name.to_owned(),
            hca_type: Some("MT4129".to_owned()),
            port,
            numa_node: Some(0),
        }
    }

    fn programs(directory: &std::path::Path, client: &str) -> Perftest {
        use std::os::unix::fs::PermissionsExt;
        let programs = Perftest::within(directory);
        for program in [&programs.bandwidth, &programs.latency] {
            let script = format!(
                "#!/bin/sh\nfor last; do :; done\n[ \"$last\" = 127.0.0.1 ] || exec sleep 1\n{client}\n"
            );
            std::fs::write(program, script).expect("script");
            std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755))
                .expect("mode");
        }
        programs
    }

    /// Enough columns for both programs.
    const SPEAKS: &str =
        "echo '#bytes #iterations'; echo '65536 100 0.00 395.5 1.0 1.0 0.1 1.5 2.0'";

    fn loopback(programs: Reading<Perftest>, port: Option<u32>) -> StageResult {
        let stage = Box::new(LoopbackStage {
            plan: Plan::quick(Word(1)).with_budget(StageKind::Rdma, Duration::from_secs(2)),
            adapter: adapter("mlx5_0", port),
            number: 0,
            perftest: programs,
            root: Root::at(std::env::temp_dir()).expect("root"),
            floors: Arc::default(),
            required: true,
        });
        stage.run(&Watch::deaf())
    }

    #[test]
    fn an_adapter_is_measured_or_it_is_said_why_not() {
        let directory = tempfile::tempdir().expect("directory");
        let good = programs(directory.path(), SPEAKS);
        let result = loopback(Reading::Value(good), Some(1));
        assert_eq!(result.outcome, Outcome::Pass, "{:?}", result.reasons);
        let rate = result.measured.iter().find(|m| m.name == "loopback");
        assert_eq!(rate.map(|m| m.value), Some(395.5));
        let none = loopback(Reading::unsupported("perftest is not installed"), Some(1));
        assert_eq!(none.outcome, Outcome::Unsupported);
        let broken = programs(directory.path(), "echo 'Failed status 12'; exit 1");
        let result = loopback(Reading::Value(broken.clone()), Some(1));
        assert_eq!(result.outcome, Outcome::Fail);
        assert!(
            result.reasons[0].contains("Failed status 12"),
            "{:?}",
            result.reasons
        );
        let down = loopback(Reading::Value(broken), None);
        assert_eq!(down.outcome, Outcome::Incomplete);
    }

    #[test]
    fn pairs_become_a_matrix_and_what_cannot_be_reached_is_an_empty_cell() {
        let directory = tempfile::tempdir().expect("directory");
        // The client's device is its second argument: one of them reaches nobody.
        let client = format!("[ \"$2\" = mlx5_1 ] && exit 1; {SPEAKS}");
        let stage = Box::new(PairsStage {
            plan: Plan::quick(Word(1)).with_budget(StageKind::Rdma, Duration::from_secs(12)),
            adapters: vec![
                adapter("mlx5_0", Some(1)),
                adapter("mlx5_1", Some(1)),
                adapter("down", None),
            ],
            programs: programs(directory.path(), &client),
            floors: Arc::default(),
        });
        assert_eq!(stage.pairs(3)[..2], [(0, 1), (1, 2)]);
        let result = stage.run(&Watch::deaf());
        assert_eq!(result.outcome, Outcome::Pass, "{:?}", result.reasons);
        assert_eq!(
            result.matrices[0].cells,
            [[None, Some(395.5)], [None, None]]
        );
    }
}
