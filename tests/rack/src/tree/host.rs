//! The machine around the devices: processors, memory, kernel, its log, units, management.

use serde_json::json;

use super::Tree;
use crate::machine::{Cpu, Machine};

/// Modules that such a server has loaded, with their versions.
const MODULES: [(&str, Option<&str>); 8] = [
    ("ib_core", Some("24.04-0.6.6")),
    ("ib_umad", Some("24.04-0.6.6")),
    ("ib_uverbs", Some("24.04-0.6.6")),
    ("ipmi_si", None),
    ("mlx5_core", Some("24.04-0.6.6")),
    ("mlx5_ib", Some("24.04-0.6.6")),
    ("nvme", Some("1.0")),
    ("nvme_core", Some("1.0")),
];

/// Modules of the NVIDIA driver.
const NVIDIA_MODULES: [&str; 4] = ["nvidia", "nvidia_modeset", "nvidia_peermem", "nvidia_uvm"];

impl Cpu {
    fn threads(&self) -> u32 {
        self.sockets * self.cores * 2
    }

    /// Logical CPUs of a NUMA node: its cores, then their second threads.
    pub fn list(&self, node: u32) -> String {
        let (first, total) = (node * self.cores, self.sockets * self.cores);
        let last = first + self.cores - 1;
        format!("{first}-{last},{}-{}", total + first, total + last)
    }
}

pub(super) fn render(tree: &mut Tree, machine: &Machine) {
    identity(tree, machine);
    processors(tree, machine);
    memory(tree, machine);
    kernel(tree, machine);
    nvidia(tree, machine);
    log(tree, machine);
    management(tree, machine);
}

fn identity(tree: &mut Tree, machine: &Machine) {
    let system = &machine.system;
    tree.text("etc/machine-id", &system.machine_id);
    tree.text("etc/hostname", &system.hostname);
    tree.text(
        "etc/os-release",
        "NAME=\"Ubuntu\"\nID=ubuntu\nVERSION_ID=\"22.04\"\nPRETTY_NAME=\"Ubuntu 22.04.4 LTS\"",
    );
    tree.text("proc/sys/kernel/hostname", &system.hostname);
    tree.text("proc/sys/kernel/random/boot_id", &system.boot_id);
    tree.text(
        "proc/uptime",
        format_args!("{}.37 20861244.18", system.uptime_seconds),
    );
}

fn processors(tree: &mut Tree, machine: &Machine) {
    let cpu = &machine.cpu;
    let threads = cpu.threads();
    let last = threads - 1;
    let mut info = String::new();
    for thread in 0..threads {
        let core = thread % (cpu.sockets * cpu.cores);
        let (socket, core) = (core / cpu.cores, core % cpu.cores);
        info.push_str(&format!(
            "processor\t: {thread}\nvendor_id\t: GenuineIntel\ncpu family\t: {}\nmodel\t\t: {}\nmodel name\t: {}\nstepping\t: {}\nmicrocode\t: {}\ncpu MHz\t\t: 2000.000\ncache size\t: 107520 KB\nphysical id\t: {socket}\nsiblings\t: {}\ncore id\t\t: {core}\ncpu cores\t: {}\nflags\t\t: fpu vme de pse tsc msr pae mce cx8 sse sse2 ssse3 sse4_1 sse4_2 avx avx2 avx512f amx_bf16 amx_tile amx_int8\n\n",
            cpu.family,
            cpu.model,
            cpu.model_name,
            cpu.stepping,
            cpu.microcode,
            cpu.cores * 2,
            cpu.cores,
        ));
        let topology = format!("sys/devices/system/cpu/cpu{thread}/topology");
        tree.text(format!("{topology}/physical_package_id"), socket);
        tree.text(format!("{topology}/core_id"), core);
    }
    tree.bytes("proc/cpuinfo", info.into_bytes());
    for name in ["online", "possible", "present"] {
        tree.text(
            format!("sys/devices/system/cpu/{name}"),
            format_args!("0-{last}"),
        );
    }
    for name in ["online", "possible"] {
        tree.text(
            format!("sys/devices/system/node/{name}"),
            format_args!("0-{}", cpu.sockets - 1),
        );
    }
    let mut stat = "cpu  812345 112 412233 99123456 1234 0 20011 0 0 0\n".to_owned();
    for thread in 0..threads {
        stat.push_str(&format!("cpu{thread} 3626 0 1840 442515 5 0 89 0 0 0\n"));
    }
    stat.push_str(&format!(
        "intr 91823111\nctxt 223344112\nbtime {}\nprocesses 88123\nprocs_running 1\nprocs_blocked 0\n",
        machine.system.booted_at
    ));
    tree.bytes("proc/stat", stat.into_bytes());
    for socket in 0..cpu.sockets {
        let hwmon = format!("sys/devices/platform/coretemp.{socket}/hwmon/hwmon{socket}");
        tree.text(format!("{hwmon}/name"), "coretemp");
        tree.text(
            format!("{hwmon}/temp1_label"),
            format_args!("Package id {socket}"),
        );
        tree.text(format!("{hwmon}/temp1_input"), 41_000 + socket * 2_000);
        tree.text(format!("{hwmon}/temp1_crit"), 100_000);
        tree.text(format!("{hwmon}/temp1_max"), 85_000);
        tree.link(format!("sys/class/hwmon/hwmon{socket}"), &hwmon);
    }
}

