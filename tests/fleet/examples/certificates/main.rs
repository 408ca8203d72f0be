//! What nodes' certificates cost the inventory: `certificates NODES SENDERS ROUNDS`. Each node is
//! enrolled with a P-256 key of its own; then the same heartbeats go by every way that there is:
//! by certificate on a connection each, on one that goes on with the session before, on one that is
//! kept, and by a token in the clear. The last lines are figures.
//!
//! # Invariants
//! - Bounded: so many nodes and rounds, then it ends. Loopback only.
//! - Only posting is timed; what is posted was made before, and each way is gone once before it
//!   counts.
//! - The senders run on the same cores as the inventory: what is told of the inventory's own
//!   processor time holds elsewhere too, rates and latencies do not.

mod connection;
mod node;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use cupel_fleet::load::{Figures, Template};
use cupel_fleet::{Inventory, Running};
use cupel_rack::scratch;

use node::{Door, How, Machine, Node, Told};

/// How often a report that is told to come again is sent.
const ATTEMPTS: u32 = 50;

/// Time between two heartbeats of a node, in milliseconds.
const HEARTBEAT: f64 = 60_000.0;

/// What came of one way.
#[derive(Default)]
struct Cost {
    figures: Figures,
    /// The inventory's processor time.
    processor: Duration,
    /// How many connections went on with an earlier session.
    resumed: u64,
}

impl Cost {
    /// Milliseconds of the inventory's processor time for one.
    fn each(&self) -> f64 {
        let count = u32::try_from(self.figures.latencies.len().max(1)).unwrap_or(u32::MAX);
        milliseconds(self.processor) / f64::from(count)
    }

    fn add(&mut self, other: Self) {
        self.figures.add(other.figures);
        self.processor += other.processor;
        self.resumed += other.resumed;
    }

