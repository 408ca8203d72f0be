//! A headless Chromium, driven by its DevTools protocol.
//!
//! # Invariants
//! - It sees loopback alone, has a profile of its own, and ends with its handle.
//! - Whatever a page writes to the console as an error, and every exception, is kept.

use std::ffi::OsString;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

use crate::http::Api;
use crate::process::Running;

/// Longest that one command of the protocol may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where Chromium is.
const PLACES: [&str; 3] = [
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
];

/// Whether a page is seen in light or dark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Scheme {
    /// Its word in style sheets.
    pub fn word(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// A browser with one page.
pub struct Browser {
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
    next: u64,
    errors: Vec<String>,
    loads: u64,
    _process: Running,
}

/// The Chromium of this machine, if it has one.
pub fn chromium() -> Option<PathBuf> {
    PLACES.iter().map(PathBuf::from).find(|path| path.is_file())
}

impl Browser {
    /// Starts one with its profile below `directory`.
    ///
    /// # Errors
    /// There is none, or it does not answer.
    pub fn start(directory: &Path) -> Result<Self> {
        let program = chromium().context("no Chromium (package chromium)")?;
        let profile = directory.join("profile");
        let args: Vec<OsString> = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--hide-scrollbars",
            "--remote-debugging-port=0",
        ]
        .iter()
        .map(OsString::from)
        .chain([format!("--user-data-dir={}", profile.display()).into()])
        .chain(["about:blank".into()])
        .collect();
        let home = vec![("HOME".into(), directory.into())];
        let process = Running::start(&program, &args, &home, &directory.join("chromium.log"))?;
        let port = port(&profile, &process)?;
        let targets = Api::new(&format!("http://127.0.0.1:{port}"), None).json("/json/list")?;
        let address = targets
            .as_array()
            .into_iter()
            .flatten()
            .find(|target| target["type"] == "page")
            .and_then(|target| target["webSocketDebuggerUrl"].as_str())
            .context("Chromium has no page")?
            .to_owned();
        let (socket, _) = tungstenite::connect(address.as_str()).context("DevTools")?;
        if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
            stream.set_read_timeout(Some(Duration::from_millis(50)))?;
        }
        let mut browser = Self {
            socket,
            next: 0,
            errors: Vec::new(),
            loads: 0,
            _process: process,
        };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), &json!({}))?;
        }
        Ok(browser)
    }

    /// One command.
    fn call(&mut self, method: &str, parameters: &Value) -> Result<Value> {
        self.next += 1;
        let id = self.next;
        let command = json!({ "id": id, "method": method, "params": parameters });
        self.socket.send(Message::text(command.to_string()))?;
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let Some(told) = self.told()? else { continue };
            if told["id"] == id {
                if let Some(error) = told.get("error") {
                    bail!("{method}: {error}");
                }
                return Ok(told["result"].clone());
            }
        }
        bail!("{method}: no answer within {PATIENCE:?}")
    }

    /// The next message, if one comes soon; what it tells is noted.
    fn told(&mut self) -> Result<Option<Value>> {
        let message = match self.socket.read() {
            Ok(Message::Text(text)) => text,
            Ok(_) => return Ok(None),
            Err(tungstenite::Error::Io(error))
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error).context("DevTools"),
        };
        let told: Value = serde_json::from_str(message.as_str())?;
        let parameters = &told["params"];
        match told["method"].as_str() {
            Some("Runtime.exceptionThrown") => {
                self.errors.push(parameters["exceptionDetails"].to_string());
            }
            Some("Runtime.consoleAPICalled") if parameters["type"] == "error" => {
                self.errors.push(parameters["args"].to_string());
            }
            Some("Log.entryAdded") if parameters["entry"]["level"] == "error" => {
                self.errors.push(parameters["entry"].to_string());
            }
            Some("Page.loadEventFired") => self.loads += 1,
            _ => {}
        }
        Ok(Some(told))
    }

    /// Goes to an address and waits until it is loaded.
    ///
    /// # Errors
    /// It does not load.
    pub fn go(&mut self, address: &str) -> Result<()> {
        let before = self.loads;
        let gone = self.call("Page.navigate", &json!({ "url": address }))?;
        if let Some(error) = gone["errorText"].as_str() {
            bail!("{address}: {error}");
        }
        let until = Instant::now() + PATIENCE;
        while self.loads == before {
            if Instant::now() > until {
                bail!("{address} does not load");
            }
            self.told()?;
        }
        Ok(())
    }

    /// How many documents were loaded so far.
    pub fn loads(&self) -> u64 {
        self.loads
    }

    /// The size of the window and the scheme, from now on.
    ///
    /// # Errors
    /// The protocol's.
    pub fn look(&mut self, width: u32, height: u32, scheme: Scheme) -> Result<()> {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", &size)?;
        let media = json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme.word() }
        ]});
        self.call("Emulation.setEmulatedMedia", &media)?;
        Ok(())
    }

    /// The value of an expression in the page.
    ///
    /// # Errors
    /// It throws.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let parameters =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.call("Runtime.evaluate", &parameters)?;
        if let Some(details) = result.get("exceptionDetails") {
            bail!("{expression}: {details}");
        }
        Ok(result["result"]["value"].clone())
    }

    /// Waits until an expression is true.
    ///
    /// # Errors
    /// It is not within `limit`.
    pub fn wait_for(&mut self, expression: &str, limit: Duration) -> Result<Duration> {
        let began = Instant::now();
        while began.elapsed() < limit {
            if self.evaluate(expression)? == true {
                return Ok(began.elapsed());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("not within {limit:?}: {expression}")
    }

    /// A picture of the window, as PNG.
    ///
    /// # Errors
    /// The protocol's.
    pub fn picture(&mut self) -> Result<Vec<u8>> {
        let shot = self.call("Page.captureScreenshot", &json!({ "format": "png" }))?;
        decode(shot["data"].as_str().context("no picture")?)
    }

    /// What was written to the console as errors since the last time.
    ///
    /// # Errors
    /// The protocol's.
    pub fn errors(&mut self) -> Result<Vec<String>> {
        // What was on its way.
        self.evaluate("1")?;
        Ok(std::mem::take(&mut self.errors))
    }
}

/// The port that it listens on, which it writes into its profile.
fn port(profile: &Path, process: &Running) -> Result<u16> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let text = std::fs::read_to_string(profile.join("DevToolsActivePort"));
        let port = text.ok().and_then(|text| text.lines().next()?.parse().ok());
        if let Some(port) = port {
            return Ok(port);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("Chromium does not start: {}", process.told())
}

/// Base64, as the protocol writes pictures.
fn decode(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            other => bail!("{other} is not base64"),
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff)?);
        }
    }
    Ok(bytes)
}
