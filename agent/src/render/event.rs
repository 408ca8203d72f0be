//! One event of the kernel log for people: what it is, then the message itself.

use anstyle::Style;
use cupel_model::{Event, RemedyAction};

use super::check::colour_of;
use super::words::{self, NONE, word};
use crate::output::{paint, printable};

/// Two lines: time, severity, code, address, mnemonic and what to do; and the message.
pub fn text(event: &Event, colour: bool) -> String {
    let time = event
        .time
        .map_or_else(|| NONE.to_owned(), |time| time.to_string()[..19].to_owned());
    let severity = format!("{:<8}", words::severity(event.severity));
    let mut text = format!(
        "{time:<19}  {}  {}",
        paint(&severity, colour_of(event.severity), colour),
        paint(&event.code, Style::new().bold(), colour),
    );
    if let Some(pci) = event.pci {
        text.push_str(&format!("  {pci}"));
    }
    if let Some(mig) = &event.mig {
        text.push_str(&format!(" {}", printable(mig)));
    }
    if let Some(mnemonic) = &event.mnemonic {
        text.push_str(&format!("  {}", printable(mnemonic)));
    }
    if let Some(unit) = event
        .nvlink5
        .as_ref()
        .and_then(|nvlink| nvlink.unit.as_ref())
    {
        text.push_str(&format!("  {}", printable(unit)));
    }
    if event.action != RemedyAction::None {
        text.push_str(&format!("  -> {}", word(&event.action)));
    }
    if event.repeats > 1 {
        let last = event
            .last
            .map(|last| format!(", last {}", &last.to_string()[..19]))
            .unwrap_or_default();
        text.push_str(&format!("  ({} times{last})", event.repeats));
    }
    text.push('\n');
    for line in printable(&event.raw).lines() {
        text.push_str("    ");
        text.push_str(line);
        text.push('\n');
    }
    text
}
