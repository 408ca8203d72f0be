//! Processors as a load sees them: which are online, pinning a thread to one, and running code on
//! a chosen vector unit.
//!
//! # Invariants
//! - A thread that could not be pinned is told so; nothing runs "about there".
//! - [`VectorUnit::run`] never enters code for a unit that this processor lacks.
//!
//! # What is absent
//! No choice of core and no load: that is burn-in's.
#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "entering a function compiled for a processor feature, after asking for it"
    )
)]

use cupel_model::Reading;
use cupel_model::units::Bytes;
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::Root;
use crate::error::{ReadError, reading};

/// The kernel's list of processors that are online.
const ONLINE: &str = "/sys/devices/system/cpu/online";

/// A kernel list of numbers, such as `0-3,8`; `None` when it is not one.
pub(crate) fn number_list(text: &str) -> Option<Vec<u32>> {
    /// Most numbers such a list may hold: above every kernel's `NR_CPUS`.
    const MOST: u32 = 65_536;
    let mut numbers = Vec::new();
    for range in text.trim().split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        numbers.extend(first..=last);
    }
    numbers.sort_unstable();
    numbers.dedup();
    Some(numbers)
}

/// Processors that are online, in order.
///
/// # Errors
/// The kernel's list cannot be read.
pub fn online(root: &Root) -> Result<Vec<u32>, ReadError> {
    root.parsed(ONLINE, "a list of processors", |text| {
        number_list(text).filter(|cpus| !cpus.is_empty())
    })
}

/// Processors that this thread may run on, by the system call alone.
///
/// # Errors
/// As the system says.
pub fn allowed() -> Result<Vec<u32>, Errno> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count())
        .filter(|cpu| set.is_set(*cpu).unwrap_or(false))
        .filter_map(|cpu| u32::try_from(cpu).ok())
        .collect())
}

/// Lets the calling thread run on `cpu` only.
///
/// # Errors
/// There is no such processor, or this process (its cpuset) may not use it.
pub fn pin(cpu: u32) -> Result<(), Errno> {
    let mut set = CpuSet::new();
    set.set(usize::try_from(cpu).map_err(|_| Errno::EINVAL)?)?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

/// Size of one last-level cache, and how many of them the online processors share.
///
/// Source: `/sys/devices/system/cpu/cpu*/cache/index*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastLevelCache {
    /// Bytes of one cache.
    pub bytes: Bytes,
    /// How many there are.
    pub count: u64,
}

/// The caches of the highest level that hold data.
pub fn last_level_cache(root: &Root, cpus: &[u32]) -> Reading<LastLevelCache> {
    reading(find_last_level_cache(root, cpus))
}

fn find_last_level_cache(root: &Root, cpus: &[u32]) -> Result<LastLevelCache, ReadError> {
    let mut best: Option<(u32, u64)> = None;
    let mut shared: Vec<String> = Vec::new();
    let mut missing = None;
    for cpu in cpus {
        let directory = format!("/sys/devices/system/cpu/cpu{cpu}/cache");
        let names = match root.names(&directory) {
            Ok(names) => names,
            Err(error) => {
                missing = Some(error);
                continue;
            }
        };
        for name in names.iter().filter(|name| name.starts_with("index")) {
            let file = |leaf: &str| format!("{directory}/{name}/{leaf}");
            if root.value(&file("type"))? == "Instruction" {
                continue;
            }
            let level = root.parsed(&file("level"), "a cache level", |text| text.parse().ok())?;
            let bytes = root.parsed(&file("size"), "a cache size", cache_size)?;
            let sharers = root.value(&file("shared_cpu_list"))?;
            match best {
                Some((highest, _)) if level < highest => {}
                Some((highest, largest)) if level == highest => {
                    best = Some((level, largest.max(bytes)));
                    if !shared.contains(&sharers) {
                        shared.push(sharers);
                    }
                }
                Some(_) | None => {
                    best = Some((level, bytes));
                    shared = vec![sharers];
                }
            }
        }
    }
    match (best, missing) {
        (Some((_, bytes)), _) => Ok(LastLevelCache {
            bytes: Bytes(bytes),
            count: shared.len() as u64,
        }),
        (None, Some(error)) => Err(error),
        (None, None) => Err(ReadError::Missing {
            path: "/sys/devices/system/cpu/cpu*/cache".to_owned(),
        }),
    }
}

