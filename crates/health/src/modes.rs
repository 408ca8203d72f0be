//! Whether a check's findings count.

use std::collections::BTreeMap;

use cupel_model::Mode;

use crate::registry::{CHECKS, Check};

/// A mode was set for a check that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no check is named {code:?} (`cupel explain` lists them)")]
pub struct UnknownCheck {
    /// The name that was given.
    pub code: String,
}

/// The mode of each check: its default, unless the operator said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    set: BTreeMap<&'static str, Mode>,
}

impl Modes {
    /// Sets the mode of the check named `code`.
    ///
    /// # Errors
    /// [`UnknownCheck`] when there is none.
    pub fn set(&mut self, code: &str, mode: Mode) -> Result<(), UnknownCheck> {
        let check = CHECKS
            .iter()
            .find(|check| check.code == code)
            .ok_or_else(|| UnknownCheck {
                code: code.to_owned(),
            })?;
        self.set.insert(check.code, mode);
        Ok(())
    }

    /// The mode of `check`.
    pub fn of(&self, check: &Check) -> Mode {
        self.set.get(check.code).copied().unwrap_or(check.mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_checks_that_exist_have_a_mode() {
        let mut modes = Modes::default();
        let check = crate::registry::find("gpu.off-bus").expect("a check");
        assert_eq!(modes.of(check), Mode::Enforce);
        modes.set(check.code, Mode::Observe).expect("known");
        assert_eq!(modes.of(check), Mode::Observe);
        let error = modes
            .set("gpu.of-bus", Mode::Observe)
            .expect_err("misspelt");
        assert!(error.to_string().contains("gpu.of-bus"));
    }
}
