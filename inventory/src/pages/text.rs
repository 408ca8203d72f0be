//! Texts: what machines told, made harmless; numbers, times and ages for people.
//!
//! # Invariants
//! - Whatever a machine told goes through [`told`], [`elided`] or [`cut`]: control characters and those that
//!   reorder or hide text become U+FFFD, right-to-left text is isolated, and maud escapes the rest.
//! - What is not known is a word, never an empty cell or a 0.

use std::borrow::Cow;
use std::fmt::Write as _;

use cupel_model::{Reading, Timestamp};
use maud::{Markup, html};

/// What stands where nobody told anything.
pub const NOT_KNOWN: &str = "not known";

/// Longest text in a `title`, in characters.
const LONGEST_TITLE: usize = 400;

/// Characters that reorder, hide or break the text around them.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Letters that are written from right to left.
fn is_right_to_left(c: char) -> bool {
    matches!(c,
        '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}'
        | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
}

/// The text on one line with nothing in it that steers the page: line ends and tabs are spaces.
pub fn line(text: &str) -> Cow<'_, str> {
    let bad = |c: char| c.is_control() || is_hidden(c);
    if !text.chars().any(bad) {
        return Cow::Borrowed(text);
    }
    let clean = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if bad(c) => '\u{fffd}',
        c => c,
    };
    Cow::Owned(text.chars().map(clean).collect())
}

/// A machine's text in full; it wraps.
pub fn told(text: &str) -> Markup {
    let text = line(text);
    if text.chars().any(is_right_to_left) {
        return html! { bdi { (text) } };
    }
    html! { (text) }
}

/// The first `most` characters of a machine's text, as [`line`] gives it.
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    let text = line(text);
    match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(format!("{}…", text[..end].trim_end())),
        None => text,
    }
}

/// A sentence without what stands in brackets, for a list: names and serials are told elsewhere.
pub fn brief(text: &str) -> String {
    let mut depth = 0_usize;
    let mut brief = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '(' => {
                depth += 1;
                brief.truncate(brief.trim_end().len());
            }
            ')' if depth > 0 => depth -= 1,
            c if depth == 0 => brief.push(c),
            _ => {}
        }
    }
    // A bracket that is never closed is no bracket.
    if depth == 0 { brief } else { text.to_owned() }
}

/// A machine's text, cut after `most` characters; what was cut stands in the title and, in full, on
/// the page that the text leads to.
pub fn elided(text: &str, most: usize) -> Markup {
    if text.chars().count() <= most {
        return told(text);
    }
    html! { span title=(cut(text, LONGEST_TITLE)) { (told(&cut(text, most))) } }
}

/// A text that may not be known.
pub fn maybe(text: Option<&str>) -> Markup {
    match text.filter(|text| !text.trim().is_empty()) {
        Some(text) => told(text),
        None => html! { span.nil { (NOT_KNOWN) } },
    }
}

/// A reading: the value, or what became of it.
pub fn reading<T: ToString>(reading: &Reading<T>) -> Markup {
    match reading {
        Reading::Value(value) => told(&value.to_string()),
        Reading::Absent(why) => html! { span.nil { "none (" (elided(why, 80)) ")" } },
        Reading::Unsupported(why) => html! { span.nil { "not offered (" (elided(why, 80)) ")" } },
        Reading::Failed(why) => html! { span.nil { "unreadable (" (elided(why, 80)) ")" } },
    }
}

/// A value of some evidence.
pub fn json(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => line(text).into_owned(),
        serde_json::Value::Null => NOT_KNOWN.to_owned(),
        serde_json::Value::Bool(true) => "yes".to_owned(),
        serde_json::Value::Bool(false) => "no".to_owned(),
        serde_json::Value::Number(number) => number.to_string(),
        serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
            line(&value.to_string()).into_owned()
        }
    }
}

/// A whole number with its digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + 4);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// `1 node`, `2 nodes`.
pub fn count(number: u64, noun: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {noun}{s}", grouped(number))
}

/// A number with at most `decimals` decimals, without trailing zeros.
pub fn decimal(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

/// The whole part of a number; 0 for what is negative or no number.
pub fn whole(number: f64) -> u64 {
    std::time::Duration::try_from_secs_f64(number).map_or(0, |whole| whole.as_secs())
}

/// A span of time, by its largest unit or two: `42 s`, `3 min`, `2 h 5 min`, `5 d 3 h`.
pub fn span(seconds: f64) -> String {
    let whole = whole(seconds.clamp(0.0, 1e12));
    let two = |large: u64, name: &str, small: u64, small_name: &str| match small {
        0 => format!("{large} {name}"),
        _ => format!("{large} {name} {small} {small_name}"),
    };
    match whole {
        0..60 => format!("{whole} s"),
        60..3_600 => format!("{} min", whole / 60),
        3_600..86_400 => two(whole / 3_600, "h", whole % 3_600 / 60, "min"),
        86_400..8_640_000 => two(whole / 86_400, "d", whole % 86_400 / 3_600, "h"),
        8_640_000.. => format!("{} d", grouped(whole / 86_400)),
    }
}

/// How long ago, or in how long: `3 min ago`, `in 40 s`.
pub fn age(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.seconds_since(then);
    if seconds.abs() < 1.0 {
        "just now".to_owned()
    } else if seconds < 0.0 {
        format!("in {}", span(-seconds))
    } else {
        format!("{} ago", span(seconds))
    }
}

/// Date and time to the second without a zone, which is UTC: `2026-01-31 12:00:00`.
pub fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    let end = text.find('.').unwrap_or(text.len());
    text[..end].replace('T', " ")
}

