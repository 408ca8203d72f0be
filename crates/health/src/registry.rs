//! Every check, in the order of its code.
//!
//! # Invariants
//! - Codes are unique, sorted and documented; each check has cases that pass, fail and stay
//!   unknown. This module's tests prove it.
//!
//! Adding a check: one file under `checks/`, one line here.

use std::time::Duration;

use cupel_model::Mode;

use crate::checks;
use crate::context::Context;
use crate::outcome::Outcome;

/// How long a finding must be observed without a break before it counts as confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// So long; zero confirms at once.
    pub length: Duration,
    /// Why just so long, after "because".
    pub because: &'static str,
}

impl Window {
    /// What is observed once is certain.
    pub const fn none(because: &'static str) -> Self {
        Self::seconds(0, because)
    }

    /// So many seconds.
    pub const fn seconds(seconds: u64, because: &'static str) -> Self {
        Self {
            length: Duration::from_secs(seconds),
            because,
        }
    }
}

/// What the findings of a check are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// What is so now: it is observed as long as it lasts.
    State,
    /// What happened in this boot, as the kernel log tells it: it is observed until the next boot,
    /// whether or not it lasts.
    Log,
}

/// One check.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Stable, dotted code; the code of its findings too.
    pub code: &'static str,
    /// Whether its findings count, unless the operator says otherwise.
    pub mode: Mode,
    /// When a finding of a node that is watched counts as confirmed.
    pub window: Window,
    /// What its findings are made of.
    pub basis: Basis,
    pub(crate) doc: &'static str,
    pub(crate) evaluate: fn(&Context<'_>) -> Outcome,
    #[cfg(test)]
    pub(crate) cases: &'static [crate::testing::Case],
}

/// Every check, by code.
pub const CHECKS: &[Check] = &[
    checks::bmc_event_critical::CHECK,
    checks::bmc_sensor_critical::CHECK,
    checks::cpu_machine_check::CHECK,
    checks::cpu_offline::CHECK,
    checks::driver_absent::CHECK,
    checks::driver_mismatch::CHECK,
    checks::fabric_not_ready::CHECK,
    checks::filesystem_errors::CHECK,
    checks::filesystem_full::CHECK,
    checks::gpu_driver_hung::CHECK,
    checks::gpu_ecc_uncorrectable::CHECK,
    checks::gpu_memory_size::CHECK,
    checks::gpu_missing::CHECK,
    checks::gpu_off_bus::CHECK,
    checks::gpu_recovery_action::CHECK,
    checks::gpu_row_remap_failed::CHECK,
    checks::gpu_row_remap_pending::CHECK,
    checks::gpu_thermal_slowdown::CHECK,
    checks::gpu_xid::CHECK,
    checks::kernel_log_unreadable::CHECK,
    checks::memory_dimm_missing::CHECK,
    checks::memory_ecc_corrected::CHECK,
    checks::memory_ecc_uncorrected::CHECK,
    checks::memory_size::CHECK,
    checks::nvlink_inactive::CHECK,
    checks::nvme_critical_warning::CHECK,
    checks::nvme_errors::CHECK,
    checks::nvme_missing::CHECK,
    checks::nvswitch_missing::CHECK,
    checks::nvswitch_sxid::CHECK,
    checks::pcie_aer_uncorrected::CHECK,
    checks::pcie_link_errors::CHECK,
    checks::pcie_speed::CHECK,
    checks::pcie_width::CHECK,
    checks::platform_unmatched::CHECK,
    checks::rdma_errors::CHECK,
    checks::rdma_link_flaps::CHECK,
    checks::rdma_port_down::CHECK,
    checks::rdma_port_missing::CHECK,
    checks::rdma_port_rate::CHECK,
    checks::sensor_critical::CHECK,
];

/// Checks that only say whether something could be read.
pub(crate) const FINDS_NOTHING: [&str; 1] = ["kernel-log.unreadable"];

/// The check named `code`.
pub fn find(code: &str) -> Option<&'static Check> {
    CHECKS.iter().find(|check| check.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Standing;
    use crate::testing::{Expect, Node};
    use cupel_model::Severity;

    #[test]
    fn codes_are_sorted_and_unique() {
        for pair in CHECKS.windows(2) {
            assert!(pair[0].code < pair[1].code, "{}", pair[1].code);
        }
    }

    #[test]
    fn every_check_has_cases_that_pass_fail_and_stay_unknown() {
        for check in CHECKS {
            let has = |wanted| check.cases.iter().any(|case| case.expect == wanted);
            assert!(has(Expect::Pass), "{} has no case that passes", check.code);
            assert!(
                has(Expect::Unknown),
                "{} has no case that stays unknown",
                check.code
            );
            assert!(
                has(Expect::Fail) != FINDS_NOTHING.contains(&check.code),
                "{} has no case that fails",
                check.code
            );
        }
    }

    #[test]
    fn every_case_comes_out_as_it_says() {
        for check in CHECKS {
            for case in check.cases {
                let mut node = Node::good();
                (case.change)(&mut node);
                let context = Context::new(&node.snapshot, node.platform.as_ref());
                let outcome = (check.evaluate)(&context);
                let standing = outcome.standing();
                let found = !outcome.findings().is_empty();
                let name = format!("{}: {}: {standing:?}", check.code, case.name);
                match case.expect {
                    Expect::Pass => {
                        assert_eq!(standing, Standing::Ran, "{name}");
                        assert!(!found, "{name}: {:#?}", outcome.findings());
                    }
                    Expect::Fail => assert!(found, "{name}"),
                    Expect::Unknown => {
                        assert!(matches!(standing, Standing::Unknown(_)), "{name}");
                    }
                    Expect::Skip => {
                        assert!(matches!(standing, Standing::Skipped(_)), "{name}");
                        assert!(!found, "{name}");
                    }
                }
                for finding in outcome.findings() {
                    assert_eq!(finding.code, check.code, "{name}");
                    assert!(!finding.summary.ends_with('.'), "{name}");
                    assert!(!finding.evidence.is_empty(), "{name}: no evidence");
                    assert!(
                        finding.severity == Severity::Info || !finding.remedy.is_empty(),
                        "{name}: nothing to do"
                    );
                    for evidence in &finding.evidence {
                        assert_eq!(
                            evidence.limit.is_some(),
                            evidence.limit_source.is_some(),
                            "{name}: {}",
                            evidence.name
                        );
                    }
                }
            }
        }
    }
}
