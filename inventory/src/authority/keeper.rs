//! The authority's key and certificate, in the data directory.
//!
//! # Invariants
//! - Both are made once. Whoever makes them beside another process takes what that one made.
//! - A power cut leaves nothing, the key alone, or both. From the key alone the certificate is made
//!   again, and everything that was signed stays good.

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::ParsedCertificate;
use sha2::{Digest as _, Sha256};

use super::AuthorityError;
use super::issue::{FAR_BACK_SECONDS, moment, serial_number};

/// Name of the key's file.
pub const KEY_FILE: &str = "authority.key";

/// Name of the certificate's file.
pub const CERTIFICATE_FILE: &str = "authority.pem";

/// For how long the authority's own certificate is good: longer than the machines last.
const LIFE_SECONDS: i64 = 20 * 365 * 86_400;

/// A certificate authority.
pub struct Authority {
    pub(super) issuer: Issuer<'static, KeyPair>,
    certificate: String,
    der: CertificateDer<'static>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AuthorityError {
    let path = path.to_path_buf();
    move |source| AuthorityError::File {
        action,
        path,
        source,
    }
}

fn damaged(path: &Path) -> impl FnOnce(rcgen::Error) -> AuthorityError {
    let path = path.to_path_buf();
    move |source| AuthorityError::Damaged { path, source }
}

/// What the file says; `None`: there is none.
fn read(path: &Path) -> Result<Option<String>, AuthorityError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Writes a file that is not there, whole or not at all. If another process was faster, its file
/// stays. Gives what the file says then.
fn keep(path: &Path, text: &str, mode: u32) -> Result<String, AuthorityError> {
    let mark = crate::auth::secret().map_err(|_| AuthorityError::Random)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", mark.get(..16).unwrap_or(&mark)));
    let beside = PathBuf::from(beside);
    let written = (|| {
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        match std::fs::hard_link(&beside, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    })();
    let _ = std::fs::remove_file(&beside);
    written.map_err(failed("write", path))?;
    if let Some(directory) = path.parent() {
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed("write", path))?;
    }
    read(path)?.ok_or_else(|| failed("read", path)(io::ErrorKind::NotFound.into()))
}

/// What the authority says of itself. The name has a random part, so that the certificates of two
/// inventories are not taken for each other's.
fn about(key: &KeyPair, now: i64) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    let digest = Sha256::digest(key.subject_public_key_info());
    let mark: String = digest.iter().take(4).map(|b| format!("{b:02x}")).collect();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, format!("Cupel inventory {mark}"));
    params.distinguished_name = name;
    params.serial_number = Some(serial_number()?);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params.not_before = moment(now, -FAR_BACK_SECONDS)?;
    params.not_after = moment(now, LIFE_SECONDS)?;
    Ok(params)
}

impl Authority {
    /// Opens the authority of a data directory, and makes it if there is none. `now`: microseconds.
    ///
    /// # Errors
    /// Files that cannot be read or written, or that do not belong together.
    pub fn open(data: &Path, now: i64) -> Result<Self, AuthorityError> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data)
            .map_err(failed("create", data))?;
        let (key_path, path) = (data.join(KEY_FILE), data.join(CERTIFICATE_FILE));
        let certificate = read(&path)?;
        let key = match (read(&key_path)?, &certificate) {
            (Some(key), _) => key,
            (None, Some(_)) => {
                return Err(AuthorityError::NoKey {
                    certificate: path,
                    key: key_path,
                });
            }
            (None, None) => {
                let made =
                    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(AuthorityError::Make)?;
                keep(&key_path, &made.serialize_pem(), 0o600)?
            }
        };
        let key = KeyPair::from_pem(&key).map_err(damaged(&key_path))?;
        let certificate = match certificate {
            Some(certificate) => certificate,
            None => {
                let made = about(&key, now)?
                    .self_signed(&key)
                    .map_err(AuthorityError::Make)?;
                keep(&path, &made.pem(), 0o644)?
            }
        };
        let unreadable = || damaged(&path)(rcgen::Error::CouldNotParseCertificate);
        let der =
            CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|_| unreadable())?;
        let parsed = ParsedCertificate::try_from(&der).map_err(|_| unreadable())?;
        if parsed.subject_public_key_info().as_ref() != key.subject_public_key_info() {
            return Err(AuthorityError::OtherKey {
                certificate: path,
                key: key_path,
            });
        }
        let issuer = Issuer::from_ca_cert_pem(&certificate, key).map_err(damaged(&path))?;
        Ok(Self {
            issuer,
            certificate,
            der,
        })
    }

    /// Its certificate, as PEM: what nodes trust the inventory by.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its certificate, as DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000_000_000;

    #[test]
    fn it_is_made_once_and_for_its_user_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let data = tempfile::tempdir().expect("directory");
        let data = data.path().join("new");
        let first = Authority::open(&data, NOW).expect("made");
        let again = Authority::open(&data, NOW + 1).expect("opened");
        assert_eq!(first.certificate(), again.certificate());
        let mode = std::fs::metadata(data.join(KEY_FILE)).expect("file");
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
        let names: Vec<_> = std::fs::read_dir(&data).expect("directory").collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }

    #[test]
    fn several_processes_make_one() {
        let data = tempfile::tempdir().expect("directory");
        let made: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| Authority::open(data.path(), NOW).expect("opened")))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("ended").certificate().to_owned())
                .collect()
        });
        assert!(made.iter().all(|one| one == &made[0]));
    }

    #[test]
    fn a_lost_certificate_is_made_from_the_key_and_a_lost_key_is_told() {
        let data = tempfile::tempdir().expect("directory");
        Authority::open(data.path(), NOW).expect("made");
        std::fs::remove_file(data.path().join(CERTIFICATE_FILE)).expect("removed");
        Authority::open(data.path(), NOW).expect("made again");
        std::fs::remove_file(data.path().join(KEY_FILE)).expect("removed");
        let refused = Authority::open(data.path(), NOW).expect_err("no key");
        assert!(matches!(refused, AuthorityError::NoKey { .. }), "{refused}");
    }

    #[test]
    fn files_that_do_not_belong_together_are_told() {
        let (one, two) = (tempfile::tempdir(), tempfile::tempdir());
        let (one, two) = (one.expect("directory"), two.expect("directory"));
        Authority::open(one.path(), NOW).expect("made");
        Authority::open(two.path(), NOW).expect("made");
        let copied = std::fs::copy(two.path().join(KEY_FILE), one.path().join(KEY_FILE));
        copied.expect("copied");
        let refused = Authority::open(one.path(), NOW).expect_err("other key");
        assert!(
            matches!(refused, AuthorityError::OtherKey { .. }),
            "{refused}"
        );
        std::fs::write(one.path().join(KEY_FILE), "nonsense").expect("written");
        let refused = Authority::open(one.path(), NOW).expect_err("nonsense");
        assert!(
            matches!(refused, AuthorityError::Damaged { .. }),
            "{refused}"
        );
    }
}
