//! The gate: what a scheduler's hook is told, in one small file.
//!
//! # Invariants
//! - The file is replaced in one step, and says until when it may be believed, by a clock that never
//!   jumps: a service that hangs, died or was never started lets its word expire.
//! - No word blocks nothing. A broken agent must not drain a cluster: only a finding that is
//!   confirmed, enforced and forbids work closes the gate.
//!
//! # What is absent
//! No talking to a scheduler: the hook prints and exits, the site's own script does the rest.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cupel_hardware::Root;
use cupel_model::wire::Tracked;
use cupel_model::{Confidence, SCHEMA_VERSION, Timestamp, Verdict};
use serde::{Deserialize, Serialize};

use crate::state;

/// Name of the file in the run-time directory.
const FILE: &str = "gate.json";

/// Most bytes of it.
const CAP: u64 = 64 * 1024;

/// How often a word that is good for `valid` is renewed when nothing changes: a service that is
/// late once or twice still has a word.
pub fn renewed_every(valid: Duration) -> Duration {
    valid / 4
}

/// What the service says to whoever is about to give work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// Version of this JSON.
    pub schema_version: u32,
    /// When it was written, for people.
    pub written_at: Timestamp,
    /// In which boot.
    pub boot: String,
    /// Seconds since boot when it was written.
    pub since_boot_seconds: f64,
    /// For how many seconds from then it may be believed.
    pub valid_seconds: f64,
    /// The verdict.
    pub verdict: Verdict,
    /// Whether work may be given.
    pub allowed: bool,
    /// Why not, in a line; null when it may.
    pub reason: Option<String>,
}

/// What a hook answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Work may be given.
    Open,
    /// Work must not be given.
    Closed(String),
    /// The verdict is unknown: something that must be checked could not be.
    Unsure(String),
    /// The service says nothing that can be believed.
    None(String),
}

/// The findings that close the gate.
fn closing(findings: &[Tracked]) -> Vec<&Tracked> {
    findings
        .iter()
        .filter(|tracked| {
            tracked.finding.blocks_allocation()
                && tracked.finding.confidence == Confidence::Confirmed
        })
        .collect()
}

/// Why work must not be given, in a line that fits a scheduler's reason field.
pub fn reason(findings: &[Tracked]) -> Option<String> {
    let closing = closing(findings);
    let first = &closing.first()?.finding;
    let part = &first.component;
    let place = [
        part.slot.clone(),
        part.serial.clone(),
        part.pci.map(|pci| pci.to_string()),
    ]
    .into_iter()
    .flatten()
    .next();
    let mut text = format!("cupel: {}", first.code);
    if let Some(place) = place {
        text.push_str(&format!(" ({place})"));
    }
    text.push_str(&format!(": {}", first.summary));
    if closing.len() > 1 {
        text.push_str(&format!(" (+{} more)", closing.len() - 1));
    }
    Some(one_line(&text))
}

/// Without control characters, and short enough for a scheduler.
fn one_line(text: &str) -> String {
    const MOST: usize = 240;
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match clean.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &clean[..at]),
        None => clean,
    }
}

/// What the gate is under these findings, good for `valid`.
pub fn gate(
    boot: &str,
    now: Timestamp,
    since_boot: Duration,
    valid: Duration,
    verdict: Verdict,
    findings: &[Tracked],
) -> Gate {
    let reason = reason(findings);
    Gate {
        schema_version: SCHEMA_VERSION,
        written_at: now,
        boot: boot.to_owned(),
        since_boot_seconds: since_boot.as_secs_f64(),
        valid_seconds: valid.as_secs_f64(),
        verdict,
        allowed: reason.is_none(),
        reason,
    }
}

/// Where the gate is.
pub fn path(root: &Root) -> PathBuf {
    state::run_directory(root).join(FILE)
}

/// Replaces the gate.
///
/// # Errors
/// The file system's.
pub fn write(path: &Path, gate: &Gate) -> io::Result<()> {
    let json = serde_json::to_vec(gate)?;
    let new = path.with_extension("json.new");
    fs::write(&new, json)?;
    fs::rename(&new, path)
}

/// Takes the gate away: the service ends, and its word with it.
pub fn remove(path: &Path) {
    // Missing already, or it expires by itself.
    let _ = fs::remove_file(path);
}

/// What the gate at `path` says now.
pub fn ask(path: &Path, boot: Option<&str>, since_boot: Duration) -> Word {
    let gate = match load(path) {
        Ok(gate) => gate,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Word::None("the service does not run".to_owned());
        }
        Err(error) => return Word::None(format!("cannot read {}: {error}", path.display())),
    };
    believe(gate, boot, since_boot)
}

