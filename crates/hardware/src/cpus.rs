//! Processors: what the kernel sees of them, and what SMBIOS says of their sockets.
//!
//! # Invariants
//! - The kernel's word goes before SMBIOS's: what does not run is not counted as running.
//! - Sockets are in order of their names; an empty socket is told as such.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cupel_model::Reading;
use cupel_model::snapshot::{CpuSocket, Cpus};
use procfs_core::{CpuInfo, FromRead};

use crate::clock;
use crate::error::{ReadError, reading};
use crate::processor::number_list;
use crate::root::Root;
use crate::smbios::Processor;

const CPUINFO: &str = "/proc/cpuinfo";
const CPUS: &str = "/sys/devices/system/cpu";
const NODES: &str = "/sys/devices/system/node/online";

/// Processors, joined with the sockets that SMBIOS lists.
pub fn collect(root: &Root, sockets: &[Processor]) -> Cpus {
    Packages::default().read(root, sockets)
}

/// How long the table of processors is believed: the kernel asks every processor for it.
const BELIEVED: Duration = Duration::from_secs(3600);

/// Processors, read again and again: the kernel's table is kept as long as the same processors run
/// the same microcode.
#[derive(Debug, Default)]
pub struct Packages(Option<Known>);

#[derive(Debug)]
struct Known {
    /// Which processors run, and the microcode of the first.
    sign: (Reading<String>, Reading<String>),
    /// Until when it is believed, as time since boot.
    until: Duration,
    packages: BTreeMap<u32, Package>,
}

impl Packages {
    /// Processors, joined with the sockets that SMBIOS lists.
    pub fn read(&mut self, root: &Root, sockets: &[Processor]) -> Cpus {
        let microcode = root.value_reading(&format!("{CPUS}/cpu0/microcode/version"));
        let sign = (root.value_reading(&format!("{CPUS}/online")), microcode);
        let now = clock::since_boot();
        let known = self.0.take().filter(|known| {
            known.sign == sign && known.sign.0.value().is_some() && now < known.until
        });
        let packages = match known {
            Some(known) => {
                let packages = known.packages.clone();
                self.0 = Some(known);
                Ok(packages)
            }
            None => {
                let packages = table(root);
                self.0 = packages.as_ref().ok().map(|packages| Known {
                    sign,
                    until: now.saturating_add(BELIEVED),
                    packages: packages.clone(),
                });
                packages
            }
        };
        joined(root, packages, sockets)
    }
}

/// The kernel's table.
fn table(root: &Root) -> Result<BTreeMap<u32, Package>, ReadError> {
    let text = root.text(CPUINFO)?;
    packages(&text, |cpu| topology(root, cpu, "physical_package_id"))
}

fn joined(
    root: &Root,
    packages: Result<BTreeMap<u32, Package>, ReadError>,
    sockets: &[Processor],
) -> Cpus {
    let list = |name: &str| root.value_reading(&format!("{CPUS}/{name}"));
    let counted = |path: &str| {
        reading(root.parsed(path, "a list of numbers", |text| {
            number_list(text).and_then(|numbers| u32::try_from(numbers.len()).ok())
        }))
    };
    Cpus {
        sockets: join(packages, sockets),
        online: list("online"),
        possible: list("possible"),
        online_count: counted(&format!("{CPUS}/online")),
        possible_count: counted(&format!("{CPUS}/possible")),
        numa_nodes: counted(NODES),
    }
}

fn topology(root: &Root, cpu: u32, name: &str) -> Option<u32> {
    root.parsed(
        &format!("{CPUS}/cpu{cpu}/topology/{name}"),
        "a number",
        |text| text.parse().ok(),
    )
    .ok()
}

/// One processor package, as the kernel sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// Model names; one unless processors differ within a package.
    pub models: BTreeSet<String>,
    /// Microcode revisions; one unless loading them went wrong on some.
    pub microcodes: BTreeSet<String>,
    /// Core ids.
    pub cores: BTreeSet<u32>,
    /// Whether every processor of it has told its core.
    pub cores_known: bool,
    /// How many processors run.
    pub threads: u32,
}

