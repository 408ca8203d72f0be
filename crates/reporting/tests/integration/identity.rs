//! An identity: how it is asked for, shown and renewed, against an inventory that is an authority.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum_server::tls_rustls::RustlsConfig;
use cupel_model::enrolment::{
    Enrolment, EnrolmentRequest, HardwareIdentity, JoinFile, KeyProtection,
};
use cupel_reporting::{
    Class, Credential, Delivery, DeliverySettings, EnrolError, FetchError, IdentityDocument, Key,
    NodeIdentity, Outcome, Spooled, enrol, fetch, renew,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer,
    ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::support::{NODE, at};

/// Route and token of a request.
type Asked = (String, Option<String>);

type Authority = CertifiedIssuer<'static, KeyPair>;

/// What the inventory answers.
#[derive(Clone)]
enum Answer {
    /// What a good one does.
    Good,
    /// That, with something changed.
    Changed(fn(&mut Enrolment)),
    /// A certificate for this key, whatever was asked for.
    For(String),
    /// These words.
    Words(StatusCode, &'static str, String),
}

struct Inventory {
    address: SocketAddr,
    authority: Arc<Authority>,
    /// Each request that came.
    asked: Arc<Mutex<Vec<Asked>>>,
}

#[derive(Clone)]
struct Shared {
    authority: Arc<Authority>,
    answer: Answer,
    asked: Arc<Mutex<Vec<Asked>>>,
}

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("params");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("key")).expect("authority")
}

fn enrolment(authority: &Authority, request: &str) -> Enrolment {
    let mut request = CertificateSigningRequestParams::from_pem(request).expect("signed request");
    request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = request.signed_by(authority).expect("certificate");
    Enrolment {
        schema_version: 1,
        node: NODE.to_owned(),
        certificate: certificate.pem(),
        authority: authority.pem(),
        not_before: at(0),
        not_after: at(3000),
        renew_after: at(2000),
    }
}

async fn answer(
    State(shared): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, [(&'static str, &'static str); 1], String) {
    let token = headers.get("authorization");
    let token = token.map(|value| value.to_str().expect("text").to_owned());
    let route = uri.path().to_owned();
    shared
        .asked
        .lock()
        .expect("lock")
        .push((route.clone(), token));
    let kind = [("content-type", "application/json")];
    let good = |body: &str| {
        let request: EnrolmentRequest = serde_json::from_str(body).expect("request");
        enrolment(&shared.authority, &request.request)
    };
    let json = |answer: &Enrolment| serde_json::to_string(answer).expect("JSON");
    match &shared.answer {
        _ if route == "/v1/reports" => {
            let text = format!(
                r#"{{"schema_version":1,"accepted":{{"node":"{NODE}","boot":"b","sequence":1}}}}"#
            );
            (StatusCode::OK, kind, text)
        }
        Answer::Good => (StatusCode::CREATED, kind, json(&good(&body))),
        Answer::Changed(change) => {
            let mut answer = good(&body);
            change(&mut answer);
            (StatusCode::CREATED, kind, json(&answer))
        }
        Answer::For(request) => {
            let answer = enrolment(&shared.authority, request);
            (StatusCode::CREATED, kind, json(&answer))
        }
        Answer::Words(status, kind, words) => (*status, [("content-type", kind)], words.clone()),
    }
}

impl Inventory {
    /// With a certificate of its own authority; one that wants client certificates refuses every
    /// connection without.
    fn start(answers: Answer, wants_certificates: bool, authority: Arc<Authority>) -> Self {
        let key = KeyPair::generate().expect("key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("params");
        let certificate = params.signed_by(&key, &*authority).expect("certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = if wants_certificates {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).expect("root");
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().expect("verifier"))
        } else {
            builder.with_no_client_auth()
        };
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("key");
        let tls = builder.with_single_cert(chain, key).expect("tls");
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        listener.set_nonblocking(true).expect("nonblocking");
        let address = listener.local_addr().expect("address");
        let asked = Arc::default();
        let app = Router::new().fallback(answer).with_state(Shared {
            authority: Arc::clone(&authority),
            answer: answers,
            asked: Arc::clone(&asked),
        });
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("runtime");
            runtime.block_on(async move {
                axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(tls.into()))
                    .expect("server")
                    .serve(app.into_make_service())
                    .await
            })
        });
        Self {
            address,
            authority,
            asked,
        }
    }

    fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    fn join(&self) -> JoinFile {
        JoinFile {
            inventory: self.url(),
            token: "cupel_join_1_secret".to_owned(),
            authority: Some(self.authority.pem()),
        }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("lock").clone()
    }
}

