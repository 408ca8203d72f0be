//! A file from the web: a release, which is believed only after its signature was verified.
//!
//! # Invariants
//! - `https://` everywhere, `http://` to this machine alone; also after a redirection.
//! - Never more bytes than asked for, never longer than allowed.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use reqwest::{Certificate, Client, redirect};

use crate::delivery::{DeliveryError, certificates, check_url};
use crate::store::chain;

/// Most redirections that are followed.
const REDIRECTIONS: usize = 5;

/// How long a connection may take to be made.
const CONNECTING: Duration = Duration::from_secs(15);

/// Why a file was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address.
    #[error(transparent)]
    Url(#[from] DeliveryError),
    /// The connection cannot be set up.
    #[error("cannot set up a connection: {0}")]
    Setup(String),
    /// No connection: the name, the way, the port, or TLS.
    #[error("cannot connect to {server}: {why}")]
    Unreachable {
        /// Host that was tried, after redirections.
        server: String,
        /// Why not.
        why: String,
    },
    /// It broke before the file was whole, or took too long.
    #[error("cannot fetch it whole: {0}")]
    Broken(String),
    /// The server does not give it.
    #[error("the server answered {0}")]
    Status(u16),
    /// It is larger than anything that is wanted.
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    /// No event loop.
    #[error("cannot start an event loop")]
    Runtime(#[source] std::io::Error),
}

impl FetchError {
    /// Whether the same may go well later, without anybody changing what is asked for. A
    /// certificate that is not trusted counts too: clocks are set and certificates are renewed.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken(_) | Self::Runtime(_) => true,
            Self::Status(status) => matches!(status, 408 | 429 | 500..=599),
            Self::Url(_) | Self::Setup(_) | Self::TooLarge(_) => false,
        }
    }
}

/// Fetches a file of at most `cap` bytes; `authority` is further certificates to trust, PEM.
///
/// # Errors
/// [`FetchError`].
pub fn fetch(
    url: &str,
    ca_file: Option<&Path>,
    authority: Option<&str>,
    cap: u64,
    limit: Duration,
) -> Result<Vec<u8>, FetchError> {
    check_url(url)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(FetchError::Runtime)?;
    runtime.block_on(get(url, ca_file, authority, cap, limit))
}

