//! What an operator may set of a node.
//!
//! # Invariants
//! - A field that is not given stays as it is; null unsets it.

use cupel_model::Timestamp;
use cupel_model::wire::{Lifecycle, UpgradeWish};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// What a name looks like: no control characters.
pub(super) const NAME: &str = r"^[^\x00-\x1f\x7f-\x9f]+$";

/// What of a node is to be set. Not given: it stays; null: it is unset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NodePatch {
    /// What the node is for; it is always for something.
    #[serde(deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Lifecycle")]
    pub lifecycle: Option<Lifecycle>,
    /// Name of the firmware baseline.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(min = 1, max = 128), regex(pattern = NAME))]
    pub baseline: Option<Option<String>>,
    /// The version of Cupel that shall run: fetched, verified, tried and put back by the node itself.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<UpgradeWish>")]
    pub upgrade: Option<Option<UpgradeWish>>,
    /// Until when silence is expected.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Timestamp>")]
    pub silence_until: Option<Option<Timestamp>>,
    /// Account that it is reserved for.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(min = 1, max = 128), regex(pattern = NAME))]
    pub account: Option<Option<String>>,
    /// Project.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(min = 1, max = 128), regex(pattern = NAME))]
    pub project: Option<Option<String>>,
    /// Instance id.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(min = 1, max = 128), regex(pattern = NAME))]
    pub instance: Option<Option<String>>,
    /// Whether work runs on it.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<bool>")]
    pub in_use: Option<Option<bool>>,
    /// When it was handed over to production.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Timestamp>")]
    pub handover_at: Option<Option<Timestamp>>,
    /// Region; goes before the expected list.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(min = 1, max = 128), regex(pattern = NAME))]
    pub region: Option<Option<String>>,
    /// Site; goes before the expected list.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(min = 1, max = 128), regex(pattern = NAME))]
    pub site: Option<Option<String>>,
    /// Row; goes before the expected list.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(min = 1, max = 128), regex(pattern = NAME))]
    pub row: Option<Option<String>>,
    /// Rack; goes before the expected list.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(min = 1, max = 128), regex(pattern = NAME))]
    pub rack: Option<Option<String>>,
    /// Lowest unit, counted from 1 at the bottom; goes before the expected list.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>", range(min = 1, max = 99))]
    pub unit: Option<Option<u32>>,
    /// How many units it fills; goes before the expected list.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>", range(min = 1, max = 99))]
    pub height_units: Option<Option<u32>>,
    /// NVLink domain; goes before the expected list and what the GPUs tell.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(min = 1, max = 128), regex(pattern = NAME))]
    pub nvlink_domain: Option<Option<String>>,
    /// Ids of the switches above it: leaf, spine, core; goes before the expected list.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(
        with = "Option<Vec<String>>",
        length(min = 1, max = 8),
        inner(length(min = 1, max = 128), regex(pattern = NAME))
    )]
    pub switch_path: Option<Option<Vec<String>>>,
}

/// A field that is there, and not null.
fn some<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// A field that is there, null or not.
fn given<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

/// A value that may not be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {why}")]
pub struct BadSetting {
    /// Which field.
    pub field: &'static str,
    /// Why not.
    pub why: &'static str,
}

/// What a name must be, in words.
pub const WORD: &str = "must have 1 to 128 characters, none of them a control character";

/// What a unit must be, in words.
pub const UNIT: &str = "must be 1 to 99";

/// What a switch path must be, in words.
pub const SWITCHES: &str = "must name 1 to 8 switches, each with 1 to 128 characters";

/// What an upgrade must be, in words.
pub const UPGRADE: &str = "must have a version that begins with a digit, such as 0.2.0, and an \
                           https:// address (http:// to this machine alone) of at most 2000 \
                           characters, without a name or password in it";

/// Longest address of a release.
const ADDRESS: usize = 2000;

