//! TLS: what the inventory shows, and whose certificates it verifies.
//!
//! # Invariants
//! - A client need show no certificate. One that it shows is of this inventory's authority and good
//!   at this time, else there is no connection.
//! - A session that goes on has the certificate that it began with, which is not verified again:
//!   whose it is, and whether that is good now, is looked up with every request.
//! - What is read anew takes the place of what was there only if it can be used; connections that
//!   are there go on.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{RootCertStore, ServerConfig};

use crate::authority::{Authority, AuthorityError};
use crate::clock::{Clock, SECOND};

/// Where the inventory's own certificate comes from.
#[derive(Clone, Debug)]
pub enum Tls {
    /// From these files, as PEM.
    Files {
        /// Certificate and those above it.
        certificate: PathBuf,
        /// Private key.
        key: PathBuf,
    },
    /// Made by its authority, for these names and addresses.
    Names(Vec<String>),
}

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Certificate or key cannot be read.
    #[error("cannot read {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// They cannot be used together, or for TLS.
    #[error("cannot use {certificate} with {key}")]
    Use {
        /// The certificate.
        certificate: String,
        /// The key.
        key: String,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
    /// The authority made no certificate.
    #[error("cannot make a certificate for this inventory")]
    Authority(#[from] AuthorityError),
    /// Clients' certificates cannot be verified.
    #[error("cannot verify certificates by {authority}")]
    Verifier {
        /// The authority's certificate.
        authority: &'static str,
        /// Why not.
        #[source]
        source: VerifierBuilderError,
    },
}

/// The time for certificates: the server's clock, as for all else.
#[derive(Debug)]
struct Time(Clock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.microseconds().div_euclid(SECOND)).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// How connections are secured, now.
#[derive(Clone, Debug)]
pub struct Secured(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    from: Tls,
    authority: Arc<Authority>,
    clock: Clock,
    config: RustlsConfig,
    /// Within what time the certificate that the authority made stays; files stay always.
    good: Mutex<Good>,
}

impl Secured {
    /// With this certificate.
    ///
    /// # Errors
    /// It cannot be read, made or used.
    pub fn new(from: Tls, authority: Arc<Authority>, clock: Clock) -> Result<Self, TlsError> {
        let (config, good) = config(&from, &authority, &clock)?;
        Ok(Self(Arc::new(Inner {
            from,
            authority,
            clock,
            config: RustlsConfig::from_config(config),
            good: Mutex::new(good),
        })))
    }

    /// For the listener.
    pub(super) fn config(&self) -> RustlsConfig {
        self.0.config.clone()
    }

    /// Reads or makes the certificate anew.
    ///
    /// # Errors
    /// It cannot be read, made or used; the old one stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let inner = &self.0;
        let (config, good) = config(&inner.from, &inner.authority, &inner.clock)?;
        inner.config.reload_from_config(config);
        *inner.good.lock().unwrap_or_else(PoisonError::into_inner) = good;
        Ok(())
    }

    /// Makes the certificate anew if it is time, or if the clock was set back to before it begins.
    pub fn keep_good(&self) {
        let good = self.0.good.lock().unwrap_or_else(PoisonError::into_inner);
        let stays = good.contains(&self.0.clock.microseconds());
        drop(good);
        if stays {
            return;
        }
        match self.reload() {
            Ok(()) => tracing::info!("the inventory's own certificate was renewed"),
            Err(error) => tracing::error!(
                "the inventory's own certificate was not renewed: {}",
                super::problem::chain(&error)
            ),
        }
    }
}

/// Within what time a certificate stays, in microseconds.
type Good = Range<i64>;

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::File {
        path: path.to_path_buf(),
        source,
    })
}

