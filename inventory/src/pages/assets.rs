//! The files that pages load: one style sheet, one script, one icon.
//!
//! # Invariants
//! - Everything is our own and inside the binary; nothing comes from elsewhere.
//! - Pages link a file by its hash, so that it can be cached for ever.

use std::fmt::Write as _;
use std::sync::LazyLock;

use sha2::{Digest, Sha256};

/// A file that pages load.
#[derive(Clone, Debug)]
pub struct Asset {
    /// Its path on this server.
    pub path: &'static str,
    /// Its media type, as in the header.
    pub content_type: &'static str,
    /// Its content.
    pub bytes: &'static [u8],
    /// Strong, with its quotes, as in the header.
    pub etag: String,
}

impl Asset {
    fn new(path: &'static str, content_type: &'static str, text: &str) -> Self {
        // Once for the life of the program.
        let text: &'static str = Box::leak(slim(text).into_boxed_str());
        let mut etag = "\"".to_owned();
        for byte in Sha256::digest(text.as_bytes()).iter().take(16) {
            let _ = write!(etag, "{byte:02x}");
        }
        etag.push('"');
        Self {
            path,
            content_type,
            bytes: text.as_bytes(),
            etag,
        }
    }

    /// The address under which pages load it: the path, and a query that changes with the content.
    pub fn href(&self) -> String {
        let hash = self.etag.trim_matches('"');
        format!("{}?v={}", self.path, &hash[..12])
    }
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        Asset::new(
            "/static/style.css",
            "text/css; charset=utf-8",
            include_str!("static/style.css"),
        ),
        Asset::new(
            "/static/app.js",
            "text/javascript; charset=utf-8",
            include_str!("static/app.js"),
        ),
        Asset::new(
            "/static/icon.svg",
            "image/svg+xml",
            include_str!("static/icon.svg"),
        ),
    ]
});

/// The text without what only its authors read: indentation, empty lines and lines that are
/// comments. Nothing here has a text over several lines that this could change.
fn slim(text: &str) -> String {
    let mut slim = String::with_capacity(text.len());
    for line in text.lines().map(str::trim) {
        let comment = line.starts_with("//") || (line.starts_with("/*") && line.ends_with("*/"));
        if !line.is_empty() && !comment {
            slim.push_str(line);
            slim.push('\n');
        }
    }
    slim
}

/// All of them: style sheet, script, icon.
pub fn assets() -> &'static [Asset; 3] {
    &ASSETS
}

/// Headers of every page and asset. Pages have no inline script and no inline style.
pub const SECURITY_HEADERS: [(&str, &str); 4] = [
    (
        "content-security-policy",
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; \
         frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_strong_etags_of_their_own() {
        let [style, script, icon] = assets();
        for asset in assets() {
            assert!(asset.etag.starts_with('"') && asset.etag.len() == 34);
            assert!(!asset.bytes.is_empty());
            assert!(asset.href().starts_with(asset.path));
        }
        assert_ne!(style.etag, script.etag);
        assert_ne!(script.etag, icon.etag);
    }

    #[test]
    fn only_what_authors_read_is_left_out() {
        let text = "// why\n  a // b\n\n/* c */\n  d: \"/* e\";\n";
        assert_eq!(slim(text), "a // b\nd: \"/* e\";\n");
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        for asset in assets() {
            let text = std::str::from_utf8(asset.bytes).expect("text");
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for foreign in ["http:", "https:", "//cdn", "@import", "eval(", "url("] {
                assert!(!text.contains(foreign), "{} has {foreign}", asset.path);
            }
        }
    }
}
