//! One event of the kernel log for people: what it is, then the message itself.

use anstyle::Style;
use cupel_model::{Event, RemedyAction};

use super::check::colour_of;
use super::table::{Layout, wrap};
use super::words::{self, NONE, word};
use crate::output::{paint, printable};

/// Columns of the time, under which nothing else stands in the head.
const TIME: usize = 19;

/// The head: time, severity, code, address, mnemonic and what to do; below it the message.
pub fn text(event: &Event, layout: Layout) -> String {
    let time = event.time.map_or_else(
        || NONE.to_owned(),
        |time| time.to_string()[..TIME].to_owned(),
    );
    let severity = format!("{:<8}", words::severity(event.severity));
    let mut text = format!(
        "{time:<TIME$}  {}  {}",
        paint(&severity, colour_of(event.severity), layout.colour),
        paint(&event.code, Style::new().bold(), layout.colour),
    );
    let mut column = TIME + 2 + severity.len() + 2 + event.code.chars().count();
    for piece in pieces(event) {
        let length = piece.chars().count();
        if column + 2 + length <= layout.width {
            text.push_str("  ");
            text.push_str(&piece);
            column += 2 + length;
            continue;
        }
        let indent = TIME + 2;
        for line in wrap(&piece, layout.width.saturating_sub(indent)) {
            text.push_str(&format!("\n{:indent$}{line}", ""));
            column = indent + line.chars().count();
        }
    }
    text.push('\n');
    for line in printable(&event.raw).replace('\t', " ").lines() {
        let mut indent = 4;
        for part in wrap(line, layout.width.saturating_sub(6)) {
            text.push_str(&format!("{:indent$}{part}\n", ""));
            indent = 6;
        }
    }
    text
}

/// The event on one line, however long: time, severity, code, part, message, and what to do.
pub fn line(event: &Event) -> String {
    let time = event.time.map_or_else(
        || NONE.to_owned(),
        |time| time.to_string()[..TIME].to_owned(),
    );
    let severity = words::severity(event.severity);
    let part = match (event.pci, &event.mig) {
        (Some(pci), Some(mig)) => format!("{pci} {mig}"),
        (Some(pci), None) => pci.to_string(),
        (None, Some(mig)) => mig.clone(),
        (None, None) => NONE.to_owned(),
    };
    let mut text = format!(
        "{time:<TIME$}  {severity:<8}  {}  {part}  {}",
        event.code, event.raw
    );
    if event.action != RemedyAction::None {
        text.push_str(&format!("  -> {}", word(&event.action)));
    }
    if event.repeats > 1 {
        text.push_str(&format!("  ({} times)", event.repeats));
    }
    words::one_line(&text)
}

/// What stands in the head behind the code.
fn pieces(event: &Event) -> Vec<String> {
    let mut pieces = Vec::new();
    let mig = event.mig.as_deref().map(printable);
    match (event.pci, mig) {
        (Some(pci), Some(mig)) => pieces.push(format!("{pci} {mig}")),
        (Some(pci), None) => pieces.push(pci.to_string()),
        (None, Some(mig)) => pieces.push(mig.into_owned()),
        (None, None) => {}
    }
    let unit = event
        .nvlink5
        .as_ref()
        .and_then(|nvlink| nvlink.unit.as_ref());
    for name in [event.mnemonic.as_ref(), unit].into_iter().flatten() {
        pieces.push(printable(name).into_owned());
    }
    if event.action != RemedyAction::None {
        pieces.push(format!("-> {}", word(&event.action)));
    }
    if event.repeats > 1 {
        let last = event
            .last
            .map(|last| format!(", last {}", &last.to_string()[..TIME]))
            .unwrap_or_default();
        pieces.push(format!("({} times{last})", event.repeats));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_and_message_fit_the_terminal() {
        let log = "NVRM: Xid (PCI:0000:01:00 GPU-I:05): 149, pid=1234, name=python3, \
                   NETIR_LINK_EVT Fatal XC0 i0 Link 08 (0x004505c6 0x00000000 0x00000000 \
                   0x00000000 0x00000000 0x00000000)\n";
        let options = cupel_kernel_log::Options {
            driver: "570.1".parse().ok(),
            ..cupel_kernel_log::Options::default()
        };
        let (mut events, _) = cupel_kernel_log::decode_all(log.as_bytes(), options);
        let mut event = events.pop().expect("an event");
        event.repeats = 40;
        for width in [60, 80, 100] {
            let colour = false;
            let text = text(&event, Layout { width, colour });
            for line in text.lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
            let words = |text: &str| {
                text.split_whitespace()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            assert!(words(&text).ends_with(&words(log)), "{text}");
            assert!(text.contains("NETIR_LINK_EVT/NETIR_LINK_DOWN"), "{text}");
            assert!(text.contains("(40 times)"), "{text}");
        }
    }
}
