//! Kernel messages of earlier boots, from systemd's journal.
//!
//! # Invariants
//! - Nothing is told twice: reading goes on after the cursor of the last time, and leaves out what
//!   was followed in the kernel log itself while that boot lasted.
//! - At most [`BOOTS`] boots back, and a bounded part of each; what is left out is told.
//! - Whether an earlier boot is there is told by exit codes, never by the text of a message.
//!
//! # What is absent
//! This boot: that is [`crate::kmsg`]'s.

use std::path::Path;
use std::time::Duration;

use cupel_kernel_log::{Decoder, Folder, Options};
use cupel_model::snapshot::Problem;
use cupel_model::{Event, Reading};
use serde::Deserialize;

use crate::command::{self, CommandError, Limits, Output};
use crate::root::Root;

/// Where `journalctl` may be.
const PROGRAMS: [&str; 2] = ["/usr/bin/journalctl", "/bin/journalctl"];

/// Where journald keeps what survives a reboot.
const PERSISTENT: &str = "/var/log/journal";

/// Boots before this one that are asked for.
pub const BOOTS: u32 = 3;

/// Kernel messages of one boot that are read when there is no cursor: the newest.
const LINES: u64 = 20_000;

/// For one boot. A message comes as some 500 bytes.
const LIMITS: Limits = Limits {
    time: Duration::from_secs(20),
    output_bytes: 32 << 20,
};

/// Longest line that is looked at. The journal's own limit for a kernel message is far below.
const LINE_BYTES: usize = 256 * 1024;

/// How far an earlier boot was followed while it lasted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Its boot id, as the kernel writes it.
    pub boot: String,
    /// The kernel's time of the last record whose events were told, as
    /// [`Batch::followed_to`](crate::kmsg::Batch::followed_to).
    pub to: Duration,
}

/// What the journal has of one earlier boot.
#[derive(Clone, Debug, PartialEq)]
pub struct EarlierBoot {
    /// Its boot id, as the kernel writes it (with hyphens).
    pub boot: String,
    /// Its events, folded.
    pub events: Vec<Event>,
    /// Kernel messages read.
    pub records: u64,
}

/// What the journal has of earlier boots.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EarlierBoots {
    /// Oldest first; those without a new message are left out.
    pub boots: Vec<EarlierBoot>,
    /// Where to go on another time; what it was before where nothing came.
    pub cursor: Option<String>,
    /// There is more, beyond the most that is read at once: ask again with the new cursor.
    pub more: bool,
    /// What was left out or went wrong half-way.
    pub problems: Vec<Problem>,
}

/// As [`earlier_boots_since`], of boots that were not followed.
pub fn earlier_boots(root: &Root, current: &str, after: Option<&str>) -> Reading<EarlierBoots> {
    earlier_boots_since(root, current, after, &[])
}

/// What the journal has of the last [`BOOTS`] boots before this one (`current`, the kernel's boot
/// id), after a cursor that was given before, and without what was followed while a boot lasted.
/// This blocks, for up to a minute.
///
/// Without `journalctl` it is unsupported; without a persistent journal, beneath a root other than
/// `/`, and where no earlier boot is in it, absent.
pub fn earlier_boots_since(
    root: &Root,
    current: &str,
    after: Option<&str>,
    followed: &[Followed],
) -> Reading<EarlierBoots> {
    if !root.is_live() {
        return Reading::absent("earlier boots are known on the machine itself only");
    }
    let Some(program) = PROGRAMS.iter().find(|program| root.exists(program)) else {
        return CommandError::Missing {
            program: PROGRAMS[0].to_owned(),
        }
        .into_reading();
    };
    if root.names(PERSISTENT).is_ok_and(|names| names.is_empty()) || !root.exists(PERSISTENT) {
        return Reading::absent(format!(
            "no persistent journal: {PERSISTENT} is empty or not there"
        ));
    }
    Question {
        root,
        program: Path::new(program),
        limits: LIMITS,
        lines: LINES,
    }
    .ask(current, after, followed)
}

/// Whom to ask, and for how much.
struct Question<'q> {
    root: &'q Root,
    program: &'q Path,
    limits: Limits,
    lines: u64,
}

