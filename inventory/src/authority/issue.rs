//! What the authority signs: certificates of nodes, and the inventory's own.
//!
//! # Invariants
//! - A node's certificate names its node and may only be shown by a client; it is good for the time
//!   that the policy says and no longer.
//! - Certificates begin in the past, for clocks that are behind; what is counted (life, renewal) counts
//!   from now.

use std::net::IpAddr;
use std::time::Duration;

use rand::TryRng as _;
use rand::rngs::SysRng;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use super::{Authority, AuthorityError, NodeKey};
use crate::clock::SECOND;

/// How far back a node's certificate begins. The inventory alone verifies it, by the clock that it was
/// made by.
const BACK_SECONDS: i64 = 300;

/// How far back the inventory's own certificate begins: clocks of nodes may be behind by a day.
pub(super) const FAR_BACK_SECONDS: i64 = 86_400;

/// Life of the inventory's own certificate.
const OWN_LIFE_SECONDS: i64 = 90 * 86_400;

/// For how long nodes' certificates are good, and when they are renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Life of a certificate, whole seconds.
    pub life: Duration,
    /// After how much of it the node asks for the next one, per cent.
    pub renew_at: u8,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            life: Duration::from_secs(30 * 86_400),
            renew_at: 66,
        }
    }
}

/// A certificate of a node. Times in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// PEM.
    pub certificate: String,
    /// SHA-256 of the DER: by which it is known when it is shown.
    pub fingerprint: [u8; 32],
    /// From when on it is good.
    pub not_before: i64,
    /// Until when.
    pub not_after: i64,
    /// From when on the node asks for the next one.
    pub renew_after: i64,
}

/// A certificate of the inventory itself, with its key.
#[derive(Clone)]
pub struct ServerCertificate {
    /// PEM.
    pub certificate: String,
    /// PEM.
    pub key: String,
    /// From when on it is good, in microseconds.
    pub not_before: i64,
    /// When the next one is to be made, in microseconds.
    pub renew_after: i64,
}

impl std::fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerCertificate")
            .field("renew_after", &self.renew_after)
            .finish_non_exhaustive()
    }
}

/// A time for a certificate: so many seconds after `now` (microseconds), to the second.
pub(super) fn moment(now: i64, seconds: i64) -> Result<OffsetDateTime, AuthorityError> {
    let at = now.div_euclid(SECOND).saturating_add(seconds);
    OffsetDateTime::from_unix_timestamp(at).map_err(|_| AuthorityError::Time)
}

fn microseconds(at: OffsetDateTime) -> i64 {
    at.unix_timestamp().saturating_mul(SECOND)
}

/// A serial number that nobody can guess: 127 random bits, positive.
pub(super) fn serial_number() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0_u8; 16];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|_| AuthorityError::Random)?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn named(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

impl Authority {
    /// A certificate for this node and key. `now`: microseconds.
    ///
    /// # Errors
    /// It could not be made.
    pub fn issue(
        &self,
        node: &str,
        key: &NodeKey,
        policy: &Policy,
        now: i64,
    ) -> Result<Issued, AuthorityError> {
        let life = i64::try_from(policy.life.as_secs()).map_err(|_| AuthorityError::Time)?;
        let renew = life
            .saturating_mul(SECOND / 100)
            .saturating_mul(i64::from(policy.renew_at.min(100)));
        let name = format!("urn:cupel:node:{node}");
        let mut params = CertificateParams::default();
        params.distinguished_name = named(node);
        params.subject_alt_names = vec![SanType::URI(
            name.as_str().try_into().map_err(AuthorityError::Make)?,
        )];
        params.serial_number = Some(serial_number()?);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = moment(now, -BACK_SECONDS)?;
        params.not_after = moment(now, life)?;
        let made = params
            .signed_by(&key.key, &self.issuer)
            .map_err(AuthorityError::Make)?;
        Ok(Issued {
            certificate: made.pem(),
            fingerprint: Sha256::digest(made.der()).into(),
            not_before: microseconds(params.not_before),
            not_after: microseconds(params.not_after),
            renew_after: now.saturating_add(renew),
        })
    }

    /// A certificate for the inventory itself, for these names and addresses. `now`: microseconds.
    ///
    /// # Errors
    /// A name that cannot be one, or it could not be made.
    pub fn serve_as(
        &self,
        names: &[String],
        now: i64,
    ) -> Result<ServerCertificate, AuthorityError> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names
            .iter()
            .map(|name| alternative(name))
            .collect::<Result<_, _>>()?;
        params.distinguished_name = named("Cupel inventory");
        params.serial_number = Some(serial_number()?);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = moment(now, -FAR_BACK_SECONDS)?;
        params.not_after = moment(now, OWN_LIFE_SECONDS)?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(AuthorityError::Make)?;
        let made = params
            .signed_by(&key, &self.issuer)
            .map_err(AuthorityError::Make)?;
        Ok(ServerCertificate {
            certificate: made.pem(),
            key: key.serialize_pem(),
            not_before: microseconds(params.not_before),
            renew_after: now.saturating_add(OWN_LIFE_SECONDS / 3 * 2 * SECOND),
        })
    }
}

