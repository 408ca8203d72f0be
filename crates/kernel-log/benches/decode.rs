//! Lines a second through the whole decoder: quiet logs, a realistic mix, and a storm of XIDs.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use cupel_kernel_log::{Folder, Options, decode_all};

/// What fills a GPU server's log and means nothing.
const NOISE: [&str; 12] = [
    "IPv6: ADDRCONF(NETDEV_CHANGE): cali6f1d2a90b7c: link becomes ready",
    "nvidia-nvswitch2: open (major=510)",
    "perf: interrupt took too long (2509 > 2500), lowering kernel.perf_event_max_sample_rate to 79500",
    "audit: type=1400 audit(1725018189.123:456): apparmor=\"ALLOWED\" operation=\"open\" profile=\"kubelet\" name=\"/proc/1/status\"",
    "nvme nvme3: 64/0/0 default/read/poll queues",
    "mlx5_core 0000:19:00.0: firmware version: 28.39.1002",
    "usb 1-14.1: New USB device found, idVendor=0557, idProduct=2419, bcdDevice= 1.00",
    "docker0: port 3(veth5d0c1a7) entered forwarding state",
    "pci 0000:3b:00.0: BAR 1 [mem 0x22000000000-0x23fffffffff 64bit pref]: assigned",
    "systemd-journald[812]: /run/log/journal/0a1b2c/system.journal: Journal header limits reached or header out-of-date, rotating.",
    "NVRM: GPU at PCI:0000:9b:00: GPU-0a1b2c3d-0000-1111-2222-333344445555",
    "CPU feature checks done: all 224 processors agree on microcode 0x2b0004d0 and on their capabilities",
];

/// What means something.
const FAULTS: [&str; 6] = [
    "NVRM: Xid (PCI:0000:9b:00): 13, pid='<unknown>', name=<unknown>, Graphics SM Warp Exception on (GPC 9, TPC 2, SM 0): Out Of Range Address",
    "NVRM: Xid (PCI:0000:9b:00): 149, NETIR_LINK_EVT  Fatal   XC0 i0 Link 08 (0x004505c6 0x00000000 0x00000000 0x00000000 0x00000000 0x00000000)",
    "nvidia-nvswitch3: SXid (PCI:0000:c5:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
    "pcieport 0000:00:1c.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver ID)",
    "EDAC MC0: 1 CE memory read error on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0 (channel:1 slot:0 page:0x0)",
    "mlx5_core 0000:19:00.0: Port module event: module 0, Cable unplugged",
];

/// A log of raw records in which one line in `every` means something.
fn log(lines: usize, every: usize) -> Vec<u8> {
    let mut log = String::new();
    for n in 0..lines {
        let text = if n % every == every - 1 {
            FAULTS[n / every % FAULTS.len()]
        } else {
            NOISE[n % NOISE.len()]
        };
        log += &format!("6,{n},{},-;{text}\n", n * 977);
    }
    log.into_bytes()
}

fn decode(criterion: &mut Criterion) {
    const LINES: usize = 200_000;
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(LINES as u64));
    group.sample_size(20);
    for (name, every) in [("one in 1000", 1000), ("one in 50", 50), ("storm", 1)] {
        let log = log(LINES, every);
        group.bench_function(name, |bench| {
            bench.iter(|| decode_all(black_box(&log), Options::default()).1);
        });
    }
    let storm = log(LINES, 1);
    group.bench_function("storm, folded", |bench| {
        bench.iter(|| {
            let mut folder = Folder::new();
            let mut decoder = cupel_kernel_log::Decoder::new(Options::default());
            decoder.feed(black_box(&storm), |event| folder.push(event));
            decoder.finish(|event| folder.push(event));
            folder.into_events().len()
        });
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