impl Question<'_> {
    fn ask(
        &self,
        current: &str,
        after: Option<&str>,
        followed: &[Followed],
    ) -> Reading<EarlierBoots> {
        let mut told = Telling::new(current, followed);
        let mut problems = Vec::new();
        let mut more = false;
        for back in (1..=BOOTS).rev() {
            let before = told.records;
            match self.run(back, after, &mut told) {
                Ok(output) if output.status != 0 && !output.truncated => {
                    if back > 1 {
                        // So long ago there was no boot.
                        continue;
                    }
                    if let Err(why) = self.probe(after, &output) {
                        return why;
                    }
                    return Reading::absent("the journal has no earlier boot");
                }
                Ok(output) if output.truncated => {
                    more = after.is_some();
                    problems.push(format!("boot -{back}: more messages than are read at once"));
                }
                Ok(_) => {
                    if after.is_none() && told.records - before >= self.lines {
                        problems.push(format!(
                            "boot -{back}: only its newest {} messages were read",
                            self.lines
                        ));
                    }
                }
                Err(error) if told.records == 0 => return error.into_reading(),
                Err(error) => {
                    more = after.is_some();
                    problems.push(error.to_string());
                }
            }
            told.end_of_boot();
            if more {
                // What comes later would move the cursor beyond what is left.
                break;
            }
        }
        if told.unreadable > 0 {
            problems.push(format!("{} lines are no journal entries", told.unreadable));
        }
        Reading::Value(EarlierBoots {
            cursor: told.cursor.or_else(|| after.map(str::to_owned)),
            boots: told.boots,
            more,
            problems: problems
                .into_iter()
                .map(|why| Problem {
                    source: "journal".to_owned(),
                    why,
                })
                .collect(),
        })
    }

    fn run(
        &self,
        back: u32,
        after: Option<&str>,
        told: &mut Telling<'_>,
    ) -> Result<Output, CommandError> {
        let mut arguments = vec![
            "--quiet".to_owned(),
            "--no-pager".to_owned(),
            "--all".to_owned(),
            "--output=json".to_owned(),
            "--output-fields=MESSAGE,_TRANSPORT,SYSLOG_FACILITY,_BOOT_ID,_SOURCE_MONOTONIC_TIMESTAMP"
                .to_owned(),
            format!("--boot=-{back}"),
        ];
        match after {
            // From the cursor onwards, all of it.
            Some(cursor) => arguments.push(format!("--after-cursor={cursor}")),
            None => arguments.push(format!("--lines={}", self.lines)),
        }
        arguments.push("_TRANSPORT=kernel".to_owned());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut lines = Lines::default();
        let output = command::stream(self.root, self.program, &arguments, self.limits, |bytes| {
            lines.feed(bytes, |line| told.line(line));
        })?;
        // A last line without an end was cut off.
        Ok(output)
    }

    /// Whether the journal can be read at all, when it refused the boot before this one.
    fn probe(&self, after: Option<&str>, refused: &Output) -> Result<(), Reading<EarlierBoots>> {
        let mut arguments = vec![
            "--quiet",
            "--no-pager",
            "--output=json",
            "--boot=0",
            "--lines=1",
        ];
        let cursor = after.map(|cursor| format!("--after-cursor={cursor}"));
        arguments.extend(cursor.as_deref());
        let output = command::run(self.root, self.program, &arguments, self.limits)
            .map_err(CommandError::into_reading)?;
        if output.status == 0 {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&refused.stderr);
        let line: String = said
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(200)
            .collect();
        Err(Reading::failed(format!(
            "{}: exit code {}: {line}",
            self.program.display(),
            refused.status
        )))
    }
}

/// Cuts a stream into lines.
#[derive(Default)]
struct Lines {
    carry: Vec<u8>,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) {
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
struct Telling<'t> {
    current: String,
    followed: &'t [Followed],
    open: Option<Open>,
    boots: Vec<EarlierBoot>,
    cursor: Option<String>,
    /// Entries of earlier boots.
    records: u64,
    unreadable: u64,
}

/// The boot whose entries come.
struct Open {
    boot: String,
    decoder: Decoder,
    folder: Folder,
    records: u64,
}