fn memory(tree: &mut Tree, machine: &Machine) {
    let installed: u64 = machine.dimms.iter().map(|d| u64::from(d.mib) << 10).sum();
    // What firmware and kernel keep for themselves.
    let total = installed - installed / 64 - 1_221_004;
    let free = total - total / 20;
    tree.text(
        "proc/meminfo",
        format_args!(
            "MemTotal:       {total} kB\nMemFree:        {free} kB\nMemAvailable:   {free} kB\nBuffers:          812344 kB\nCached:         20112344 kB\nSwapTotal:             0 kB\nSwapFree:              0 kB\nHardwareCorrupted:     0 kB"
        ),
    );
    for node in 0..machine.cpu.sockets {
        let directory = format!("sys/devices/system/node/node{node}");
        tree.text(format!("{directory}/cpulist"), machine.cpu.list(node));
        tree.text(
            format!("{directory}/meminfo"),
            format_args!(
                "Node {node} MemTotal:       {} kB\nNode {node} MemFree:        {} kB",
                total / u64::from(machine.cpu.sockets),
                free / u64::from(machine.cpu.sockets)
            ),
        );
    }
    let populated = machine.dimms.iter().filter(|d| d.mib > 0);
    for (number, dimm) in (0_u32..).zip(populated) {
        let controller = format!("sys/devices/system/edac/mc/mc{}", number / 4);
        if number % 4 == 0 {
            tree.text(format!("{controller}/mc_name"), "Intel_10nm Socket#0 IMC#0");
            for name in ["ce_count", "ce_noinfo_count", "ue_count", "ue_noinfo_count"] {
                tree.text(format!("{controller}/{name}"), 0);
            }
            tree.text(format!("{controller}/seconds_since_reset"), 93_700);
        }
        let place = format!("{controller}/dimm{}", number % 4);
        tree.text(format!("{place}/dimm_label"), &dimm.locator);
        tree.text(
            format!("{place}/dimm_location"),
            format_args!("channel {} slot 0", number % 4),
        );
        tree.text(format!("{place}/size"), dimm.mib);
        for name in ["dimm_ce_count", "dimm_ue_count"] {
            tree.text(format!("{place}/{name}"), 0);
        }
    }
}

fn kernel(tree: &mut Tree, machine: &Machine) {
    const RELEASE: &str = "5.15.0-1063-nvidia";
    tree.text("proc/sys/kernel/osrelease", RELEASE);
    tree.text("proc/sys/kernel/ostype", "Linux");
    tree.text(
        "proc/version",
        format_args!(
            "Linux version {RELEASE} (buildd@lcy02-amd64-107) (gcc (Ubuntu 11.4.0-1ubuntu1~22.04) 11.4.0, GNU ld (GNU Binutils for Ubuntu) 2.38) #64-Ubuntu SMP Fri Aug 9 17:13:45 UTC 2024"
        ),
    );
    tree.text(
        "proc/cmdline",
        format_args!(
            "BOOT_IMAGE=/boot/vmlinuz-{RELEASE} root=UUID=8f4c1a52-52e3-4f52-9f57-6a8fd2f0a7a1 ro pci=realloc=off iommu=pt console=tty0 console=ttyS1,115200n8"
        ),
    );
    // Out-of-tree and unsigned modules.
    tree.text("proc/sys/kernel/tainted", 12_288);
    let mounts = "sysfs /sys sysfs rw,nosuid,nodev,noexec,relatime 0 0\nproc /proc proc rw,nosuid,nodev,noexec,relatime 0 0\n/dev/md0 / ext4 rw,relatime 0 0\ntmpfs /run tmpfs rw,nosuid,nodev,size=211245056k,mode=755 0 0\n";
    tree.bytes("proc/mounts", mounts.into());
    tree.bytes("proc/self/mounts", mounts.into());
    tree.bytes(
        "proc/self/mountinfo",
        b"22 28 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw\n28 1 9:0 / / rw,relatime shared:1 - ext4 /dev/md0 rw\n"
            .to_vec(),
    );
    let mut modules: Vec<(&str, Option<String>)> = MODULES
        .iter()
        .map(|(name, version)| (*name, version.map(str::to_owned)))
        .collect();
    if let Some(version) = &machine.driver.kernel {
        modules.extend(NVIDIA_MODULES.map(|name| (name, Some(version.clone()))));
    }
    modules.sort();
    let mut lines = String::new();
    for (name, version) in modules {
        lines.push_str(&format!("{name} 16384 0 - Live 0x0000000000000000\n"));
        let directory = format!("sys/module/{name}");
        tree.text(format!("{directory}/initstate"), "live");
        if let Some(version) = version {
            tree.text(format!("{directory}/version"), version);
        }
    }
    tree.bytes("proc/modules", lines.into_bytes());
}

