//! Memory as a load sees it: NUMA nodes, how much may be taken without anything being killed, and
//! where a word of this process lies in the machine.
//!
//! # Invariants
//! - What may be taken is bounded by the kernel's `MemAvailable` and by every memory cgroup above
//!   this process, v1 and v2.
//! - A limit that is there and cannot be read is an error, never "no limit".
//! - Beneath a root other than `/` the numbers come from system calls: a load runs on the machine
//!   that it runs on, not on the one that the tree describes.
//!
//! # What is absent
//! No allocation and no binding: a thread that is pinned to a node's processor and touches memory
//! first gets that node's.

use cupel_model::Reading;
use cupel_model::units::Bytes;
use nix::errno::Errno;

use crate::Root;
use crate::error::{ReadError, reading};
use crate::processor::{self, LastLevelCache, number_list};

const NODES: &str = "/sys/devices/system/node";

/// The machine cannot be described well enough to be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// A file.
    #[error("cannot tell processors and memory")]
    Read(#[from] ReadError),
    /// A system call.
    #[error("cannot tell processors and memory: {}", .0.desc())]
    System(Errno),
}

/// One NUMA node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryNode {
    /// Its number.
    pub number: u32,
    /// Its online processors; empty for memory without any (CXL, a GPU's).
    pub cpus: Vec<u32>,
    /// How much of it may be taken.
    pub available: Bytes,
}

/// Where the free memory is asked for again while a load grows.
#[derive(Clone, Debug)]
pub enum MemorySource {
    /// Files of procfs, sysfs and the cgroup file systems.
    Files(Root),
    /// The `sysinfo` system call.
    SystemCall,
    /// A given number, for tests.
    Fixed(Bytes),
}

/// How much memory may be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Available {
    /// Bytes that can be taken now.
    pub bytes: Bytes,
    /// All memory of the machine, or of the tightest cgroup.
    pub total: Bytes,
    /// The cgroup that limits, when one does.
    pub limited_by: Option<String>,
}

impl MemorySource {
    /// How much may be taken now.
    ///
    /// # Errors
    /// A file or the system call.
    pub fn available(&self) -> Result<Available, TopologyError> {
        match self {
            Self::Files(root) => Ok(available(root)?),
            Self::SystemCall => {
                let info = nix::sys::sysinfo::sysinfo().map_err(TopologyError::System)?;
                Ok(Available {
                    bytes: Bytes(info.ram_unused()),
                    total: Bytes(info.ram_total()),
                    limited_by: None,
                })
            }
            Self::Fixed(bytes) => Ok(Available {
                bytes: *bytes,
                total: *bytes,
                limited_by: None,
            }),
        }
    }

    /// How much of this process is in swap: what is there was not in memory when it was tested.
    pub fn swapped(&self) -> Reading<Bytes> {
        match self {
            Self::Files(root) => reading(swapped(root)).map(Bytes),
            Self::SystemCall | Self::Fixed(_) => {
                Reading::unsupported("procfs is not read beneath another root")
            }
        }
    }

    /// Physical address of the byte at `address` of this process. Needs root.
    pub fn physical_address(&self, address: usize) -> Reading<u64> {
        match self {
            Self::Files(root) => physical_address(root, address),
            Self::SystemCall | Self::Fixed(_) => {
                Reading::unsupported("procfs is not read beneath another root")
            }
        }
    }
}

/// Processors and memory that a load can be laid on.
#[derive(Clone, Debug)]
pub struct Topology {
    /// Online processors.
    pub cpus: Vec<u32>,
    /// NUMA nodes, by number.
    pub nodes: Vec<MemoryNode>,
    /// Last-level cache.
    pub cache: Reading<LastLevelCache>,
    /// Memory at the beginning.
    pub available: Available,
    /// Where to ask again.
    pub source: MemorySource,
}

impl Topology {
    /// The machine that this process runs on. Its files are read when the root is `/`; otherwise
    /// only system calls are used.
    ///
    /// # Errors
    /// Processors or memory cannot be told.
    pub fn of(root: &Root) -> Result<Self, TopologyError> {
        if !root.is_live() {
            return Self::by_system_calls();
        }
        let cpus = processor::online(root)?;
        let available = available(root)?;
        Ok(Self {
            nodes: nodes(root, &cpus, available.bytes.get())?,
            cache: processor::last_level_cache(root, &cpus),
            cpus,
            available,
            source: MemorySource::Files(root.clone()),
        })
    }

