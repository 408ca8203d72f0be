//! Nodes at the same time, each with its log and its retries.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use cupel_hardware::clock;

use super::node::{Attempt, Done, Failed, Load, Stage};
use super::remote::Remote;

/// Time before the second attempt; it doubles.
const PAUSE: Duration = Duration::from_secs(2);

/// What is told while it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A node is at something.
    At(usize, Stage),
    /// An attempt failed, and there will be another.
    Again(usize, String),
    /// A node is over.
    Over(usize, Result<Done, Failed>),
}

/// Brings all nodes to where they should be; the results, in the order of the nodes.
pub fn push(
    load: &Load,
    remote: &dyn Remote,
    logs: &Path,
    news: &Sender<News>,
) -> std::io::Result<Vec<Result<Done, Failed>>> {
    fs::create_dir_all(logs)?;
    let next = AtomicUsize::new(0);
    let count = load.rack.nodes.len();
    let mut results: Vec<_> = std::thread::scope(|scope| {
        let hands = usize::from(load.rack.at_once).min(count);
        let crew: Vec<_> = (0..hands)
            .map(|_| {
                let (next, news) = (&next, news.clone());
                scope.spawn(move || {
                    let mut done = Vec::new();
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= count {
                            return done;
                        }
                        let result = node(load, index, remote, logs, &news);
                        // Nobody looks any more: the work goes on.
                        let _ = news.send(News::Over(index, result.clone()));
                        done.push((index, result));
                    }
                })
            })
            .collect();
        crew.into_iter()
            .flat_map(|hand| hand.join().unwrap_or_default())
            .collect()
    });
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

fn node(
    load: &Load,
    index: usize,
    remote: &dyn Remote,
    logs: &Path,
    news: &Sender<News>,
) -> Result<Done, Failed> {
    let node = &load.rack.nodes[index];
    let path = logs.join(format!("{}.log", node.name));
    let mut file = OpenOptions::new().create(true).append(true).open(path).ok();
    let mut log = |line: &str| {
        if let Some(file) = &mut file {
            // A full disk here is no reason to leave a node half done.
            let _ = writeln!(file, "{} {line}", clock::now());
        }
    };
    let mut pause = PAUSE;
    let mut attempts = load.rack.retries;
    loop {
        let attempt = Attempt {
            load,
            node,
            remote,
            stage: &mut |stage| {
                let _ = news.send(News::At(index, stage));
            },
            log: &mut log,
        };
        match attempt.run() {
            Err(error) if error.is_passing() && attempts > 0 => {
                attempts -= 1;
                let _ = news.send(News::Again(index, error.to_string()));
                std::thread::sleep(pause);
                pause *= 2;
            }
            Err(error) => {
                log(&format!("failed: {error}"));
                return Err(error);
            }
            Ok(done) => {
                log(&format!("{done:?}"));
                return Ok(done);
            }
        }
    }
}
