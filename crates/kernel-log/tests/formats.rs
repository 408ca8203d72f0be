//! The same messages in every format, fed in every way: the same events.

use cupel_kernel_log::{Counts, Decoder, Options, decode_all};
use cupel_model::{Event, LogSource, Timestamp};

const BOOT: i64 = 1_725_017_000_000_000;

/// Records as the kernel made them: microseconds since boot, text (with its line breaks).
const RECORDS: [(i64, &str); 16] = [
    (1_000_000, "Linux version 6.8.0"),
    (
        2_000_000,
        "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  570.86.15  Release Build",
    ),
    (
        100_000_000,
        "NVRM: Xid (PCI:0000:9b:00): 79, pid=1234, name=x, GPU has fallen off the bus.",
    ),
    (
        101_000_000,
        "NVRM: The NVIDIA GPU 0000:b3:00.0\nNVRM: (PCI ID: 10de:26b5) installed in this system has\nNVRM: fallen off the bus and is not responding to commands.",
    ),
    (
        102_000_000,
        "NVRM: Xid (PCI:0000:01:00 GPU-I:05): 94, pid=7194, Contained: CE User Channel (0x9). RST: No, D-RST: No",
    ),
    (
        103_000_000,
        "nvidia-nvswitch3: SXid (PCI:0000:c5:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
    ),
    (
        104_000_000,
        "NVRM: Xid (PCI:0009:01:00): 149, NETIR_LINK_EVT  Fatal   XC0 i0 Link 01 (0x021425c6 0x00000000 0x00000000 0x00000000 0x00000000 0x00000000)",
    ),
    (
        105_000_000,
        "pcieport 0000:00:1c.0: AER: Multiple Uncorrected (Non-Fatal) error received: 0000:04:00.0",
    ),
    (
        105_000_001,
        "nvme 0000:04:00.0: PCIe Bus Error: severity=Uncorrected (Non-Fatal), type=Transaction Layer, (Requester ID)",
    ),
    (105_000_002, "usb 1-1: new high-speed USB device"),
    (
        105_000_003,
        "nvme 0000:04:00.0:   device [144d:a808] error status/mask=00004000/00000000",
    ),
    (
        106_000_000,
        "EDAC MC0: 1 CE memory read error on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0 (channel:1 slot:0)",
    ),
    (
        107_000_000,
        "INFO: task nvidia-smi:12345 blocked for more than 120 seconds.",
    ),
    (
        108_000_000,
        "{1}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 4",
    ),
    (
        108_000_001,
        "{1}[Hardware Error]: event severity: recoverable",
    ),
    (
        108_000_002,
        "{1}[Hardware Error]:   device_id: 0000:3b:00.0",
    ),
];

fn options() -> Options {
    Options {
        boot_time: Some(Timestamp::from_microseconds(BOOT).expect("time")),
        now: Some(Timestamp::from_microseconds(BOOT + 3_600_000_000).expect("time")),
        ..Options::default()
    }
}

fn iso(micros: i64) -> String {
    Timestamp::from_microseconds(BOOT + micros)
        .expect("time")
        .to_string()
}

/// Writes all records; `prefix` makes what stands before each line.
fn written(prefix: impl Fn(i64) -> String) -> String {
    let mut log = String::new();
    for (micros, text) in RECORDS {
        for line in text.lines() {
            log += &format!("{}{line}\n", prefix(micros));
        }
    }
    log
}

fn dmesg(micros: i64) -> String {
    format!("[{:5}.{:06}] ", micros / 1_000_000, micros % 1_000_000)
}

/// Bracketed date of `dmesg -T`; the records lie within one hour of one day.
fn date(micros: i64) -> String {
    let iso = iso(micros);
    format!("[Fri Aug 30 {} 2024] ", &iso[11..19])
}