fn request(key: &Key) -> EnrolmentRequest {
    EnrolmentRequest {
        schema_version: 1,
        cupel_version: "0.1.0".to_owned(),
        node: NODE.to_owned(),
        id_source: None,
        hostname: None,
        hardware: HardwareIdentity::default(),
        key_protection: KeyProtection::File,
        request: key.request(NODE).expect("request"),
    }
}

fn asked(answer: Answer) -> Result<Enrolment, EnrolError> {
    let inventory = Inventory::start(answer, false, authority().into());
    let key = Key::generate().expect("key");
    enrol(&inventory.join(), None, &request(&key), &key)
}

fn posted(settings: &DeliverySettings) -> Outcome {
    let report = Spooled {
        node: NODE.to_owned(),
        boot: "b".to_owned(),
        sequence: 1,
        class: Class::Changes,
        bytes: b"x".to_vec(),
    };
    let mut delivery = Delivery::new(settings).expect("delivery");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(delivery.post(&report))
}

#[test]
fn who_joins_reports_and_renews_with_what_was_given() {
    let authority = Arc::new(authority());
    let open = Inventory::start(Answer::Good, false, Arc::clone(&authority));
    let closed = Inventory::start(Answer::Good, true, authority);
    let key = Key::generate().expect("key");
    let answer = enrol(&open.join(), None, &request(&key), &key).expect("identity");
    let token = Some("Bearer cupel_join_1_secret".to_owned());
    assert_eq!(open.asked(), [("/v1/enrolments".to_owned(), token)]);
    let document = IdentityDocument::new(
        answer,
        &closed.url(),
        HardwareIdentity::default(),
        KeyProtection::File,
        "key-1.pem",
    );
    let identity = NodeIdentity::new(&document, key.clone());

    let shown = Credential::Identity(Arc::new(identity.clone()));
    let with = DeliverySettings::with(closed.url(), shown);
    assert!(!format!("{with:?}").contains("PRIVATE"), "{with:?}");
    let outcome = posted(&with);
    assert!(matches!(outcome, Outcome::Delivered(_)), "{outcome:?}");
    assert_eq!(closed.asked(), [("/v1/reports".to_owned(), None)]);

    let directory = tempfile::tempdir().expect("directory");
    let file = |name: &str| directory.path().join(name);
    std::fs::write(file("token"), "token").expect("write");
    std::fs::write(file("ca.pem"), closed.authority.pem()).expect("write");
    let mut without = DeliverySettings::new(closed.url(), file("token"));
    without.ca_file = Some(file("ca.pem"));
    let outcome = posted(&without);
    assert!(matches!(outcome, Outcome::Later { .. }), "{outcome:?}");

    let next = renew(&closed.url(), &identity, None, &request(&key)).expect("renewed");
    assert_ne!(next.certificate, identity.certificate);
    let last = closed.asked().pop().expect("asked");
    assert_eq!(last, ("/v1/enrolments/renewal".to_owned(), None));
}

#[test]
fn nothing_is_said_to_an_inventory_that_the_file_does_not_vouch_for() {
    let inventory = Inventory::start(Answer::Good, false, authority().into());
    let key = Key::generate().expect("key");
    let mut join = inventory.join();
    for other in [Some(authority().pem()), None] {
        join.authority = other;
        let error = enrol(&join, None, &request(&key), &key).expect_err("not trusted");
        let EnrolError::Untrusted(why) = error else {
            panic!("{error}");
        };
        assert!(why.contains("certificate"), "{why}");
    }
    assert_eq!(inventory.asked(), []);
}

/// An identity of an authority, for whatever inventory it is shown to.
fn identity_of(authority: &Authority, key: &Key) -> NodeIdentity {
    let answer = enrolment(authority, &key.request(NODE).expect("request"));
    NodeIdentity {
        certificate: answer.certificate,
        authority: answer.authority,
        key: key.clone(),
    }
}

