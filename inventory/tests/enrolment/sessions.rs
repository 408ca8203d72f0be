//! TLS sessions that go on: nodes come once a minute, each on a connection of its own, and need no
//! whole handshake for that. Whose identity is good no more is refused all the same.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use cupel_inventory::authority::Policy;
use cupel_model::Verdict;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

use crate::machine::Life;
use crate::support::Inventory;

/// More nodes than rustls remembers by itself: 256 sessions, two of each connection.
const OTHERS: usize = 200;

/// What a node connects by, with its certificate; or strangers without one and without sessions.
fn config(life: &Life, shows: bool) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(life.node.given.authority.as_bytes());
    roots.add(authority.expect("authority")).expect("root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    if !shows {
        let mut config = builder.with_no_client_auth();
        config.resumption = Resumption::disabled();
        return Arc::new(config);
    }
    let chain = CertificateDer::pem_slice_iter(life.node.given.certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(life.machine.key.serialize_pem().as_bytes());
    let config = builder.with_client_auth_cert(
        chain.collect::<Result<_, _>>().expect("certificate"),
        key.expect("key"),
    );
    Arc::new(config.expect("identity"))
}

/// Posts on a connection of its own: how its handshake went, and the answer.
fn post(address: SocketAddr, config: Arc<ClientConfig>, body: &[u8]) -> (HandshakeKind, String) {
    let name = ServerName::IpAddress(address.ip().into());
    let tls = ClientConnection::new(config, name).expect("client");
    let socket = TcpStream::connect(address).expect("connected");
    let patience = Some(Duration::from_secs(60));
    socket.set_read_timeout(patience).expect("timeout");
    let mut stream = StreamOwned::new(tls, socket);
    let head = format!(
        "POST /v1/reports HTTP/1.1\r\nhost: inventory\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let whole = [head.as_bytes(), body].concat();
    stream.write_all(&whole).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answer");
    (stream.conn.handshake_kind().expect("handshake"), answer)
}

/// A heartbeat of this node.
async fn heartbeat(
    inventory: &Inventory,
    life: &mut Life,
    config: &Arc<ClientConfig>,
) -> (HandshakeKind, String) {
    let report = life.told.heartbeat(Verdict::Healthy);
    let body = serde_json::to_vec(&report).expect("json");
    let (address, config) = (inventory.address, Arc::clone(config));
    let posted = tokio::task::spawn_blocking(move || post(address, config, &body));
    posted.await.expect("posted")
}

fn assert_resumed(answer: &(HandshakeKind, String), status: &str, kind: &str) {
    let (handshake, text) = answer;
    assert_eq!(*handshake, HandshakeKind::Resumed, "{text}");
    assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
    assert!(text.contains(kind), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_on_however_many_came_between() {
    let inventory = Inventory::secured(Policy::default()).await;
    let mut one = Life::begin(&inventory, 1).await;
    let own = config(&one, true);
    let (handshake, text) = heartbeat(&inventory, &mut one, &own).await;
    assert_eq!(handshake, HandshakeKind::Full, "{text}");
    let (address, stranger) = (inventory.address, config(&one, false));
    let others = tokio::task::spawn_blocking(move || {
        for _ in 0..OTHERS {
            let (_, answer) = post(address, Arc::clone(&stranger), b"{}");
            assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        }
    });
    others.await.expect("posted");
    let answer = heartbeat(&inventory, &mut one, &own).await;
    assert_resumed(&answer, "200", &one.machine.node);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_good_no_more_is_refused_on_a_session_that_goes_on() {
    let policy = Policy {
        life: Duration::from_secs(3600),
        renew_at: 50,
    };
    let inventory = Inventory::secured(policy).await;
    let mut one = Life::begin(&inventory, 1).await;
    let mut two = Life::begin(&inventory, 2).await;
    let (first, second) = (config(&one, true), config(&two, true));
    heartbeat(&inventory, &mut one, &first).await;
    heartbeat(&inventory, &mut two, &second).await;
    let node = &one.machine.node;
    let revoked = inventory.store.revoke_identity(node).await;
    assert!(revoked.expect("revoked"));
    // Nothing is believed for longer than two seconds.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let answer = heartbeat(&inventory, &mut one, &first).await;
    assert_resumed(&answer, "403", "urn:cupel:identity-revoked");
    let answer = heartbeat(&inventory, &mut two, &second).await;
    assert_resumed(&answer, "200", &two.machine.node);

    inventory.clock.advance(3601);
    let answer = heartbeat(&inventory, &mut two, &second).await;
    assert_resumed(&answer, "403", "urn:cupel:identity-expired");
}
