//! Truncated, interleaved, torn and binary input: nothing panics, nothing is invented.

use cupel_kernel_log::decoder::{MAX_LINE, MAX_RAW};
use cupel_kernel_log::{Decoder, Options, decode_all, fold};
use cupel_model::{Event, EventKind};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Lines of every kind, some of which go on in others.
const LINES: [&str; 34] = [
    "NVRM: Xid (PCI:0000:9b:00): 79, pid=1234, name=x, GPU has fallen off the bus.",
    "NVRM: Xid (PCI:0000:01:00 GPU-I:05): 94, pid=7194, Contained: CE User Channel (0x9). RST: No",
    "NVRM: Xid (PCI:0008:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)",
    "NVRM: Xid (PCI:0009:01:00): 149, NETIR_LINK_EVT Fatal XC0 i0 Link 01 (0x021425c6 0x00000000 0x00000000 0x00000000 0x00000000 0x00000000)",
    "NVRM: Xid (PCI:0003:00:00): 74, pid='<unknown>', name=<unknown>, NVLink: fatal error detected on link 14(0x0, 0x0, 0x10000, 0x0, 0x0, 0x0, 0x0)",
    "nvidia-nvswitch3: SXid (PCI:0000:c5:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
    "nvidia-nvswitch0: SXid (PCI:0000:a9:00.0): 11111, Data {0x50610002, 0x10100030}",
    "NVRM: The NVIDIA GPU 0000:b3:00.0",
    "NVRM: (PCI ID: 10de:26b5) installed in this system has",
    "NVRM: fallen off the bus and is not responding to commands.",
    "NVRM: GPU 18:00.0: GPU has fallen off the bus.",
    "NVRM: API mismatch: the client has the version 535.1, but",
    "NVRM: this kernel module has the version 535.2.  Please",
    "NVRM: GPU 0000:3b:00.0: RmInitAdapter failed! (0x24:0x72:1568)",
    "pcieport 0000:00:1c.0: AER: Multiple Uncorrected (Non-Fatal) error received: 0000:04:00.0",
    "nvme 0000:04:00.0: PCIe Bus Error: severity=Uncorrected (Fatal), type=Transaction Layer, (Requester ID)",
    "nvme 0000:04:00.0:   device [144d:a808] error status/mask=00004000/00000000",
    "nvme 0000:04:00.0:    [14] CmpltTO                (First)",
    "pcieport 0000:00:1b.0: DPC: containment event, status:0x1f01 source:0x0000",
    "mce: [Hardware Error]: CPU 24: Machine Check Exception: 5 Bank 3: be00000000800400",
    "mce: [Hardware Error]: TSC 0 ADDR 1f2f3c1c80 MISC 200000c020002086",
    "[Hardware Error]: Corrected error, no action required.",
    "{1}[Hardware Error]: event severity: fatal",
    "{1}[Hardware Error]:   device_id: 0000:3b:00.0",
    "EDAC MC0: 1 CE memory read error on DIMM_A1 (channel:1 slot:0)",
    "nvme nvme3: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0xffff",
    "mlx5_core 0000:19:00.0: poll_health:857:(pid 0): device's health compromised - reached miss count",
    "train invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER), order=0",
    "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),task_memcg=/x,task=node,pid=863987,uid=0",
    "Out of memory: Killed process 9 (python) total-vm:1kB",
    "watchdog: BUG: soft lockup - CPU#12 stuck for 22s! [kworker/12:1:345]",
    "INFO: task nvidia-smi:12345 blocked for more than 120 seconds.",
    "mce: CPU12: Core temperature above threshold, cpu clock throttled (total events = 1)",
    "usb 1-1: new high-speed USB device number 12 at 0000:00:14.0",
];

const PREFIXES: [&str; 9] = [
    "",
    "4,12,3456,-;",
    "12,12,3456,c;",
    "4,13,3457,+;",
    "[   12.345678] ",
    "[Fri Aug 30 11:43:09 2024] ",
    "kern  :warn  : 2025-01-21T04:41:44,283302+00:00 ",
    "Aug 30 11:43:09 host kernel: ",
    "<4>[   12.345678][  T123] ",
];

