//! TLS: an inventory is believed when its certificate is good, and not otherwise; and a session goes
//! on from one connection to the next.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::post;
use axum_server::tls_rustls::RustlsConfig;
use cupel_reporting::{Class, Delivery, DeliveryError, DeliverySettings, Outcome, Spooled};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};

use crate::support::NODE;

const ANSWER: &str = r#"{"schema_version":1,"accepted":{"node":"NODE","boot":"b","sequence":1},"duplicate":false,"send":null,"wanted":null}"#;

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("params");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("key")).expect("authority")
}

/// Sessions, and how many of them went on.
#[derive(Debug)]
struct Sessions {
    kept: Arc<ServerSessionMemoryCache>,
    went_on: AtomicUsize,
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.kept.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.kept.get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let session = self.kept.take(key);
        let found = usize::from(session.is_some());
        self.went_on.fetch_add(found, Ordering::Relaxed);
        session
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// An inventory with a certificate for `name`; its authority in `ca.pem`.
async fn inventory(directory: &Path, name: &str) -> SocketAddr {
    remembering(directory, name).await.0
}

/// The same, and the sessions that it keeps. It closes each connection after its answer.
async fn remembering(directory: &Path, name: &str) -> (SocketAddr, Arc<Sessions>) {
    let authority = authority();
    std::fs::write(directory.join("ca.pem"), authority.pem()).expect("write");
    std::fs::write(directory.join("token"), "token").expect("write");
    let key = KeyPair::generate().expect("key");
    let params = CertificateParams::new(vec![name.to_owned()]).expect("params");
    let certificate = params.signed_by(&key, &authority).expect("certificate");
    let tls = RustlsConfig::from_pem(
        certificate.pem().into_bytes(),
        key.serialize_pem().into_bytes(),
    )
    .await
    .expect("tls");
    let sessions = Arc::new(Sessions {
        kept: ServerSessionMemoryCache::new(8),
        went_on: AtomicUsize::new(0),
    });
    let mut config = tls.get_inner().as_ref().clone();
    config.session_storage = Arc::clone(&sessions) as Arc<dyn StoresServerSessions>;
    tls.reload_from_config(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    listener.set_nonblocking(true).expect("nonblocking");
    let address = listener.local_addr().expect("address");
    let app = Router::new().route(
        "/v1/reports",
        post(|| async {
            let close = [(header::CONNECTION, "close")];
            (StatusCode::OK, close, ANSWER.replace("NODE", NODE))
        }),
    );
    tokio::spawn(async move {
        axum_server::from_tcp_rustls(listener, tls)
            .expect("server")
            .serve(app.into_make_service())
            .await
    });
    (address, sessions)
}

fn settings(directory: &Path, url: String) -> DeliverySettings {
    let mut settings = DeliverySettings::new(url, directory.join("token"));
    settings.ca_file = Some(directory.join("ca.pem"));
    settings
}

fn report() -> Spooled {
    Spooled {
        node: NODE.to_owned(),
        boot: "b".to_owned(),
        sequence: 1,
        class: Class::Changes,
        bytes: b"x".to_vec(),
    }
}

#[tokio::test]
async fn a_certificate_of_the_given_authority_for_this_name_is_believed() {
    let directory = tempfile::tempdir().expect("directory");
    let address = inventory(directory.path(), "127.0.0.1").await;
    let mut delivery =
        Delivery::new(&settings(directory.path(), format!("https://{address}"))).expect("delivery");
    let outcome = delivery.post(&report()).await;
    assert!(matches!(outcome, Outcome::Delivered(_)), "{outcome:?}");
}

#[tokio::test]
async fn the_next_connection_goes_on_with_the_session() {
    let directory = tempfile::tempdir().expect("directory");
    let (address, sessions) = remembering(directory.path(), "127.0.0.1").await;
    let mut delivery =
        Delivery::new(&settings(directory.path(), format!("https://{address}"))).expect("delivery");
    for before in 0..3 {
        let outcome = delivery.post(&report()).await;
        assert!(matches!(outcome, Outcome::Delivered(_)), "{outcome:?}");
        assert_eq!(sessions.went_on.load(Ordering::Relaxed), before);
    }
}

#[tokio::test]
async fn another_authority_or_another_name_is_not() {
    let directory = tempfile::tempdir().expect("directory");
    let address = inventory(directory.path(), "127.0.0.1").await;
    std::fs::write(directory.path().join("ca.pem"), authority().pem()).expect("write");
    let mut delivery =
        Delivery::new(&settings(directory.path(), format!("https://{address}"))).expect("delivery");
    let outcome = delivery.post(&report()).await;
    let Outcome::Later { why, .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(why.contains("certificate"), "{why}");

    let address = inventory(directory.path(), "inventory.example").await;
    let mut delivery =
        Delivery::new(&settings(directory.path(), format!("https://{address}"))).expect("delivery");
    let outcome = delivery.post(&report()).await;
    let Outcome::Later { why, .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(why.contains("certificate"), "{why}");
}

#[tokio::test]
async fn a_file_without_certificates_is_an_error_at_once() {
    let directory = tempfile::tempdir().expect("directory");
    let settings = settings(directory.path(), "https://inventory.example".to_owned());
    let error = Delivery::new(&settings).expect_err("no file");
    assert!(matches!(error, DeliveryError::CaFile { .. }), "{error}");
    for content in ["", "hello"] {
        std::fs::write(directory.path().join("ca.pem"), content).expect("write");
        let error = Delivery::new(&settings).expect_err("no certificates");
        assert!(matches!(error, DeliveryError::CaContent { .. }), "{error}");
    }
}