async fn get(
    url: &str,
    ca_file: Option<&Path>,
    authority: Option<&str>,
    cap: u64,
    limit: Duration,
) -> Result<Vec<u8>, FetchError> {
    let setup = |error: reqwest::Error| FetchError::Setup(chain(&error));
    let follow = redirect::Policy::custom(|attempt| {
        if attempt.previous().len() > REDIRECTIONS || check_url(attempt.url().as_str()).is_err() {
            attempt.stop()
        } else {
            attempt.follow()
        }
    });
    let mut builder = Client::builder()
        .user_agent(concat!("cupel/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECTING)
        .timeout(limit)
        .redirect(follow)
        .referer(false);
    if url.starts_with("http://") {
        // To this machine alone: no TLS, and a machine may have no certificate authorities.
        builder = builder.no_proxy().tls_certs_only([]);
    } else {
        let mut trusted = match ca_file {
            Some(path) => certificates(path)?,
            None => Vec::new(),
        };
        if let Some(pem) = authority {
            trusted.extend(Certificate::from_pem_bundle(pem.as_bytes()).map_err(setup)?);
        }
        builder = builder.tls_certs_merge(trusted);
    }
    let client = builder.build().map_err(setup)?;
    let mut answer = client.get(url).send().await.map_err(broken)?;
    if !answer.status().is_success() {
        return Err(FetchError::Status(answer.status().as_u16()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(broken)? {
        bytes.extend_from_slice(&chunk);
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > cap {
            return Err(FetchError::TooLarge(cap));
        }
    }
    Ok(bytes)
}

/// What it means that an answer did not come, or not to its end.
fn broken(error: reqwest::Error) -> FetchError {
    let server = error
        .url()
        .and_then(|url| url.host_str())
        .map(str::to_owned);
    let (connecting, asking) = (error.is_connect(), error.is_builder());
    // The address is told by whoever asked for it.
    let error = error.without_url();
    match server {
        _ if asking => FetchError::Setup(chain(&error)),
        Some(server) if connecting => FetchError::Unreachable {
            server,
            // What it was for says nothing more.
            why: chain(error.source().unwrap_or(&error)),
        },
        Some(_) | None => FetchError::Broken(chain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Answers once; gives the address.
    fn server(answer: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let address = listener.local_addr().expect("address");
        std::thread::spawn(move || {
            let (mut client, _) = listener.accept().expect("client");
            let mut question = [0; 1024];
            let _ = client.read(&mut question);
            let _ = client.write_all(answer.as_bytes());
        });
        format!("http://{address}/cupel")
    }

    fn ask(answer: &str, cap: u64) -> Result<Vec<u8>, FetchError> {
        let url = server(answer.to_owned());
        fetch(&url, None, None, cap, Duration::from_secs(10))
    }

    #[test]
    fn a_file_comes_whole_or_not_at_all() {
        let good = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfile";
        assert_eq!(ask(good, 4).expect("file"), b"file");
        assert!(matches!(ask(good, 3), Err(FetchError::TooLarge(3))));
        let cut = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfile";
        assert!(matches!(ask(cut, 9), Err(FetchError::Broken(_))));
        let none = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        assert!(matches!(ask(none, 9), Err(FetchError::Status(404))));
    }

    #[test]
    fn what_another_attempt_may_mend_is_told_from_what_it_cannot() {
        let says = |status: u16| {
            let answer = format!("HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n");
            ask(&answer, 9).expect_err("no file")
        };
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(says(status).may_pass(), "{status}");
        }
        for status in [400, 401, 403, 404, 410, 304] {
            assert!(!says(status).may_pass(), "{status}");
        }
        for cut in [
            "",
            "HTTP/1.1 200",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfile",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfile\r\n",
        ] {
            let error = ask(cut, 9).expect_err("cut");
            assert!(matches!(error, FetchError::Broken(_)), "{cut:?}: {error}");
            assert!(error.may_pass(), "{cut:?}");
        }
        let large = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfile";
        assert!(!ask(large, 3).expect_err("too large").may_pass());
        let elsewhere = fetch("http://192.0.2.1/x", None, None, 9, Duration::from_secs(5));
        assert!(!elsewhere.expect_err("in the clear").may_pass());
    }

    #[test]
    fn a_server_that_is_away_slow_or_speaks_no_tls_may_come_back() {
        let limit = Duration::from_millis(500);
        let nobody = TcpListener::bind("127.0.0.1:0").expect("listens");
        let gone = nobody.local_addr().expect("address");
        drop(nobody);
        let error = fetch(&format!("http://{gone}/x"), None, None, 9, limit).expect_err("away");
        assert!(error.may_pass());
        let text = error.to_string();
        assert!(
            text.starts_with("cannot connect to 127.0.0.1: ") && !text.contains("http"),
            "{text}"
        );
        // Nobody takes the connection: no answer, and no handshake.
        let silent = TcpListener::bind("127.0.0.1:0").expect("listens");
        let address = silent.local_addr().expect("address");
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{address}/x");
            let error = fetch(&url, None, None, 9, limit).expect_err("slow");
            assert!(error.may_pass(), "{scheme}: {error}");
        }
        // A handshake that is cut.
        let plain = server("nonsense".to_owned()).replace("http:", "https:");
        let error = fetch(&plain, None, None, 9, limit).expect_err("no TLS");
        assert!(matches!(error, FetchError::Unreachable { .. }), "{error}");
        assert!(error.may_pass());
        // Names that never resolve (RFC 6761).
        let error = fetch(
            "https://cupel.invalid/x",
            None,
            None,
            9,
            Duration::from_secs(5),
        );
        let error = error.expect_err("no such name");
        assert!(error.may_pass(), "{error}");
    }

    #[test]
    fn nothing_is_fetched_in_the_clear_from_elsewhere() {
        let fetched = |url| fetch(url, None, None, 9, Duration::from_secs(5));
        for url in [
            "http://192.0.2.1/x",
            "ftp://localhost/x",
            "file:///etc/shadow",
        ] {
            assert!(matches!(fetched(url), Err(FetchError::Url(_))), "{url}");
        }
        let away =
            "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/x\r\nContent-Length: 0\r\n\r\n";
        assert!(matches!(ask(away, 9), Err(FetchError::Status(302))));
    }
}
