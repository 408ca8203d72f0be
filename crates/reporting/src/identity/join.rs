//! A join file: TOML that the inventory wrote, and a person may have copied by hand.
//!
//! # Invariants
//! - Pure and total: whatever the bytes, a join file or an error that says where and what.
//! - The token is in no error.

use cupel_model::enrolment::JoinFile;
use reqwest::Certificate;
use serde::Deserialize;
use toml::Spanned;

use super::place::{ParseError, line_of};
use crate::delivery::Target;

/// What join tokens begin with.
const TOKEN: &str = "cupel_join_";

/// Longest token, in bytes.
const LONGEST: usize = 512;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    inventory: Spanned<String>,
    token: Spanned<String>,
    authority: Option<Spanned<String>>,
}

/// The join file of a file's bytes.
///
/// # Errors
/// [`ParseError`]: what is no UTF-8, no TOML, an unknown key, or a value that does not fit.
pub fn parse_join(bytes: &[u8], file: &str) -> Result<JoinFile, ParseError> {
    let wrong = |byte: usize, what: String| ParseError {
        file: file.to_owned(),
        line: line_of(bytes, byte),
        what,
    };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        wrong(
            error.valid_up_to(),
            "there is a byte that is no text".to_owned(),
        )
    })?;
    let raw: Raw = toml::from_str(text).map_err(|error| {
        let message = error.message().replace("unknown field", "unknown key");
        // A key or value that is quoted may be the token, in the wrong place.
        let what = if message.contains(TOKEN) {
            "a token stands where none belongs; want token = \"cupel_join_…\"".to_owned()
        } else {
            message
        };
        wrong(error.span().map_or(0, |span| span.start), what)
    })?;
    let url = raw.inventory.get_ref();
    let target = Target::parse(url)
        .map_err(|error| wrong(raw.inventory.span().start, format!("inventory: {error}")))?;
    if target.plain {
        let what = format!("inventory: {url:?} has no TLS, which an identity needs; want https://");
        return Err(wrong(raw.inventory.span().start, what));
    }
    let token = raw.token.get_ref();
    let is_token = token.starts_with(TOKEN)
        && token.len() > TOKEN.len()
        && token.len() <= LONGEST
        && token.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_token {
        let what = format!("token: it is no join token; want {TOKEN}…, as one word");
        return Err(wrong(raw.token.span().start, what));
    }
    if let Some(authority) = &raw.authority {
        are_certificates(authority.get_ref())
            .map_err(|why| wrong(authority.span().start, format!("authority: {why}")))?;
    }
    Ok(JoinFile {
        inventory: url.trim().to_owned(),
        token: token.clone(),
        authority: raw.authority.map(Spanned::into_inner),
    })
}

/// Whether a text is certificates that may be trusted.
pub(super) fn are_certificates(pem: &str) -> Result<(), String> {
    let certificates = Certificate::from_pem_bundle(pem.as_bytes())
        .ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or("it holds no certificate in PEM form")?;
    // What is in them is looked at only when they are used.
    let client = reqwest::Client::builder().tls_certs_only(certificates);
    client
        .build()
        .map(drop)
        .map_err(|_| "a certificate in it is damaged".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "# For rack 7.\ninventory = \"https://inventory.example:8470\"\n\
                        token = \"cupel_join_3_secret\"\n";

    fn authority() -> String {
        let params = rcgen::CertificateParams::new(Vec::new()).expect("params");
        let key = rcgen::KeyPair::generate().expect("key");
        params.self_signed(&key).expect("certificate").pem()
    }

    fn error(text: &str) -> String {
        let error = parse_join(text.as_bytes(), "rack7.join").expect_err(text);
        error.to_string()
    }

    #[test]
    fn a_whole_file_is_read() {
        let file = parse_join(GOOD.as_bytes(), "x").expect("join file");
        assert_eq!(file.inventory, "https://inventory.example:8470");
        assert_eq!(file.token, "cupel_join_3_secret");
        assert_eq!(file.authority, None);
        let pem = authority();
        let text = format!("{GOOD}authority = '''\n{pem}'''\n");
        let file = parse_join(text.as_bytes(), "x").expect("join file");
        assert_eq!(file.authority, Some(pem));
    }

    #[test]
    fn errors_name_file_line_and_what_would_be_right() {
        let damaged = authority().replace("MII", "MAI");
        for (text, want) in [
            ("", "rack7.join:1: missing field `inventory`"),
            (
                "inventory = \"http://10.0.0.1\"\ntoken = \"cupel_join_3_secret\"\n",
                "rack7.join:1: inventory: the inventory's URL \"http://10.0.0.1/\" is not encrypted",
            ),
            (
                "\ninventory = \"http://127.0.0.1\"\ntoken = \"cupel_join_3_secret\"\n",
                "rack7.join:2: inventory: \"http://127.0.0.1\" has no TLS",
            ),
            (
                "inventory = \"https://in.example\"\n\ntoken = \"cupel_node_1_secret\"\n",
                "rack7.join:3: token: it is no join token; want cupel_join_…",
            ),
            (
                &format!("{GOOD}tokens = 3\n"),
                "rack7.join:4: unknown key `tokens`",
            ),
            (
                &format!("{GOOD}cupel_join_3_secret = 3\n"),
                "rack7.join:4: a token stands where none belongs",
            ),
            (
                &format!("{GOOD}authority = \"hello\"\n"),
                "rack7.join:4: authority: it holds no certificate",
            ),
            (
                &format!("{GOOD}authority = '''\n{damaged}'''\n"),
                "rack7.join:4: authority: a certificate in it is damaged",
            ),
            (&format!("{GOOD}["), "rack7.join:4: "),
        ] {
            let told = error(text);
            assert!(told.starts_with(want), "{told}\nwant {want}");
            assert!(!told.contains("secret"), "{told}");
        }
        let told = parse_join(b"\ninventory = \"\xff\"", "x").expect_err("no text");
        assert_eq!(told.line, 2);
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_join(&bytes, "x");
        }

        /// However a good file is damaged: no panic, a line within it, and never the token.
        #[test]
        fn a_damaged_file_tells_no_secret(
            at in 0..GOOD.len(),
            gone in 0..12_usize,
            put in "[ -~\n]{0,4}",
        ) {
            let end = (at + gone).min(GOOD.len());
            let text = format!("{}{put}{}", &GOOD[..at], &GOOD[end..]);
            match parse_join(text.as_bytes(), "x") {
                Ok(file) => prop_assert!(file.token.starts_with(TOKEN)),
                Err(error) => {
                    prop_assert!(error.line <= text.lines().count() + 1);
                    prop_assert!(!error.to_string().contains("secret"), "{error}");
                }
            }
        }

        #[test]
        fn what_is_written_is_read(
            host in "[a-z][a-z0-9]{0,20}(\\.[a-z]{1,8}){0,2}",
            port in 1..=65535_u16,
            id in 0..1000_u32,
            secret in "[A-Za-z0-9_-]{1,64}",
        ) {
            let file = JoinFile {
                inventory: format!("https://{host}:{port}"),
                token: format!("{TOKEN}{id}_{secret}"),
                authority: None,
            };
            let text = toml::to_string(&file).expect("TOML");
            prop_assert_eq!(parse_join(text.as_bytes(), "x").expect("join file"), file);
        }
    }
}