    fn by_system_calls() -> Result<Self, TopologyError> {
        let cpus = processor::allowed().map_err(TopologyError::System)?;
        let source = MemorySource::SystemCall;
        let available = source.available()?;
        Ok(Self {
            nodes: vec![MemoryNode {
                number: 0,
                cpus: cpus.clone(),
                available: available.bytes,
            }],
            cpus,
            cache: Reading::unsupported("sysfs is not read beneath another root"),
            available,
            source,
        })
    }
}

/// NUMA nodes; `available` is shared out by what each node has free.
fn nodes(root: &Root, cpus: &[u32], available: u64) -> Result<Vec<MemoryNode>, ReadError> {
    let names = match root.names(NODES) {
        Ok(names) => names,
        Err(error) if error.is_missing() => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for name in names {
        let Some(number) = name.strip_prefix("node").and_then(|n| n.parse().ok()) else {
            continue;
        };
        let list = root.text(&format!("{NODES}/{name}/cpulist"))?;
        let path = format!("{NODES}/{name}/meminfo");
        let own = number_list(&list).ok_or_else(|| {
            ReadError::malformed(
                &format!("{NODES}/{name}/cpulist"),
                1,
                &list,
                "a list of processors",
            )
        })?;
        let free = node_free(&root.text(&path)?)
            .ok_or_else(|| ReadError::malformed(&path, 1, "", "a node's meminfo with MemFree"))?;
        let own = own.into_iter().filter(|cpu| cpus.contains(cpu)).collect();
        found.push((number, own, free));
    }
    found.sort_by_key(|(number, _, _)| *number);
    let sum: u64 = found.iter().map(|(_, _, free)| free).sum();
    if sum == 0 {
        return Ok(vec![MemoryNode {
            number: 0,
            cpus: cpus.to_vec(),
            available: Bytes(available),
        }]);
    }
    let share = |free: u64| {
        u64::try_from(u128::from(available) * u128::from(free) / u128::from(sum)).unwrap_or(0)
    };
    Ok(found
        .into_iter()
        .filter(|(_, _, free)| *free > 0)
        .map(|(number, cpus, free)| MemoryNode {
            number,
            cpus,
            available: Bytes(share(free)),
        })
        .collect())
}

/// Bytes of a node that are free or hold clean file pages.
fn node_free(meminfo: &str) -> Option<u64> {
    let field = |name: &str| {
        meminfo.lines().find_map(|line| {
            let rest = line.split_once(name)?.1;
            rest.split_whitespace()
                .next()?
                .parse::<u64>()
                .ok()?
                .checked_mul(1024)
        })
    };
    let free = field(" MemFree:")?;
    Some(free.saturating_add(field(" Inactive(file):").unwrap_or(0)))
}

/// What the kernel says can be taken, within every memory cgroup above this process.
fn available(root: &Root) -> Result<Available, ReadError> {
    let path = "/proc/meminfo";
    let text = root.text(path)?;
    let field = |name: &str| {
        kib_field(&text, name).ok_or_else(|| ReadError::malformed(path, 1, name, "in the table"))
    };
    let mut best = Available {
        bytes: Bytes(field("MemAvailable")?),
        total: Bytes(field("MemTotal")?),
        limited_by: None,
    };
    for group in memory_groups(root)? {
        if let Some((limit, headroom)) = group.headroom(root)?
            && headroom < best.bytes.get()
        {
            best = Available {
                bytes: Bytes(headroom),
                total: Bytes(limit),
                limited_by: Some(group.directory),
            };
        }
    }
    Ok(best)
}

/// A field of `/proc/meminfo` or `/proc/self/status`, in bytes.
fn kib_field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (key, rest) = line.split_once(':')?;
        if key != name {
            return None;
        }
        rest.split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()?
            .checked_mul(1024)
    })
}

/// A memory cgroup that this process is in.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    directory: String,
    unified: bool,
}

