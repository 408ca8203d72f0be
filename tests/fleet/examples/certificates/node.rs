//! Nodes with an identity each, as far as the inventory sees them.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use cupel_fleet::load::Template;
use rcgen::{CertificateParams, KeyPair};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

use crate::connection::{Connection, Request, Way};

/// Who the inventory is believed to be, and as whom one comes: none shows no certificate.
fn config(authority: &CertificateDer<'static>, who: Option<&Identity>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match who {
        Some(who) => builder.with_client_auth_cert(who.chain.clone(), who.key.clone_key())?,
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// A certificate, those above it, and its key.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// A machine that has made its key and asks to join.
pub struct Machine {
    key: KeyPair,
    asks: Vec<u8>,
}

impl Machine {
    /// The node of this number with a P-256 key of its own.
    pub fn new(template: &Template, number: u32) -> Result<Self> {
        let key = KeyPair::generate()?;
        let request = CertificateParams::default().serialize_request(&key)?;
        let asks = template.enrolment(number, &request.pem()?).into_bytes();
        Ok(Self { key, asks })
    }

    /// Gets an identity, on a connection of its own.
    pub fn enrol(&self, door: &Door) -> Result<Node> {
        let mut connection = Connection::open(&door.stranger)?;
        let (status, body) = connection.post(&Request {
            path: "/v1/enrolments",
            token: Some(&door.join),
            compressed: false,
            body: &self.asks,
        })?;
        let text = String::from_utf8_lossy(&body);
        ensure!(status == 201, "POST /v1/enrolments: {status} {text}");
        let given: Value = serde_json::from_str(&text)?;
        let pem = given["certificate"].as_str().context("a certificate")?;
        let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(self.key.serialize_pem().as_bytes())?;
        let fresh = config(&door.authority, Some(&Identity { chain, key }))?;
        let mut resuming = fresh.clone();
        resuming.resumption = Resumption::in_memory_sessions(8);
        Ok(Node {
            fresh: Way::Secure(door.address, Arc::new(fresh)),
            resuming: Way::Secure(door.address, Arc::new(resuming)),
            kept: None,
        })
    }
}

/// Where machines join.
pub struct Door {
    address: SocketAddr,
    authority: CertificateDer<'static>,
    stranger: Way,
    join: String,
}

impl Door {
    /// With the authority's certificate (PEM) and a join token.
    pub fn new(address: SocketAddr, authority: &str, join: String) -> Result<Self> {
        let authority = CertificateDer::from_pem_slice(authority.as_bytes())?;
        let stranger = Way::Secure(address, Arc::new(config(&authority, None)?));
        Ok(Self {
            address,
            authority,
            stranger,
            join,
        })
    }
}

/// How a node reports.
#[derive(Clone, Debug)]
pub enum How {
    /// By its certificate, each time with a whole handshake.
    Fresh,
    /// By its certificate, each time on a connection of its own that goes on with the session
    /// before, where the inventory lets it.
    Resuming,
    /// By its certificate, on a connection that is kept.
    Kept,
    /// By this token in the clear, each time on a connection of its own.
    Token(SocketAddr, String),
    /// By this token in the clear, on a connection that is kept.
    TokenKept(SocketAddr, String),
}

/// A node.
pub struct Node {
    fresh: Way,
    resuming: Way,
    kept: Option<Connection>,
}

/// What came of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It was taken.
    Taken {
        /// On a connection that went on with an earlier session.
        resumed: bool,
    },
    /// Come again.
    Again,
}

impl Node {
    /// Closes what it kept.
    pub fn hang_up(&mut self) {
        self.kept = None;
    }

    /// Reports once.
    pub fn report(&mut self, how: &How, body: &[u8]) -> Result<Told> {
        let plain;
        let (way, token, keeps) = match how {
            How::Fresh => (&self.fresh, None, false),
            How::Resuming => (&self.resuming, None, false),
            How::Kept => (&self.fresh, None, true),
            How::Token(address, token) | How::TokenKept(address, token) => {
                plain = Way::Plain(*address);
                let keeps = matches!(how, How::TokenKept(..));
                (&plain, Some(token.as_str()), keeps)
            }
        };
        let mut connection = match self.kept.take() {
            Some(connection) if keeps => connection,
            Some(_) | None => Connection::open(way)?,
        };
        let (status, answer) = connection.post(&Request {
            path: "/v1/reports",
            token,
            compressed: true,
            body,
        })?;
        let resumed = connection.is_resumed();
        if keeps {
            self.kept = Some(connection);
        }
        match status {
            200 => Ok(Told::Taken { resumed }),
            503 => Ok(Told::Again),
            other => bail!(
                "POST /v1/reports: {other} {}",
                String::from_utf8_lossy(&answer)
            ),
        }
    }
}
