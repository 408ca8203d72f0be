//! Lines of the kernel log, counted as they are written.
//!
//! # Invariants
//! - Each line names itself: its text ends in something that no other line has.
//! - XID 43 is an application's and makes no finding; the others make one for each GPU.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use cupel_fleet::Node;
use cupel_rack::Fault;
use serde_json::Value;

use super::random::Random;

/// XIDs of a GPU that someone must act on: GPU, code, what follows the code.
const CONDITIONS: [(u32, u32, &str); 4] = [
    (
        0,
        95,
        "pid=71000, name=train, Uncontained: LTC TAG (0x2,0x0). RST: Yes, D-RST: No",
    ),
    (
        1,
        48,
        "pid='<unknown>', name=<unknown>, DBE (double bit error) ECC Error",
    ),
    (
        2,
        95,
        "pid=71002, name=train, Uncontained: LTC TAG (0x3,0x1). RST: Yes, D-RST: No",
    ),
    (
        3,
        48,
        "pid=71003, name=train, DBE (double bit error) ECC Error",
    ),
];

/// GPUs of the server.
const GPUS: u32 = 8;

/// What was written.
#[derive(Clone, Debug, Default)]
pub struct Storm {
    written: BTreeMap<String, u64>,
    conditions: Vec<u32>,
}

/// What ends a line: unique, and the same in the log and in the event.
fn ending(code: u32, text: &str) -> String {
    format!("): {code}, {text}")
}

impl Storm {
    /// Writes a few lines, one of them perhaps many times.
    pub fn blow(&mut self, node: &mut Node, random: &mut Random) -> Result<()> {
        let mut faults = Vec::new();
        for _ in 0..=random.below(3) {
            let (gpu, code, text) = if random.below(6) == 0 {
                let (gpu, code, text) = *random.pick(&CONDITIONS);
                (gpu, code, text.to_owned())
            } else {
                let gpu = u32::try_from(random.below(GPUS.into()))?;
                let which = random.below(3);
                let text = format!("pid={}, name=job{gpu}, Ch 0000000{which}", 4000 + gpu);
                (gpu, 43, text)
            };
            let times = match random.below(10) {
                0 => 40,
                few => u32::try_from(few)?,
            };
            self.count(gpu, code, &text, times);
            faults.push(Fault::GpuXid {
                gpu,
                code,
                text,
                times,
            });
        }
        node.rack.apply_all(&faults)
    }

    /// Writes every condition once, so that each GPU that can has its finding.
    pub fn conditions(&mut self, node: &mut Node) -> Result<()> {
        for (gpu, code, text) in CONDITIONS {
            self.count(gpu, code, text, 1);
            node.apply(&Fault::GpuXid {
                gpu,
                code,
                text: text.to_owned(),
                times: 1,
            })?;
        }
        Ok(())
    }

    fn count(&mut self, gpu: u32, code: u32, text: &str, times: u32) {
        *self.written.entry(ending(code, text)).or_default() += u64::from(times);
        if code != 43 && !self.conditions.contains(&gpu) {
            self.conditions.push(gpu);
        }
    }

    /// Lines written.
    pub fn lines(&self) -> u64 {
        self.written.values().sum()
    }

    /// Texts written.
    pub fn texts(&self) -> usize {
        self.written.len()
    }

    /// GPUs that have a finding by now.
    pub fn gpus(&self) -> &[u32] {
        &self.conditions
    }

    /// What the inventory's events of a node say otherwise than what was written.
    pub fn differences(&self, events: &[Value]) -> Result<Vec<String>> {
        let mut told: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        let mut wrong = Vec::new();
        for event in events {
            let raw = event["event"]["event"]["raw"].as_str().unwrap_or_default();
            let repeats = event["event"]["event"]["repeats"].as_u64();
            ensure!(repeats.is_some(), "an event without a count: {event}");
            match self.written.keys().find(|ending| raw.ends_with(*ending)) {
                Some(ending) => told.entry(ending).or_default().extend(repeats),
                None if raw.contains("NVRM: Xid") => {
                    wrong.push(format!("nobody wrote {raw:?}"));
                }
                None => {}
            }
        }
        for (ending, written) in &self.written {
            let counts = told.remove(ending.as_str()).unwrap_or_default();
            if counts != [*written] {
                wrong.push(format!("{written} written, told {counts:?}: {ending}"));
            }
        }
        Ok(wrong)
    }
}
