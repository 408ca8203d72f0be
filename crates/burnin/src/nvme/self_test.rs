//! The drive's own test of itself, within the time that is left for it.
//!
//! # Invariants
//! - A test that was started here and does not end in time is ended, and is no pass.

use std::time::{Duration, Instant};

use cupel_hardware::Root;
use cupel_hardware::nvme::{SelfTestEnd, SelfTestKind, SelfTester};
use cupel_model::Reading;

use crate::plan::percent;
use crate::stage::Watch;

/// The specification gives the short test two minutes.
pub(super) const SHORT: Duration = Duration::from_secs(130);
/// How often the log is asked.
const EVERY: Duration = Duration::from_secs(1);

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It passed.
    Passed(&'static str),
    /// It found an error.
    Failed(String),
    /// It did not come to an end.
    Incomplete(String),
    /// There is none here, or no time for one; why.
    None(String),
}

/// Runs the longest test that fits into `time`.
pub(super) fn run(root: &Root, controller: &str, time: Duration, watch: &Watch) -> Ended {
    let tester = match SelfTester::of(root, controller) {
        Reading::Value(tester) => tester,
        Reading::Absent(why) | Reading::Unsupported(why) => return Ended::None(why),
        Reading::Failed(why) => return Ended::Incomplete(why),
    };
    let extended = Duration::from_secs(60 * u64::from(tester.extended_minutes) + 60);
    let kind = if tester.extended_minutes > 0 && time >= extended {
        SelfTestKind::Extended
    } else if time >= SHORT {
        SelfTestKind::Short
    } else {
        return Ended::None("no time for the drive's self-test in this plan".to_owned());
    };
    follow(&tester, kind, time, watch).unwrap_or_else(|error| Ended::Incomplete(error.to_string()))
}

fn follow(
    tester: &SelfTester,
    kind: SelfTestKind,
    time: Duration,
    watch: &Watch,
) -> Result<Ended, cupel_hardware::ReadError> {
    let name = match kind {
        SelfTestKind::Short => "short",
        SelfTestKind::Extended => "extended",
    };
    if tester.log()?.running.is_some() {
        return Ok(Ended::Incomplete(
            "somebody else's self-test runs on the drive".to_owned(),
        ));
    }
    tester.start(kind)?;
    let until = Instant::now() + time;
    loop {
        std::thread::sleep(EVERY);
        let log = tester.log()?;
        let Some(done) = log.running else {
            return Ok(match log.newest {
                Some(SelfTestEnd::Passed) => Ended::Passed(name),
                Some(SelfTestEnd::Failed(how)) => Ended::Failed(format!("{name} self-test {how}")),
                Some(SelfTestEnd::Cut(how)) => {
                    Ended::Incomplete(format!("{name} self-test was {how}"))
                }
                None => Ended::Incomplete(format!("{name} self-test left no result")),
            });
        };
        watch.advance(
            percent(50.0 + done.get() / 2.0, 100.0),
            format!("{name} self-test, {:.0} %", done.get()),
        );
        let why = if watch.stopped().is_some() {
            "it was stopped before its time"
        } else if Instant::now() >= until {
            "it took longer than it may"
        } else {
            continue;
        };
        tester.end()?;
        return Ok(Ended::Incomplete(format!("{name} self-test: {why}")));
    }
}