    fn told(&self, what: &str) -> String {
        format!(
            "{what}: {} in {:.1} s, {:.0}/s, p50 {:.1} ms, p99 {:.1} ms, inventory's processor {:.3} \
             ms each",
            self.figures.latencies.len(),
            self.figures.took.as_secs_f64(),
            self.figures.rate(),
            milliseconds(self.figures.percentile(50)),
            milliseconds(self.figures.percentile(99)),
            self.each(),
        )
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Does this with every item, by so many senders at once, and says what it cost.
fn timed<T: Send>(
    inventory: &Running,
    senders: usize,
    items: &mut [T],
    each: impl Fn(&mut T) -> Result<Told> + Sync,
) -> Result<Cost> {
    let share = items.len().div_ceil(senders.max(1)).max(1);
    let (again, resumed) = (AtomicU64::new(0), AtomicU64::new(0));
    let one = |item: &mut T| -> Result<Duration> {
        let began = Instant::now();
        for _ in 0..ATTEMPTS {
            match each(item)? {
                Told::Taken { resumed: was } => {
                    resumed.fetch_add(was.into(), Ordering::Relaxed);
                    return Ok(began.elapsed());
                }
                Told::Again => {
                    again.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
        bail!("one was told {ATTEMPTS} times to come again")
    };
    let before = inventory.processor_time()?;
    let began = Instant::now();
    let mut latencies = std::thread::scope(|scope| {
        let workers: Vec<_> = items
            .chunks_mut(share)
            .map(|mine| scope.spawn(|| mine.iter_mut().map(&one).collect::<Result<Vec<_>>>()))
            .collect();
        let mut all = Vec::new();
        for worker in workers {
            let took = worker
                .join()
                .map_err(|_| anyhow::anyhow!("a sender fell"))?;
            all.extend(took?);
        }
        anyhow::Ok(all)
    })?;
    let took = began.elapsed();
    latencies.sort();
    Ok(Cost {
        figures: Figures {
            latencies,
            took,
            bytes: 0,
            again: again.into_inner(),
        },
        processor: inventory.processor_time()?.saturating_sub(before),
        resumed: resumed.into_inner(),
    })
}

/// A node, and what it sends next.
struct Sender {
    node: Node,
    number: u32,
    body: Vec<u8>,
}

/// What is measured with.
struct Measurement<'a> {
    template: &'a Template,
    senders: usize,
    rounds: u32,
    nodes: Vec<Sender>,
    /// Of the report before; they only grow.
    sequence: u64,
}

impl Measurement<'_> {
    fn next(&mut self, made: impl Fn(&Template, u32, u64) -> Result<Vec<u8>>) -> Result<()> {
        self.sequence += 1;
        for sender in &mut self.nodes {
            sender.body = made(self.template, sender.number, self.sequence)?;
        }
        Ok(())
    }

    fn round(&mut self, inventory: &Running, how: &How) -> Result<Cost> {
        timed(inventory, self.senders, &mut self.nodes, |sender| {
            sender.node.report(how, &sender.body)
        })
    }

    /// The first full report of each.
    fn fulls(&mut self, inventory: &Running) -> Result<Cost> {
        self.next(Template::full)?;
        self.round(inventory, &How::Fresh)
    }

    /// Heartbeats by this way; the first round does not count.
    fn heartbeats(&mut self, inventory: &Running, how: &How) -> Result<Cost> {
        let mut all = Cost::default();
        for round in 0..=self.rounds {
            self.next(Template::heartbeat)?;
            let cost = self.round(inventory, how)?;
            if round > 0 {
                all.add(cost);
            }
        }
        all.figures.latencies.sort();
        self.nodes
            .iter_mut()
            .for_each(|sender| sender.node.hang_up());
        Ok(all)
    }
}

/// Where an inventory listens.
fn address(inventory: &Inventory) -> Result<SocketAddr> {
    let (_, address) = inventory.url.split_once("://").context("an address")?;
    Ok(address.parse()?)
}

/// Enrols nodes, each on a connection of its own; what the enrolling cost.
fn enrol(
    template: &Template,
    inventory: &Inventory,
    count: u32,
    senders: usize,
) -> Result<(Vec<Sender>, Cost)> {
    let authority = std::fs::read_to_string(inventory.data.join("authority.pem"))?;
    let token = inventory.join("all", count)?;
    let door = Door::new(address(inventory)?, &authority, token)?;
    let mut joining = (1..=count)
        .map(|number| Ok((number, Machine::new(template, number)?, None)))
        .collect::<Result<Vec<(u32, Machine, Option<Node>)>>>()?;
    let cost = timed(
        &inventory.process,
        senders,
        &mut joining,
        |(_, machine, node)| {
            *node = Some(machine.enrol(&door)?);
            Ok(Told::Taken { resumed: false })
        },
    )?;
    let nodes = joining
        .into_iter()
        .filter_map(|(number, _, node)| {
            Some(Sender {
                node: node?,
                number,
                body: Vec::new(),
            })
        })
        .collect();
    Ok((nodes, cost))
}

#[expect(clippy::print_stdout, reason = "an example talks on the terminal")]
fn main() -> Result<()> {
    let mut args = std::env::args().skip(1).map(|text| text.parse::<u32>());
    let mut number = |what: &str| args.next().with_context(|| format!("want {what}"));
    let count = number("nodes")??;
    let senders = usize::try_from(number("senders")??)?;
    let rounds = number("rounds")??;
    let simulated = scratch()?;
    let template = Template::of("dgx-h100", simulated.path())?;
    // On a disk: a commit waits for it.
    let directory = tempfile::tempdir()?;

    let mut secure = Inventory::start(directory.path(), &["--tls-names", "127.0.0.1"])?;
    let (nodes, cost) = enrol(&template, &secure, count, senders)?;
    println!("{}", cost.told("enrolment, a connection each"));
    let mut measurement = Measurement {
        template: &template,
        senders,
        rounds,
        nodes,
        sequence: 1000,
    };
    let cost = measurement.fulls(&secure.process)?;
    println!("{}", cost.told("full report by certificate"));
    let mut by_certificate = Vec::new();
    for (what, how) in [
        ("by certificate, a whole handshake each", How::Fresh),
        ("by certificate, coming with its session", How::Resuming),
        ("by certificate, connections kept", How::Kept),
    ] {
        let cost = measurement.heartbeats(&secure.process, &how)?;
        by_certificate.push((what, cost));
    }
    secure.process.terminate(Duration::from_secs(30))?;

    // The same data in the clear.
    let plain = Inventory::start(directory.path(), &[])?;
    let (at, token) = (address(&plain)?, plain.token("load", "report", None)?);
    let how = How::Token(at, token.clone());
    let own = measurement.heartbeats(&plain.process, &how)?;
    let how = How::TokenKept(at, token);
    let kept = measurement.heartbeats(&plain.process, &how)?;

    let base = own.each();
    for (what, cost) in by_certificate
        .iter()
        .map(|(what, cost)| (*what, cost))
        .chain([
            ("by token in the clear, a connection each", &own),
            ("by token in the clear, connections kept", &kept),
        ])
    {
        println!(
            "{}, {:.2} of a token's on a connection each, {} sessions resumed, {} told to come \
             again; one core carries {:.0} nodes at a heartbeat a minute",
            cost.told(&format!("heartbeat {what}")),
            cost.each() / base,
            cost.resumed,
            cost.figures.again,
            HEARTBEAT / cost.each(),
        );
    }
    Ok(())
}
