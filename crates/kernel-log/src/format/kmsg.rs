//! Raw records of `/dev/kmsg`: `priority,sequence,microseconds,flags[,…];text`, with bytes that do
//! not print as `\xNN`. The ` KEY=value` lines behind a record are its dictionary: not messages.

use std::borrow::Cow;

use cupel_model::Timestamp;

use super::{Fragment, Record, by_priority};
use crate::Options;

pub(super) fn parse<'a>(line: &'a str, options: &Options) -> Option<Record<'a>> {
    if !line.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (head, text) = line.split_once(';')?;
    let mut fields = head.split(',');
    let mut number = || fields.next()?.parse::<u64>().ok();
    let priority = u32::try_from(number()?).ok()?;
    let _sequence = number()?;
    let microseconds = number()?;
    let fragment = match fields.next()? {
        "-" => Fragment::Whole,
        "c" => Fragment::Piece,
        "+" => Fragment::Further,
        _ => return None,
    };
    let time = options.boot_time.and_then(|boot| {
        let since = i64::try_from(microseconds).ok()?;
        Timestamp::from_microseconds(boot.microseconds().checked_add(since)?).ok()
    });
    Some(Record {
        time,
        source: by_priority(priority),
        fragment,
        text: unescaped(text),
    })
}

/// Turns `\xNN` back into bytes; what is no text after that is replaced.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains("\\x") {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend_from_slice(before.as_bytes());
        let code = after
            .get(..2)
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        rest = match code {
            Some(byte) => {
                bytes.push(byte);
                after.get(2..).unwrap_or_default()
            }
            None => {
                bytes.extend_from_slice(b"\\x");
                after
            }
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupel_model::LogSource;

    #[test]
    fn records() {
        let boot = Timestamp::from_microseconds(1_000_000_000_000_000).expect("time");
        let options = Options {
            boot_time: Some(boot),
            ..Options::default()
        };
        let record = parse("4,3964,206764307,-;NVRM: x", &options).expect("record");
        assert_eq!(
            record.time.expect("time").microseconds(),
            1_000_000_206_764_307
        );
        assert_eq!(
            (record.source, record.text.as_ref()),
            (LogSource::Kernel, "NVRM: x")
        );
        let record = parse("12,1,2,c,caller=T1;a;b", &Options::default()).expect("record");
        assert_eq!(
            (record.source, record.fragment),
            (LogSource::User, Fragment::Piece)
        );
        assert_eq!((record.time, record.text.as_ref()), (None, "a;b"));
        for line in [
            "",
            "4,1;x",
            "4,1,2;x",
            "4,a,2,-;x",
            "4,1,2,-",
            "4,1,2,z;x",
            "-1,1,2,-;x",
        ] {
            assert_eq!(parse(line, &options), None, "{line}");
        }
    }

    #[test]
    fn escapes() {
        for (text, want) in [
            (r"a\x0ab", "a\nb"),
            (r"\xc3\xa9", "é"),
            (r"\xff", "\u{fffd}"),
            (r"\xz1\x", r"\xz1\x"),
            (r"\x4", r"\x4"),
        ] {
            assert_eq!(unescaped(text), want);
        }
    }
}
