//! `identity.json`: all of an identity but its key.
//!
//! # Invariants
//! - It is the identity: what it names is in use, what it does not name is not.
//! - Pure and total: whatever the bytes, a document or an error that says where and what.

use std::hash::{Hash as _, Hasher as _};

use cupel_model::enrolment::{Enrolment, HardwareIdentity, KeyProtection};
use cupel_model::{SCHEMA_VERSION, Timestamp};
use serde::{Deserialize, Serialize};

use super::join::are_certificates;
use super::key::Key;
use super::place::{ParseError, line_of};
use crate::delivery::Target;

/// How far beyond the node's clock a certificate may begin: the inventory lets them begin as much
/// before its own, so its clock is ahead by twice that.
const TOLERANCE: i64 = 5 * 60 * 1_000_000;

/// All of an identity but its key.
///
/// A field that is not known here is one of a later release, which was put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityDocument {
    /// Version of this JSON.
    pub schema_version: u32,
    /// The node that may report with it.
    pub node: String,
    /// The inventory that gave it: its base URL.
    pub inventory: String,
    /// Which hardware the node was when it was given.
    pub hardware: HardwareIdentity,
    /// What the key is protected by.
    pub key_protection: KeyProtection,
    /// Name of the key's file, beside this one.
    pub key: String,
    /// From when on it is good.
    pub not_before: Timestamp,
    /// Until when it is good.
    pub not_after: Timestamp,
    /// From when on the next one is asked for.
    pub renew_after: Timestamp,
    /// The certificate and those between it and the authority, PEM.
    pub certificate: String,
    /// Certificates that the inventory is trusted by, PEM.
    pub authority: String,
}

