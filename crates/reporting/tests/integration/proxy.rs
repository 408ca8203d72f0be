//! A proxy of the environment is used only when it is asked for.

use std::io::Read;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cupel_reporting::{Class, Delivery, DeliverySettings, Spooled};

use crate::support::NODE;

/// Set in the process that delivers: whether to use the proxy.
const CHILD: &str = "CUPEL_TEST_USES_PROXY";

/// Not a test by itself: the process with a proxy in its environment.
#[tokio::test]
async fn child() {
    let Some(uses) = std::env::var_os(CHILD) else {
        return;
    };
    let directory = tempfile::tempdir().expect("directory");
    std::fs::write(directory.path().join("token"), "token").expect("write");
    // A port that nobody listens on.
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        listener.local_addr().expect("address").port()
    };
    for scheme in ["https", "http"] {
        let mut settings = DeliverySettings::new(
            format!("{scheme}://127.0.0.1:{port}"),
            directory.path().join("token"),
        );
        settings.proxy_from_environment = uses == "yes";
        settings.timeout = Duration::from_secs(2);
        let ca = rcgen::generate_simple_self_signed(Vec::new()).expect("certificate");
        let path = directory.path().join("ca.pem");
        std::fs::write(&path, ca.cert.pem()).expect("write");
        settings.ca_file = Some(path);
        let mut delivery = Delivery::new(&settings).expect("delivery");
        let report = Spooled {
            node: NODE.to_owned(),
            boot: "b".to_owned(),
            sequence: 1,
            class: Class::Changes,
            bytes: b"x".to_vec(),
        };
        let outcome = delivery.post(&report).await;
        println!("{outcome:?}");
    }
}

/// What comes to the proxy while the child runs.
fn seen_by_proxy(uses: &str) -> Vec<String> {
    let proxy = TcpListener::bind("127.0.0.1:0").expect("bind");
    proxy.set_nonblocking(true).expect("nonblocking");
    let url = format!("http://{}", proxy.local_addr().expect("address"));
    #[expect(
        clippy::disallowed_methods,
        reason = "a process of its own, for its environment; it is this test program itself"
    )]
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    for name in [
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
    ] {
        command.env(name, &url);
    }
    let mut child = command
        .args(["--exact", "proxy::child"])
        .env(CHILD, uses)
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("child");
    let mut seen = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Ok((mut stream, _)) = proxy.accept() {
            stream.set_nonblocking(false).expect("blocking");
            stream
                .set_read_timeout(Some(Duration::from_secs(5)))
                .expect("timeout");
            let mut head = [0; 64];
            let length = stream.read(&mut head).unwrap_or(0);
            let text = String::from_utf8_lossy(&head[..length]).into_owned();
            seen.push(text.lines().next().unwrap_or_default().to_owned());
            continue;
        }
        if let Some(status) = child.try_wait().expect("wait") {
            assert!(status.success(), "{status}");
            return seen;
        }
        assert!(Instant::now() < deadline, "the child does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_proxy_is_used_only_when_it_is_asked_for_and_never_for_this_machine_without_tls() {
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    assert_eq!(seen_by_proxy("no"), [""; 0]);
    let seen = seen_by_proxy("yes");
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0].starts_with("CONNECT 127.0.0.1:"), "{seen:?}");
}
