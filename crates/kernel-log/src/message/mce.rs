//! Machine checks, as the kernel prints raw banks (`mce: [Hardware Error]: …`), as AMD's decoder
//! prints them (`[Hardware Error]: …`), and what happened to the memory pages they hit.

use cupel_model::RemedyAction::{self, ReplacePart, RunDiagnostic};
use cupel_model::Severity::{self, Critical, Info, Warning};
use cupel_model::{Event, EventKind};

use super::{Accept, Opened, Thread, event, process};

const RAW: &str = "mce: [Hardware Error]: ";
const AMD: &str = "[Hardware Error]: ";

/// MCi_STATUS: the error was not corrected (Intel SDM volume 3, machine-check architecture).
const UNCORRECTED: u64 = 1 << 61;
/// MCi_STATUS: the processor's context is corrupt.
const CONTEXT_CORRUPT: u64 = 1 << 57;

type Judged = (&'static str, Severity, RemedyAction);
const CORRECTED: Judged = ("mce.corrected", Info, RemedyAction::None);
const DEFERRED: Judged = ("mce.deferred", Warning, RunDiagnostic);
const UNCORRECTED_ERROR: Judged = ("mce.uncorrected", Critical, RunDiagnostic);
const FATAL: Judged = ("mce.fatal", Critical, RunDiagnostic);

/// A machine check that goes on with the processor's registers.
#[derive(Debug)]
pub(crate) enum Report {
    /// Raw banks.
    Raw,
    /// AMD's decoder.
    Amd,
}

impl Report {
    pub fn offer(&self, _: &mut Event, message: &str) -> Accept {
        let mine = match self {
            Self::Raw => message
                .strip_prefix(RAW)
                .is_some_and(|text| bank(text).is_none() && general(text).is_none()),
            Self::Amd => message
                .strip_prefix(AMD)
                .is_some_and(|text| amd_head(text).is_none()),
        };
        if mine { Accept::More } else { Accept::No }
    }
}

/// "CPU 24: Machine Check[ Exception]: 5 Bank 3: be00000000800400".
fn bank(text: &str) -> Option<Judged> {
    let (_, rest) = text.strip_prefix("CPU ")?.split_once(": Machine Check")?;
    let (_, rest) = rest.split_once(" Bank ")?;
    let (_, status) = rest.split_once(": ")?;
    let status = status.split_ascii_whitespace().next()?;
    let status = u64::from_str_radix(status, 16).ok()?;
    Some(
        match (status & UNCORRECTED != 0, status & CONTEXT_CORRUPT != 0) {
            (false, _) => CORRECTED,
            (true, false) => UNCORRECTED_ERROR,
            (true, true) => FATAL,
        },
    )
}

fn general(text: &str) -> Option<Judged> {
    if text.starts_with("Machine check events logged") {
        Some(("mce.logged", Info, RunDiagnostic))
    } else if text.starts_with("Machine check: ") || text.starts_with("Fatal machine check") {
        Some(FATAL)
    } else {
        None
    }
}

/// The line with which AMD's decoder begins.
fn amd_head(text: &str) -> Option<Judged> {
    if text.starts_with("Corrected error") {
        Some(CORRECTED)
    } else if text.starts_with("Deferred error") {
        Some(DEFERRED)
    } else if text.starts_with("Uncorrected") {
        Some(UNCORRECTED_ERROR)
    } else if text.starts_with("System Fatal error") {
        Some(FATAL)
    } else {
        None
    }
}

/// "CPU:0 (19:1:1) MC17_STATUS[Over|CE|MiscV|…]: 0x…", where the head was lost.
fn amd_status(text: &str) -> Option<Judged> {
    let (_, flags) = text.strip_prefix("CPU:")?.split_once("_STATUS[")?;
    let (flags, _) = flags.split_once(']')?;
    let has = |flag: &str| flags.split('|').any(|f| f == flag);
    Some(if has("PCC") {
        FATAL
    } else if has("UE") {
        UNCORRECTED_ERROR
    } else if has("Deferred") {
        DEFERRED
    } else {
        CORRECTED
    })
}

fn judged((code, severity, action): Judged) -> Event {
    event(EventKind::Mce, code, severity, action)
}

fn threaded(judgement: Judged, report: Report) -> Opened {
    Opened {
        event: judged(judgement),
        thread: Some(Thread::Mce(report)),
    }
}

pub(super) fn decode(message: &str) -> Option<Opened> {
    if let Some(text) = message.strip_prefix(RAW) {
        return bank(text)
            .map(|judgement| threaded(judgement, Report::Raw))
            .or_else(|| general(text).map(|judgement| judged(judgement).into()));
    }
    if let Some(text) = message.strip_prefix(AMD) {
        return amd_head(text)
            .or_else(|| amd_status(text))
            .map(|judgement| threaded(judgement, Report::Amd));
    }
    if message.starts_with("mce: Uncorrected hardware memory error") {
        return Some(judged(UNCORRECTED_ERROR).into());
    }
    if message.contains("CMCI storm detected") && message.starts_with("mce: ") {
        return Some(judged(("mce.storm", Warning, RunDiagnostic)).into());
    }
    memory_failure(message)
}

/// What became of a page with an uncorrectable error.
fn memory_failure(message: &str) -> Option<Opened> {
    let message = message.strip_prefix("MCE ").unwrap_or(message);
    let (address, rest) = message.strip_prefix("Memory failure: ")?.split_once(": ")?;
    address.starts_with("0x").then_some(())?;
    if rest.starts_with("recovery action for ") {
        let (_, outcome) = rest.rsplit_once(": ")?;
        return Some(match outcome.trim() {
            "Recovered" | "Delayed" => judged(("mce.page-offlined", Warning, RunDiagnostic)).into(),
            _ => judged(("mce.page-lost", Critical, ReplacePart)).into(),
        });
    }
    let victim = rest
        .strip_prefix("Sending SIGBUS to ")
        .or_else(|| rest.strip_prefix("Killing "))?;
    let (victim, _) = victim.split_once(" due to ")?;
    let mut event = judged(("mce.process-killed", Warning, RunDiagnostic));
    (event.process, event.pid) = process(victim);
    Some(event.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        for (message, code) in [
            (
                "mce: [Hardware Error]: CPU 24: Machine Check: 0 Bank 7: cc00008000010090",
                "mce.corrected",
            ),
            (
                "mce: [Hardware Error]: CPU 24: Machine Check Exception: 5 Bank 3: be00000000800400",
                "mce.fatal",
            ),
            (
                "mce: [Hardware Error]: CPU 24: Machine Check Exception: 5 Bank 3: bd80000000100134",
                "mce.uncorrected",
            ),
            (
                "mce: [Hardware Error]: Machine check events logged",
                "mce.logged",
            ),
            (
                "mce: [Hardware Error]: Machine check: Processor context corrupt",
                "mce.fatal",
            ),
            (
                "[Hardware Error]: Corrected error, no action required.",
                "mce.corrected",
            ),
            (
                "[Hardware Error]: Uncorrected, software restartable error.",
                "mce.uncorrected",
            ),
            (
                "[Hardware Error]: CPU:0 (19:1:1) MC17_STATUS[Over|UE|MiscV|AddrV|-]: 0xdc2040000000011b",
                "mce.uncorrected",
            ),
            (
                "mce: Uncorrected hardware memory error in user-access at 1ff5400",
                "mce.uncorrected",
            ),
            (
                "Memory failure: 0x1ff5400: recovery action for dirty LRU page: Recovered",
                "mce.page-offlined",
            ),
            (
                "Memory failure: 0x1ff5400: recovery action for reserved kernel page: Ignored",
                "mce.page-lost",
            ),
        ] {
            assert_eq!(
                decode(message).expect(message).event.code,
                code,
                "{message}"
            );
        }
        for message in [
            "mce: CPU0 supports 20 MCE banks",
            "mce: [Hardware Error]: PROCESSOR 0:306e4 TIME 1445352031",
            "Memory failure rates are documented",
        ] {
            assert!(decode(message).is_none(), "{message}");
        }
    }

    #[test]
    fn the_killed_process_is_named() {
        let message = "Memory failure: 0x1ff5400: Sending SIGBUS to python:3:1234 due to hardware memory corruption";
        let event = decode(message).expect("killed").event;
        assert_eq!(event.pid, Some(1234));
        assert_eq!(event.process.as_deref(), Some("python:3"));
    }

    #[test]
    fn registers_belong_to_their_bank() {
        let Opened { mut event, thread } =
            decode("mce: [Hardware Error]: CPU 24: Machine Check: 0 Bank 7: cc00008000010090")
                .expect("bank");
        let mut thread = thread.expect("goes on");
        let mut offer = |message| thread.offer(&mut event, message);
        assert_eq!(
            offer("mce: [Hardware Error]: TSC 0 ADDR 1f2f3c1c80 MISC 200000c020002086"),
            Accept::More
        );
        assert_eq!(
            offer("mce: [Hardware Error]: CPU 25: Machine Check: 0 Bank 7: cc00008000010090"),
            Accept::No
        );
        assert_eq!(
            offer("mce: [Hardware Error]: Machine check events logged"),
            Accept::No
        );
    }
}