impl IdentityDocument {
    /// Of an answer.
    pub fn new(
        answer: Enrolment,
        inventory: &str,
        hardware: HardwareIdentity,
        key_protection: KeyProtection,
        key: &str,
    ) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            node: answer.node,
            inventory: inventory.to_owned(),
            hardware,
            key_protection,
            key: key.to_owned(),
            not_before: answer.not_before,
            not_after: answer.not_after,
            renew_after: answer.renew_after,
            certificate: answer.certificate,
            authority: answer.authority,
        }
    }

    /// The document of a file's bytes.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self, ParseError> {
        let wrong = |line: usize, what: String| ParseError {
            file: file.to_owned(),
            line,
            what,
        };
        let document: Self = serde_json::from_slice(bytes).map_err(|error| {
            let told = error.to_string();
            let what = told
                .rsplit_once(" at line ")
                .map_or(&*told, |(what, _)| what);
            wrong(error.line().max(1), what.to_owned())
        })?;
        document
            .objection()
            .map_or(Ok(()), |(key, what)| {
                let name = format!("\"{key}\"");
                let at = bytes
                    .windows(name.len())
                    .position(|part| part == name.as_bytes());
                Err(wrong(
                    line_of(bytes, at.unwrap_or_default()),
                    format!("{key}: {what}"),
                ))
            })
            .map(|()| document)
    }

    /// The first value that does not fit, and why.
    fn objection(&self) -> Option<(&'static str, String)> {
        if self.schema_version != SCHEMA_VERSION {
            let what = format!("{}, this cupel reads {SCHEMA_VERSION}", self.schema_version);
            return Some(("schema_version", what));
        }
        if self.node.is_empty() {
            return Some(("node", "it is empty".to_owned()));
        }
        match Target::parse(&self.inventory) {
            Err(error) => return Some(("inventory", error.to_string())),
            Ok(target) if target.plain => {
                let what = format!("{:?} has no TLS; want https://", self.inventory);
                return Some(("inventory", what));
            }
            Ok(_) => {}
        }
        if number_of(&self.key).is_none() {
            let what = format!("{:?} is no name of a key's file", self.key);
            return Some(("key", what));
        }
        if self.not_after <= self.not_before {
            let what = format!("{} is not after {}", self.not_after, self.not_before);
            return Some(("not_after", what));
        }
        if !(self.not_before..=self.not_after).contains(&self.renew_after) {
            let what = format!(
                "{} is not between {} and {}",
                self.renew_after, self.not_before, self.not_after
            );
            return Some(("renew_after", what));
        }
        [
            ("certificate", &self.certificate),
            ("authority", &self.authority),
        ]
        .into_iter()
        .find_map(|(key, pem)| Some((key, are_certificates(pem).err()?)))
    }

    /// Why what the inventory gave, by the node's clock at `now`, does not take this one's place.
    ///
    /// One that begins later is waited for while this one is good, but never past the middle of what
    /// is left of it from [`Self::renew_after`] on: the clock that is wrong may be the node's, and
    /// then this one ends earlier than it seems.
    pub fn objection_to(&self, next: &Self, now: Timestamp) -> Option<String> {
        if next.certificate == self.certificate {
            return Some(format!(
                "the inventory gave the same certificate again, to be renewed from {} on: this \
                 clock or that of the inventory is wrong",
                next.renew_after
            ));
        }
        let (from, to) = (
            self.renew_after.microseconds(),
            self.not_after.microseconds(),
        );
        let middle = from.saturating_add(to.saturating_sub(from) / 2);
        let begins = next.not_before.microseconds();
        let is_early = begins > now.microseconds().saturating_add(TOLERANCE);
        (is_early && begins < middle && now < self.not_after).then(|| {
            format!(
                "the certificate that the inventory gave is good from {} on: this clock or that of \
                 the inventory is wrong",
                next.not_before
            )
        })
    }

    /// Whether the inventory that gave it is the one at `url`.
    pub fn is_of(&self, url: &str) -> bool {
        is_same_inventory(&self.inventory, url)
    }

    /// When the next one is asked for: from [`Self::renew_after`] on, within a tenth of the time that
    /// is left then, at a moment that is another one for each certificate. A fleet that was enrolled
    /// in an hour does not come back in one.
    pub fn renewal_due(&self) -> Timestamp {
        let mut hasher = std::hash::DefaultHasher::new();
        self.certificate.hash(&mut hasher);
        let thousandth = i64::try_from(hasher.finish() % 1000).unwrap_or_default();
        let (from, to) = (
            self.renew_after.microseconds(),
            self.not_after.microseconds(),
        );
        let spread = to.saturating_sub(from) / 10_000 * thousandth;
        Timestamp::from_microseconds(from.saturating_add(spread)).unwrap_or(self.renew_after)
    }
}

/// Whether two addresses are of one inventory: scheme, host and port.
pub fn is_same_inventory(one: &str, other: &str) -> bool {
    let origin = |text: &str| {
        reqwest::Url::parse(text.trim())
            .ok()
            .map(|url| url.origin())
    };
    origin(one).is_some() && origin(one) == origin(other)
}

/// Whether two texts are the same certificates in PEM form, however their lines end.
pub fn is_same_authority(one: &str, other: &str) -> bool {
    one.split_whitespace().eq(other.split_whitespace())
}

/// Extension of a key's file.
pub(super) const PLAIN: &str = "pem";

/// Extension of a sealed key's file.
pub(super) const SEALED: &str = "cred";

/// The number of the key in a file of this name, such as `key-3.pem`; `None`: it is no key's.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let (stem, extension) = name.strip_prefix("key-")?.split_once('.')?;
    let number: u64 = stem.parse().ok()?;
    let canonical = number.to_string() == stem && [PLAIN, SEALED].contains(&extension);
    canonical.then_some(number)
}

/// An identity that can be used: the document, and its key opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The certificate and those between it and the authority, PEM.
    pub certificate: String,
    /// Certificates that the inventory is trusted by, PEM.
    pub authority: String,
    /// Its key.
    pub key: Key,
}

impl NodeIdentity {
    /// Of a document and its key.
    pub fn new(document: &IdentityDocument, key: Key) -> Self {
        Self {
            certificate: document.certificate.clone(),
            authority: document.authority.clone(),
            key,
        }
    }