/// Packages of the text of `/proc/cpuinfo`, by number. `package_of` is asked for processors whose
/// block does not name their package (no x86).
///
/// # Errors
/// The text lists no processor, or a number is none.
pub fn packages(
    text: &str,
    package_of: impl Fn(u32) -> Option<u32>,
) -> Result<BTreeMap<u32, Package>, ReadError> {
    let garbage = |value: &str| ReadError::malformed(CPUINFO, 1, value, "a table of processors");
    let info = CpuInfo::from_read(text.as_bytes()).map_err(|_| garbage(text))?;
    let mut packages: BTreeMap<u32, Package> = BTreeMap::new();
    for index in 0..info.num_cores() {
        let field = |name: &str| info.get_field(index, name);
        // A block that is no processor (`Hardware : …`) has no number.
        let Some(number) = field("processor") else {
            continue;
        };
        let number: u32 = number.parse().map_err(|_| garbage(number))?;
        let id = match field("physical id") {
            Some(id) => id.parse().map_err(|_| garbage(id))?,
            None => package_of(number).unwrap_or(0),
        };
        let package = packages.entry(id).or_insert_with(|| Package {
            cores_known: true,
            ..Package::default()
        });
        package.threads += 1;
        package
            .models
            .extend(field("model name").map(str::to_owned));
        package
            .microcodes
            .extend(field("microcode").map(str::to_owned));
        match field("core id").and_then(|core| core.parse().ok()) {
            Some(core) => {
                package.cores.insert(core);
            }
            None => package.cores_known = false,
        }
    }
    if packages.is_empty() {
        Err(garbage(text))
    } else {
        Ok(packages)
    }
}

/// The kernel's packages in order take SMBIOS's populated sockets in order.
fn join(
    packages: Result<BTreeMap<u32, Package>, ReadError>,
    sockets: &[Processor],
) -> Vec<CpuSocket> {
    let failed = packages.as_ref().err().cloned();
    let mut packages = packages.unwrap_or_default().into_iter();
    let mut joined = Vec::new();
    for (index, socket) in sockets.iter().enumerate() {
        let name = match socket.socket.value() {
            Some(name) if sockets.iter().filter(|s| s.socket == socket.socket).count() == 1 => {
                name.clone()
            }
            Some(name) => format!("{name} #{index}"),
            None => format!("#{index}"),
        };
        let package = if socket.populated {
            packages.next()
        } else {
            None
        };
        joined.push(match package {
            Some((_, package)) => seen(name, package, Some(socket)),
            None => unseen(name, socket, failed.as_ref()),
        });
    }
    joined.extend(packages.map(|(id, package)| seen(id.to_string(), package, None)));
    joined.sort_by(|a, b| a.name.cmp(&b.name));
    joined
}

/// A socket whose processor runs.
fn seen(name: String, package: Package, socket: Option<&Processor>) -> CpuSocket {
    let told = |texts: &BTreeSet<String>, what: &str| {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        if texts.is_empty() {
            return Reading::absent(format!("{CPUINFO} does not tell the {what}"));
        }
        Reading::Value(texts.join(", "))
    };
    let cores = match u32::try_from(package.cores.len()) {
        Ok(cores) if package.cores_known => Reading::Value(cores),
        Ok(_) | Err(_) => Reading::absent(format!("{CPUINFO} does not tell cores")),
    };
    let model = told(&package.models, "model");
    CpuSocket {
        name,
        model: socket.map_or(model.clone(), |socket| model.or(socket.version.clone())),
        cores: socket.map_or(cores.clone(), |socket| cores.or(socket.cores.clone())),
        threads: Reading::Value(package.threads),
        microcode: told(&package.microcodes, "microcode"),
        populated: socket.map_or_else(
            || Reading::absent("SMBIOS lists no such socket"),
            |socket| Reading::Value(socket.populated),
        ),
    }
}