#[test]
fn an_identity_that_the_handshake_refuses_is_told_from_no_answer() {
    let inventory = Inventory::start(Answer::Good, true, authority().into());
    let key = Key::generate().expect("key");
    let mut foreign = identity_of(&authority(), &key);
    foreign.authority = inventory.authority.pem();
    let refused = renew(&inventory.url(), &foreign, None, &request(&key));
    assert!(
        matches!(refused, Err(EnrolError::Untrusted(_))),
        "{refused:?}"
    );
    assert_eq!(inventory.asked(), []);
    let nobody = TcpListener::bind("127.0.0.1:0").expect("bind");
    let url = format!("https://{}", nobody.local_addr().expect("address"));
    drop(nobody);
    let away = renew(&url, &foreign, None, &request(&key));
    assert!(matches!(away, Err(EnrolError::Away(_))), "{away:?}");
}

#[test]
fn a_file_of_the_inventory_is_fetched_by_the_authority_of_the_identity() {
    let words = Answer::Words(StatusCode::OK, "text/plain", "release".to_owned());
    let inventory = Inventory::start(words, false, authority().into());
    let url = format!("{}/releases/cupel", inventory.url());
    let (own, other) = (inventory.authority.pem(), authority().pem());
    let fetched = |pem| fetch(&url, None, pem, 64, std::time::Duration::from_secs(30));
    assert_eq!(fetched(Some(&own)).expect("file"), b"release");
    for pem in [None, Some(&*other)] {
        let answer = fetched(pem);
        assert!(
            matches!(answer, Err(FetchError::Unreachable { .. })),
            "{answer:?}"
        );
    }
}

#[test]
fn a_renewal_brings_no_other_authority() {
    let change = Answer::Changed(|is| is.authority = authority().pem());
    let inventory = Inventory::start(change, false, authority().into());
    let key = Key::generate().expect("key");
    let given = enrol(&inventory.join(), None, &request(&key), &key).expect("a join file may");
    assert_ne!(given.authority, inventory.authority.pem());
    let identity = identity_of(&inventory.authority, &key);
    let renewed = renew(&inventory.url(), &identity, None, &request(&key));
    let Err(EnrolError::Answer(why)) = renewed else {
        panic!("{renewed:?}");
    };
    assert!(why.contains("another authority"), "{why}");
}

#[test]
fn a_refusal_is_the_inventorys_word_alone() {
    const PROBLEM: &str = "application/problem+json";
    let used = r#"{"type":"x","title":"used up","status":403,"detail":"make another"}"#;
    let refused = asked(Answer::Words(
        StatusCode::FORBIDDEN,
        PROBLEM,
        used.to_owned(),
    ));
    let Err(EnrolError::Refused(why)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(why, "used up: make another");
    let proxy = "<html>no</html>".to_owned();
    for (status, kind, words) in [
        (StatusCode::FORBIDDEN, "text/html", proxy.clone()),
        (StatusCode::FORBIDDEN, PROBLEM, used.replace("403", "500")),
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            PROBLEM,
            used.replace("403", "500"),
        ),
        (
            StatusCode::TOO_MANY_REQUESTS,
            PROBLEM,
            used.replace("403", "429"),
        ),
        (StatusCode::NOT_FOUND, PROBLEM, used.replace("403", "404")),
        (StatusCode::FOUND, "text/html", proxy),
        (StatusCode::CREATED, "application/json", "{}".to_owned()),
        (
            StatusCode::CREATED,
            "application/json",
            " ".repeat(300 << 10),
        ),
    ] {
        let answered = asked(Answer::Words(status, kind, words.clone()));
        assert!(
            matches!(answered, Err(EnrolError::Away(_))),
            "{status} {words}: {answered:?}"
        );
    }
}

#[test]
fn an_answer_is_of_this_node_for_this_key_or_none() {
    let other = Key::generate()
        .expect("key")
        .request(NODE)
        .expect("request");
    for (answer, want) in [
        (Answer::For(other), "another key"),
        (
            Answer::Changed(|is| is.node = "n2".to_owned()),
            "of node n2",
        ),
        (Answer::Changed(|is| is.schema_version = 2), "update cupel"),
        (
            Answer::Changed(|is| is.not_after = is.not_before),
            "in no order",
        ),
        (
            Answer::Changed(|is| is.renew_after = at(3001)),
            "in no order",
        ),
        (
            Answer::Changed(|is| is.certificate.clear()),
            "certificate: ",
        ),
        (
            Answer::Changed(|is| is.authority = "x".to_owned()),
            "authority: ",
        ),
    ] {
        let answered = asked(answer);
        let Err(EnrolError::Answer(why)) = answered else {
            panic!("{want}: {answered:?}");
        };
        assert!(why.contains(want), "{why}");
    }
}
