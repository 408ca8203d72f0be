//! A file from the web: a release, which is believed only after its signature was verified.
//!
//! # Invariants
//! - `https://` everywhere, `http://` to this machine alone; also after a redirection.
//! - Never more bytes than asked for, never longer than allowed.

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
    /// The connection, or TLS.
    #[error("cannot fetch it: {0}")]
    Connection(String),
    /// The server has it not.
    #[error("the server answered {0}")]
    Status(u16),
    /// It is larger than anything that is wanted.
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    /// No event loop.
    #[error("cannot start an event loop")]
    Runtime(#[source] std::io::Error),
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
    let broken = |error: reqwest::Error| FetchError::Connection(chain(&error));
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
            trusted.extend(Certificate::from_pem_bundle(pem.as_bytes()).map_err(broken)?);
        }
        builder = builder.tls_certs_merge(trusted);
    }
    let client = builder.build().map_err(broken)?;
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
        assert!(matches!(ask(cut, 9), Err(FetchError::Connection(_))));
        let none = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        assert!(matches!(ask(none, 9), Err(FetchError::Status(404))));
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
