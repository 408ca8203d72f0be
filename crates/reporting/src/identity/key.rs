//! A private key.

use std::fmt;

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};

use crate::store::chain;

/// Why there is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It cannot be made, or cannot sign.
    #[error("cannot make a key: {0}")]
    Made(String),
    /// What was read is none.
    #[error("it is no private key in PEM form")]
    Content,
}

/// A private key of P-256.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    pem: String,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// A new one.
    ///
    /// # Errors
    /// [`KeyError::Made`].
    pub fn generate() -> Result<Self, KeyError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(made)?;
        Ok(Self {
            pem: pair.serialize_pem(),
        })
    }

    /// From PKCS#8 in PEM form.
    ///
    /// # Errors
    /// [`KeyError::Content`].
    pub fn from_pem(bytes: &[u8]) -> Result<Self, KeyError> {
        let text = std::str::from_utf8(bytes).map_err(|_| KeyError::Content)?;
        KeyPair::from_pem(text).map_err(|_| KeyError::Content)?;
        Ok(Self {
            pem: text.to_owned(),
        })
    }

    /// PKCS#8 in PEM form. Whoever has it is the node.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate signing request for a node, PEM.
    ///
    /// # Errors
    /// [`KeyError::Made`].
    pub fn request(&self, node: &str) -> Result<String, KeyError> {
        let pair = KeyPair::from_pem(&self.pem).map_err(made)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, node);
        let request = params.serialize_request(&pair).map_err(made)?;
        request.pem().map_err(made)
    }
}

fn made(error: rcgen::Error) -> KeyError {
    KeyError::Made(chain(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_shown_and_comes_back_the_same() {
        let key = Key::generate().expect("key");
        assert_eq!(format!("{key:?}"), "Key");
        let again = Key::from_pem(key.pem().as_bytes()).expect("key");
        assert_eq!(again, key);
        assert_ne!(Key::generate().expect("key"), key);
        for wrong in [
            &b""[..],
            b"\xff",
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            assert_eq!(Key::from_pem(wrong), Err(KeyError::Content));
        }
    }

    #[test]
    fn a_request_is_of_the_node_and_signed_by_its_key() {
        let key = Key::generate().expect("key");
        let request = key.request("n1").expect("request");
        assert!(request.starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
        assert!(Key::from_pem(request.as_bytes()).is_err());
    }
}