/// What the listener works with, and how long.
fn config(
    from: &Tls,
    authority: &Authority,
    clock: &Clock,
) -> Result<(Arc<ServerConfig>, Good), TlsError> {
    let (chain, key, names, good) = match from {
        Tls::Files { certificate, key } => (
            read(certificate)?,
            read(key)?,
            [certificate, key].map(|path| path.display().to_string()),
            i64::MIN..i64::MAX,
        ),
        Tls::Names(names) => {
            let made = authority.serve_as(names, clock.microseconds())?;
            (
                made.certificate.into_bytes(),
                made.key.into_bytes(),
                ["a certificate", "a key"].map(|what| format!("{what} made here")),
                made.not_before..made.renew_after,
            )
        }
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let made = assemble(&chain, &key, authority, clock, &provider);
    let [certificate, key] = names;
    match made {
        Ok(config) => Ok((Arc::new(config), good)),
        Err(Failed::Use(source)) => Err(TlsError::Use {
            certificate,
            key,
            source,
        }),
        Err(Failed::Verifier(source)) => Err(TlsError::Verifier {
            authority: crate::authority::CERTIFICATE_FILE,
            source,
        }),
    }
}

enum Failed {
    Use(rustls::Error),
    Verifier(VerifierBuilderError),
}

impl From<rustls::Error> for Failed {
    fn from(error: rustls::Error) -> Self {
        Self::Use(error)
    }
}

fn assemble(
    chain: &[u8],
    key: &[u8],
    authority: &Authority,
    clock: &Clock,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerConfig, Failed> {
    let no_pem = |what: &str| rustls::Error::General(format!("there is no {what} in PEM"));
    let chain = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| no_pem("certificate"))?;
    if chain.is_empty() {
        return Err(no_pem("certificate").into());
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| no_pem("private key"))?;
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone())?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .allow_unauthenticated()
            .build()
            .map_err(Failed::Verifier)?;
    let time = Arc::new(Time(clock.clone()));
    let mut config = ServerConfig::builder_with_details(Arc::clone(provider), time)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Nodes come once a minute, each on a connection of its own, and go on with their session. They
    // keep it themselves: what rustls remembers is 256 of all nodes' sessions.
    config.ticketer = Ticketer::new()?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_certificate_is_made_anew_in_time() {
        let data = tempfile::tempdir().expect("directory");
        let clock = Clock::set_to(crate::clock::time(1_790_000_000 * SECOND));
        let authority = Authority::open(data.path(), clock.microseconds()).expect("made");
        let names = Tls::Names(vec!["localhost".to_owned()]);
        let secured = Secured::new(names, Arc::new(authority), clock.clone()).expect("secured");
        let first = secured.config().get_inner();
        let same = |other: &Arc<ServerConfig>| Arc::ptr_eq(&first, other);
        clock.advance(59 * 86_400);
        secured.keep_good();
        assert!(same(&secured.config().get_inner()));
        clock.advance(2 * 86_400);
        secured.keep_good();
        assert!(!same(&secured.config().get_inner()));
    }

    #[test]
    fn its_own_certificate_is_made_anew_when_the_clock_was_set_back() {
        let data = tempfile::tempdir().expect("directory");
        let clock = Clock::set_to(crate::clock::time(1_790_000_000 * SECOND));
        let authority = Authority::open(data.path(), clock.microseconds()).expect("made");
        let names = Tls::Names(vec!["localhost".to_owned()]);
        let secured = Secured::new(names, Arc::new(authority), clock.clone()).expect("secured");
        let first = secured.config().get_inner();
        clock.advance(-86_000);
        secured.keep_good();
        assert!(Arc::ptr_eq(&first, &secured.config().get_inner()));
        clock.advance(-1_000);
        secured.keep_good();
        assert!(!Arc::ptr_eq(&first, &secured.config().get_inner()));
    }

    #[test]
    fn files_that_cannot_be_used_are_named_and_change_nothing() {
        let data = tempfile::tempdir().expect("directory");
        let clock = Clock::system();
        let authority = Authority::open(data.path(), clock.microseconds()).expect("made");
        let authority = Arc::new(authority);
        let names = ["localhost".to_owned()];
        let made = authority
            .serve_as(&names, clock.microseconds())
            .expect("made");
        let other = authority
            .serve_as(&names, clock.microseconds())
            .expect("made");
        let (certificate, key) = (data.path().join("c.pem"), data.path().join("k.pem"));
        let from = Tls::Files {
            certificate: certificate.clone(),
            key: key.clone(),
        };
        let secured = || Secured::new(from.clone(), Arc::clone(&authority), clock.clone());
        let why = |error: TlsError| super::super::problem::chain(&error);
        assert!(why(secured().expect_err("no file")).contains("c.pem"));
        std::fs::write(&certificate, &made.certificate).expect("written");
        std::fs::write(&key, &made.key).expect("written");
        let good = secured().expect("secured");
        let before = good.config().get_inner();
        for bad in [other.key.as_str(), "nonsense", ""] {
            std::fs::write(&key, bad).expect("written");
            assert!(why(good.reload().expect_err("bad")).contains("k.pem"));
            assert!(Arc::ptr_eq(&before, &good.config().get_inner()));
        }
        std::fs::write(&key, &made.key).expect("written");
        good.reload().expect("good again");
        assert!(!Arc::ptr_eq(&before, &good.config().get_inner()));
    }
}