impl<'t> Telling<'t> {
    fn new(current: &str, followed: &'t [Followed]) -> Self {
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

    fn line(&mut self, line: &[u8]) {
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

    fn end_of_boot(&mut self) {
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
fn bare(boot: &str) -> String {
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
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::Tree;

    const ONE: &str = "6dce7027-07af-48f5-bfd8-f25a6fc305cc";
    const TWO: &str = "0b1c7027-07af-48f5-bfd8-f25a6fc305cc";
    const NOW: &str = "ffff7027-07af-48f5-bfd8-f25a6fc305cc";

    fn entry(boot: &str, number: u64, text: &str) -> String {
        let boot = bare(boot);
        format!(
            r#"{{"__CURSOR":"s=1;i={number:x};b={boot}","__REALTIME_TIMESTAMP":"{}","__MONOTONIC_TIMESTAMP":"{}","_BOOT_ID":"{boot}","_TRANSPORT":"kernel","SYSLOG_FACILITY":"0","_SOURCE_MONOTONIC_TIMESTAMP":"{}","MESSAGE":"{text}"}}"#,
            1_725_018_189_000_000 + number,
            number + 70,
            number,
        )
    }

    fn xid(boot: &str, number: u64, code: u32) -> String {
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

    /// A `journalctl` that writes down how it was called and answers with files beside it.
    struct Fake(tempfile::TempDir);

    impl Fake {
        fn new(boots: &[(&str, Vec<String>)]) -> Self {
            let directory = tempfile::tempdir().expect("directory");
            let at = directory.path().display();
            for (boot, lines) in boots {
                let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
                std::fs::write(directory.path().join(boot), text).expect("answer");
            }
            let script = format!(
                "#!/bin/sh\necho \"$@\" >> {at}/calls\nfor a in \"$@\"; do case $a in --boot=*) b=${{a#--boot=}};; esac; done\nif [ -f {at}/$b ]; then cat {at}/$b; else echo \"no boot $b\" >&2; exit 1; fi\n"
            );
            let program = directory.path().join("journalctl");
            std::fs::write(&program, script).expect("script");
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))
                .expect("mode");
            Self(directory)
        }

        fn ask(&self, after: Option<&str>, lines: u64, bytes: usize) -> Reading<EarlierBoots> {
            Question {
                root: &Root::live(),
                program: &self.0.path().join("journalctl"),
                limits: Limits {
                    output_bytes: bytes,
                    ..LIMITS
                },
                lines,
            }
            .ask(NOW, after, &[])
        }

        fn calls(&self) -> Vec<String> {
            let text = std::fs::read_to_string(self.0.path().join("calls")).expect("calls");
            text.lines().map(str::to_owned).collect()
        }
    }

    #[test]
    fn boots_are_asked_for_from_the_oldest_on_and_after_the_cursor() {
        let fake = Fake::new(&[("-2", vec![xid(ONE, 1, 79)]), ("-1", vec![xid(TWO, 2, 48)])]);
        let answer = fake.ask(None, 100, 1 << 20);
        let boots = answer.value().expect("boots");
        let ids: Vec<_> = boots.boots.iter().map(|boot| boot.boot.as_str()).collect();
        assert_eq!(ids, [ONE, TWO]);
        assert!(!boots.more && boots.problems.is_empty(), "{boots:?}");
        let calls = fake.calls();
        assert_eq!(calls.len(), 3);
        assert!(calls[0].contains("--boot=-3") && calls[2].contains("--boot=-1"));
        assert!(
            calls[0].contains("--lines=100 _TRANSPORT=kernel"),
            "{}",
            calls[0]
        );
        let cursor = boots.cursor.clone().expect("a cursor");
        let fake = Fake::new(&[("-2", Vec::new()), ("-1", Vec::new())]);
        let answer = fake.ask(Some(&cursor), 100, 1 << 20);
        let boots = answer.value().expect("boots");
        assert_eq!(
            (boots.boots.len(), boots.cursor.as_ref()),
            (0, Some(&cursor))
        );
        let call = &fake.calls()[0];
        assert!(call.contains(&format!("--after-cursor={cursor}")), "{call}");
        assert!(!call.contains("--lines"), "{call}");
    }

    #[test]
    fn what_is_left_out_is_told_and_can_be_asked_for() {
        let lines: Vec<_> = (0..50).map(|n| xid(ONE, n, 79)).collect();
        let fake = Fake::new(&[("-2", lines), ("-1", vec![xid(TWO, 99, 48)])]);
        let answer = fake.ask(Some("s=0"), 100, 4096);
        let boots = answer.value().expect("boots");
        assert!(boots.more, "{boots:?}");
        assert_eq!(boots.boots.len(), 1, "the later boot waits");
        let read = boots.boots[0].records;
        assert!(read > 0 && read < 50, "{read}");
        assert_eq!(
            boots.cursor,
            Some(format!("s=1;i={:x};b={}", read - 1, bare(ONE)))
        );
        assert!(boots.problems[0].why.contains("boot -2"), "{boots:?}");
        // Without a cursor the newest are asked for.
        let answer = fake.ask(None, 50, 1 << 20);
        let boots = answer.value().expect("boots");
        assert!(!boots.more && boots.boots.len() == 2, "{boots:?}");
        assert!(boots.problems[0].why.contains("newest 50"), "{boots:?}");
    }

    #[test]
    fn no_earlier_boot_is_told_from_a_journal_that_cannot_be_read() {
        let fake = Fake::new(&[("0", vec![xid(NOW, 1, 13)])]);
        assert_eq!(
            fake.ask(None, 10, 1 << 20),
            Reading::absent("the journal has no earlier boot")
        );
        let answer = Fake::new(&[]).ask(None, 10, 1 << 20);
        let why = answer.why().expect("no value");
        assert!(
            answer.is_failed() && why.ends_with("exit code 1: no boot -1"),
            "{why}"
        );
    }

    #[test]
    fn a_program_that_is_missing_is_unsupported_and_one_that_hangs_fails() {
        let missing = Question {
            root: &Root::live(),
            program: Path::new("/nonexistent/journalctl"),
            limits: LIMITS,
            lines: 1,
        };
        let answer = missing.ask(NOW, None, &[]);
        assert!(matches!(answer, Reading::Unsupported(_)), "{answer:?}");
        let hangs = Question {
            root: &Root::live(),
            program: Path::new("/bin/cat"),
            limits: Limits {
                time: Duration::from_millis(100),
                ..LIMITS
            },
            lines: 1,
        };
        let answer = hangs.ask(NOW, None, &[]);
        assert!(answer.why().is_some(), "{answer:?}");
    }

    #[test]
    fn beneath_a_root_no_command_runs() {
        let answer = earlier_boots(&Tree::new().root(), NOW, None);
        assert!(matches!(answer, Reading::Absent(_)), "{answer:?}");
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
