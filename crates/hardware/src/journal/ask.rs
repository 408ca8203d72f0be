//! `journalctl`, once for each boot, from the oldest on.

use std::path::Path;
use std::time::Duration;

use cupel_model::Reading;
use cupel_model::snapshot::Problem;

use super::telling::{Lines, Telling};
use super::{BOOTS, EarlierBoots, Followed};
use crate::command::{self, CommandError, Limits, Output};
use crate::root::Root;

/// Kernel messages of one boot that are read when there is no cursor: the newest.
pub(super) const LINES: u64 = 20_000;

/// For one boot. A message comes as some 500 bytes.
pub(super) const LIMITS: Limits = Limits {
    time: Duration::from_secs(20),
    output_bytes: 32 << 20,
};

/// Whom to ask, and for how much.
pub(super) struct Question<'q> {
    pub(super) root: &'q Root,
    pub(super) program: &'q Path,
    pub(super) limits: Limits,
    pub(super) lines: u64,
}

impl Question<'_> {
    /// What the journal has of the boots before `current`.
    pub(super) fn ask(
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::telling::bare;
    use super::super::telling::tests::{NOW, ONE, TWO, xid};
    use super::*;

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
}