fn nvidia(tree: &mut Tree, machine: &Machine) {
    let Some(version) = &machine.driver.kernel else {
        return;
    };
    let flavour = if machine.driver.open {
        "NVIDIA UNIX Open Kernel Module for x86_64"
    } else {
        "NVIDIA UNIX x86_64 Kernel Module"
    };
    tree.text(
        "proc/driver/nvidia/version",
        format_args!(
            "NVRM version: {flavour}  {version}  Release Build  (dvs-builder@U16-J11-09-4)  Mon Aug  5 22:41:18 UTC 2024\nGCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04)"
        ),
    );
    for (minor, gpu) in machine.gpus.iter().enumerate() {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        tree.text(
            format!("proc/driver/nvidia/gpus/{}/information", gpu.pci),
            format_args!(
                "Model: \t\t {}\nIRQ:   \t\t {}\nGPU UUID: \t {}\nVideo BIOS: \t {}\nBus Type: \t PCIe\nDMA Size: \t 52 bits\nDMA Mask: \t 0xfffffffffffff\nBus Location: \t {}\nDevice Minor: \t {minor}\nGPU Firmware: \t {version}\nGPU Excluded:\t No",
                text(&gpu.name),
                200 + minor,
                text(&gpu.uuid),
                text(&gpu.vbios_version),
                gpu.pci
            ),
        );
    }
}

/// `/dev/kmsg`: priority, sequence number, microseconds, flags; the message with the kernel's
/// escapes.
fn log(tree: &mut Tree, machine: &Machine) {
    let mut bytes = Vec::new();
    for (number, record) in machine.log.iter().enumerate() {
        let text: String = record
            .text
            .chars()
            .map(|c| match c {
                '\n' => "\\x0a".to_owned(),
                '\\' => "\\x5c".to_owned(),
                c => c.to_string(),
            })
            .collect();
        // NVIDIA's driver prints its lines as continuations; the kernel marks them so.
        let flag = if text.starts_with("NVRM: ") { 'c' } else { '-' };
        let line = format!(
            "{},{},{},{flag};{text}\n",
            record.priority,
            600 + number,
            record.microseconds
        );
        bytes.extend(line.into_bytes());
    }
    tree.bytes("dev/kmsg", bytes);
}

fn management(tree: &mut Tree, machine: &Machine) {
    let units: Vec<_> = machine
        .units
        .iter()
        .map(|u| json!({"name": u.name, "active_state": u.active, "sub_state": u.sub}))
        .collect();
    tree.text("run/systemd/units.json", json!(units));
    let (maker, product, major, minor) = machine.system.bmc;
    let [p0, p1] = product.to_le_bytes();
    let [m0, m1, m2, _] = maker.to_le_bytes();
    let tens = minor / 10 * 16 + minor % 10;
    let device_id =
        format!("0020 81{major:02x}{tens:02x}02bf{m0:02x}{m1:02x}{m2:02x}{p0:02x}{p1:02x}00000000")
            .replace(' ', "");
    // SEL: version 5.1, no entries, 16 kB free, no times, no overflow.
    let sel = "0051000000400000000000000000 02".replace(' ', "");
    // SDR repository: version 5.1, no records.
    let sdr = "0051000000ff000000000000000021";
    tree.text(
        "dev/ipmi0.replies",
        json!([
            {"netfn": 6, "cmd": 1, "data": "", "reply": device_id},
            {"netfn": 10, "cmd": 0x20, "data": "", "reply": sdr},
            {"netfn": 10, "cmd": 0x22, "data": "", "reply": "000100"},
            {"netfn": 10, "cmd": 0x40, "data": "", "reply": sel},
            {"netfn": 10, "cmd": 0x42, "data": "", "reply": "000100"},
        ]),
    );
    tree.directory("dev");
}
