//! The NVIDIA driver's version, as far as decoding depends on it.

use std::fmt;
use std::str::FromStr;

/// Version of the NVIDIA kernel driver, e.g. `570.86.15`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DriverVersion {
    /// The branch: 570 of R570.
    pub branch: u32,
    /// The second number, 0 where it is missing.
    pub minor: u32,
    /// The third number, 0 where it is missing.
    pub patch: u32,
}

/// A text that is no driver version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a driver version (want numbers such as 570.86.15)")]
pub struct DriverVersionError {
    /// The offending text, at most 64 characters of it.
    pub text: String,
}

impl FromStr for DriverVersion {
    type Err = DriverVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || DriverVersionError {
            text: text.chars().take(64).collect(),
        };
        let mut numbers = [0_u32; 3];
        for (given, part) in text.trim().split('.').enumerate() {
            let slot = numbers.get_mut(given).ok_or_else(refused)?;
            if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
                return Err(refused());
            }
            *slot = part.parse().map_err(|_| refused())?;
        }
        let [branch, minor, patch] = numbers;
        Ok(Self {
            branch,
            minor,
            patch,
        })
    }
}

impl fmt::Display for DriverVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}.{:02}", self.branch, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_nonsense_is_refused() {
        let version: DriverVersion = "570.86.15".parse().expect("version");
        assert_eq!(
            (version.branch, version.minor, version.patch),
            (570, 86, 15)
        );
        assert_eq!("580".parse::<DriverVersion>().expect("branch").branch, 580);
        for text in ["", "R575", "570.", "570.1.2.3", "570.-1", "99999999999"] {
            assert!(text.parse::<DriverVersion>().is_err(), "{text:?}");
        }
    }
}