fn load(path: &Path) -> io::Result<Gate> {
    use std::io::Read as _;
    let mut text = Vec::new();
    fs::File::open(path)?.take(CAP).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Whether a gate may be believed, and what it says.
fn believe(gate: Gate, boot: Option<&str>, since_boot: Duration) -> Word {
    if boot.is_some_and(|boot| boot != gate.boot) {
        return Word::None("the service has not spoken since this boot".to_owned());
    }
    let age = since_boot.as_secs_f64() - gate.since_boot_seconds;
    // Written and asked by the same clock: a word from the future is none.
    if !(-1.0..=gate.valid_seconds).contains(&age) {
        return Word::None(format!("the service has been silent for {age:.0} s"));
    }
    match gate.reason {
        Some(reason) if !gate.allowed => Word::Closed(reason),
        Some(_) | None if gate.verdict == Verdict::Unknown => {
            Word::Unsure("cupel: a check that applies here could not be determined".to_owned())
        }
        Some(_) | None => Word::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupel_model::{
        Clears, Component, ComponentKind, Finding, Impact, Mode, Scope, Severity, Urgency,
    };

    const VALID: Duration = Duration::from_secs(120);

    fn tracked(confidence: Confidence, mode: Mode, summary: &str) -> Tracked {
        Tracked {
            id: "gpu.off-bus/gpu/165".to_owned(),
            finding: Finding {
                code: "gpu.off-bus".to_owned(),
                component: Component {
                    serial: Some("165".to_owned()),
                    ..Component::of(ComponentKind::Gpu)
                },
                severity: Severity::Critical,
                impact: Impact::BlocksAllocation,
                urgency: Urgency::Now,
                scope: Scope::Gpu,
                confidence,
                mode,
                summary: summary.to_owned(),
                evidence: Vec::new(),
                remedy: Vec::new(),
                since: None,
                clears: Clears::Reboot,
            },
            last_seen: Timestamp::EPOCH,
            boot: "b".to_owned(),
            observed: true,
            flaps: 0,
            waits_for: None,
        }
    }

    fn word(findings: &[Tracked], verdict: Verdict, asked_at: u64, boot: &str) -> Word {
        let written = Duration::from_secs(1000);
        let gate = gate("b", Timestamp::EPOCH, written, VALID, verdict, findings);
        believe(gate, Some(boot), Duration::from_secs(asked_at))
    }

    #[test]
    fn only_what_is_confirmed_and_enforced_closes_the_gate() {
        let sure = tracked(Confidence::Confirmed, Mode::Enforce, "GPU 3\nis gone");
        assert_eq!(
            word(std::slice::from_ref(&sure), Verdict::Unhealthy, 1001, "b"),
            Word::Closed("cupel: gpu.off-bus (165): GPU 3 is gone".to_owned())
        );
        let unsure = tracked(Confidence::Provisional, Mode::Enforce, "x");
        assert_eq!(word(&[unsure], Verdict::Unhealthy, 1001, "b"), Word::Open);
        let observed = tracked(Confidence::Confirmed, Mode::Observe, "x");
        assert_eq!(word(&[observed], Verdict::Healthy, 1001, "b"), Word::Open);
        assert!(matches!(
            word(&[], Verdict::Unknown, 1001, "b"),
            Word::Unsure(_)
        ));
    }

    #[test]
    fn a_word_expires_and_is_of_one_boot() {
        let sure = [tracked(Confidence::Confirmed, Mode::Enforce, "x")];
        for (asked_at, boot) in [(1121, "b"), (900, "b"), (1001, "c")] {
            let word = word(&sure, Verdict::Unhealthy, asked_at, boot);
            assert!(matches!(word, Word::None(_)), "{asked_at} {boot}: {word:?}");
        }
    }

    #[test]
    fn what_is_no_gate_is_no_word() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("gate.json");
        let none = |path: &Path| matches!(ask(path, None, Duration::ZERO), Word::None(_));
        assert!(none(&path));
        fs::write(&path, "{\"allowed\":").expect("write");
        assert!(none(&path));
        let gate = gate(
            "b",
            Timestamp::EPOCH,
            Duration::from_secs(5),
            VALID,
            Verdict::Healthy,
            &[],
        );
        write(&path, &gate).expect("write");
        assert_eq!(ask(&path, Some("b"), Duration::from_secs(6)), Word::Open);
        remove(&path);
        assert!(none(&path));
    }

    #[test]
    fn a_reason_is_one_short_line() {
        let long = tracked(Confidence::Confirmed, Mode::Enforce, &"é\u{7}".repeat(400));
        let reason = reason(&[long]).expect("reason");
        assert!(
            reason.chars().count() <= 241 && !reason.contains('\u{7}'),
            "{reason}"
        );
    }
}
