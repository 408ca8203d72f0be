//! Kernel logs: whatever the bytes, they are read to their end, chunks change nothing, nothing is
//! invented and nothing is lost in folding.

use cupel_kernel_log::{Decoder, Options, decode_all, fold};
use cupel_model::{Event, EventKind};

/// One kernel log; its first byte says in which chunks it comes the second time.
pub fn kernel_log(data: &[u8]) {
    let (events, counts) = decode_all(data, Options::default());
    let lines = data.split(|byte| *byte == b'\n').count() as u64;
    assert!(counts.lines <= lines, "{counts:?} of {lines} lines");
    assert!(counts.events <= counts.meaningful && counts.meaningful <= counts.lines);
    assert_eq!(counts.events, events.len() as u64);

    let chunk = usize::from(data.first().copied().unwrap_or(0)) + 1;
    let mut again = Vec::new();
    let mut decoder = Decoder::new(Options::default());
    for chunk in data.chunks(chunk) {
        decoder.feed(chunk, |event| again.push(event));
    }
    decoder.finish(|event| again.push(event));
    assert_eq!(again, events, "chunks of {chunk} bytes");

    for event in &events {
        assert_eq!(event.xid.is_some(), event.kind == EventKind::Xid, "{event:?}");
        assert_eq!(event.sxid.is_some(), event.kind == EventKind::Sxid, "{event:?}");
        assert!(is_said(event), "invented: {event:?}");
    }
    let folded = fold(events);
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
        && event.pci.is_none_or(|pci| raw.contains(&format!("{:02x}:{:02x}", pci.bus, pci.device)))
}
