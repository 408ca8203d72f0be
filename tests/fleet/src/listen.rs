//! A listener to what the inventory says changes.

use std::io::{BufRead as _, BufReader};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::inventory::Inventory;

/// One thing that changed.
#[derive(Clone, Debug)]
pub struct Heard {
    /// When it was heard.
    pub at: Instant,
    /// `node`, `finding`, …
    pub kind: String,
    /// What it says.
    pub data: Value,
}

impl Inventory {
    /// Listens to `/v1/events` of a node, until the inventory ends it or nobody wants it.
    ///
    /// # Errors
    /// It is refused.
    pub fn listen(&self, node: &str) -> Result<Receiver<Heard>> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        let url = format!("{}/v1/events?node={node}", self.url);
        let response = agent
            .get(&url)
            .header("authorization", format!("Bearer {}", self.admin))
            .call()
            .with_context(|| format!("GET {url}"))?;
        if response.status() != 200 {
            bail!("GET {url}: {}", response.status());
        }
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            let mut kind = String::new();
            for line in BufReader::new(response.into_body().into_reader()).lines() {
                let Ok(line) = line else { return };
                if let Some(name) = line.strip_prefix("event:") {
                    name.trim().clone_into(&mut kind);
                } else if let Some(data) = line.strip_prefix("data:") {
                    let heard = Heard {
                        at: Instant::now(),
                        kind: kind.clone(),
                        data: serde_json::from_str(data.trim()).unwrap_or_default(),
                    };
                    if sender.send(heard).is_err() {
                        return;
                    }
                }
            }
        });
        Ok(receiver)
    }
}
