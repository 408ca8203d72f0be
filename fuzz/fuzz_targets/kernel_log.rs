//! The kernel log decoder on any bytes: no panic, no more events than lines, no address that the
//! input does not have, and the same events however the bytes are cut.

#![no_main]

use cupel_kernel_log::{Decoder, Options, decode_all, fold};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The first bytes choose what the caller knows and how the rest is cut.
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

    let size = control.get(1).map_or(1, |byte| usize::from(*byte) + 1);
    let mut again = Vec::new();
    let mut decoder = Decoder::new(options);
    for chunk in log.chunks(size) {
        decoder.feed(chunk, |event| again.push(event));
    }
    assert_eq!(decoder.finish(|event| again.push(event)), counts);
    assert_eq!(again, events);

    let lines = log.split(|byte| *byte == b'\n').count();
    assert!(events.len() <= lines);
    for event in &events {
        assert!(event.raw.len() <= cupel_kernel_log::decoder::MAX_RAW);
        // `raw` is the input without prefixes and escapes; the address must be in it as written.
        if let Some(pci) = event.pci {
            let slot = format!("{:02x}:{:02x}", pci.bus, pci.device);
            assert!(event.raw.to_lowercase().contains(&slot), "{event:?}");
        }
        if let Some(xid) = event.xid {
            assert!(event.raw.contains(&xid.to_string()), "{event:?}");
        }
    }
    let total = events.len() as u64;
    let folded = fold(events);
    assert!(folded.len() as u64 <= total);
    assert_eq!(folded.iter().map(|event| event.repeats).sum::<u64>(), total);
});
