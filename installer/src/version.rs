//! The name of an installed version: `0.1.0-3f9a…`, the program's number and what it is made of.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Hexadecimal digits of the program's hash in a version's name.
const SHORT: usize = 12;

/// Longest name.
const LONGEST: usize = 100;

/// A version, and the name of its directory.
///
/// It is one path component that begins with a digit: no text of this type leads anywhere else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(String);

/// A text that is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no version: want digits first, then letters, digits and . + ~ - _")]
pub struct VersionError(String);

impl Version {
    /// Of a program with this number and hash.
    ///
    /// # Errors
    /// The number is none.
    pub fn new(number: &str, hash: &Hash) -> Result<Self, VersionError> {
        format!("{number}-{}", &hash.0[..SHORT]).parse()
    }

    /// The program's own number.
    pub fn number(&self) -> &str {
        self.0
            .rsplit_once('-')
            .map_or(&self.0, |(number, _)| number)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether somebody who says this means it: its number, or its whole name.
    pub fn is_called(&self, text: &str) -> bool {
        self.0 == text || self.number() == text
    }

    /// Whether its number is lower; programs of one number are neither older nor newer.
    pub fn is_older_than(&self, other: &Self) -> bool {
        Precedence::of(self.number()) < Precedence::of(other.number())
    }

    /// What the links of the installation hold.
    pub fn link_target(&self) -> PathBuf {
        PathBuf::from("versions").join(&self.0)
    }
}

/// A number's place among others, as semantic versions have it: `0.9.1` before `0.10.0-rc1` before
/// `0.10.0`; what follows a `+` counts for nothing.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Precedence {
    release: Vec<Part>,
    /// What is none comes after what is.
    is_final: bool,
    before: Vec<Part>,
}

/// A part between dots.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Word(String),
}

impl Precedence {
    fn of(number: &str) -> Self {
        let number = number.split('+').next().unwrap_or(number);
        let (release, before) = match number.split_once(['-', '~']) {
            Some((release, before)) => (release, Some(before)),
            None => (number, None),
        };
        let parts = |text: &str| -> Vec<Part> {
            let part = |part: &str| match part.parse() {
                Ok(number) => Part::Number(number),
                Err(_) => Part::Word(part.to_owned()),
            };
            text.split('.').map(part).collect()
        };
        let mut release = parts(release);
        // `1.0` is `1.0.0`.
        while release.len() > 1 && release.last() == Some(&Part::Number(0)) {
            release.pop();
        }
        Self {
            release,
            is_final: before.is_none(),
            before: before.map(parts).unwrap_or_default(),
        }
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".+~-_".contains(c);
        let begins = text.starts_with(|c: char| c.is_ascii_digit());
        if begins && text.len() <= LONGEST && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(VersionError(text.chars().take(LONGEST).collect()))
        }
    }
}

impl TryFrom<String> for Version {
    type Error = VersionError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// SHA-256 of a file, as 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hash(String);

impl Hash {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        Self(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_one_component_of_a_path() {
        let version = Version::new("0.1.0", &Hash::of(b"cupel")).expect("version");
        assert!(version.as_str().starts_with("0.1.0-"), "{version}");
        assert_eq!(version.as_str().len(), "0.1.0-".len() + SHORT);
        assert_eq!(version.number(), "0.1.0");
        for bad in ["", "..", "../x", "1/2", ".1", "v1", "1 2", "1\n", "1\u{e9}"] {
            assert!(bad.parse::<Version>().is_err(), "{bad:?}");
        }
        assert!("1".repeat(101).parse::<Version>().is_err());
    }

    #[test]
    fn which_is_older_is_told_by_numbers() {
        let ascending = [
            "0.9.0",
            "0.9.1",
            "0.9.10",
            "0.10.0-rc.1",
            "0.10.0-rc.2",
            "0.10.0-rc.10",
            "0.10.0",
            "1.0.0~beta",
            "1.0",
            "1.0.1+git3",
            "2",
        ];
        let version =
            |number: &str| Version::new(number, &Hash::of(number.as_bytes())).expect("version");
        for (at, older) in ascending.iter().enumerate() {
            for (other, newer) in ascending.iter().enumerate() {
                assert_eq!(
                    version(older).is_older_than(&version(newer)),
                    at < other,
                    "{older} and {newer}"
                );
            }
        }
        // The same number, and another program.
        let other = Version::new("1.0.0", &Hash::of(b"other")).expect("version");
        assert!(!other.is_older_than(&version("1.0")) && !version("1.0").is_older_than(&other));
        assert!(other.is_called("1.0.0") && other.is_called(other.as_str()));
        assert!(!other.is_called("1.0"));
    }
}