impl Group {
    /// Its limit and what is left of it; `None` without a limit.
    fn headroom(&self, root: &Root) -> Result<Option<(u64, u64)>, ReadError> {
        let (limits, usage, cache): (&[&str], &str, &str) = if self.unified {
            (
                &["memory.max", "memory.high"],
                "memory.current",
                "inactive_file",
            )
        } else {
            (
                &["memory.limit_in_bytes"],
                "memory.usage_in_bytes",
                "total_inactive_file",
            )
        };
        let mut limit = None;
        for name in limits {
            let read = root.parsed(&self.file(name), "a number of bytes or max", |text| {
                if text == "max" {
                    Some(None)
                } else {
                    text.parse::<u64>().ok().map(Some)
                }
            });
            match read {
                Ok(Some(bytes)) => limit = Some(limit.map_or(bytes, |old: u64| old.min(bytes))),
                Ok(None) => {}
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(error),
            }
        }
        let Some(limit) = limit else { return Ok(None) };
        let used: u64 = root.parsed(&self.file(usage), "a number of bytes", |text| {
            text.parse().ok()
        })?;
        let clean = root
            .text(&self.file("memory.stat"))?
            .lines()
            .find_map(|line| line.strip_prefix(cache)?.trim().parse::<u64>().ok())
            .unwrap_or(0);
        Ok(Some((
            limit,
            limit.saturating_sub(used.saturating_sub(clean)),
        )))
    }

    fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.directory)
    }
}

/// Every memory cgroup above this process that its mount shows, innermost first.
fn memory_groups(root: &Root) -> Result<Vec<Group>, ReadError> {
    let text = |path: &str| match root.text(path) {
        Ok(text) => Ok(text),
        Err(error) if error.is_missing() => Ok(String::new()),
        Err(error) => Err(error),
    };
    Ok(groups(
        &text("/proc/self/cgroup")?,
        &text("/proc/self/mountinfo")?,
    ))
}

fn groups(cgroup: &str, mountinfo: &str) -> Vec<Group> {
    let mut found = Vec::new();
    for line in cgroup.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let unified = controllers.is_empty();
        if !unified && !controllers.split(',').any(|name| name == "memory") {
            continue;
        }
        let Some((mount, top)) = cgroup_mount(mountinfo, unified) else {
            continue;
        };
        // A container may see only its own part of the hierarchy: its path is relative to that.
        let inside = path.strip_prefix(top.trim_end_matches('/')).unwrap_or("");
        let mut inside = inside.trim_end_matches('/');
        loop {
            found.push(Group {
                directory: format!("{mount}{inside}"),
                unified,
            });
            match inside.rfind('/') {
                Some(cut) => inside = &inside[..cut],
                None => break,
            }
        }
    }
    found
}

/// Mount point and root of the cgroup file system that has the memory controller.
fn cgroup_mount(mountinfo: &str, unified: bool) -> Option<(&str, &str)> {
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let (kind, _, options) = (right.next()?, right.next()?, right.next()?);
        let fits = if unified {
            kind == "cgroup2"
        } else {
            kind == "cgroup" && options.split(',').any(|option| option == "memory")
        };
        let mut left = left.split(' ').skip(3);
        let (top, mount) = (left.next()?, left.next()?);
        fits.then_some((mount, top))
    })
}

fn swapped(root: &Root) -> Result<u64, ReadError> {
    let path = "/proc/self/status";
    kib_field(&root.text(path)?, "VmSwap")
        .ok_or_else(|| ReadError::malformed(path, 1, "VmSwap", "in the table"))
}