fn formats() -> Vec<(&'static str, String, LogSource)> {
    let comma = |micros: i64| iso(micros).replace('.', ",").replace('Z', "+00:00");
    let kmsg = RECORDS
        .iter()
        .enumerate()
        .map(|(n, (micros, text))| {
            let text = text.replace('\n', "\\x0a");
            format!(
                "4,{n},{micros},-,caller=T1;{text}\n SUBSYSTEM=pci\n DEVICE=+pci:0000:aa:00.0\n"
            )
        })
        .collect();
    let json = |message: &dyn Fn(&str) -> String| {
        RECORDS
            .iter()
            .map(|(micros, text)| {
                format!(
                    "{{\"__REALTIME_TIMESTAMP\":\"{}\",\"_TRANSPORT\":\"kernel\",\"SYSLOG_FACILITY\":\"0\",\"MESSAGE\":{}}}\n",
                    BOOT + micros,
                    message(text)
                )
            })
            .collect::<String>()
    };
    let text = json(&|text| serde_json::to_string(text).expect("json"));
    let bytes = json(&|text| format!("{:?}", text.as_bytes()).replace(' ', ""));
    use LogSource::{Kernel, Unknown};
    vec![
        ("kmsg", kmsg, Kernel),
        ("journal json", text, Kernel),
        ("journal json, bytes", bytes, Kernel),
        ("dmesg", written(dmesg), Unknown),
        (
            "dmesg with caller",
            written(|m| format!("{}[  T77] ", dmesg(m))),
            Unknown,
        ),
        ("dmesg -T", written(date), Unknown),
        (
            "dmesg -x",
            written(|m| format!("kern  :warn  : {}", dmesg(m))),
            Kernel,
        ),
        (
            "dmesg -x -T",
            written(|m| format!("kern  :err   : {}", date(m))),
            Kernel,
        ),
        (
            "dmesg -x iso",
            written(|m| format!("kern  :warn  : {} ", comma(m))),
            Kernel,
        ),
        ("dmesg iso", written(|m| format!("{} ", comma(m))), Unknown),
        ("dmesg -r", written(|m| format!("<4>{}", dmesg(m))), Kernel),
        (
            "dmesg colours",
            written(|m| format!("\u{1b}[32m{}\u{1b}[0m\u{1b}[33m", dmesg(m))),
            Unknown,
        ),
        (
            "short",
            written(|m| format!("Aug 30 {} host kernel: ", &iso(m)[11..19])),
            Kernel,
        ),
        (
            "short-precise",
            written(|m| format!("Aug 30 {} host kernel: ", &iso(m)[11..26])),
            Kernel,
        ),
        (
            "short-iso",
            written(|m| format!("{}+0000 host kernel: ", &iso(m)[..19])),
            Kernel,
        ),
        (
            "short-iso-precise",
            written(|m| format!("{}+00:00 host kernel: ", &iso(m)[..26])),
            Kernel,
        ),
        (
            "short-full",
            written(|m| format!("Fri 2024-08-30 {} UTC host kernel: ", &iso(m)[11..19])),
            Kernel,
        ),
        (
            "short-monotonic",
            written(|m| format!("{}host kernel: ", dmesg(m))),
            Unknown,
        ),
        (
            "short-unix",
            written(|m| {
                format!(
                    "{}.{:06} host kernel: ",
                    (BOOT + m) / 1_000_000,
                    m % 1_000_000
                )
            }),
            Kernel,
        ),
        (
            "rsyslog",
            written(|m| format!("{}+00:00 host kernel: {}", &iso(m)[..26], dmesg(m))),
            Kernel,
        ),
        (
            "syslog 5424",
            written(|m| format!("<4>1 {} host kernel - - - ", iso(m))),
            Kernel,
        ),
        (
            "carriage returns",
            written(dmesg).replace('\n', "\r\n"),
            Unknown,
        ),
        ("cat", written(|_| String::new()), Unknown),
    ]
}

/// What must not depend on the format: times to the second, no source.
fn essence(events: &[Event], whole_seconds: bool, timed: bool) -> Vec<String> {
    events
        .iter()
        .map(|event| {
            let mut event = event.clone();
            let cut = |time: Option<Timestamp>| {
                let micros = time.filter(|_| timed)?.microseconds();
                let step = if whole_seconds { 1_000_000 } else { 1 };
                Timestamp::from_microseconds(micros - micros % step).ok()
            };
            (event.time, event.first, event.last) =
                (cut(event.time), cut(event.first), cut(event.last));
            event.source = LogSource::Unknown;
            serde_json::to_string(&event).expect("json")
        })
        .collect()
}

#[test]
fn every_format_gives_the_same_events() {
    let all = formats();
    let (reference, _) = decode_all(all[0].1.as_bytes(), options());
    assert_eq!(reference.len(), 9, "{reference:#?}");
    assert!(reference.iter().all(|e| e.time.is_some()));
    for (name, log, source) in &all {
        let (events, counts) = decode_all(log.as_bytes(), options());
        let timed = *name != "cat";
        assert_eq!(
            essence(&events, true, timed),
            essence(&reference, true, timed),
            "{name}"
        );
        assert!(
            events.iter().all(|e| e.source == *source),
            "{name}: {:?}",
            events[0].source
        );
        assert!(counts.meaningful <= counts.lines, "{name}");
        assert_eq!(counts.events, 9);
    }
}

