//! An inventory with TLS, whose certificate is its own authority's; and whoever asks it.
//!
//! # Invariants
//! - It listens on the host's loopback alone; machines reach it as 10.0.2.2.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use cupel_fleet::{Running, program};
use serde_json::Value;

/// Where a machine sees the host's loopback.
pub const HOST: &str = "10.0.2.2";

/// Longest until it listens, and that a command of its may take.
const LIMIT: Duration = Duration::from_secs(60);

/// The inventory. It ends with this.
pub struct Authority {
    directory: PathBuf,
    address: SocketAddr,
    admin: String,
    _process: Running,
}

impl Authority {
    /// Starts one with its data below `directory`; `more` are further options of `serve`.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(directory: &Path, more: &[&str]) -> Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let (listen, data) = (address.to_string(), data(directory));
        let names = format!("127.0.0.1,{HOST}");
        let mut args = vec!["serve", "--data", &data, "--listen", &listen];
        args.extend(["--tls-names", &names]);
        args.extend(more);
        let log = directory.join("inventory.log");
        let process = Running::start(&program("cupel-inventory")?, &args, &[], &log)?;
        let until = Instant::now() + LIMIT;
        let admin = loop {
            let said = process.said();
            let mut words = said.split_whitespace();
            let token = words.find(|word| word.starts_with("cupel_"));
            if let Some(token) = token
                && TcpStream::connect(address).is_ok()
            {
                break token.to_owned();
            }
            if Instant::now() > until {
                bail!("the inventory does not come up: {said} {}", process.told());
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        Ok(Self {
            directory: directory.to_owned(),
            address,
            admin,
            _process: process,
        })
    }

    /// Its address, as machines see it.
    pub fn url(&self) -> String {
        format!("https://{HOST}:{}", self.address.port())
    }

    /// Runs `cupel-inventory` on its data.
    ///
    /// # Errors
    /// It fails.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        let data = data(&self.directory);
        let mut all = args.to_vec();
        all.extend(["--data", &data]);
        let own = tempfile::tempdir_in(&self.directory)?;
        let log = own.path().join("command.log");
        let mut running = Running::start(&program("cupel-inventory")?, &all, &[], &log)?;
        let until = Instant::now() + LIMIT;
        while running.runs()? {
            ensure!(Instant::now() < until, "{args:?} does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        ensure!(running.code()? == 0, "{args:?}: {}", running.told());
        Ok(running.said())
    }

    /// A join file for so many nodes.
    ///
    /// # Errors
    /// The program refuses.
    pub fn join(&self, name: &str, uses: u32) -> Result<PathBuf> {
        self.join_for(name, uses, None)
    }

    /// The same, good for so long.
    ///
    /// # Errors
    /// As [`Self::join`].
    pub fn join_for(&self, name: &str, uses: u32, life: Option<&str>) -> Result<PathBuf> {
        let path = self.joined(name);
        let (file, url, uses) = (path.display().to_string(), self.url(), uses.to_string());
        let mut args = vec!["join", "create", name, "--url", &url, "--uses", &uses];
        args.extend(["--file", &file]);
        args.extend(life.iter().flat_map(|life| ["--for", life]));
        self.run(&args)?;
        Ok(path)
    }

    /// Where a join file is that was made.
    pub fn joined(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.join"))
    }

    /// How often a join file was used.
    ///
    /// # Errors
    /// The program refuses, or knows no such file.
    pub fn used(&self, name: &str) -> Result<u64> {
        let list: Value = serde_json::from_str(&self.run(&["join", "list", "--output", "json"])?)?;
        let row = list
            .as_array()
            .and_then(|rows| rows.iter().find(|row| row["name"] == name));
        row.and_then(|row| row["used"].as_u64())
            .with_context(|| format!("{name} in {list}"))
    }

    /// What the API answers.
    ///
    /// # Errors
    /// No answer, another status than 200, or no JSON.
    pub fn get(&self, path: &str) -> Result<Value> {
        Ok(serde_json::from_slice(&self.answer(path)?)?)
    }

    /// A page as a browser gets it.
    ///
    /// # Errors
    /// No answer, or another status than 200.
    pub fn page(&self, path: &str) -> Result<String> {
        Ok(String::from_utf8(self.answer(path)?)?)
    }

    fn answer(&self, path: &str) -> Result<Vec<u8>> {
        let pem = std::fs::read(self.directory.join("inventory/authority.pem"))?;
        let client = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&pem)?])
            .timeout(Duration::from_secs(30))
            .build()?;
        let url = format!("https://{}{path}", self.address);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let answer = client.get(url).bearer_auth(&self.admin).send().await?;
            ensure!(answer.status() == 200, "GET {path}: {}", answer.status());
            Ok(answer.bytes().await?.to_vec())
        })
    }

    /// Asks until the answer is as it is wanted.
    ///
    /// # Errors
    /// It is not within `limit`; the error holds the last answer.
    pub fn until(
        &self,
        what: &str,
        path: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let began = Instant::now();
        loop {
            let answer = self.get(path);
            match answer {
                Ok(answer) if wanted(&answer) => return Ok(answer),
                Ok(answer) if began.elapsed() > limit => {
                    bail!("not within {limit:?}: {what}: {answer}")
                }
                Err(error) if began.elapsed() > limit => {
                    return Err(error).with_context(|| format!("not within {limit:?}: {what}"));
                }
                Ok(_) | Err(_) => std::thread::sleep(Duration::from_secs(1)),
            }
        }
    }
}

fn data(directory: &Path) -> String {
    directory.join("inventory").display().to_string()
}
