//! Kernel logs: whatever the bytes, they are read to their end, chunks change nothing, nothing is
//! invented and nothing is lost in folding.

use cupel_kernel_log::{Decoder, Options, decode_all, fold};
use cupel_model::{Event, EventKind};

/// One kernel log; its first two bytes choose what the caller knows and how the rest is cut.
pub fn kernel_log(data: &[u8]) {
    let (control, log) = data.split_at(data.len().min(2));
    let driver = match control.first() {
        Some(0..=84) => Some("570.86.15"),
        Some(85..=169) => Some("580.65.06"),
        Some(170..) | None => None,
    };
    let now = "2025-06-01T00:00:00Z".parse().ok();
    let options = Options {
        driver: driver.and_then(|version| version.parse().ok()),
        boot_time: now,
        now,
        utc_offset_seconds: 0,
    };
    let (events, counts) = decode_all(log, options);
    let lines = log.split(|byte| *byte == b'\n').count() as u64;
    assert!(counts.lines <= lines, "{counts:?} of {lines} lines");
    assert!(counts.events <= counts.meaningful && counts.meaningful <= counts.lines);
    assert_eq!(counts.events, events.len() as u64);

    let size = control.get(1).map_or(1, |byte| usize::from(*byte) + 1);
    let mut again = Vec::new();
    let mut decoder = Decoder::new(options);
    for chunk in log.chunks(size) {
        decoder.feed(chunk, |event| again.push(event));
    }
    assert_eq!(decoder.finish(|event| again.push(event)), counts);
    assert_eq!(again, events, "chunks of {size} bytes");

    for event in &events {
        assert!(event.raw.len() <= cupel_kernel_log::decoder::MAX_RAW);
        assert_eq!(
            event.xid.is_some(),
            event.kind == EventKind::Xid,
            "{event:?}"
        );
        assert_eq!(
            event.sxid.is_some(),
            event.kind == EventKind::Sxid,
            "{event:?}"
        );
        assert!(is_said(event), "invented: {event:?}");
    }
    let folded = fold(events);
    assert!(folded.len() as u64 <= counts.events);
    let repeats: u64 = folded.iter().map(|event| event.repeats).sum();
    assert_eq!(repeats, counts.events);
}

/// Whether codes, process and bus stand in the message itself.
fn is_said(event: &Event) -> bool {
    let raw = event.raw.to_lowercase();
    let has = |number: Option<u32>| number.is_none_or(|number| raw.contains(&number.to_string()));
    let process = event.process.as_ref();
    has(event.xid)
        && has(event.pid)
        && process.is_none_or(|process| event.raw.contains(process.as_str()))
        && event
            .pci
            .is_none_or(|pci| raw.contains(&format!("{:02x}:{:02x}", pci.bus, pci.device)))
}
