//! The program as a certificate authority: what the documentation says to type.

#[path = "process/program.rs"]
mod program;
mod support;

use std::time::{Duration, Instant};

use program::{Serving, run, text};

#[tokio::test]
async fn a_site_without_a_pki_needs_the_documented_commands_alone() {
    use cupel_model::enrolment::{
        Enrolment, EnrolmentRequest, HardwareIdentity, JoinFile, KeyProtection,
    };
    let data = tempfile::tempdir().expect("directory");
    let dir = data.path().join("inventory");
    let file = data.path().join("one.join");
    let file = file.to_str().expect("path");
    let server = Serving::start(
        &dir,
        &[
            "--tls-names",
            "localhost,127.0.0.1",
            "--certificate-life",
            "1h",
            "--renew-at",
            "50",
        ],
    );
    assert!(
        server.origin.starts_with("https://localhost:"),
        "{}",
        server.origin
    );
    let create = |more: &[&str]| {
        let mut all = vec!["join", "create", "one", "--url", &server.origin];
        all.extend(more);
        run(&dir, &all)
    };
    let made = create(&["--file", file]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    assert_eq!(create(&[]).status.code(), Some(2), "the name is taken");
    assert_eq!(create(&["--file", file]).status.code(), Some(2));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(file).expect("file").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    let join: JoinFile =
        toml::from_str(&std::fs::read_to_string(file).expect("text")).expect("join file");
    assert_eq!(join.inventory, server.origin);
    let root = join.authority.expect("authority");
    let root = reqwest::Certificate::from_pem(root.as_bytes()).expect("certificate");

    let key = rcgen::KeyPair::generate().expect("key");
    let request = rcgen::CertificateParams::default()
        .serialize_request(&key)
        .and_then(|request| request.pem())
        .expect("request");
    let asks = EnrolmentRequest {
        schema_version: cupel_model::SCHEMA_VERSION,
        cupel_version: "0.1.0".to_owned(),
        node: support::NODE.to_owned(),
        id_source: None,
        hostname: None,
        hardware: HardwareIdentity::default(),
        key_protection: KeyProtection::File,
        request,
    };
    let asks = serde_json::to_vec(&asks).expect("json");
    let client = reqwest::Client::builder()
        .tls_certs_only([root.clone()])
        .build()
        .expect("client");
    let answer = client
        .post(format!("{}/v1/enrolments", server.origin))
        .bearer_auth(&join.token)
        .header("content-type", "application/json")
        .body(asks.clone())
        .send()
        .await
        .expect("answer");
    assert_eq!(answer.status(), 201);
    let given: Enrolment =
        serde_json::from_slice(&answer.bytes().await.expect("body")).expect("enrolment");
    assert_eq!(given.not_after.seconds_since(given.not_before), 3900.0);

    let pem = format!("{}{}", given.certificate, key.serialize_pem());
    let node = reqwest::Client::builder()
        .tls_certs_only([root])
        .identity(reqwest::Identity::from_pem(pem.as_bytes()).expect("identity"))
        .build()
        .expect("client");
    let renew = || {
        node.post(format!("{}/v1/enrolments/renewal", server.origin))
            .header("content-type", "application/json")
            .body(asks.clone())
            .send()
    };
    assert_eq!(renew().await.expect("answer").status(), 201);
    let listed = text(&run(&dir, &["identity", "list"]).stdout);
    assert!(
        listed.contains(support::NODE) && listed.contains("active"),
        "{listed}"
    );
    // By which join token: what is to be looked at when a join file was lost.
    assert!(listed.contains("join: one"), "{listed}");
    let by = |name: &str| {
        run(
            &dir,
            &["identity", "list", "--join", name, "--output", "json"],
        )
    };
    assert_eq!(
        run(&dir, &["join", "create", "two", "--url", &server.origin])
            .status
            .code(),
        Some(0)
    );
    let listed = text(&by("one").stdout);
    assert!(listed.contains("\"join\": \"one\""), "{listed}");
    assert_eq!(text(&by("two").stdout).trim(), "[]");
    assert_eq!(by("three").status.code(), Some(2));
    let joins = text(&run(&dir, &["join", "list"]).stdout);
    assert!(
        joins.contains("1/1") && joins.contains("used up"),
        "{joins}"
    );
    let accepted = run(&dir, &["identity", "accept", support::NODE]);
    assert_eq!(accepted.status.code(), Some(2), "it never reported");
    let revoked = run(&dir, &["identity", "revoke", support::NODE]);
    assert_eq!(revoked.status.code(), Some(0), "{}", text(&revoked.stderr));
    let again = run(&dir, &["identity", "revoke", support::NODE]);
    assert_eq!(again.status.code(), Some(2));
    let listed = text(&run(&dir, &["identity", "list", "--output", "json"]).stdout);
    assert!(listed.contains("\"revoked\""), "{listed}");
    let told = Instant::now();
    while renew().await.expect("answer").status() != 403 {
        assert!(told.elapsed() < Duration::from_secs(30), "it works on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for bad in [
        &["join", "create", "x", "--url", "http://inventory.example"][..],
        &["join", "create", "x", "--url", "inventory.example"],
        &["join", "create", "x"],
        &["join", "revoke", "nobody"],
        &["identity", "revoke", "nobody"],
    ] {
        assert_eq!(run(&dir, bad).status.code(), Some(2), "{bad:?}");
    }
    let other = data.path().join("other");
    let bad = run(
        &other,
        &["serve", "--listen", "127.0.0.1:0", "--tls-names", "a b"],
    );
    assert_eq!(bad.status.code(), Some(2));
    assert!(
        text(&bad.stderr).contains("host name"),
        "{}",
        text(&bad.stderr)
    );
    server.signal("HUP");
    assert_eq!(renew().await.expect("answer").status(), 403);
}

#[test]
fn a_rack_whose_name_comes_twice_is_refused_until_it_is_said_which() {
    let data = tempfile::tempdir().expect("directory");
    let dir = data.path().join("inventory");
    let list = data.path().join("racks.csv");
    let rows = "chassis_serial,region,site,row,rack\n\
                C1,eu,s1,r1,k07\nC2,eu,s1,r2,k07\nC3,eu,s2,r1,k07\nC4,eu,s1,r1,k08\n";
    std::fs::write(&list, rows).expect("written");
    assert_eq!(run(&dir, &["migrate"]).status.code(), Some(0));
    let imported = run(&dir, &["import", list.to_str().expect("path")]);
    assert_eq!(
        imported.status.code(),
        Some(0),
        "{}",
        text(&imported.stderr)
    );
    let create = |name: &str, more: &[&str]| {
        let url = "https://inventory.example:8470";
        let mut all = vec!["join", "create", name, "--url", url, "--output", "json"];
        all.extend(more);
        let made = run(&dir, &all);
        (made.status.code(), text(&made.stdout), text(&made.stderr))
    };
    let (code, _, said) = create("k07", &["--rack", "k07"]);
    assert_eq!(code, Some(4), "{said}");
    for part in [
        "site s1, row r1",
        "site s1, row r2",
        "site s2, row r1",
        "--site",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let (code, _, said) = create("k07", &["--rack", "k07", "--site", "s1"]);
    assert_eq!(code, Some(4), "{said}");
    assert!(!said.contains("site s2"), "{said}");
    let (code, made, said) = create("k07", &["--rack", "k07", "--site", "s2"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(made.contains("\"site\": \"s2\""), "{made}");
    let whole = [
        "--rack", "k07", "--region", "eu", "--site", "s1", "--row", "r2",
    ];
    assert_eq!(create("whole", &whole).0, Some(0));
    assert_eq!(create("k08", &["--rack", "k08"]).0, Some(0));
    // What is not on the list yet may come on it.
    let (code, _, said) = create("k99", &["--rack", "k99"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("import"), "{said}");
    assert_eq!(create("s1", &["--site", "s1"]).0, Some(2));
}
