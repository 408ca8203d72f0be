//! An inventory as a process.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::http::Api;
use crate::process::{Running, program};

/// How long it may take to listen.
const START: Duration = Duration::from_secs(60);

/// The option of `serve` with which it speaks TLS.
const SECURE: &str = "--tls-names";

/// An inventory with its tokens.
#[derive(Debug)]
pub struct Inventory {
    /// The process.
    pub process: Running,
    /// `http://127.0.0.1:PORT`, or `https://` with `--tls-names`.
    pub url: String,
    /// What its data are in.
    pub data: PathBuf,
    /// The token of its administrator.
    pub admin: String,
    listen: String,
    more: Vec<String>,
}

/// A port of loopback that nobody uses now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Inventory {
    /// Starts one with its data below `directory`; `more` are further options of `serve`.
    ///
    /// # Errors
    /// It does not come up; the message holds what it said.
    pub fn start(directory: &Path, more: &[&str]) -> Result<Self> {
        let listen = format!("127.0.0.1:{}", free_port()?);
        Self::start_at(directory, &listen, more)
    }

    /// The same at an address of the caller's. With `--tls-names` what asks by [`Self::api`] has no
    /// answer: it speaks no TLS.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_at(directory: &Path, listen: &str, more: &[&str]) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let data = directory.join("inventory");
        let more: Vec<String> = more.iter().map(|&option| option.to_owned()).collect();
        let secure = more.iter().any(|option| option == SECURE);
        let scheme = if secure { "https" } else { "http" };
        let url = format!("{scheme}://{listen}");
        let process = up(&data, listen, &more, &directory.join("inventory.log"), &url)?;
        let said = process.said();
        let token_file = directory.join("admin.token");
        let admin = match std::fs::read_to_string(&token_file) {
            Ok(token) => token.trim().to_owned(),
            Err(_) => {
                let token = word_after(&said, "cupel_")
                    .with_context(|| format!("no token in what it said: {said}"))?;
                write_secret(&token_file, &token)?;
                token
            }
        };
        Ok(Self {
            process,
            url,
            data,
            admin,
            listen: listen.to_owned(),
            more,
        })
    }

    /// Asks as its administrator.
    pub fn api(&self) -> Api {
        Api::new(&self.url, Some(&self.admin))
    }

    /// Makes a token.
    ///
    /// # Errors
    /// The program refuses.
    pub fn token(&self, name: &str, scope: &str, node: Option<&str>) -> Result<String> {
        let mut args = vec!["token", "create", name, "--scope", scope];
        if let Some(node) = node {
            args.extend(["--node", node]);
        }
        self.answer_of(&args)
    }

    /// Makes a way in for a browser, which works once.
    ///
    /// # Errors
    /// The program refuses.
    pub fn link(&self) -> Result<String> {
        self.answer_of(&["link", "--url", &self.url])
    }

    /// Makes a join token for so many nodes.
    ///
    /// # Errors
    /// The program refuses.
    pub fn join(&self, name: &str, uses: u32) -> Result<String> {
        let uses = uses.to_string();
        let args = ["join", "create", name, "--url", &self.url, "--uses", &uses];
        let said = self.said(&args)?;
        let quoted = said.lines().find_map(|line| line.strip_prefix("token = "));
        let token = quoted.with_context(|| format!("no token in what it said: {said}"))?;
        Ok(token.trim_matches('"').to_owned())
    }

    /// The last word that the program says.
    fn answer_of(&self, args: &[&str]) -> Result<String> {
        let said = self.said(args)?;
        let word = said.split_whitespace().last().map(str::to_owned);
        word.with_context(|| format!("no answer to {}", args.join(" ")))
    }

    /// What the program says.
    fn said(&self, args: &[&str]) -> Result<String> {
        let data = self.data.display().to_string();
        let whole = [args, &["--data", &data]].concat();
        let name = args
            .iter()
            .take_while(|arg| !arg.starts_with("--"))
            .take(3)
            .copied()
            .collect::<Vec<_>>()
            .join("-");
        let log = self.data.with_extension(format!("{name}.log"));
        let mut running = Running::start(&program("cupel-inventory")?, &whole, &[], &log)?;
        let until = Instant::now() + START;
        while running.runs()? {
            if Instant::now() > until {
                bail!("cupel-inventory {} does not end", args.join(" "));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let said = running.said();
        if said.is_empty() {
            bail!("no answer: {}", running.told());
        }
        Ok(said)
    }

    /// Kills it.
    ///
    /// # Errors
    /// The system's.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it again on the same data and address.
    ///
    /// # Errors
    /// It does not come up.
    pub fn restart(&mut self) -> Result<()> {
        let log = self.process.log.clone();
        self.process = up(&self.data, &self.listen, &self.more, &log, &self.url)?;
        Ok(())
    }
}

/// Writes a file that only its owner reads.
///
/// # Errors
/// The file system's.
pub fn write_secret(path: &Path, secret: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    Ok(file.write_all(secret.as_bytes())?)
}

/// Starts one, and waits until it answers.
fn up(data: &Path, listen: &str, more: &[String], log: &Path, url: &str) -> Result<Running> {
    let before = listened(&std::fs::read_to_string(log).unwrap_or_default());
    let process = serve(data, listen, more, log)?;
    let api = Api::new(url, None);
    let until = Instant::now() + START;
    loop {
        let answers = if url.starts_with("https") {
            // No client here speaks TLS: it tells so itself once it answers.
            listened(&process.told()) > before
        } else {
            api.get("/healthz").is_ok_and(|answer| answer.status == 200)
        };
        if answers {
            return Ok(process);
        }
        if Instant::now() > until {
            bail!("the inventory does not come up: {}", process.told());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How often it told that it listens.
fn listened(told: &str) -> usize {
    told.matches("listening on ").count()
}

fn serve(data: &Path, listen: &str, more: &[String], log: &Path) -> Result<Running> {
    let mut args: Vec<OsString> = vec![
        "serve".into(),
        "--data".into(),
        data.into(),
        "--listen".into(),
        listen.into(),
    ];
    args.extend(more.iter().map(OsString::from));
    Running::start(&program("cupel-inventory")?, &args, &[], log)
}

/// The word that begins so.
fn word_after(text: &str, start: &str) -> Option<String> {
    let found = text.split_whitespace().find(|word| word.starts_with(start));
    found.map(str::to_owned)
}
