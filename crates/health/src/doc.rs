//! A check's own module documentation, as text in the binary.
//!
//! # Invariants
//! - Only the leading `//!` lines of a file are kept; the rest of the source is dropped at compile
//!   time.

use cupel_model::Mode;

use crate::registry::{Check, FINDS_NOTHING, Window};

/// Bytes of the leading `//!` lines of `source`.
pub(crate) const fn length(source: &str) -> usize {
    let bytes = source.as_bytes();
    let mut at = 0;
    while at + 2 < bytes.len()
        && bytes[at] == b'/'
        && bytes[at + 1] == b'/'
        && bytes[at + 2] == b'!'
    {
        while at < bytes.len() && bytes[at] != b'\n' {
            at += 1;
        }
        if at < bytes.len() {
            at += 1;
        }
    }
    at
}

/// The first `N` bytes of `source`.
pub(crate) const fn head<const N: usize>(source: &str) -> [u8; N] {
    let bytes = source.as_bytes();
    let mut kept = [0; N];
    let mut at = 0;
    while at < N {
        kept[at] = bytes[at];
        at += 1;
    }
    kept
}

/// The module documentation of the file, as it stands there: lines that begin with `//!`.
macro_rules! module_doc {
    ($file:literal) => {{
        const SOURCE: &str = include_str!($file);
        const LENGTH: usize = $crate::doc::length(SOURCE);
        const HEAD: [u8; LENGTH] = $crate::doc::head(SOURCE);
        match std::str::from_utf8(&HEAD) {
            Ok(doc) => doc,
            Err(_) => panic!("documentation is cut at a line's end, so it stays valid text"),
        }
    }};
}
pub(crate) use module_doc;

/// The same without the comment marks.
pub(crate) fn text(doc: &str) -> String {
    let mut out = String::with_capacity(doc.len());
    for line in doc.lines() {
        let line = line.strip_prefix("//!").unwrap_or(line);
        out.push_str(line.strip_prefix(' ').unwrap_or(line));
        out.push('\n');
    }
    out
}

/// A check's documentation without comment marks, and with what its metadata say of it: the mode
/// that it has by default, and when a finding is confirmed.
pub(crate) fn of(check: &Check) -> String {
    let text = text(check.doc);
    let mut said = String::new();
    if !FINDS_NOTHING.contains(&check.code) {
        let Window { length, because } = check.window;
        let when = match length.as_secs() {
            0 => "at once".to_owned(),
            seconds => format!("after {seconds} s without a break"),
        };
        said.push_str(&format!(
            "\nWhile `cupel run` watches, a finding is confirmed {when}: {because}.\n"
        ));
    }
    if check.mode == Mode::Observe {
        said.push_str(
            "\nIn mode `observe`: what it finds changes no verdict unless the configuration sets it \
             to `enforce`.\n",
        );
    }
    text.replacen(
        "\n# Why it matters\n",
        &format!("{said}\n# Why it matters\n"),
        1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_leading_comment_is_kept() {
        const SOURCE: &str = "//! One.\n//!\n//! Two é.\n\nuse x;\n//! not this\n";
        const DOC: [u8; length(SOURCE)] = head(SOURCE);
        let kept = std::str::from_utf8(&DOC).expect("text");
        assert_eq!(text(kept), "One.\n\nTwo é.\n");
    }
}
