//! `journalctl -o json`: one object a line. MESSAGE is a text, or an array of bytes where the text
//! has some that do not print.

use std::borrow::Cow;

use cupel_model::{LogSource, Timestamp};
use serde::Deserialize;

use super::{Fragment, Record};

#[derive(Deserialize)]
#[serde(untagged)]
enum Message {
    Text(String),
    Bytes(Vec<u8>),
    /// A field that was given twice.
    Several(Vec<Message>),
}

impl Message {
    fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Self::Several(messages) => messages.into_iter().next().and_then(Self::text),
        }
    }
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "MESSAGE")]
    message: Message,
    #[serde(rename = "__REALTIME_TIMESTAMP", default)]
    realtime: Option<String>,
    #[serde(rename = "_SOURCE_REALTIME_TIMESTAMP", default)]
    source_realtime: Option<String>,
    #[serde(rename = "_TRANSPORT", default)]
    transport: Option<String>,
    #[serde(rename = "SYSLOG_FACILITY", default)]
    facility: Option<String>,
}

impl Entry {
    /// `_TRANSPORT` is written by the journal itself and cannot be forged; programs that write to
    /// /dev/kmsg come with it too, and with a facility of their own.
    fn source(&self) -> LogSource {
        match (self.transport.as_deref(), self.facility.as_deref()) {
            (Some("kernel"), None | Some("0")) => LogSource::Kernel,
            (Some(_), _) => LogSource::User,
            (None, Some(facility)) if facility != "0" => LogSource::User,
            (None, _) => LogSource::Unknown,
        }
    }
}

pub(super) fn parse(line: &str) -> Option<Record<'static>> {
    let entry: Entry = serde_json::from_str(line.trim_start_matches('\u{1e}')).ok()?;
    let source = entry.source();
    let time = entry
        .realtime
        .or(entry.source_realtime)
        .and_then(|micros| micros.parse().ok())
        .and_then(|micros| Timestamp::from_microseconds(micros).ok());
    Some(Record {
        time,
        source,
        fragment: Fragment::Whole,
        text: Cow::Owned(entry.message.text()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let record = parse(r#"{"__REALTIME_TIMESTAMP":"1725018189000000","_TRANSPORT":"kernel","SYSLOG_FACILITY":"0","MESSAGE":"NVRM: x"}"#).expect("entry");
        assert_eq!(
            record.time.expect("time").to_string(),
            "2024-08-30T11:43:09.000000Z"
        );
        assert_eq!(
            (record.source, record.text.as_ref()),
            (LogSource::Kernel, "NVRM: x")
        );
        let record =
            parse(r#"{"_TRANSPORT":"kernel","SYSLOG_FACILITY":"1","MESSAGE":[78,86,255]}"#)
                .expect("entry");
        assert_eq!(
            (record.source, record.text.as_ref()),
            (LogSource::User, "NV\u{fffd}")
        );
        let record = parse(r#"{"_TRANSPORT":"stdout","MESSAGE":["a","b"]}"#).expect("entry");
        assert_eq!(
            (record.source, record.text.as_ref()),
            (LogSource::User, "a")
        );
        for line in ["{", "{}", r#"{"MESSAGE":null}"#, r#"{"MESSAGE":[300]}"#] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