    /// Whether certificate and key belong together.
    pub fn fits(&self) -> bool {
        self.shown().is_ok_and(|shown| {
            let client = reqwest::Client::builder()
                .tls_certs_only([])
                .identity(shown);
            client.build().is_ok()
        })
    }

    pub(crate) fn shown(&self) -> reqwest::Result<reqwest::Identity> {
        let pem = format!("{}\n{}", self.certificate, self.key.pem());
        reqwest::Identity::from_pem(pem.as_bytes())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An identity and its key, signed by itself. Synthetic.
    pub fn identity() -> (IdentityDocument, Key) {
        let key = Key::generate().expect("key");
        let pair = rcgen::KeyPair::from_pem(key.pem()).expect("pair");
        let params = rcgen::CertificateParams::new(Vec::new()).expect("params");
        let certificate = params.self_signed(&pair).expect("certificate").pem();
        let at = |text: &str| text.parse().expect("time");
        let document = IdentityDocument {
            schema_version: SCHEMA_VERSION,
            node: "n1".to_owned(),
            inventory: "https://inventory.example:8470".to_owned(),
            hardware: HardwareIdentity::default(),
            key_protection: KeyProtection::File,
            key: "key-1.pem".to_owned(),
            not_before: at("2026-01-01T00:00:00Z"),
            not_after: at("2026-01-31T00:00:00Z"),
            renew_after: at("2026-01-21T00:00:00Z"),
            authority: certificate.clone(),
            certificate,
        };
        (document, key)
    }

    fn written(document: &IdentityDocument) -> Vec<u8> {
        serde_json::to_vec_pretty(document).expect("JSON")
    }

    #[test]
    fn errors_name_file_line_and_value() {
        let (good, _) = identity();
        let read = IdentityDocument::parse(&written(&good), "x").expect("document");
        assert_eq!(read, good);
        type Change = fn(&mut IdentityDocument);
        let changes: [(Change, &str); 8] = [
            (
                |is| is.schema_version = 9,
                "identity.json:2: schema_version: 9, ",
            ),
            (|is| is.node.clear(), "identity.json:3: node: "),
            (
                |is| is.inventory = "http://in.example".to_owned(),
                "identity.json:4: inventory: the inventory's URL \"http://in.example/\"",
            ),
            (
                |is| is.key = "key-/../../etc/shadow".to_owned(),
                "identity.json:11: key: \"key-/../../etc/shadow\" is no name",
            ),
            (
                |is| is.not_after = is.not_before,
                "identity.json:13: not_after: 2026-01-01",
            ),
            (
                |is| is.renew_after = Timestamp::EPOCH,
                "identity.json:14: renew_after: 1970",
            ),
            (
                |is| is.certificate.clear(),
                "identity.json:15: certificate: ",
            ),
            (
                |is| is.authority = "x".to_owned(),
                "identity.json:16: authority: ",
            ),
        ];
        for (change, want) in changes {
            let mut bad = good.clone();
            change(&mut bad);
            let told = IdentityDocument::parse(&written(&bad), "identity.json")
                .expect_err(want)
                .to_string();
            assert!(told.starts_with(want), "{told}\nwant {want}");
        }
        let told = IdentityDocument::parse(b"{\n\"node\": 3}", "x").expect_err("type");
        assert_eq!(told.line, 2);
    }

    #[test]
    fn a_field_of_a_later_release_damages_nothing() {
        let (good, _) = identity();
        let text = String::from_utf8(written(&good)).expect("text");
        let later = text
            .replacen('{', "{\n  \"colour\": {\"of\": 1},", 1)
            .replacen(
                "\"board_serial\"",
                "\"colour\": 2,\n    \"board_serial\"",
                1,
            );
        assert_eq!(later.matches("colour").count(), 2);
        let read = IdentityDocument::parse(later.as_bytes(), "x").expect("document");
        assert_eq!(read, good);
    }

    #[test]
    fn the_same_certificate_and_one_that_begins_later_take_no_place() {
        let (old, _) = identity();
        let at = |text: &str| -> Timestamp { text.parse().expect("time") };
        let given = |not_before: &str| IdentityDocument {
            certificate: identity().0.certificate,
            not_before: at(not_before),
            not_after: at("2026-03-01T00:00:00Z"),
            renew_after: at("2026-02-20T00:00:00Z"),
            ..old.clone()
        };
        let now = at("2026-01-21T12:00:00Z");
        let why = old.objection_to(&old, now).expect("the same");
        assert!(why.contains("the same certificate"), "{why}");
        assert!(why.contains("2026-01-21T00:00:00"), "{why}");
        for (not_before, now, takes) in [
            ("2026-01-21T11:55:00Z", "2026-01-21T12:00:00Z", true),
            ("2026-01-21T12:04:00Z", "2026-01-21T12:00:00Z", true),
            ("2026-01-21T12:06:00Z", "2026-01-21T12:00:00Z", false),
            ("2026-01-25T00:00:00Z", "2026-01-21T12:00:00Z", false),
            // It was waited for.
            ("2026-01-25T00:00:00Z", "2026-01-25T00:00:00Z", true),
            // Perhaps the node's clock is behind: no longer.
            ("2026-01-26T00:00:01Z", "2026-01-21T12:00:00Z", true),
            // Nothing is lost.
            ("2026-01-25T00:00:00Z", "2026-01-31T00:00:00Z", true),
        ] {
            let objection = old.objection_to(&given(not_before), at(now));
            assert_eq!(objection.is_none(), takes, "{not_before} {now}");
        }
    }

    #[test]
    fn an_authority_is_the_same_however_its_lines_end() {
        let (one, other) = (identity().0.authority, identity().0.authority);
        let carried = format!("\n{}", one.replace('\n', "\r\n"));
        assert!(is_same_authority(&one, &carried));
        assert!(!is_same_authority(&one, &other));
        assert!(!is_same_authority(&one, &format!("{one}{other}")));
    }

    #[test]
    fn a_key_belongs_to_one_certificate() {
        let (document, key) = identity();
        assert!(NodeIdentity::new(&document, key).fits());
        let other = Key::generate().expect("key");
        assert!(!NodeIdentity::new(&document, other).fits());
    }

    #[test]
    fn an_identity_is_for_one_inventory() {
        let (document, _) = identity();
        for (url, same) in [
            ("https://inventory.example:8470/", true),
            ("https://INVENTORY.example:8470/cupel", true),
            ("https://inventory.example", false),
            ("http://inventory.example:8470", false),
            ("https://other.example:8470", false),
        ] {
            assert_eq!(document.is_of(url), same, "{url}");
        }
    }

    #[test]
    fn names_of_keys_lead_nowhere_else() {
        assert_eq!(number_of("key-12.pem"), Some(12));
        assert_eq!(number_of("key-1.cred"), Some(1));
        for name in [
            "key-01.pem",
            "key-+1.pem",
            "key-1.txt",
            "key-.pem",
            "key-1",
            "key-1.pem.cred",
            "key-1/../../x.pem",
            "identity.json",
            "",
        ] {
            assert_eq!(number_of(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn renewal_is_due_early_in_the_time_that_is_left(
            certificate in ".{0,40}", after in 0..2_592_000_i64,
        ) {
            let (mut document, _) = identity();
            document.certificate = certificate;
            let end = document.not_after.microseconds();
            let after = end - after * 1_000_000;
            document.renew_after = Timestamp::from_microseconds(after).expect("time");
            let due = document.renewal_due().microseconds();
            prop_assert!((after..=after + (end - after) / 10).contains(&due));
        }

        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = IdentityDocument::parse(&bytes, "x");
        }

        /// Wherever a byte is another, the error is within the file.
        #[test]
        fn a_damaged_document_is_located(at in 0..4000_usize, byte in any::<u8>()) {
            let (good, _) = identity();
            let mut bytes = written(&good);
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Err(error) = IdentityDocument::parse(&bytes, "x") {
                let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
                prop_assert!((1..=lines).contains(&error.line), "{error}");
            }
        }
    }
}
