//! From lines of `journalctl` to boots with events. Pure.

use std::time::Duration;

use cupel_kernel_log::{Decoder, Folder, Options};
use serde::Deserialize;

use super::{EarlierBoot, Followed};

/// Longest line that is looked at. The journal's own limit for a kernel message is far below.
const LINE_BYTES: usize = 256 * 1024;

/// Cuts a stream into lines.
#[derive(Default)]
pub(super) struct Lines {
    carry: Vec<u8>,
}

impl Lines {
    pub(super) fn feed(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (head, tail) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            if self.carry.is_empty() {
                line(head);
            } else {
                self.keep(head);
                line(&self.carry);
                self.carry.clear();
            }
            rest = tail.get(1..).unwrap_or_default();
        }
        self.keep(rest);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES.saturating_sub(self.carry.len()).min(bytes.len());
        self.carry
            .extend_from_slice(bytes.get(..room).unwrap_or_default());
    }
}

/// What an entry says besides its message, which the decoder reads.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "__CURSOR")]
    cursor: String,
    #[serde(rename = "_BOOT_ID")]
    boot: String,
    #[serde(rename = "_SOURCE_MONOTONIC_TIMESTAMP", default)]
    kernel_time: Option<String>,
    #[serde(rename = "__MONOTONIC_TIMESTAMP", default)]
    journal_time: Option<String>,
}

impl Entry {
    /// Time since boot, by the kernel where the entry has it.
    fn since_boot(&self) -> Option<Duration> {
        let text = self.kernel_time.as_ref().or(self.journal_time.as_ref())?;
        text.parse().ok().map(Duration::from_micros)
    }
}

/// Entries on their way to boots with events.
pub(super) struct Telling<'t> {
    current: String,
    followed: &'t [Followed],
    open: Option<Open>,
    /// Those that are over, oldest first.
    pub(super) boots: Vec<EarlierBoot>,
    /// Of the newest entry.
    pub(super) cursor: Option<String>,
    /// Entries of earlier boots.
    pub(super) records: u64,
    /// Lines that are no entries.
    pub(super) unreadable: u64,
}

/// The boot whose entries come.
struct Open {
    boot: String,
    decoder: Decoder,
    folder: Folder,
    records: u64,
}

impl<'t> Telling<'t> {
    /// With nothing told yet.
    pub(super) fn new(current: &str, followed: &'t [Followed]) -> Self {
        Self {
            current: bare(current),
            followed,
            open: None,
            boots: Vec::new(),
            cursor: None,
            records: 0,
            unreadable: 0,
        }
    }

    /// Takes one line of `journalctl`.
    pub(super) fn line(&mut self, line: &[u8]) {
        let Ok(entry) = serde_json::from_slice::<Entry>(line) else {
            self.unreadable += u64::from(!line.trim_ascii().is_empty());
            return;
        };
        let boot = bare(&entry.boot);
        if boot == self.current {
            return;
        }
        self.records += 1;
        let was_followed = self.followed.iter().any(|followed| {
            bare(&followed.boot) == boot
                && entry.since_boot().is_some_and(|time| time <= followed.to)
        });
        self.cursor = Some(entry.cursor);
        if was_followed {
            return;
        }
        if self.open.as_ref().is_some_and(|open| open.boot != boot) {
            self.end_of_boot();
        }
        let open = self.open.get_or_insert_with(|| Open {
            boot,
            decoder: Decoder::new(Options::default()),
            folder: Folder::new(),
            records: 0,
        });
        open.records += 1;
        let folder = &mut open.folder;
        open.decoder
            .feed_record(open.records, line, |_, event| folder.push(event));
    }

    /// The boot whose entries came is over.
    pub(super) fn end_of_boot(&mut self) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        let folder = &mut open.folder;
        open.decoder.flush(|event| folder.push(event));
        self.boots.push(EarlierBoot {
            boot: with_hyphens(&open.boot),
            events: open.folder.into_events(),
            records: open.records,
        });
    }
}

/// A boot id without hyphens, as the journal has it.
pub(super) fn bare(boot: &str) -> String {
    boot.trim().replace('-', "").to_ascii_lowercase()
}