/// The day of a point in time: `2026-01-31`.
pub fn date(at: Timestamp) -> String {
    let clock = clock(at);
    let end = clock.find(' ').unwrap_or(clock.len());
    clock[..end].to_owned()
}

/// A point in time: in UTC, with its age.
pub fn time(now: Timestamp, at: Timestamp) -> Markup {
    let clock = clock(at);
    html! {
        time datetime={ (clock.replace(' ', "T")) "Z" } {
            (clock) " UTC " span.age { (age(now, at)) }
        }
    }
}

/// The same for a table whose head says UTC: to the minute, the age below.
pub fn short_time(now: Timestamp, at: Timestamp) -> Markup {
    let clock = clock(at);
    let minute = clock.len().saturating_sub(3);
    html! {
        time datetime={ (clock.replace(' ', "T")) "Z" } {
            (clock[..minute]) " " span.age { (age(now, at)) }
        }
    }
}

/// A point in time that may not be known.
pub fn maybe_time(now: Timestamp, at: Option<Timestamp>) -> Markup {
    match at {
        Some(at) => time(now, at),
        None => html! { span.nil { (NOT_KNOWN) } },
    }
}

/// A text as it may stand in a URL's path or query: everything but letters, digits, `-`, `.`, `_`
/// and `~` is percent-encoded.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("time")
    }

    #[test]
    fn what_steers_a_page_is_made_harmless() {
        assert_eq!(line("a\x1b[2Jb\nc\u{85}"), "a\u{fffd}[2Jb c\u{fffd}");
        assert_eq!(line("x\u{202e}gpj.exe\u{200b}"), "x\u{fffd}gpj.exe\u{fffd}");
        assert!(matches!(line("plain é 日本"), Cow::Borrowed(_)));
        assert_eq!(told("<b>&\"").into_string(), "&lt;b&gt;&amp;&quot;");
        assert_eq!(told("שלום 1").into_string(), "<bdi>שלום 1</bdi>");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("ééé", 3), "ééé");
        assert_eq!(cut("éééé", 3), "ééé…");
        let text = elided(&"x\"".repeat(900), 10).into_string();
        assert!(text.starts_with("<span title=\"x&quot;x"), "{text}");
        assert!(text.len() < 2_500, "{}", text.len());
    }

    #[test]
    fn a_sentence_is_told_without_its_brackets() {
        for (text, want) in [
            (
                "GPU 3 in SXM 6 (H100, serial 1) is lost",
                "GPU 3 in SXM 6 is lost",
            ),
            ("a (b (c) d) e (f)", "a e"),
            ("open (never closed", "open (never closed"),
            ("a) b", "a) b"),
        ] {
            assert_eq!(brief(text), want);
        }
    }

    #[test]
    fn unknown_is_a_word() {
        assert!(maybe(None).into_string().contains(NOT_KNOWN));
        assert!(maybe(Some(" ")).into_string().contains(NOT_KNOWN));
        assert_eq!(reading(&Reading::Value(0)).into_string(), "0");
        let failed = reading(&Reading::<u32>::failed("EIO")).into_string();
        assert!(failed.contains("unreadable (EIO)"), "{failed}");
        assert_eq!(json(&serde_json::Value::Null), NOT_KNOWN);
    }

    #[test]
    fn numbers_and_spans() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(12_500), "12\u{202f}500");
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(count(1, "node"), "1 node");
        assert_eq!(decimal(31.0, 1), "31");
        assert_eq!(decimal(100.0, 0), "100");
        assert_eq!(decimal(-0.04, 1), "0");
        for (seconds, want) in [
            (0.4, "0 s"),
            (59.9, "59 s"),
            (185.0, "3 min"),
            (7_500.0, "2 h 5 min"),
            (7_200.0, "2 h"),
            (442_800.0, "5 d 3 h"),
            (f64::MAX, "11\u{202f}574\u{202f}074 d"),
            (f64::NAN, "0 s"),
        ] {
            assert_eq!(span(seconds), want, "{seconds}");
        }
    }

    #[test]
    fn times_are_utc_with_their_age() {
        let now = at("2026-01-02T03:04:05.9Z");
        assert_eq!(
            time(now, at("2026-01-02T03:01:05.1Z")).into_string(),
            "<time datetime=\"2026-01-02T03:01:05Z\">2026-01-02 03:01:05 UTC \
             <span class=\"age\">3 min ago</span></time>"
        );
        assert_eq!(age(now, at("2026-01-02T03:04:45.9Z")), "in 40 s");
        assert_eq!(age(now, at("2026-01-02T03:04:05Z")), "just now");
        assert!(!clock(at("-000001-01-02T03:04:05Z")).is_empty());
    }

    #[test]
    fn urls_hold_any_text() {
        assert_eq!(encoded("a/b?c=d&é \"<"), "a%2Fb%3Fc%3Dd%26%C3%A9%20%22%3C");
        assert_eq!(encoded("r-07.x_y~z"), "r-07.x_y~z");
    }
}