#[test]
fn an_announced_multi_line_message_is_one_event_with_all_its_lines() {
    let (events, counts) = decode_all(written(dmesg).as_bytes(), options());
    let off = events
        .iter()
        .find(|e| e.code == "gpu.off-bus")
        .expect("off the bus");
    assert_eq!(off.raw, RECORDS[3].1);
    assert_eq!(off.pci.expect("address").to_string(), "0000:b3:00.0");
    let aer = events
        .iter()
        .find(|e| e.code == "pcie.aer-nonfatal")
        .expect("aer");
    assert_eq!(aer.raw.lines().count(), 3);
    assert_eq!(aer.pci.expect("address").to_string(), "0000:04:00.0");
    let ghes = events
        .iter()
        .find(|e| e.code == "ghes.recoverable")
        .expect("ghes");
    assert_eq!(ghes.pci.expect("address").to_string(), "0000:3b:00.0");
    // The driver said that it is below R575.
    let nvlink = events.iter().find(|e| e.xid == Some(149)).expect("149");
    assert_eq!(
        nvlink
            .nvlink5
            .as_ref()
            .expect("decoded")
            .investigatory
            .as_deref(),
        Some("INVESTIGATE_PEER_DEVICE")
    );
    assert_eq!(counts.meaningless(), 3);
}

#[test]
fn chunks_change_nothing() {
    for (name, log, _) in formats() {
        let want = decode_all(log.as_bytes(), options());
        for size in [1, 2, 7, 64, 1000] {
            let mut events = Vec::new();
            let mut decoder = Decoder::new(options());
            for chunk in log.as_bytes().chunks(size) {
                decoder.feed(chunk, |e| events.push(e));
            }
            let counts = decoder.finish(|e| events.push(e));
            assert_eq!((events, counts), want, "{name} by {size}");
        }
        let mut events = Vec::new();
        let counts = Decoder::new(options())
            .read(log.as_bytes(), |e| events.push(e))
            .expect("read");
        assert_eq!((events, counts), want, "{name} read");
    }
}

#[test]
fn a_live_reader_gets_events_at_once_or_at_the_flush() {
    let mut events = Vec::new();
    let mut decoder = Decoder::new(Options::default());
    decoder.feed(b"4,1,1,-;NVRM: Xid (PCI:0000:9b:00): 79, x\n", |e| {
        events.push(e)
    });
    assert_eq!(events.len(), 1);
    decoder.feed(
        b"4,2,2,-;mce: [Hardware Error]: CPU 1: Machine Check: 0 Bank 7: cc00008000010090\n",
        |e| events.push(e),
    );
    assert_eq!(events.len(), 1, "registers may follow");
    decoder.flush(|e| events.push(e));
    assert_eq!(events.len(), 2);
    decoder.feed(b"4,3,3,-;NVRM: Xid (PCI:0000:9b:00): 46", |e| {
        events.push(e)
    });
    decoder.flush(|e| events.push(e));
    assert_eq!(events.len(), 2, "the line has not ended");
    decoder.finish(|e| events.push(e));
    assert_eq!(events.len(), 3);
}

#[test]
fn what_goes_on_with_a_line_is_joined() {
    let log =
        "4,1,1,c;NVRM: Xid (PCI:0000:9\n4,2,2,+;b:00): 7\n4,3,3,+;9, x\n4,4,4,-;usb 1-1: new\n";
    let (events, _) = decode_all(log.as_bytes(), Options::default());
    assert_eq!(events.len(), 1, "{log}");
    assert_eq!(events[0].xid, Some(79));
    assert_eq!(events[0].raw, "NVRM: Xid (PCI:0000:9b:00): 79, x");
    let foreign = "4,1,1,c;NVRM: Xid (PCI:0000:9\n12,2,2,+;b:00): 79, x\n";
    assert!(
        decode_all(foreign.as_bytes(), Options::default())
            .0
            .is_empty()
    );
}

