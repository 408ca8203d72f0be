//! The controller's own test of itself (Device Self-test, NVM Express Base Specification 2.0,
//! 5.9 and 5.16.1.7).
//!
//! # Invariants
//! - It reads the media and writes nothing of the user's; commands of the host go on beside it.
//! - One that runs already is not disturbed: a second is not started, and only a test that was
//!   started here is ended here.

use cupel_model::Reading;
use cupel_model::units::Percent;

use super::ioctl::{self, AdminError, Page, SelfTestCode};
use super::pages::{IDENTIFY_BYTES, PageError, parse_identify};
use crate::error::ReadError;
use crate::root::Root;

/// Size of the Device Self-test log page (06h).
pub const SELF_TEST_BYTES: usize = 564;

/// How long a test is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelfTestKind {
    /// Two minutes at most.
    Short,
    /// As long as the controller says.
    Extended,
}

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SelfTestEnd {
    /// Without an error.
    Passed,
    /// It was ended before its end, by a command, a reset, or a change of the drive.
    Cut(String),
    /// With an error.
    Failed(String),
}

/// What the log page says.
#[derive(Clone, Debug, PartialEq)]
pub struct SelfTestLog {
    /// How far the running test is; `None` when none runs.
    pub running: Option<Percent>,
    /// How the newest test ended; `None` when there was none.
    pub newest: Option<SelfTestEnd>,
}

/// Parses log page 06h.
///
/// # Errors
/// [`PageError`].
pub fn parse_self_test(bytes: &[u8]) -> Result<SelfTestLog, PageError> {
    const PAGE: &str = "Device Self-test log";
    if bytes.len() != SELF_TEST_BYTES {
        return Err(PageError::Size {
            page: PAGE,
            size: bytes.len(),
            want: SELF_TEST_BYTES,
        });
    }
    let running = match bytes[0] & 0xf {
        0 => None,
        1 | 2 | 0xe => Percent::new(f64::from(bytes[1] & 0x7f)).ok(),
        value => {
            return Err(PageError::Value {
                page: PAGE,
                offset: 0,
                value,
                wanted: "a self-test operation",
            });
        }
    };
    let entry = &bytes[4..32];
    let newest = match entry[0] & 0xf {
        0 => Some(SelfTestEnd::Passed),
        0xf => None,
        code => Some(ended(code, entry)),
    };
    Ok(SelfTestLog { running, newest })
}

fn ended(code: u8, entry: &[u8]) -> SelfTestEnd {
    let cut = |how: &str| SelfTestEnd::Cut(how.to_owned());
    match code {
        1 => cut("ended by a command"),
        2 => cut("ended by a controller reset"),
        3 => cut("ended because a namespace was removed"),
        4 => cut("ended by a format"),
        8 => cut("ended for an unknown reason"),
        9 => cut("ended by a sanitize"),
        5 => SelfTestEnd::Failed(
            "a fatal error of the controller, or one that stopped it".to_owned(),
        ),
        6 | 7 => {
            let mut words = format!("failed in segment {}", entry[1]);
            // Bit 1: the failing block is valid.
            if entry[2] & 2 != 0
                && let Ok(block) = <[u8; 8]>::try_from(&entry[16..24])
            {
                words = format!("{words} at block {}", u64::from_le_bytes(block));
            }
            SelfTestEnd::Failed(words)
        }
        other => SelfTestEnd::Failed(format!("ended with the unknown code {other}")),
    }
}

/// A controller that can test itself.
#[derive(Clone, Debug)]
pub struct SelfTester {
    root: Root,
    path: String,
    /// How long the extended test takes, in minutes, as the controller says.
    pub extended_minutes: u16,
}