/// A socket without a processor that runs.
fn unseen(name: String, socket: &Processor, failed: Option<&ReadError>) -> CpuSocket {
    let none = || match failed {
        Some(error) => error.clone().into_reading(),
        None if socket.populated => Reading::failed("populated, but the kernel runs none of it"),
        None => Reading::absent("empty socket"),
    };
    CpuSocket {
        name,
        model: if socket.populated {
            socket.version.clone()
        } else {
            Reading::absent("empty socket")
        },
        cores: none().and_then(|(): ()| Reading::default()),
        threads: none().and_then(|(): ()| Reading::default()),
        microcode: none().and_then(|(): ()| Reading::default()),
        populated: Reading::Value(socket.populated),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::Tree;

    fn block(cpu: u32, package: u32, core: u32, microcode: &str) -> String {
        format!(
            "processor\t: {cpu}\nmodel name\t: Xeon 8480C\nmicrocode\t: {microcode}\nphysical id\t: {package}\ncore id\t\t: {core}\n\n"
        )
    }

    fn socket(name: &str, populated: bool) -> Processor {
        Processor {
            socket: Reading::Value(name.to_owned()),
            version: Reading::Value("Xeon".to_owned()),
            cores: Reading::Value(56),
            threads: Reading::Value(112),
            populated,
        }
    }

    #[test]
    fn packages_take_populated_sockets_in_order() {
        let tree = Tree::new();
        let text: String = [
            (0, 0, 0),
            (1, 0, 1),
            (2, 1, 0),
            (3, 1, 1),
            (4, 0, 0),
            (5, 0, 1),
        ]
        .iter()
        .map(|(cpu, package, core)| block(*cpu, *package, *core, "0x2b000461"))
        .collect();
        tree.file(CPUINFO, text);
        tree.file("/sys/devices/system/cpu/online", "0-5\n");
        tree.file("/sys/devices/system/cpu/possible", "0-7\n");
        tree.file(NODES, "0-1\n");
        let sockets = [
            socket("CPU0", true),
            socket("CPU1", true),
            socket("CPU2", false),
        ];
        let cpus = collect(&tree.root(), &sockets);
        assert_eq!(cpus.online_count, Reading::Value(6));
        assert_eq!(cpus.possible_count, Reading::Value(8));
        assert_eq!(cpus.numa_nodes, Reading::Value(2));
        let told: Vec<_> = cpus
            .sockets
            .iter()
            .map(|s| {
                (
                    s.name.as_str(),
                    s.cores.get(),
                    s.threads.get(),
                    s.populated.get(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("CPU0", Some(2), Some(4), Some(true)),
                ("CPU1", Some(2), Some(2), Some(true)),
                ("CPU2", None, None, Some(false)),
            ]
        );
        assert_eq!(
            cpus.sockets[0].model,
            Reading::Value("Xeon 8480C".to_owned())
        );
        assert!(matches!(cpus.sockets[2].model, Reading::Absent(_)));
    }

    #[test]
    fn the_table_is_read_again_when_a_processor_or_its_microcode_changes() {
        let tree = Tree::new();
        let root = tree.root();
        tree.file("/sys/devices/system/cpu/online", "0-1\n");
        tree.file("/sys/devices/system/cpu/cpu0/microcode/version", "0x1\n");
        let table = |cpus: u32, microcode: &str| {
            let text: String = (0..cpus).map(|cpu| block(cpu, 0, cpu, microcode)).collect();
            tree.file(CPUINFO, text);
        };
        table(2, "0x1");
        let mut packages = Packages::default();
        assert_eq!(packages.read(&root, &[]), collect(&root, &[]));
        table(1, "0x2");
        let socket = |cpus: &Cpus| {
            (
                cpus.sockets[0].threads.get(),
                cpus.sockets[0].microcode.clone(),
            )
        };
        let one = |text: &str| Reading::Value(text.to_owned());
        assert_eq!(socket(&packages.read(&root, &[])), (Some(2), one("0x1")));
        tree.file("/sys/devices/system/cpu/cpu0/microcode/version", "0x2\n");
        assert_eq!(socket(&packages.read(&root, &[])), (Some(1), one("0x2")));
        table(3, "0x2");
        tree.file("/sys/devices/system/cpu/online", "0-2\n");
        assert_eq!(packages.read(&root, &[]), collect(&root, &[]));
        tree.remove(CPUINFO);
        tree.file("/sys/devices/system/cpu/online", "0-3\n");
        assert_eq!(packages.read(&root, &[]), collect(&root, &[]));
    }

    #[test]
    fn a_populated_socket_that_does_not_run_is_told() {
        let tree = Tree::new();
        tree.file(CPUINFO, block(0, 0, 0, "0x1"));
        let cpus = collect(&tree.root(), &[socket("CPU0", true), socket("CPU1", true)]);
        assert!(cpus.sockets[1].cores.is_failed());
        assert_eq!(cpus.sockets[1].populated, Reading::Value(true));
    }

    #[test]
    fn microcode_that_differs_is_told() {
        let text = format!("{}{}", block(0, 0, 0, "0x2"), block(1, 0, 1, "0x1"));
        let packages = packages(&text, |_| None).expect("table");
        let sockets = join(Ok(packages), &[]);
        assert_eq!(sockets[0].microcode, Reading::Value("0x1, 0x2".to_owned()));
        assert_eq!(sockets[0].name, "0");
    }

    #[test]
    fn a_table_without_packages_asks_the_topology() {
        let text = "processor\t: 0\nBogoMIPS\t: 2000\n\nprocessor\t: 1\nBogoMIPS\t: 2000\n";
        let packages = packages(text, Some).expect("table");
        assert_eq!(packages.len(), 2);
        assert!(!packages[&0].cores_known);
    }

    #[test]
    fn garbage_is_refused() {
        assert!(packages("", |_| None).is_err());
        assert!(packages("processor: x\n", |_| None).is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "(processor|physical id|core id|[a-z\n: \t0-9]){0,30}") {
            let _ = packages(&text, |_| None);
        }
    }
}
