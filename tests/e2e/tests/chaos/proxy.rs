//! A proxy before the inventory that lies.
//!
//! # Invariants
//! - What it lies about is next in its list; when the list is used up it tells the truth.
//! - It understands the requests of the reporter alone: a head, `content-length`, a body.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// How an answer is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// None.
    Truth,
    /// 500 without the request having been passed on.
    Error,
    /// 503 after it was passed on and stored.
    ErrorAfterwards,
    /// 502 as a web server says it.
    BadGateway,
    /// The true answer, byte by byte.
    Slow,
    /// The sending side is closed at once, the other is read to its end.
    HalfClosed,
    /// Closed before the request was read.
    Reset,
    /// The true answer, cut off in its middle.
    CutOff,
    /// The true answer, cut off, with the length of what was sent.
    CutShort,
    /// 200 and the sequence of another report; not passed on.
    OtherSequence,
    /// 200 and a page; not passed on.
    Page,
    /// 200 and nothing; not passed on.
    Nothing,
    /// 404 as a web server says it.
    NotFound,
    /// 302 to somewhere else.
    Redirect,
}

/// Every one.
pub const LIES: [Lie; 13] = [
    Lie::Error,
    Lie::ErrorAfterwards,
    Lie::BadGateway,
    Lie::Slow,
    Lie::HalfClosed,
    Lie::Reset,
    Lie::CutOff,
    Lie::CutShort,
    Lie::OtherSequence,
    Lie::Page,
    Lie::Nothing,
    Lie::NotFound,
    Lie::Redirect,
];

struct Shared {
    inventory: String,
    lies: Mutex<VecDeque<Lie>>,
    told: Mutex<Vec<Lie>>,
    ends: AtomicBool,
}

/// The proxy; it ends when dropped.
pub struct Proxy {
    /// Where it listens.
    pub url: String,
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// One before the inventory at `url`, which tells these lies in turn.
    pub fn before(url: &str, lies: impl IntoIterator<Item = Lie>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let inventory = url.strip_prefix("http://").context("http")?.to_owned();
        let shared = Arc::new(Shared {
            inventory,
            lies: Mutex::new(lies.into_iter().collect()),
            told: Mutex::default(),
            ends: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if own.ends.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let own = Arc::clone(&own);
                std::thread::spawn(move || {
                    // A client that goes away is the client's affair.
                    let _ = own.serve(stream);
                });
            }
        });
        Ok(Self {
            url: format!("http://{address}"),
            address,
            shared,
        })
    }

    /// Lies that are still to be told.
    pub fn left(&self) -> usize {
        let lies = self.shared.lies.lock();
        lies.unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Lies that were told.
    pub fn told(&self) -> Vec<Lie> {
        let told = self.shared.told.lock();
        told.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        // Wakes it up.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn next(&self) -> Lie {
        let mut lies = self.lies.lock().unwrap_or_else(PoisonError::into_inner);
        lies.pop_front().unwrap_or(Lie::Truth)
    }

    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
            // A client that only connected is told nothing.
            if reader.fill_buf()?.is_empty() {
                return Ok(());
            }
            let lie = self.next();
            self.told
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(lie);
            if lie == Lie::Reset {
                return stream.shutdown(Shutdown::Both);
            }
            if lie == Lie::HalfClosed {
                stream.shutdown(Shutdown::Write)?;
                std::io::copy(&mut reader, &mut std::io::sink())?;
                return Ok(());
            }
            let request = read(&mut reader)?;
            let goes_on = self.answer(lie, &request, &mut stream)?;
            if !goes_on {
                return stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// Answers; whether the connection goes on.
    fn answer(&self, lie: Lie, request: &[u8], to: &mut TcpStream) -> std::io::Result<bool> {
        let html = "<html><body>Sign in to continue</body></html>";
        match lie {
            Lie::Truth => to.write_all(&self.ask(request)?)?,
            Lie::Error => said(to, "500 Internal Server Error", "text/plain", "oops")?,
            Lie::ErrorAfterwards => {
                self.ask(request)?;
                said(to, "503 Service Unavailable", "text/plain", "")?;
            }
            Lie::BadGateway => said(to, "502 Bad Gateway", "text/html", html)?,
            Lie::Slow => {
                for byte in self.ask(request)? {
                    to.write_all(&[byte])?;
                    std::thread::sleep(Duration::from_millis(4));
                }
            }
            Lie::CutOff => {
                let answer = self.ask(request)?;
                to.write_all(&answer[..answer.len() - 20])?;
                return Ok(false);
            }
            Lie::CutShort => {
                let answer = String::from_utf8_lossy(&self.ask(request)?).into_owned();
                let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
                said(to, "200 OK", "application/json", &body[..body.len() / 2])?;
            }
            Lie::OtherSequence => {
                let text = r#"{"schema_version":1,"accepted":{"node":"a","boot":"b","sequence":1},
                    "duplicate":false,"send":null,"wanted":null}"#;
                said(to, "200 OK", "application/json", text)?;
            }
            Lie::Page => said(to, "200 OK", "text/html", html)?,
            Lie::Nothing => said(to, "200 OK", "application/json", "")?,
            Lie::NotFound => said(to, "404 Not Found", "text/html", html)?,
            Lie::Redirect => {
                to.write_all(
                    b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\n\
                      content-length: 0\r\n\r\n",
                )?;
            }
            Lie::HalfClosed | Lie::Reset => return Ok(false),
        }
        Ok(true)
    }

    /// The inventory's answer.
    fn ask(&self, request: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(&self.inventory)?;
        stream.write_all(request)?;
        read(&mut BufReader::new(stream))
    }
}

fn said(to: &mut TcpStream, status: &str, kind: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    to.write_all(
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .as_bytes(),
    )
}

/// A head and a body of its `content-length`.
fn read(from: &mut BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut length = 0;
    loop {
        let start = bytes.len();
        if from.read_until(b'\n', &mut bytes)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&bytes[start..]).to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let head = bytes.len();
    bytes.resize(head + length, 0);
    from.read_exact(&mut bytes[head..])?;
    Ok(bytes)
}
