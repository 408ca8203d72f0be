//! Where the service's read-only HTTP listens.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// An address on loopback, or none at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub Option<SocketAddr>);

/// Where metrics and status are found unless told otherwise.
const DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9477);

impl Default for Listen {
    fn default() -> Self {
        Self(Some(DEFAULT))
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self(None));
        }
        let address: SocketAddr = text.parse().map_err(|_| {
            format!("{text:?} is not an address and port, such as {DEFAULT}, or \"off\"")
        })?;
        if !address.ip().is_loopback() {
            return Err(format!(
                "{address} can be reached from elsewhere, and this HTTP asks nobody who they are: \
                 want an address on loopback, such as {DEFAULT}"
            ));
        }
        Ok(Self(Some(address)))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_listened_on() {
        assert_eq!("off".parse(), Ok(Listen(None)));
        assert_eq!("127.0.0.1:9477".parse(), Ok(Listen::default()));
        assert!("[::1]:1".parse::<Listen>().is_ok());
        for bad in [
            "0.0.0.0:9477",
            "[::]:9477",
            "10.0.0.1:80",
            "9477",
            "localhost:9477",
            "",
        ] {
            assert!(bad.parse::<Listen>().is_err(), "{bad:?}");
        }
    }
}