/// A boot id as the kernel writes it; what is none stays as it is.
fn with_hyphens(boot: &str) -> String {
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| boot.get(part));
    match parts {
        [Some(a), Some(b), Some(c), Some(d), Some(e)] if boot.len() == 32 => {
            format!("{a}-{b}-{c}-{d}-{e}")
        }
        _ => boot.to_owned(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) const ONE: &str = "6dce7027-07af-48f5-bfd8-f25a6fc305cc";
    pub(crate) const TWO: &str = "0b1c7027-07af-48f5-bfd8-f25a6fc305cc";
    pub(crate) const NOW: &str = "ffff7027-07af-48f5-bfd8-f25a6fc305cc";

    pub(crate) fn entry(boot: &str, number: u64, text: &str) -> String {
        let boot = bare(boot);
        format!(
            r#"{{"__CURSOR":"s=1;i={number:x};b={boot}","__REALTIME_TIMESTAMP":"{}","__MONOTONIC_TIMESTAMP":"{}","_BOOT_ID":"{boot}","_TRANSPORT":"kernel","SYSLOG_FACILITY":"0","_SOURCE_MONOTONIC_TIMESTAMP":"{}","MESSAGE":"{text}"}}"#,
            1_725_018_189_000_000 + number,
            number + 70,
            number,
        )
    }

    pub(crate) fn xid(boot: &str, number: u64, code: u32) -> String {
        let text = format!("NVRM: Xid (PCI:0000:9b:00): {code}, pid=1, name=x, text");
        entry(boot, number, &text)
    }

    fn told(lines: &[String], followed: &[Followed]) -> (Vec<EarlierBoot>, Option<String>, u64) {
        let mut telling = Telling::new(NOW, followed);
        for line in lines {
            telling.line(line.as_bytes());
        }
        telling.end_of_boot();
        (telling.boots, telling.cursor, telling.unreadable)
    }

    fn codes(boot: &EarlierBoot) -> Vec<(&str, u64)> {
        let events = boot.events.iter();
        events
            .map(|event| (event.code.as_str(), event.repeats))
            .collect()
    }

    #[test]
    fn entries_become_boots_with_folded_events() {
        let lines = [
            xid(ONE, 1, 79),
            entry(ONE, 2, "usb 1-1: nothing"),
            xid(ONE, 3, 79),
            "no json".to_owned(),
            xid(TWO, 4, 48),
            xid(NOW, 5, 13),
        ];
        let (boots, cursor, unreadable) = told(&lines, &[]);
        let ids: Vec<_> = boots
            .iter()
            .map(|boot| (boot.boot.as_str(), boot.records))
            .collect();
        assert_eq!(ids, [(ONE, 3), (TWO, 1)]);
        assert_eq!(codes(&boots[0]), [("xid.79", 2)]);
        assert_eq!(codes(&boots[1]), [("xid.48", 1)]);
        let time = boots[0].events[0].time.expect("time").to_string();
        assert_eq!(time, "2024-08-30T11:43:09.000001Z");
        assert_eq!(cursor, Some(format!("s=1;i=4;b={}", bare(TWO))));
        assert_eq!(unreadable, 1);
    }

    #[test]
    fn what_was_followed_while_it_happened_is_left_out() {
        let lines: Vec<_> = (1..=4).map(|n| xid(ONE, n * 10, 79)).collect();
        let followed = Followed {
            boot: ONE.to_owned(),
            to: Duration::from_micros(20),
        };
        let (boots, cursor, _) = told(&lines, &[followed]);
        assert_eq!(codes(&boots[0]), [("xid.79", 2)]);
        assert!(cursor.is_some());
        let all = Followed {
            boot: ONE.to_owned(),
            to: Duration::from_micros(40),
        };
        let (boots, cursor, _) = told(&lines, &[all]);
        assert_eq!(boots, []);
        assert_eq!(cursor, Some(format!("s=1;i=28;b={}", bare(ONE))));
    }

    #[test]
    fn a_boot_id_is_known_in_both_spellings() {
        assert_eq!(with_hyphens(&bare(ONE)), ONE);
        assert_eq!(with_hyphens("x"), "x");
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_are_cut(
            text in "[a-z\n]{0,60}",
            size in 1_usize..20,
        ) {
            let mut got = Vec::new();
            let mut lines = Lines::default();
            for chunk in text.as_bytes().chunks(size) {
                lines.feed(chunk, |line| got.push(String::from_utf8_lossy(line).into_owned()));
            }
            let (whole, _) = text.rsplit_once('\n').unwrap_or(("", ""));
            let mut want: Vec<String> = whole.split('\n').map(str::to_owned).collect();
            if !text.contains('\n') {
                want.clear();
            }
            prop_assert_eq!(got, want);
        }

        #[test]
        fn nothing_panics(line in ".{0,200}", valid in any::<bool>()) {
            let line = if valid { entry(ONE, 1, "x").replace("\"x\"", &line) } else { line };
            told(&[line], &[]);
        }
    }
}