/// A host name or an address, as certificates name them.
fn alternative(name: &str) -> Result<SanType, AuthorityError> {
    let bad = || AuthorityError::Name(name.chars().take(64).collect());
    if let Ok(address) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let sound = name.len() <= 253 && name.trim_end_matches('.').split('.').all(label);
    if !sound {
        return Err(bad());
    }
    Ok(SanType::DnsName(
        name.trim_end_matches('.').try_into().map_err(|_| bad())?,
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, UnixTime};
    use rustls::server::WebPkiClientVerifier;

    use super::*;

    const NOW: i64 = 1_790_000_000_250_000;
    const NODE: &str = "4c4c4544-0000-0000-0000-000000000001";

    fn authority() -> (tempfile::TempDir, Authority) {
        let data = tempfile::tempdir().expect("directory");
        let authority = Authority::open(data.path(), NOW).expect("made");
        (data, authority)
    }

    fn key() -> NodeKey {
        let key = KeyPair::generate().expect("key");
        let request = CertificateParams::default().serialize_request(&key);
        let pem = request.and_then(|request| request.pem()).expect("request");
        NodeKey::of_request(&pem).expect("taken")
    }

    fn verified(authority: &Authority, pem: &str, at: i64) -> Result<(), rustls::Error> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.der().clone()).expect("root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .expect("verifier");
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("certificate");
        let at = u64::try_from(at / SECOND).expect("time");
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at));
        verifier.verify_client_cert(&der, &[], at).map(|_| ())
    }

    #[test]
    fn a_nodes_certificate_is_good_for_its_time_and_from_this_authority_alone() {
        let (_data, authority) = authority();
        let policy = Policy {
            life: Duration::from_secs(100),
            renew_at: 66,
        };
        let issued = authority.issue(NODE, &key(), &policy, NOW).expect("issued");
        assert_eq!(issued.not_after, 1_790_000_100_000_000);
        assert_eq!(issued.not_before, 1_789_999_700_000_000);
        assert_eq!(issued.renew_after, NOW + 66 * SECOND);
        verified(&authority, &issued.certificate, NOW).expect("good");
        verified(&authority, &issued.certificate, NOW - 299 * SECOND).expect("a clock behind");
        for late in [NOW + 101 * SECOND, NOW - 400 * SECOND] {
            verified(&authority, &issued.certificate, late).expect_err("not at that time");
        }
        let (_other_data, other) = self::authority();
        verified(&other, &issued.certificate, NOW).expect_err("another authority");
        let again = authority.issue(NODE, &key(), &policy, NOW).expect("issued");
        assert_ne!(issued.fingerprint, again.fingerprint);
    }

    #[test]
    fn the_inventorys_own_certificate_shows_no_node() {
        let (_data, authority) = authority();
        let names = ["inventory.example".to_owned(), "10.0.0.5".to_owned()];
        let own = authority.serve_as(&names, NOW).expect("made");
        verified(&authority, &own.certificate, NOW).expect_err("a server's");
        assert!(!format!("{own:?}").contains("PRIVATE"));
    }

    #[test]
    fn the_inventorys_own_certificate_is_good_for_clocks_that_are_behind_by_a_day() {
        use rustls::client::WebPkiServerVerifier;
        use rustls::client::danger::ServerCertVerifier as _;
        let (_data, authority) = authority();
        let own = authority.serve_as(&["10.0.0.5".to_owned()], NOW);
        let own = own.expect("made").certificate;
        let der = CertificateDer::from_pem_slice(own.as_bytes()).expect("certificate");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.der().clone()).expect("root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .expect("verifier");
        let name = "10.0.0.5".try_into().expect("name");
        let good = |at: i64| {
            let at = u64::try_from(at / SECOND).expect("time");
            let at = UnixTime::since_unix_epoch(Duration::from_secs(at));
            verifier.verify_server_cert(&der, &[], &name, &[], at)
        };
        good(NOW).expect("good");
        good(NOW - 86_390 * SECOND).expect("a clock behind");
        good(NOW - 86_410 * SECOND).expect_err("behind by more than a day");
    }

    #[test]
    fn names_that_are_none() {
        let (_data, authority) = authority();
        for bad in [
            "",
            "a b",
            "*.example",
            "-a",
            "a..b",
            "https://a",
            "a:8470",
            "a/b",
            &"a".repeat(64),
        ] {
            let refused = authority.serve_as(&[bad.to_owned()], NOW);
            assert!(matches!(refused, Err(AuthorityError::Name(_))), "{bad}");
        }
        for fine in [
            "localhost",
            "::1",
            "[::1]",
            "inventory.example.",
            "10.0.0.5",
            "a-1.b",
        ] {
            authority.serve_as(&[fine.to_owned()], NOW).expect(fine);
        }
    }
}