fn physical_address(root: &Root, address: usize) -> Reading<u64> {
    use std::os::unix::fs::FileExt;
    /// Bit that says that the page is in memory.
    const PRESENT: u64 = 1 << 63;
    /// Bits of the page frame number.
    const FRAME: u64 = (1 << 55) - 1;
    let path = "/proc/self/pagemap";
    let page = match nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE) {
        Ok(Some(page)) => u64::try_from(page).unwrap_or(4096),
        Ok(None) | Err(_) => 4096,
    };
    let address = address as u64;
    let file = match root.open(path) {
        Ok(file) => file,
        Err(error) => return error.into_reading(),
    };
    let mut entry = [0_u8; 8];
    if let Err(error) = file.read_exact_at(&mut entry, address / page * 8) {
        return ReadError::from_io(path, &error).into_reading();
    }
    let entry = u64::from_le_bytes(entry);
    match (entry & PRESENT, entry & FRAME) {
        (0, _) => Reading::absent("the page is not in memory"),
        (_, 0) => Reading::unsupported("the kernel shows page frames to root only"),
        (_, frame) => Reading::Value(frame * page + address % page),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_both_versions_are_found_up_to_the_mount() {
        let mounts = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let names: Vec<_> = groups("4:memory:/a/b\n1:cpu:/x\n0::/\n", mounts)
            .into_iter()
            .map(|group| group.directory)
            .collect();
        assert_eq!(
            names,
            [
                "/sys/fs/cgroup/memory/a/b",
                "/sys/fs/cgroup/memory/a",
                "/sys/fs/cgroup/memory",
                "/sys/fs/cgroup/unified"
            ]
        );
    }

    #[test]
    fn a_container_that_sees_only_its_part_is_placed_in_it() {
        let mounts = "1 2 0:3 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let names: Vec<_> = groups("0::/docker/abc/job\n", mounts)
            .into_iter()
            .map(|group| group.directory)
            .collect();
        assert_eq!(names, ["/sys/fs/cgroup/job", "/sys/fs/cgroup"]);
    }

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().expect("directory");
        for (path, text) in files {
            let at = directory.path().join(path);
            std::fs::create_dir_all(at.parent().expect("parent")).expect("directory");
            std::fs::write(at, text).expect("file");
        }
        let root = Root::at(directory.path()).expect("root");
        (directory, root)
    }

    #[test]
    fn the_tightest_limit_counts_and_clean_pages_are_free() {
        let (_keep, root) = machine(&[
            (
                "proc/meminfo",
                "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 900 kB\n",
            ),
            ("proc/self/cgroup", "0::/a/b\n"),
            (
                "proc/self/mountinfo",
                "1 2 0:3 / /cg rw - cgroup2 cgroup2 rw\n",
            ),
            ("cg/a/b/memory.max", "max\n"),
            ("cg/a/b/memory.high", "max\n"),
            ("cg/a/memory.max", "409600\n"),
            ("cg/a/memory.current", "204800\n"),
            ("cg/a/memory.stat", "anon 5\ninactive_file 102400\n"),
        ]);
        let got = available(&root).expect("available");
        assert_eq!(got.bytes, Bytes(409_600 - 102_400));
        assert_eq!(got.limited_by.as_deref(), Some("/cg/a"));
    }

    #[test]
    fn a_limit_that_cannot_be_understood_is_an_error() {
        let (_keep, root) = machine(&[
            ("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 900 kB\n"),
            ("proc/self/cgroup", "0::/\n"),
            (
                "proc/self/mountinfo",
                "1 2 0:3 / /cg rw - cgroup2 cgroup2 rw\n",
            ),
            ("cg/memory.max", "lots\n"),
        ]);
        let error = available(&root).expect_err("limit");
        assert!(
            error.to_string().contains("/cg/memory.max: line 1"),
            "{error}"
        );
    }

    #[test]
    fn free_memory_is_shared_out_by_node() {
        let (_keep, root) = machine(&[
            ("sys/devices/system/node/node0/cpulist", "0-1\n"),
            (
                "sys/devices/system/node/node0/meminfo",
                "Node 0 MemFree: 100 kB\nNode 0 Inactive(file): 200 kB\n",
            ),
            ("sys/devices/system/node/node1/cpulist", "2-3\n"),
            (
                "sys/devices/system/node/node1/meminfo",
                "Node 1 MemFree: 100 kB\n",
            ),
            ("sys/devices/system/node/node2/cpulist", "\n"),
            (
                "sys/devices/system/node/node2/meminfo",
                "Node 2 MemFree: 0 kB\n",
            ),
        ]);
        let nodes = nodes(&root, &[0, 1, 2], 8000).expect("nodes");
        assert_eq!(nodes.len(), 2);
        assert_eq!(
            (nodes[0].available, nodes[1].available),
            (Bytes(6000), Bytes(2000))
        );
        assert_eq!(nodes[1].cpus, [2]);
    }

    #[test]
    fn this_machine_can_be_described() {
        let topology = Topology::of(&Root::live()).expect("topology");
        assert!(!topology.cpus.is_empty());
        assert!(topology.available.bytes.get() > 0);
        assert!(topology.nodes.iter().any(|node| !node.cpus.is_empty()));
    }
}
