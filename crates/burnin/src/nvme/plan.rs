//! Which drives there are, and which parts of them are read.

use std::path::PathBuf;

use cupel_hardware::drive::UNIT;

/// Bytes of a request of the scan.
pub(super) const REQUEST: u64 = 1 << 20;
/// Requests that lie one behind the other: 16 MiB.
pub(super) const RUN: u64 = 16;

/// A drive that is to be tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveUnderTest {
    /// Kernel's name of the controller, e.g. `nvme0`.
    pub controller: String,
    /// Its serial, where it says.
    pub serial: Option<String>,
    /// Its model, where it says: drives of one model are compared.
    pub model: Option<String>,
    /// Where its namespaces are read: `/dev/nvme0n1`.
    pub paths: Vec<PathBuf>,
    /// NUMA node that it hangs on.
    pub numa_node: Option<u32>,
    /// Why it cannot be tested here, if it cannot.
    pub unsupported: Option<String>,
}

/// Where the scan reads: runs of requests, evenly spread, or all there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// Runs that are read.
    pub(super) runs: u64,
    /// Runs that the drive has, the last of which may be short.
    all: u64,
    /// Bytes of the drive that are requests in whole.
    bytes: u64,
}

impl Scan {
    /// All of a drive.
    pub(super) fn whole(bytes: u64) -> Self {
        let bytes = bytes / UNIT as u64 * UNIT as u64;
        let all = bytes.div_ceil(RUN * REQUEST);
        Self {
            runs: all,
            all,
            bytes,
        }
    }

    /// At most so many bytes, evenly spread.
    pub(super) fn sample(bytes: u64, most: u64) -> Self {
        let whole = Self::whole(bytes);
        let runs = (most / (RUN * REQUEST)).max(1);
        if runs >= whole.runs {
            return whole;
        }
        Self { runs, ..whole }
    }

    /// Requests of all runs.
    pub(super) fn requests(&self) -> u64 {
        self.runs * RUN
    }

    /// Offset and length of a request; `None` where the drive has ended.
    pub(super) fn request(&self, number: u64) -> Option<(u64, u64)> {
        let run = u128::from(number / RUN) * u128::from(self.all) / u128::from(self.runs.max(1));
        let offset = u64::try_from(run).ok()? * RUN * REQUEST + number % RUN * REQUEST;
        let left = self.bytes.checked_sub(offset).filter(|left| *left > 0)?;
        Some((offset, left.min(REQUEST)))
    }

    /// Bytes of all requests.
    pub(super) fn covers(&self) -> u64 {
        if self.runs == self.all {
            self.bytes
        } else {
            // The last run of the drive, which may be short, is in no sample.
            self.requests() * REQUEST
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn requests_lie_within_the_drive_and_never_overlap(
            bytes in 1_u64 << 20..1 << 36, most in 1_u64 << 20..1 << 33,
        ) {
            for scan in [Scan::sample(bytes, most), Scan::whole(bytes.min(1 << 31))] {
                let mut end = 0;
                let mut sum = 0;
                for number in 0..scan.requests() {
                    let Some((offset, length)) = scan.request(number) else { continue };
                    prop_assert!(offset >= end && length > 0 && length % 4096 == 0);
                    end = offset + length;
                    sum += length;
                    prop_assert!(end <= bytes);
                }
                prop_assert_eq!(sum, scan.covers());
            }
        }
    }

    #[test]
    fn a_sample_reaches_over_the_whole_drive() {
        let scan = Scan::sample(1 << 40, 1 << 30);
        assert_eq!(scan.covers(), 1 << 30);
        let (last, _) = scan.request(scan.requests() - 1).expect("a request");
        assert!(last > (1 << 40) / 100 * 97);
    }
}
