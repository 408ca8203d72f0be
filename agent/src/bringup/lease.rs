//! Whether this machine may be loaded now: who owns it, and whether somebody agreed.
//!
//! # Invariants
//! - "No process is using it" is never taken for permission.
//! - On a node that belongs to somebody, only an operator at the terminal can agree; `--yes` from a
//!   script is no lease.
//!
//! # What is absent
//! Leases from a scheduler or from the inventory: neither exists yet.

use cupel_model::snapshot::Tenancy;

use crate::cli::COLUMNS;
use crate::exit::Refused;
use crate::output::{ask, note, stdin_is_terminal};
use crate::render::table::wrap;

/// Whether a load may begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consent {
    /// It was agreed to.
    Given,
    /// The operator has to be asked.
    Ask,
    /// It may not; why, and what to do.
    Refused(String),
}

/// What the owner, the option and the place allow.
pub fn consent(tenancy: Tenancy, yes: bool, at_terminal: bool) -> Consent {
    let owner = match tenancy {
        Tenancy::None => None,
        Tenancy::Scheduler => Some("a scheduler gives work to this node (drain it first)"),
        Tenancy::VmPassthrough => Some("virtual machines use this node"),
        Tenancy::Vgpu => Some("virtual machines share this node"),
        Tenancy::BareMetal => Some("a tenant owns this node"),
    };
    match (owner, at_terminal) {
        (None, _) if yes => Consent::Given,
        (None, true) => Consent::Ask,
        (None, false) => Consent::Refused(
            "a burn-in takes processors and memory away from whatever runs here, and there is \
             nobody at the terminal to ask; say --yes"
                .to_owned(),
        ),
        (Some(_), true) if yes => Consent::Given,
        (Some(_), true) => Consent::Ask,
        (Some(owner), false) => Consent::Refused(format!(
            "{owner}: only an operator at the terminal may start a burn-in (tenancy is set in the \
             configuration; see 'cupel config')"
        )),
    }
}

/// Shows what will be done and gets the consent for it.
///
/// # Errors
/// [`Refused`] without consent.
pub fn obtain(tenancy: Tenancy, yes: bool, lines: &[String]) -> anyhow::Result<()> {
    note("Burn-in will disturb whatever runs on this machine:");
    for line in lines {
        for (number, part) in wrap(line, COLUMNS - 4).into_iter().enumerate() {
            note(&format!(
                "{}{part}",
                if number == 0 { "  " } else { "    " }
            ));
        }
    }
    match consent(tenancy, yes, stdin_is_terminal()) {
        Consent::Given => Ok(()),
        Consent::Refused(why) => Err(Refused(why).into()),
        Consent::Ask => {
            if tenancy != Tenancy::None {
                note("This node belongs to somebody: make sure that no work runs on it.");
            }
            ask()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_person_at_the_terminal_may_disturb_an_owned_node() {
        let owned = [
            Tenancy::Scheduler,
            Tenancy::VmPassthrough,
            Tenancy::Vgpu,
            Tenancy::BareMetal,
        ];
        for tenancy in owned {
            assert_eq!(consent(tenancy, true, true), Consent::Given);
            assert_eq!(consent(tenancy, false, true), Consent::Ask);
            for yes in [false, true] {
                assert!(matches!(consent(tenancy, yes, false), Consent::Refused(_)));
            }
        }
        assert_eq!(consent(Tenancy::None, true, false), Consent::Given);
        assert_eq!(consent(Tenancy::None, false, true), Consent::Ask);
        assert!(matches!(
            consent(Tenancy::None, false, false),
            Consent::Refused(_)
        ));
    }
}
