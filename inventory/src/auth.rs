//! Tokens: what they look like, what they may do.
//!
//! # Invariants
//! - A secret has 256 random bits and is shown once; its SHA-256 is what is kept.
//! - Secrets are compared in constant time.

use std::fmt;

use rand::TryRng as _;
use rand::rngs::SysRng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Post reports, and nothing else.
    Report,
    /// Read everything.
    Read,
    /// Read everything and set what operators set. Not report: whoever may say what is wanted of a
    /// node may not say what the node is.
    Admin,
}

impl Scope {
    /// Whether a token with this scope may do what needs `needed`.
    pub fn allows(self, needed: Self) -> bool {
        match (self, needed) {
            (Self::Report, Self::Report)
            | (Self::Read | Self::Admin, Self::Read)
            | (Self::Admin, Self::Admin) => true,
            (Self::Report, Self::Read | Self::Admin)
            | (Self::Read, Self::Report | Self::Admin)
            | (Self::Admin, Self::Report) => false,
        }
    }

    /// As on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a token begins with, so that it is known when it turns up where it should not.
const PREFIX: &str = "cupel_";

/// What a token that lets nodes join begins with.
const JOIN_PREFIX: &str = "cupel_join_";

/// A token as its holder has it: `cupel_<id>_<secret>`, or `cupel_join_<id>_<secret>` for one that
/// lets nodes join and does nothing else. It does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText {
    prefix: &'static str,
    id: String,
    secret: String,
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenText({}, …)", self.id)
    }
}

/// Random bytes as hexadecimal digits.
fn random(bytes: usize) -> anyhow::Result<String> {
    let mut buffer = vec![0_u8; bytes];
    SysRng
        .try_fill_bytes(&mut buffer)
        .map_err(|error| anyhow::anyhow!("the system gives no random numbers: {error}"))?;
    Ok(hex(&buffer))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

impl TokenText {
    /// A new one.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn new() -> anyhow::Result<Self> {
        Self::made(PREFIX)
    }

    /// A new one that lets nodes join.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn joining() -> anyhow::Result<Self> {
        Self::made(JOIN_PREFIX)
    }

    fn made(prefix: &'static str) -> anyhow::Result<Self> {
        Ok(Self {
            prefix,
            id: random(6)?,
            secret: random(32)?,
        })
    }

    /// From what its holder sent; `None` when it is no token.
    pub fn parse(text: &str) -> Option<Self> {
        Self::parsed(PREFIX, text)
    }

    /// From what its holder sent; `None` when it is no token that lets nodes join.
    pub fn parse_joining(text: &str) -> Option<Self> {
        Self::parsed(JOIN_PREFIX, text)
    }

    fn parsed(prefix: &'static str, text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(prefix)?.split_once('_')?;
        (is_hex(id, 12) && is_hex(secret, 64)).then(|| Self {
            prefix,
            id: id.to_owned(),
            secret: secret.to_owned(),
        })
    }

    /// The half that is no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// SHA-256 of the secret.
    pub fn hash(&self) -> [u8; 32] {
        digest(&self.secret)
    }

    /// Whether this is the secret with this SHA-256.
    pub fn matches(&self, hash: &[u8]) -> bool {
        self.hash()[..].ct_eq(hash).into()
    }

    /// The whole token, to be shown once.
    pub fn reveal(&self) -> String {
        format!("{}{}_{}", self.prefix, self.id, self.secret)
    }
}

/// A secret of 256 bits for a session or a login code.
///
/// # Errors
/// The system gives no random numbers.
pub fn secret() -> anyhow::Result<String> {
    random(32)
}

/// SHA-256 of a secret.
pub fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_round_trips_and_does_not_print() {
        let token = TokenText::new().expect("random");
        let text = token.reveal();
        assert_eq!(text.len(), 6 + 12 + 1 + 64);
        let back = TokenText::parse(&text).expect("token");
        assert!(back.matches(&token.hash()));
        assert!(!format!("{token:?}").contains(&token.secret));
        let other = TokenText::new().expect("random");
        assert!(!other.matches(&token.hash()));
        assert!(!token.matches(&token.hash()[..31]));
    }

    #[test]
    fn a_token_to_join_is_no_other_token() {
        let join = TokenText::joining().expect("random");
        let text = join.reveal();
        assert!(text.starts_with("cupel_join_"), "{text}");
        let back = TokenText::parse_joining(&text).expect("token");
        assert!(back.matches(&join.hash()));
        assert_eq!(TokenText::parse(&text), None);
        let other = TokenText::new().expect("random").reveal();
        assert_eq!(TokenText::parse_joining(&other), None);
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let text = TokenText::new().expect("random").reveal();
        for bad in ["", "cupel_", &text[..82], &text.to_uppercase(), &text[6..]] {
            assert_eq!(TokenText::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn scopes_allow_what_is_theirs_alone() {
        use Scope::{Admin, Read, Report};
        let allowed: Vec<_> = [Report, Read, Admin]
            .into_iter()
            .flat_map(|has| [Report, Read, Admin].map(|needs| (has, needs)))
            .filter(|(has, needs)| has.allows(*needs))
            .collect();
        assert_eq!(
            allowed,
            [
                (Report, Report),
                (Read, Read),
                (Admin, Read),
                (Admin, Admin)
            ]
        );
    }
}