/// `32768K`, `1M` or plain bytes.
fn cache_size(text: &str) -> Option<u64> {
    let (digits, factor) = match text.strip_suffix(['K', 'M', 'G']) {
        Some(digits) if text.ends_with('K') => (digits, 1 << 10),
        Some(digits) if text.ends_with('M') => (digits, 1 << 20),
        Some(digits) => (digits, 1 << 30),
        None => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// What is run on a vector unit. Mark [`work`](Self::work) `#[inline(always)]`: only what is inlined
/// is compiled for the unit.
pub trait Work {
    /// What it gives.
    type Output;

    /// Does it.
    fn work(self) -> Self::Output;
}

/// A width of vector arithmetic that a processor may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VectorUnit {
    /// What every processor of this architecture has.
    Baseline,
    /// AVX2 and FMA, 256 bits (x86-64).
    Avx2,
    /// AVX-512 F, BW, DQ and VL, and FMA, 512 bits (x86-64).
    Avx512,
}

impl VectorUnit {
    /// All there are, narrowest first.
    pub const ALL: [Self; 3] = [Self::Baseline, Self::Avx2, Self::Avx512];

    /// Short name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Whether this processor has it.
    #[cfg(target_arch = "x86_64")]
    pub fn is_available(self) -> bool {
        match self {
            Self::Baseline => true,
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Self::Avx512 => {
                is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
        }
    }

    /// Whether this processor has it.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn is_available(self) -> bool {
        match self {
            Self::Baseline => true,
            Self::Avx2 | Self::Avx512 => false,
        }
    }

    /// Whether a fused multiplication and addition is one instruction of it.
    pub fn is_fused(self) -> bool {
        match self {
            // Every aarch64 has it.
            Self::Baseline => cfg!(target_arch = "aarch64"),
            Self::Avx2 | Self::Avx512 => true,
        }
    }

    /// Those that this processor has, narrowest first.
    pub fn available() -> Vec<Self> {
        Self::ALL
            .into_iter()
            .filter(|unit| unit.is_available())
            .collect()
    }

    /// Runs `work` compiled for this unit, as far as it is inlined. `None` when the processor
    /// lacks the unit. Arithmetic gives the same bits on every unit: nothing is fused that is not
    /// written so.
    pub fn run<W: Work>(self, work: W) -> Option<W::Output> {
        if !self.is_available() {
            return None;
        }
        Some(match self {
            Self::Baseline => work.work(),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `is_available` has just asked the processor for these two.
            Self::Avx2 => unsafe { with_avx2(work) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `is_available` has just asked the processor for these five.
            Self::Avx512 => unsafe { with_avx512(work) },
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => return None,
        })
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<W: Work>(work: W) -> W::Output {
    work.work()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "fma,avx512f,avx512bw,avx512dq,avx512vl")]
fn with_avx512<W: Work>(work: W) -> W::Output {
    work.work()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_the_kernel() {
        assert_eq!(number_list("0-3,8\n"), Some(vec![0, 1, 2, 3, 8]));
        assert_eq!(number_list(""), Some(vec![]));
        assert_eq!(number_list("3-1"), None);
        assert_eq!(number_list("0-4000000000"), None);
        assert_eq!(number_list("zero"), None);
    }

    #[test]
    fn cache_sizes() {
        assert_eq!(cache_size("32768K"), Some(32 << 20));
        assert_eq!(cache_size("1M"), Some(1 << 20));
        assert_eq!(cache_size("big"), None);
    }

    #[test]
    fn last_level_caches_are_counted_once_each() {
        let directory = tempfile::tempdir().expect("directory");
        for cpu in 0..4 {
            for (index, level, kind, size, sharers) in [
                (0, "1", "Data", "48K", cpu.to_string()),
                (1, "1", "Instruction", "32K", cpu.to_string()),
                (
                    3,
                    "3",
                    "Unified",
                    "32768K",
                    (if cpu < 2 { "0-1" } else { "2-3" }).to_owned(),
                ),
            ] {
                let at = directory.path().join(format!(
                    "sys/devices/system/cpu/cpu{cpu}/cache/index{index}"
                ));
                std::fs::create_dir_all(&at).expect("directory");
                for (leaf, text) in [
                    ("level", level),
                    ("type", kind),
                    ("size", size),
                    ("shared_cpu_list", &sharers),
                ] {
                    std::fs::write(at.join(leaf), format!("{text}\n")).expect("file");
                }
            }
        }
        let root = Root::at(directory.path()).expect("root");
        assert_eq!(
            last_level_cache(&root, &[0, 1, 2, 3]).get(),
            Some(LastLevelCache {
                bytes: Bytes(32 << 20),
                count: 2
            })
        );
    }

    #[test]
    fn a_thread_goes_where_it_is_pinned_and_every_unit_gives_the_same_bits() {
        let cpus = allowed().expect("affinity");
        pin(cpus[0]).expect("pin");
        assert_eq!(allowed().expect("affinity"), vec![cpus[0]]);
        struct Sum;
        impl Work for Sum {
            type Output = u64;
            #[inline(always)]
            fn work(self) -> u64 {
                (1..100).map(|n| 1.0 / f64::from(n)).sum::<f64>().to_bits()
            }
        }
        for unit in VectorUnit::available() {
            assert_eq!(unit.run(Sum), Some(Sum.work()), "{}", unit.name());
        }
    }
}
