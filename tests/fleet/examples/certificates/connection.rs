//! One connection to the inventory, in the clear or over TLS, and requests on it.
//!
//! # Invariants
//! - Both ways send the same bytes by the same code, so that TLS alone tells them apart.
//! - A connection that is over is closed as it should be: TLS says so before TCP does.
//!
//! # What is absent
//! All of HTTP/1.1 but what the inventory answers reports with: a status, fields, and a body whose
//! length is told.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};

/// How long the other side may be still.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the inventory is, and how it is spoken to.
#[derive(Clone)]
pub enum Way {
    /// In the clear.
    Plain(SocketAddr),
    /// Over TLS, as whoever this is.
    Secure(SocketAddr, Arc<ClientConfig>),
}

enum Stream {
    Plain(TcpStream),
    Secure(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Secure(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Secure(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Secure(stream) => stream.flush(),
        }
    }
}

/// A connection.
pub struct Connection(BufReader<Stream>);

/// What is posted.
pub struct Request<'a> {
    /// Where to.
    pub path: &'a str,
    /// The token that is shown besides what TLS shows.
    pub token: Option<&'a str>,
    /// Whether the body is compressed by zstd.
    pub compressed: bool,
    /// The body.
    pub body: &'a [u8],
}

impl Connection {
    /// Connects; TLS begins with the first request.
    pub fn open(way: &Way) -> Result<Self> {
        let (Way::Plain(address) | Way::Secure(address, _)) = way;
        let socket = TcpStream::connect(address).context("cannot connect")?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let stream = match way {
            Way::Plain(_) => Stream::Plain(socket),
            Way::Secure(_, config) => {
                let name = ServerName::IpAddress(address.ip().into());
                let tls = ClientConnection::new(Arc::clone(config), name)?;
                Stream::Secure(Box::new(StreamOwned::new(tls, socket)))
            }
        };
        Ok(Self(BufReader::new(stream)))
    }

    /// Posts; status and body of the answer.
    pub fn post(&mut self, request: &Request<'_>) -> Result<(u16, Vec<u8>)> {
        let mut head = format!(
            "POST {} HTTP/1.1\r\nhost: inventory\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n",
            request.path,
            request.body.len()
        );
        if request.compressed {
            head.push_str("content-encoding: zstd\r\n");
        }
        if let Some(token) = request.token {
            head.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        head.push_str("\r\n");
        let whole = [head.as_bytes(), request.body].concat();
        let stream = self.0.get_mut();
        stream.write_all(&whole).context("cannot send")?;
        stream.flush().context("cannot send")?;
        self.answer().context("no whole answer")
    }

    fn answer(&mut self) -> Result<(u16, Vec<u8>)> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let status = line.split(' ').nth(1).context("no status")?.parse()?;
        let mut length = None;
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.trim().parse()?);
            }
        }
        let mut body = vec![0; length.context("no length")?];
        self.0.read_exact(&mut body)?;
        Ok((status, body))
    }

    /// Whether its handshake went on with an earlier session.
    pub fn is_resumed(&self) -> bool {
        match self.0.get_ref() {
            Stream::Plain(_) => false,
            Stream::Secure(stream) => stream.conn.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Stream::Secure(stream) = self.0.get_mut() {
            stream.conn.send_close_notify();
            // The other side may be gone: then nobody is told.
            let _ = stream.flush();
        }
    }
}
