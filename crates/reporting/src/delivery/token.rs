//! The secret that a report is sent with.
//!
//! # Invariants
//! - It is in memory as a header that is marked sensitive, and in no message, `Debug` included.
//! - It is read when it is first needed and again after the inventory refused it, so that a token
//!   that comes later or is exchanged needs no restart.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use reqwest::header::HeaderValue;

/// Longest token, in bytes.
const LONGEST: u64 = 4096;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error("cannot read the token in {path}")]
    File { path: PathBuf, source: io::Error },
    #[error("{path} holds no token: {why}")]
    Content { path: PathBuf, why: &'static str },
}

/// Where the token is, and what it was when it was last read.
#[derive(Debug)]
pub(super) struct Token {
    path: PathBuf,
    held: Option<HeaderValue>,
    warned: bool,
}

impl Token {
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            held: None,
            warned: false,
        }
    }

    /// The value of `Authorization`.
    pub fn authorization(&mut self) -> Result<HeaderValue, TokenError> {
        if let Some(held) = &self.held {
            return Ok(held.clone());
        }
        let read = self.read()?;
        Ok(self.held.insert(read).clone())
    }

    /// Forgets what was refused; whether the file holds another token now.
    pub fn is_renewed(&mut self, refused: &HeaderValue) -> bool {
        self.held = None;
        self.authorization().is_ok_and(|now| now != *refused)
    }

    fn read(&mut self) -> Result<HeaderValue, TokenError> {
        let file_error = |source| TokenError::File {
            path: self.path.clone(),
            source,
        };
        let file = File::open(&self.path).map_err(file_error)?;
        let mode = file.metadata().map_err(file_error)?.permissions().mode();
        let mut text = String::new();
        file.take(LONGEST + 1)
            .read_to_string(&mut text)
            .map_err(file_error)?;
        if mode & 0o077 != 0 && !self.warned {
            self.warned = true;
            tracing::warn!(
                path = %self.path.display(),
                "others may read the token; make the file 0600"
            );
        }
        parse(&text).map_err(|why| TokenError::Content {
            path: self.path.clone(),
            why,
        })
    }
}

fn parse(text: &str) -> Result<HeaderValue, &'static str> {
    let token = text.trim();
    if token.is_empty() {
        return Err("it is empty");
    }
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > LONGEST {
        return Err("it is longer than 4096 bytes");
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("there is more than one word of printable ASCII in it");
    }
    let mut value =
        HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| "it fits no header")?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_and_is_never_shown() {
        let value = parse(" s3cret-word\n").expect("token");
        assert_eq!(value.as_bytes(), b"Bearer s3cret-word");
        assert!(!format!("{value:?}").contains("s3cret"));
        for text in ["", " \n", "two words", "line\nline", "täglich", "a\0b"] {
            let why = parse(text).expect_err(text);
            assert!(text.trim().is_empty() || !why.contains(text.trim()));
        }
        assert!(parse(&"x".repeat(5000)).is_err());
    }

    #[test]
    fn a_token_that_comes_later_or_is_exchanged_is_found() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("token");
        let mut token = Token::new(path.clone());
        let missing = token.authorization().expect_err("no file");
        assert!(missing.to_string().contains("token"), "{missing}");
        std::fs::write(&path, "first\n").expect("write");
        let first = token.authorization().expect("first");
        std::fs::write(&path, "second\n").expect("write");
        assert_eq!(token.authorization().expect("held"), first);
        assert!(token.is_renewed(&first));
        assert_eq!(
            token.authorization().expect("second").as_bytes(),
            b"Bearer second"
        );
        let second = token.authorization().expect("second");
        assert!(!token.is_renewed(&second));
        assert!(!format!("{token:?}").contains("second"));
    }
}