fn line() -> impl Strategy<Value = Vec<u8>> {
    let known = (select(PREFIXES.to_vec()), select(LINES.to_vec()))
        .prop_map(|(prefix, text)| format!("{prefix}{text}").into_bytes());
    let json = select(LINES.to_vec()).prop_map(|text| {
        let text = serde_json::to_string(text).expect("json");
        format!("{{\"_TRANSPORT\":\"kernel\",\"__REALTIME_TIMESTAMP\":\"1725018189000000\",\"MESSAGE\":{text}}}").into_bytes()
    });
    let cut = (
        known.clone(),
        any::<proptest::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(|(line, at, tail)| {
            let at = at.index(line.len() + 1);
            if tail {
                line[at..].to_vec()
            } else {
                line[..at].to_vec()
            }
        });
    let torn = (known.clone(), any::<proptest::sample::Index>(), any::<u8>()).prop_map(
        |(mut line, at, byte)| {
            let at = at.index(line.len());
            line[at] = byte;
            line
        },
    );
    prop_oneof![
        6 => known,
        1 => json,
        2 => cut,
        2 => torn,
        1 => vec(any::<u8>(), 0..200),
    ]
}

fn log() -> impl Strategy<Value = Vec<u8>> {
    vec(line(), 0..40).prop_map(|lines| lines.join(&b'\n'))
}

/// Whether the bytes of an address (bus and device, in whatever case) stand in the input.
fn has(input: &[u8], event: &Event) -> bool {
    event.pci.is_none_or(|pci| {
        let text = String::from_utf8_lossy(input).to_lowercase();
        // The domain and function may be filled in; bus and device never are.
        text.contains(&format!("{:02x}:{:02x}", pci.bus, pci.device))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_is_invented(log in log()) {
        let (events, counts) = decode_all(&log, Options::default());
        let lines = u64::try_from(log.split(|b| *b == b'\n').count()).expect("fits");
        prop_assert!(counts.lines <= lines);
        prop_assert!(counts.meaningful <= counts.lines);
        prop_assert!(counts.events <= counts.meaningful);
        for event in &events {
            // Where pieces of a line were joined, the address may stand in two of them.
            let whole = !log.windows(3).any(|w| w == b",+;");
            prop_assert!(!whole || has(event.raw.as_bytes(), event), "{event:?}");
            prop_assert!(!whole || has(&log, event), "{event:?}");
            prop_assert_eq!(event.xid.is_some(), event.kind == EventKind::Xid);
            prop_assert_eq!(event.sxid.is_some(), event.kind == EventKind::Sxid);
            if let Some(xid) = event.xid {
                prop_assert!(event.raw.contains(&xid.to_string()));
                prop_assert!(event.raw.starts_with("NVRM: Xid ("));
            }
            if let Some(pid) = event.pid {
                prop_assert!(event.raw.contains(&pid.to_string()));
            }
            if let Some(process) = &event.process {
                prop_assert!(event.raw.contains(process.as_str()));
            }
        }
        let folded = fold(events.clone());
        prop_assert!(folded.len() <= events.len());
        prop_assert_eq!(folded.iter().map(|e| e.repeats).sum::<u64>(), counts.events);
    }

    #[test]
    fn chunks_change_nothing(log in log(), size in 1_usize..50) {
        let want = decode_all(&log, Options::default());
        let mut events = Vec::new();
        let mut decoder = Decoder::new(Options::default());
        for chunk in log.chunks(size) {
            decoder.feed(chunk, |event| events.push(event));
        }
        let counts = decoder.finish(|event| events.push(event));
        prop_assert_eq!((events, counts), want);
    }

    /// What makes a cursor: an event is handed out with the mark of its first record, in order, and
    /// at any time everything before the oldest mark that is held back has been handed out.
    #[test]
    fn records_with_marks_are_the_same_log(lines in vec(line(), 0..40), flush in 1_u64..20) {
        let lines: Vec<_> = lines
            .into_iter()
            .map(|line| line.into_iter().filter(|b| *b != b'\n').collect::<Vec<u8>>())
            .filter(|line| !line.is_empty())
            .collect();
        let mut whole = Decoder::new(Options::default());
        let mut want = Vec::new();
        let mut decoder = Decoder::new(Options::default());
        let mut marked: Vec<(u64, Event)> = Vec::new();
        for (mark, line) in (0_u64..).zip(&lines) {
            whole.feed(line, |event| want.push(event));
            whole.feed(b"\n", |event| want.push(event));
            decoder.feed_record(mark, line, |mark, event| marked.push((mark, event)));
            if mark % flush == flush - 1 {
                whole.flush(|event| want.push(event));
                decoder.flush_records(|mark, event| marked.push((mark, event)));
                prop_assert_eq!(decoder.held(), None);
            }
            let before = decoder.held().unwrap_or(mark + 1);
            prop_assert!(marked.iter().all(|(mark, _)| *mark < before));
        }
        whole.flush(|event| want.push(event));
        decoder.flush_records(|mark, event| marked.push((mark, event)));
        prop_assert!(marked.is_sorted_by_key(|(mark, _)| *mark));
        let got: Vec<_> = marked.into_iter().map(|(_, event)| event).collect();
        prop_assert_eq!(got, want);
        prop_assert_eq!(decoder.counts(), whole.counts());
    }

    #[test]
    fn two_logs_interleaved_keep_their_single_line_messages(order in vec(any::<bool>(), 0..40)) {
        let mut log = String::new();
        for (n, left) in order.iter().enumerate() {
            let bus = if *left { "9b" } else { "9c" };
            log += &format!("4,{n},{n},-;NVRM: Xid (PCI:0000:{bus}:00): 13, n{n}\n");
            log += &format!("4,{n},{n},-;mce: [Hardware Error]: CPU {n}: Machine Check: 0 Bank 7: cc00008000010090\n");
        }
        let (events, _) = decode_all(log.as_bytes(), Options::default());
        let got: Vec<bool> = events.iter().filter_map(|e| e.pci).map(|p| p.bus == 0x9b).collect();
        prop_assert_eq!(got, order.clone());
        prop_assert_eq!(events.len(), 2 * order.len());
    }
}

#[test]
fn a_line_of_megabytes_is_read_over() {
    let mut log = b"4,1,1,-;NVRM: Xid (PCI:0000:9b:00): 13, ".to_vec();
    log.resize(log.len() + (3 << 20), b'x');
    log.extend_from_slice(
        b" NVRM: Xid (PCI:0000:9c:00): 79, y\n4,2,2,-;NVRM: Xid (PCI:0000:9d:00): 79, z\n",
    );
    for size in [1 << 10, 1 << 22] {
        let mut events = Vec::new();
        let mut decoder = Decoder::new(Options::default());
        for chunk in log.chunks(size) {
            decoder.feed(chunk, |event| events.push(event));
        }
        decoder.finish(|event| events.push(event));
        let buses: Vec<u8> = events.iter().filter_map(|e| e.pci).map(|p| p.bus).collect();
        assert_eq!(buses, [0x9b, 0x9d]);
        assert!(events[0].raw.len() <= MAX_LINE);
    }
}

#[test]
fn bytes_that_are_no_text_do_not_outgrow_the_limit() {
    let mut log = b"NVRM: Xid (PCI:0000:9b:00): 13, ".to_vec();
    log.resize(2 * MAX_LINE, 0xff);
    let (events, _) = decode_all(&log, Options::default());
    assert_eq!(events.len(), 1);
    assert!(events[0].raw.len() <= MAX_RAW, "{}", events[0].raw.len());
}

#[test]
fn a_message_that_never_ends_is_cut() {
    let mut log = b"{1}[Hardware Error]: event severity: fatal\n".to_vec();
    for n in 0..10_000 {
        log.extend_from_slice(
            format!("{{1}}[Hardware Error]:  line {n} {}\n", "x".repeat(4000)).as_bytes(),
        );
    }
    let (events, counts) = decode_all(&log, Options::default());
    assert!(events.len() > 1);
    assert!(events.iter().all(|e| e.raw.len() <= MAX_RAW));
    assert_eq!(counts.meaningful, 10_001);
}
