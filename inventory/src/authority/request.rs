//! What a node asks with: a signing request, of which the public key alone counts.
//!
//! # Invariants
//! - A key is taken only from a request that is signed with it: nobody gets a certificate for a key
//!   that he does not have.
//! - Keys are P-256 or Ed25519, as points that were verified; nothing else goes on.
//! - Any bytes give a key or a refusal, never a panic.

use rcgen::{
    CertificateSigningRequestParams, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKey,
    PublicKeyData as _,
};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

/// Longest request that is looked at: one for P-256 has half a kilobyte.
const LONGEST: usize = 8 << 10;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It is longer than one can be.
    #[error("the signing request has more than {LONGEST} bytes")]
    TooLong,
    /// It is no PKCS#10 request in PEM.
    #[error(
        "the signing request is not one: send PKCS#10 in PEM, with no extension but names, key \
         usage and basic constraints"
    )]
    Unreadable,
    /// It is not signed with the key that it names.
    #[error("the signing request is not signed with the key that it names")]
    Unsigned,
    /// Another kind of key.
    #[error("the key of the signing request is neither P-256 nor Ed25519: make one of these")]
    OtherKey,
}

/// A node's public key, of which it was shown that the node has the private half.
#[derive(Clone, Debug)]
pub struct NodeKey {
    pub(super) key: PublicKey,
    digest: [u8; 32],
}

impl NodeKey {
    /// From a request in PEM.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_request(pem: &str) -> Result<Self, RequestError> {
        if pem.len() > LONGEST {
            return Err(RequestError::TooLong);
        }
        let request = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| RequestError::Unreadable)?;
        let parsed = CertificateSigningRequestParams::from_der(&request).map_err(|error| {
            if error == rcgen::Error::InvalidCertificationRequestSignature {
                RequestError::Unsigned
            } else if error == rcgen::Error::UnsupportedSignatureAlgorithm {
                RequestError::OtherKey
            } else {
                RequestError::Unreadable
            }
        })?;
        let key = parsed.public_key;
        // The algorithm is the signature's: only with the right length is it the key's too.
        let algorithm = key.algorithm();
        let fits = (*algorithm == PKCS_ECDSA_P256_SHA256
            && key.der_bytes().len() == 65
            && key.der_bytes().first() == Some(&4))
            || (*algorithm == PKCS_ED25519 && key.der_bytes().len() == 32);
        if !fits {
            return Err(RequestError::OtherKey);
        }
        let digest = Sha256::digest(key.subject_public_key_info()).into();
        Ok(Self { key, digest })
    }

    /// SHA-256 of the key (SubjectPublicKeyInfo): by which it is known again.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, SignatureAlgorithm};

    use super::*;

    fn request(algorithm: &'static SignatureAlgorithm) -> (KeyPair, String) {
        let key = KeyPair::generate_for(algorithm).expect("key");
        let request = CertificateParams::default().serialize_request(&key);
        let pem = request.and_then(|request| request.pem());
        (key, pem.expect("request"))
    }

    fn good() -> &'static [u8] {
        static GOOD: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        GOOD.get_or_init(|| {
            let (_, pem) = request(&PKCS_ECDSA_P256_SHA256);
            let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes());
            der.expect("section").to_vec()
        })
    }

    fn pem(der: &[u8]) -> String {
        let mut text = "-----BEGIN CERTIFICATE REQUEST-----\n".to_owned();
        for line in base64(der).as_bytes().chunks(64) {
            text.push_str(std::str::from_utf8(line).expect("ascii"));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE REQUEST-----\n");
        text
    }

    fn base64(bytes: &[u8]) -> String {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for three in bytes.chunks(3) {
            let mut word = 0_u32;
            for at in 0..3 {
                word = word << 8 | u32::from(three.get(at).copied().unwrap_or(0));
            }
            for at in 0..4 {
                if at <= three.len() {
                    let digit = usize::try_from(word >> (18 - 6 * at) & 63).expect("small");
                    text.push(char::from(DIGITS[digit]));
                } else {
                    text.push('=');
                }
            }
        }
        text
    }

    #[test]
    fn keys_that_are_taken() {
        for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ED25519] {
            let (key, pem) = request(algorithm);
            let taken = NodeKey::of_request(&pem).expect("taken");
            let digest: [u8; 32] = Sha256::digest(key.subject_public_key_info()).into();
            assert_eq!(taken.digest(), digest);
        }
        NodeKey::of_request(&pem(good())).expect("as this test writes PEM");
    }

    #[test]
    fn what_is_refused() {
        let (_, other) = request(&PKCS_ECDSA_P384_SHA384);
        assert_eq!(
            NodeKey::of_request(&other).expect_err("P-384"),
            RequestError::OtherKey
        );
        let key = KeyPair::generate().expect("key");
        let certificate = CertificateParams::default()
            .self_signed(&key)
            .expect("made");
        for bad in ["", "nonsense", &certificate.pem(), &key.serialize_pem()] {
            assert_eq!(
                NodeKey::of_request(bad).expect_err("no request"),
                RequestError::Unreadable,
                "{bad}"
            );
        }
        let long = format!("{}{}", " ".repeat(LONGEST), pem(good()));
        assert_eq!(
            NodeKey::of_request(&long).expect_err("long"),
            RequestError::TooLong
        );
    }

    #[test]
    fn a_request_for_a_key_that_the_asker_does_not_have_is_refused() {
        // The point of another key in the place of the signer's.
        let (theirs, _) = request(&PKCS_ECDSA_P256_SHA256);
        let (mine, text) = request(&PKCS_ECDSA_P256_SHA256);
        let mut der = CertificateSigningRequestDer::from_pem_slice(text.as_bytes())
            .expect("section")
            .to_vec();
        let point = mine.public_key_raw().to_vec();
        let at = der
            .windows(point.len())
            .position(|window| window == point)
            .expect("the point stands there");
        der[at..at + point.len()].copy_from_slice(theirs.public_key_raw());
        assert_eq!(
            NodeKey::of_request(&pem(&der)).expect_err("not signed"),
            RequestError::Unsigned
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn any_text_is_a_key_or_a_refusal(text in ".{0,400}") {
            let _ = NodeKey::of_request(&text);
        }

        #[test]
        fn any_bytes_as_a_request_are_refused(der in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(NodeKey::of_request(&pem(&der)).is_err());
        }

        /// Whatever is changed in a good request: it is refused, or it is the same key.
        #[test]
        fn a_changed_request_gives_no_other_key(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut der = good().to_vec();
            for (at, to) in &changes {
                let at = at.index(der.len());
                der[at] = *to;
            }
            if let Some(cut) = cut {
                der.truncate(cut.index(der.len()));
            }
            let before = NodeKey::of_request(&pem(good())).expect("good");
            if let Ok(after) = NodeKey::of_request(&pem(&der)) {
                prop_assert_eq!(before.digest(), after.digest());
            }
        }
    }
}