/// As driver 580.159.04 wrote it on an H100 with Linux 6.18.
#[test]
fn lines_that_a_driver_prints_as_continuations_are_lines() {
    let log = "\
4,361,462591356,c;NVRM: GPU at PCI:0000:00:06: GPU-5286983e-b0f7-b349-07fd-e6c50fa962b0
4,362,462591367,c;NVRM: GPU Board Serial Number: 1753024038318
4,363,462591369,c;NVRM: Xid (PCI:0000:00:06): 31, pid=2657, name=python3, channel 0x0000000a, intr 00000000. MMU Fault: ENGINE GRAPHICS GPC1 GPCCLIENT_T1_8 faulted @ 0x8f05_5fe00000. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_WRITE
4,364,473080948,c;NVRM: Xid (PCI:0000:00:06): 13, Graphics SM Warp Exception on (GPC 1, TPC 4, SM 0): Misaligned Address
4,365,473084005,c;NVRM: Xid (PCI:0000:00:06): 13, pid=2671, name=python3, Graphics Exception: channel 0x0000000a, Class 0000cbc0, Offset 00000510, Data 0017e2ac
";
    let mut decoder = Decoder::new(Options::default());
    let mut seen = Vec::new();
    for (number, line) in (361..).zip(log.lines()) {
        decoder.feed_record(number, line.as_bytes(), |mark, event| {
            seen.push((mark, event.xid, event.pid));
        });
    }
    assert_eq!(decoder.held(), None, "each is told at once");
    let told = [
        (363, Some(31), Some(2657)),
        (364, Some(13), None),
        (365, Some(13), Some(2671)),
    ];
    assert_eq!(seen, told);
}

#[test]
fn a_line_break_in_a_name_makes_no_message() {
    let log = "4,1,1,-;NVRM: Xid (PCI:0000:9b:00): 13, pid=1, name=x\\x0aNVRM: Xid (PCI:0000:9c:00): 79, y\n";
    let (events, _) = decode_all(log.as_bytes(), Options::default());
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].xid, Some(13));
}

#[test]
fn a_program_cannot_go_on_with_the_kernels_message() {
    let log = "4,1,1,-;NVRM: The NVIDIA GPU 0000:b3:00.0\n\
               12,2,2,-;NVRM: fallen off the bus and is not responding to commands.\n";
    let (events, _) = decode_all(log.as_bytes(), Options::default());
    assert!(
        events.iter().all(|e| e.source == LogSource::User),
        "{events:?}"
    );
    assert!(events.iter().all(|e| e.pci.is_none()), "{events:?}");
}

#[test]
fn a_line_that_mentions_an_xid_is_none() {
    for line in [
        "Aug 30 11:43:09 host gpud[12]: saw NVRM: Xid (PCI:0000:9b:00): 79, in the log",
        "see NVRM: Xid (PCI:0000:9b:00): 79",
        "# NVRM: Xid (PCI:0000:9b:00): 79",
        "12,1,2,-;agent: NVRM: Xid (PCI:0000:9b:00): 79, x",
        "{\"line\":\"NVRM: Xid (PCI:0000:9b:00): 79, x\"}",
        "grep 'NVRM: Xid (' /var/log/kern.log",
        "NVRM: Xid (",
    ] {
        let (events, counts) = decode_all(line.as_bytes(), Options::default());
        assert!(events.is_empty(), "{line}: {events:?}");
        assert_eq!(
            counts,
            Counts {
                lines: 1,
                meaningful: 0,
                events: 0
            }
        );
    }
}

#[test]
fn a_program_that_writes_an_xid_is_named_a_program() {
    for line in [
        "Aug 30 11:43:09 host logger: NVRM: Xid (PCI:0000:9b:00): 79, x",
        "12,1,2,-;NVRM: Xid (PCI:0000:9b:00): 79, x",
        "<12>[    1.000000] NVRM: Xid (PCI:0000:9b:00): 79, x",
        "user  :notice: [    1.000000] NVRM: Xid (PCI:0000:9b:00): 79, x",
        "{\"_TRANSPORT\":\"syslog\",\"MESSAGE\":\"NVRM: Xid (PCI:0000:9b:00): 79, x\"}",
    ] {
        let (events, _) = decode_all(line.as_bytes(), Options::default());
        assert_eq!(events.len(), 1, "{line}");
        assert_eq!(events[0].source, LogSource::User, "{line}");
    }
}

#[test]
fn times_that_are_not_known_are_null() {
    for line in [
        "[   12.345678] NVRM: Xid (PCI:0000:9b:00): 79, x",
        "4,1,2,-;NVRM: Xid (PCI:0000:9b:00): 79, x",
        "Aug 30 11:43:09 host kernel: NVRM: Xid (PCI:0000:9b:00): 79, x",
        "Fri 2024-08-30 11:43:09 CST host kernel: NVRM: Xid (PCI:0000:9b:00): 79, x",
        "NVRM: Xid (PCI:0000:9b:00): 79, x",
    ] {
        let (events, _) = decode_all(line.as_bytes(), Options::default());
        assert_eq!(events[0].time, None, "{line}");
        assert_eq!(events[0].first, None, "{line}");
    }
}
