//! How a node gets an identity of its own: what a technician brings, what the node asks for, what
//! the inventory answers.
//!
//! # Invariants
//! - The private key never leaves the node: it sends a certificate signing request.
//! - A join file names the authority to trust: no connection is made that is not verified.
//! - Asking again with the same key is the same enrolment: an answer that was lost costs nothing.
//!
//! # What is absent
//! How keys are made, kept and sealed, and who may join: the node's and the inventory's business.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::snapshot::IdSource;
use crate::time::Timestamp;

/// What lets a node join: a file of TOML that `cupel-inventory join create` writes and
/// `cupel enrol` reads. It holds a secret until it is used or expires.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinFile {
    /// The inventory's base URL.
    pub inventory: String,
    /// The join token, `cupel_join_…`.
    pub token: String,
    /// Certificates that the inventory is trusted by, beside those of the machine; PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
}

impl std::fmt::Debug for JoinFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinFile")
            .field("inventory", &self.inventory)
            .finish_non_exhaustive()
    }
}

/// What a node's private key is protected by, where it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyProtection {
    /// Sealed to this machine's TPM: a copy of the disk is worth nothing elsewhere.
    Tpm,
    /// A file that root alone reads: a copy of the disk has it.
    File,
}

/// Which hardware a node is, as its firmware tells; null where it does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HardwareIdentity {
    /// System serial number: the service tag.
    pub serial: Option<String>,
    /// Serial number of the chassis.
    pub chassis_serial: Option<String>,
    /// Serial number of the main board: another one after a repair, where the UUID is often kept.
    pub board_serial: Option<String>,
}

/// What a node asks for: with a join token at first, later with the certificate that it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnrolmentRequest {
    /// Version of this JSON.
    pub schema_version: u32,
    /// Version of the cupel that asks.
    pub cupel_version: String,
    /// Stable id of the node, as in the Snapshot.
    pub node: String,
    /// Where that id comes from; null when it is not known.
    pub id_source: Option<IdSource>,
    /// Host name; null when there is none.
    pub hostname: Option<String>,
    /// Which hardware it is.
    pub hardware: HardwareIdentity,
    /// What the private key is protected by.
    pub key_protection: KeyProtection,
    /// PKCS#10 certificate signing request, PEM. Of it the public key alone counts: the inventory
    /// decides what is in the certificate.
    pub request: String,
}

/// An identity: what the inventory answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Enrolment {
    /// Version of this JSON.
    pub schema_version: u32,
    /// The node that may report with it; no other.
    pub node: String,
    /// The certificate and those between it and the authority, PEM.
    pub certificate: String,
    /// Certificates that the inventory is to be trusted by from now on, PEM.
    pub authority: String,
    /// From when on it is good, by the inventory's clock.
    pub not_before: Timestamp,
    /// Until when it is good.
    pub not_after: Timestamp,
    /// From when on the node asks for the next one.
    pub renew_after: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_file_does_not_print_its_secret() {
        let file = JoinFile {
            inventory: "https://inventory.example:8470".to_owned(),
            token: "cupel_join_0_secret".to_owned(),
            authority: None,
        };
        let shown = format!("{file:?}");
        assert!(shown.contains("inventory.example"), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}