/// Whether a node can make something of this.
fn is_upgrade(wish: &UpgradeWish) -> bool {
    let version = wish.version.starts_with(|c: char| c.is_ascii_digit())
        && wish.version.len() <= 100
        && wish
            .version
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".+~-_".contains(c));
    let address = |rest: &str| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        !host.is_empty() && !host.contains('@')
    };
    let here = |rest: &str| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        ["127.0.0.1", "localhost", "[::1]"].iter().any(|own| {
            host.strip_prefix(own)
                .is_some_and(|port| port.is_empty() || port.starts_with(':'))
        })
    };
    let url = match (
        wish.url.strip_prefix("https://"),
        wish.url.strip_prefix("http://"),
    ) {
        (Some(rest), _) => address(rest),
        (None, Some(rest)) => here(rest),
        (None, None) => false,
    };
    version
        && url
        && wish.url.len() <= ADDRESS
        && !wish.url.contains(|c: char| c.is_control() || c == ' ')
}

/// Whether this can be a switch path.
pub fn is_switch_path(path: &[String]) -> bool {
    (1..=8).contains(&path.len()) && path.iter().all(|id| crate::name::is_word(id))
}

impl NodePatch {
    /// Whether it sets nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The first value that may not be set.
    ///
    /// # Errors
    /// [`BadSetting`]: which, and why not.
    pub fn check(&self) -> Result<(), BadSetting> {
        let words = [
            ("baseline", &self.baseline),
            ("account", &self.account),
            ("project", &self.project),
            ("instance", &self.instance),
            ("region", &self.region),
            ("site", &self.site),
            ("row", &self.row),
            ("rack", &self.rack),
            ("nvlink_domain", &self.nvlink_domain),
        ];
        for (field, value) in words {
            if let Some(Some(text)) = value
                && !crate::name::is_word(text)
            {
                return Err(BadSetting { field, why: WORD });
            }
        }
        for (field, value) in [("unit", self.unit), ("height_units", self.height_units)] {
            if let Some(Some(number)) = value
                && !(1..=99).contains(&number)
            {
                return Err(BadSetting { field, why: UNIT });
            }
        }
        if let Some(Some(wish)) = &self.upgrade
            && !is_upgrade(wish)
        {
            return Err(BadSetting {
                field: "upgrade",
                why: UPGRADE,
            });
        }
        match &self.switch_path {
            Some(Some(path)) if !is_switch_path(path) => Err(BadSetting {
                field: "switch_path",
                why: SWITCHES,
            }),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_unsets_and_not_given_stays() {
        let patch: NodePatch =
            serde_json::from_str(r#"{"account":null,"rack":"r7"}"#).expect("patch");
        assert_eq!(patch.account, Some(None));
        assert_eq!(patch.rack, Some(Some("r7".to_owned())));
        assert_eq!(patch.project, None);
        for bad in [r#"{"colour":"red"}"#, r#"{"lifecycle":null}"#] {
            assert!(serde_json::from_str::<NodePatch>(bad).is_err(), "{bad}");
        }
        assert!(NodePatch::default().is_empty());
    }

    #[test]
    fn what_may_not_be_set_is_named() {
        let bad = |json: &str| {
            let patch: NodePatch = serde_json::from_str(json).expect("patch");
            patch.check().expect_err("bad").field
        };
        assert_eq!(bad(r#"{"rack":""}"#), "rack");
        assert_eq!(bad(r#"{"unit":100}"#), "unit");
        assert_eq!(bad(r#"{"switch_path":[]}"#), "switch_path");
        let upgrade = |version: &str, url: &str| {
            let patch: NodePatch = serde_json::from_value(serde_json::json!({
                "upgrade": { "version": version, "url": url }
            }))
            .expect("patch");
            patch.check().map_err(|bad| bad.field)
        };
        let good = "https://releases.example/cupel-x86_64";
        assert_eq!(upgrade("0.2.0", good), Ok(()));
        assert_eq!(
            upgrade("0.2.0-3f9a1c02b7de", "http://127.0.0.1:8/cupel"),
            Ok(())
        );
        for (version, url) in [
            ("latest", good),
            ("0.2 0", good),
            ("0.2.0", "http://releases.example/cupel"),
            ("0.2.0", "http://127.0.0.1.example/cupel"),
            ("0.2.0", "https://me:secret@releases.example/cupel"),
            ("0.2.0", "https:///cupel"),
            ("0.2.0", "ftp://releases.example/cupel"),
            ("0.2.0", "https://releases.example/a b"),
        ] {
            assert_eq!(upgrade(version, url), Err("upgrade"), "{version} {url}");
        }
    }
}