impl SelfTester {
    /// The controller, if it can.
    pub fn of(root: &Root, controller: &str) -> Reading<Self> {
        if !root.is_live() {
            return Reading::unsupported("no ioctl is used under a root other than /");
        }
        let path = format!("/dev/{controller}");
        let size = u32::try_from(IDENTIFY_BYTES).unwrap_or(u32::MAX);
        let page = root.open(&path).and_then(|device| {
            ioctl::page(&device, Page::Identify, size).map_err(|error| told(&path, &error))
        });
        let identify = page.and_then(|bytes| {
            parse_identify(&bytes).map_err(|error| ReadError::Binary {
                path: path.clone(),
                detail: error.to_string(),
            })
        });
        match identify {
            Ok(identify) if identify.self_test => Reading::Value(Self {
                root: root.clone(),
                path,
                extended_minutes: identify.extended_self_test_minutes,
            }),
            Ok(_) => Reading::unsupported("the controller has no self-test"),
            Err(error) => error.into_reading(),
        }
    }

    /// Starts a test.
    ///
    /// # Errors
    /// As the kernel or the controller says; among others when one runs already.
    pub fn start(&self, kind: SelfTestKind) -> Result<(), ReadError> {
        self.send(match kind {
            SelfTestKind::Short => SelfTestCode::Short,
            SelfTestKind::Extended => SelfTestCode::Extended,
        })
    }

    /// Ends the test that runs.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn end(&self) -> Result<(), ReadError> {
        self.send(SelfTestCode::End)
    }

    fn send(&self, code: SelfTestCode) -> Result<(), ReadError> {
        let device = self.root.open(&self.path)?;
        ioctl::self_test(&device, code).map_err(|error| told(&self.path, &error))
    }

    /// What the log says.
    ///
    /// # Errors
    /// As the kernel or the controller says.
    pub fn log(&self) -> Result<SelfTestLog, ReadError> {
        let device = self.root.open(&self.path)?;
        let size = u32::try_from(SELF_TEST_BYTES).unwrap_or(u32::MAX);
        let bytes =
            ioctl::page(&device, Page::SelfTest, size).map_err(|error| told(&self.path, &error))?;
        parse_self_test(&bytes).map_err(|error| ReadError::Binary {
            path: self.path.clone(),
            detail: error.to_string(),
        })
    }
}

fn told(path: &str, error: &AdminError) -> ReadError {
    match error {
        AdminError::System(errno) => ReadError::from_errno(path, *errno),
        AdminError::Status(_) => ReadError::Binary {
            path: path.to_owned(),
            detail: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(operation: u8, done: u8, result: u8, entry: &[(usize, u8)]) -> Vec<u8> {
        let mut bytes = vec![0; SELF_TEST_BYTES];
        (bytes[0], bytes[1], bytes[4]) = (operation, done, result);
        for (at, byte) in entry {
            bytes[4 + at] = *byte;
        }
        bytes
    }

    #[test]
    fn running_passed_cut_failed_and_none() {
        let log = |bytes: &[u8]| parse_self_test(bytes).expect("a log");
        let running = log(&page(1, 42, 0xf, &[]));
        assert_eq!(running.running.map(Percent::get), Some(42.0));
        assert_eq!(running.newest, None);
        let passed = log(&page(0, 0, 0x10, &[]));
        assert_eq!(
            (passed.running, passed.newest),
            (None, Some(SelfTestEnd::Passed))
        );
        let cut = log(&page(0, 0, 0x11, &[])).newest;
        assert_eq!(cut, Some(SelfTestEnd::Cut("ended by a command".to_owned())));
        let failed = log(&page(0, 0, 0x27, &[(1, 3), (2, 2), (16, 0x39), (17, 5)])).newest;
        assert_eq!(
            failed,
            Some(SelfTestEnd::Failed(
                "failed in segment 3 at block 1337".to_owned()
            ))
        );
    }

    #[test]
    fn what_is_no_log_is_refused() {
        assert!(parse_self_test(&[0; 12]).is_err());
        assert!(parse_self_test(&page(7, 0, 0, &[])).is_err());
    }
}
