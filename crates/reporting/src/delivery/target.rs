//! Where reports go.
//!
//! # Invariants
//! - `https://` everywhere; `http://` only to this machine itself, and then the name `localhost`
//!   is not looked up: it is the loopback interface whatever a resolver says.
//! - A URL with a password in it is refused, and is not printed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use reqwest::Url;

/// Why there is no delivery.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The inventory's URL.
    #[error("the inventory's URL {url:?} {why}")]
    Url {
        /// What was given, without user and password.
        url: String,
        /// What is wrong with it, and what to write.
        why: String,
    },
    /// The file of certificate authorities.
    #[error("cannot read the certificates in {path}")]
    CaFile {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is in that file.
    #[error("{path} holds no certificates in PEM form")]
    CaContent {
        /// Which file.
        path: PathBuf,
    },
    /// TLS or the resolver cannot be set up.
    #[error(
        "cannot set up the connection to the inventory: {why}; for TLS this machine needs \
         certificate authorities (package ca-certificates), or name a file of them"
    )]
    Setup {
        /// The library's word.
        why: String,
    },
}

/// Where reports go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The inventory's base.
    base: Url,
    /// Whether it is this machine, without TLS.
    pub plain: bool,
    /// The addresses to use instead of looking the host up.
    pub pinned: Option<(String, Vec<SocketAddr>)>,
}

impl Target {
    /// From the inventory's base URL.
    pub fn parse(text: &str) -> Result<Self, DeliveryError> {
        let refuse = |url: &str, why: &str| DeliveryError::Url {
            url: url.to_owned(),
            why: why.to_owned(),
        };
        let mut url = Url::parse(text.trim()).map_err(|error| {
            let shown = if text.contains('@') { "…" } else { text };
            refuse(
                shown,
                &format!("is no URL ({error}); write https://inventory.example"),
            )
        })?;
        let has_user = !url.username().is_empty() || url.password().is_some();
        // Both fail only for URLs that cannot have them.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let shown = url.to_string();
        if has_user {
            return Err(refuse(
                &shown,
                "has a user or password in it; the token is read from its own file",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse(&shown, "has a query or fragment; leave it out"));
        }
        let Some(host) = url.host_str().map(str::to_owned) else {
            return Err(refuse(
                &shown,
                "names no host; write https://inventory.example",
            ));
        };
        let port = url.port_or_known_default().unwrap_or(0);
        let plain = match url.scheme() {
            "https" => false,
            "http" if is_loopback(&host) => true,
            "http" => {
                return Err(refuse(
                    &shown,
                    "is not encrypted and not this machine; write https://",
                ));
            }
            _ => return Err(refuse(&shown, "is no web address; write https://")),
        };
        let pinned = (plain && host == LOCALHOST).then(|| {
            let loopback = [
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(Ipv6Addr::LOCALHOST),
            ];
            let addresses = loopback.map(|address| SocketAddr::new(address, port));
            (host, addresses.to_vec())
        });
        Ok(Self {
            base: url,
            plain,
            pinned,
        })
    }

    /// The address of a route, such as `/v1/reports`.
    pub fn at(&self, route: &str) -> Url {
        let mut url = self.base.clone();
        let path = format!("{}{route}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url
    }
}

const LOCALHOST: &str = "localhost";

fn is_loopback(host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    bare == LOCALHOST || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_added_to_what_is_given() {
        for (given, reports, plain) in [
            (
                "https://inventory.example",
                "https://inventory.example/v1/reports",
                false,
            ),
            (
                " https://inventory.example:8443/cupel/ ",
                "https://inventory.example:8443/cupel/v1/reports",
                false,
            ),
            (
                "http://127.0.0.1:8480",
                "http://127.0.0.1:8480/v1/reports",
                true,
            ),
            ("http://[::1]:8480/", "http://[::1]:8480/v1/reports", true),
        ] {
            let target = Target::parse(given).expect("target");
            assert_eq!(target.at("/v1/reports").as_str(), reports);
            assert_eq!(target.plain, plain);
            assert_eq!(target.pinned, None);
        }
    }

    #[test]
    fn the_name_localhost_is_not_looked_up() {
        let target = Target::parse("http://LOCALHOST:81").expect("target");
        let (name, addresses) = target.pinned.expect("pinned");
        assert_eq!(name, "localhost");
        assert_eq!(
            addresses,
            ["127.0.0.1:81", "[::1]:81"].map(|text| text.parse().expect("address"))
        );
    }

    #[test]
    fn what_would_leak_the_token_is_refused_and_says_what_to_write() {
        for given in [
            "http://inventory.example",
            "http://10.0.0.1",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "http://0.0.0.0",
            "http://[::ffff:10.0.0.1]",
            "ftp://inventory.example",
            "inventory.example",
            "unix:/run/x",
            "https://inventory.example/?token=x",
            "https://inventory.example/#x",
            "",
        ] {
            let error = Target::parse(given).expect_err(given);
            let text = error.to_string();
            assert!(
                text.contains("https://") || text.contains("leave it out"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_password_is_refused_and_not_printed() {
        for given in [
            "https://operator:hunter2@inventory.example",
            "https://operator:hunter2@inv entory.example",
        ] {
            let text = Target::parse(given).expect_err(given).to_string();
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
