//! From nothing to a node that reports with an identity of its own, by the documented commands: the
//! real inventory as an authority, join files, `cupel enrol`, the service.

use std::ffi::OsString;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use cupel_fleet::{Node, NodeOptions, Running, program};
use cupel_rack::{Scenario, scratch};
use serde_json::Value;

/// The node.
const NODE: &str = "title = \"enrols\"\nplatform = \"pcie-l40s\"\nverdict = \"healthy\"";

/// How long anything may take on a machine that does other things too.
const LIMIT: Duration = Duration::from_secs(120);

/// An inventory that makes its own certificate.
struct Inventory {
    directory: PathBuf,
    address: SocketAddr,
    admin: String,
    /// It ends with this.
    _process: Running,
}

impl Inventory {
    fn start(directory: &Path, more: &[&str]) -> Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        Self::start_at(directory, address, more)
    }

    fn start_at(directory: &Path, address: SocketAddr, more: &[&str]) -> Result<Self> {
        let (listen, data) = (address.to_string(), data(directory));
        let mut args = vec!["serve", "--data", &data, "--listen", &listen];
        args.extend(["--tls-names", "127.0.0.1"]);
        args.extend(more);
        let log = directory.join("inventory.log");
        let process = Running::start(&program("cupel-inventory")?, &args, &[], &log)?;
        let admin = wait("an inventory that listens", || {
            let listens = TcpStream::connect(address).is_ok();
            let said = process.said();
            let token = said
                .split_whitespace()
                .find(|word| word.starts_with("cupel_"));
            Ok(token.filter(|_| listens).map(str::to_owned))
        })?;
        Ok(Self {
            directory: directory.to_owned(),
            address,
            admin,
            _process: process,
        })
    }

    /// Runs `cupel-inventory` on its data.
    fn run(&self, args: &[&str]) -> Result<String> {
        let data = data(&self.directory);
        let mut all = args.to_vec();
        all.extend(["--data", &data]);
        let (code, said, told) = ran("cupel-inventory", &all, &[], &self.directory)?;
        ensure!(code == 0, "{args:?}: {told}");
        Ok(said)
    }

    /// A join file for `uses` nodes that come by way of `address`.
    fn join(&self, name: &str, uses: u32, address: SocketAddr) -> Result<String> {
        let file = self.directory.join(format!("{name}.join"));
        let file = file.display().to_string();
        let (url, uses) = (format!("https://{address}"), uses.to_string());
        let args = ["join", "create", name, "--url", &url, "--uses", &uses];
        self.run(&[&args[..], &["--file", &file]].concat())?;
        Ok(file)
    }

    /// How often a join file was used.
    fn used(&self, name: &str) -> Result<u64> {
        let list: Value = serde_json::from_str(&self.run(&["join", "list", "--output", "json"])?)?;
        let row = list
            .as_array()
            .and_then(|rows| rows.iter().find(|row| row["name"] == name))
            .with_context(|| format!("{name} in {list}"))?;
        row["used"]
            .as_u64()
            .with_context(|| format!("used in {row}"))
    }

    /// What the API has of a node.
    fn node(&self, id: &str) -> Result<Option<Value>> {
        let pem = fs::read(self.directory.join("inventory/authority.pem"))?;
        let authority = reqwest::Certificate::from_pem(&pem)?;
        let client = reqwest::Client::builder()
            .tls_certs_only([authority])
            .timeout(Duration::from_secs(30))
            .build()?;
        let url = format!("https://{}/v1/nodes/{id}", self.address);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let answer = client.get(url).bearer_auth(&self.admin).send().await?;
            if answer.status() == 404 {
                return Ok(None);
            }
            ensure!(answer.status() == 200, "{}", answer.status());
            Ok(Some(serde_json::from_slice(&answer.bytes().await?)?))
        })
    }
}

fn data(directory: &Path) -> String {
    directory.join("inventory").display().to_string()
}

/// Runs a program to its end: exit code, what it said, what it told.
fn ran(
    name: &str,
    args: &[&str],
    environment: &[(OsString, OsString)],
    directory: &Path,
) -> Result<(i32, String, String)> {
    let own = tempfile::tempdir_in(directory)?;
    let log = own.path().join("command.log");
    let mut running = Running::start(&program(name)?, args, environment, &log)?;
    wait(name, || Ok((!running.runs()?).then_some(())))?;
    Ok((running.code()?, running.said(), running.told()))
}

fn wait<T>(what: &str, mut wanted: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let until = Instant::now() + LIMIT;
    loop {
        if let Some(value) = wanted()? {
            return Ok(value);
        }
        if Instant::now() > until {
            bail!("not within {LIMIT:?}: {what}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A simulated node that reports to nobody yet, and its id.
fn node(directory: &Path) -> Result<(Node, String)> {
    let options = NodeOptions {
        more: "[inventory]\nheartbeat_seconds = 1.0\n".to_owned(),
        ..NodeOptions::default()
    };
    let node = Node::new(&Scenario::parse(NODE)?, &directory.join("node"), &options)?;
    let (_, said) = node.cupel(&["inspect", "--output", "json"])?;
    let snapshot: Value = serde_json::from_str(&said)?;
    let id = snapshot["node"]["id"].as_str().context("an id")?.to_owned();
    Ok((node, id))
}

/// A machine that is nothing but an id.
fn bare(directory: &Path, id: &str) -> Result<String> {
    let dmi = directory.join("sys/class/dmi/id");
    fs::create_dir_all(&dmi)?;
    fs::write(dmi.join("product_uuid"), format!("{id}\n"))?;
    Ok(directory.display().to_string())
}

fn document(root: &Path) -> Result<Value> {
    let path = root.join("var/lib/cupel/identity/identity.json");
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

#[test]
fn from_nothing_a_node_joins_reports_and_renews_by_itself() -> Result<()> {
    let directory = scratch()?;
    let life = ["--certificate-life", "40s", "--renew-at", "10"];
    let inventory = Inventory::start(directory.path(), &life)?;
    let (mut node, id) = node(directory.path())?;
    node.start()?;
    node.wait_for("a service that reports to nobody", LIMIT, |status| {
        status["judged_at"].is_string() && status["inventory"]["state"] == "not-configured"
    })?;
    let join = inventory.join("rack7", 1, inventory.address)?;
    let (code, said) = node.cupel(&["enrol", &join, "--dry-run"])?;
    ensure!(code == 0 && said.contains("make a key"), "{said}");
    ensure!(
        document(node.rack.root()).is_err(),
        "--dry-run did something"
    );

    let (code, said) = node.cupel(&["enrol", &join, "--yes"])?;
    ensure!(
        code == 0 && said.contains(&format!("node {id} is known to")),
        "{said}"
    );
    let status = node.wait_for("reports with the identity", LIMIT, |status| {
        status["inventory"]["last_delivered_at"].is_string()
    })?;
    ensure!(
        status["identity"]["state"] == "good",
        "{}",
        status["identity"]
    );
    let record = wait("the node on the API", || inventory.node(&id))?;
    ensure!(
        record["identity"]["state"] == "active",
        "{}",
        record["identity"]
    );
    ensure!(
        record["identity"]["key_protection"] == "file",
        "{}",
        record["identity"]
    );

    let root = node.rack.root().to_owned();
    let first = document(&root)?;
    let (code, said) = node.cupel(&["enrol", "--status", "--output", "json"])?;
    let told: Value = serde_json::from_str(&said)?;
    ensure!(
        code == 0 && told["identity"]["node"] == id.as_str(),
        "{said}"
    );
    let (_, said) = node.cupel(&["config", "--output", "json"])?;
    let config: Value = serde_json::from_str(&said)?;
    let rows = config["settings"].as_array().context("settings")?;
    let url = rows.iter().find(|row| row["key"] == "inventory.url");
    ensure!(
        url.is_some_and(|row| row["origin"] == "identity"),
        "{url:?}"
    );

    // Past the end of the first certificate's life.
    let end = first["not_after"].as_str().context("not_after")?.to_owned();
    node.wait_for(
        "reports after the first certificate expired",
        LIMIT,
        |status| {
            let last = status["inventory"]["last_delivered_at"].as_str();
            last.is_some_and(|last| last > end.as_str()) && status["identity"]["state"] == "good"
        },
    )?;
    let now = document(&root)?;
    ensure!(
        now["certificate"] != first["certificate"],
        "it was not renewed"
    );
    ensure!(
        now["key"] == first["key"],
        "it was renewed with another key"
    );
    ensure!(inventory.used("rack7")? == 1, "a renewal cost a use");
    node.stop()?;

    // Who comes second is refused, and is told why; a node that has an identity keeps it.
    let other = directory.path().join("other");
    let other_root = bare(&other, "4c4c4544-0042-4810-8058-b8c04f4a4b4c")?;
    let args = ["enrol", &join, "--yes", "--root", &other_root];
    let (code, _, told) = ran("cupel", &args, &[], directory.path())?;
    ensure!(code == 4 && told.contains("lets no more"), "{code}: {told}");
    ensure!(document(&other).is_err(), "it was given one all the same");
    let (code, _) = node.cupel(&["enrol", &join, "--yes"])?;
    ensure!(
        code == 0 && document(&root)?["key"] == first["key"],
        "{code}"
    );

    // The disk in another machine.
    let from = root.join("var/lib/cupel/identity");
    let to = other.join("var/lib/cupel/identity");
    fs::create_dir_all(&to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    let args = ["enrol", "--status", "--root", &other_root];
    let (code, said, _) = ran("cupel", &args, &[], directory.path())?;
    ensure!(
        code == 2 && said.contains("it is not used: it is of node"),
        "{said}"
    );
    Ok(())
}

#[test]
fn revoked_it_is_told_and_the_next_join_file_ends_that() -> Result<()> {
    let directory = scratch()?;
    let inventory = Inventory::start(directory.path(), &[])?;
    let (mut node, id) = node(directory.path())?;
    let join = inventory.join("first", 1, inventory.address)?;
    let (code, said) = node.cupel(&["enrol", &join, "--yes"])?;
    ensure!(code == 0, "{said}");
    node.start()?;
    let delivered = |status: &Value| status["inventory"]["state"] == "delivered";
    node.wait_for("reports with the identity", LIMIT, delivered)?;
    inventory.run(&["identity", "revoke", &id])?;
    node.wait_for("a revoked identity to be told", LIMIT, |status| {
        let why = status["inventory"]["last_error"].as_str();
        why.is_some_and(|why| why.contains("was revoked"))
    })?;

    let root = node.rack.root().to_owned();
    let old = document(&root)?;
    let join = inventory.join("second", 1, inventory.address)?;
    let (code, said) = node.cupel(&["enrol", &join, "--yes"])?;
    ensure!(code == 0, "{said}");
    let new = document(&root)?;
    ensure!(
        new["key"] != old["key"],
        "a key that was revoked was used again"
    );
    node.wait_for("reports with the new identity", LIMIT, |status| {
        delivered(status) && status["identity"]["not_after"] == new["not_after"]
    })?;
    ensure!(inventory.used("second")? == 1);
    node.stop()?;
    Ok(())
}

#[test]
fn with_the_identity_of_another_node_the_token_is_used_and_that_is_told() -> Result<()> {
    let directory = scratch()?;
    let inventory = Inventory::start(directory.path(), &[])?;
    let (mut node, id) = node(directory.path())?;
    let join = inventory.join("other", 1, inventory.address)?;
    let other = directory.path().join("other");
    let other_root = bare(&other, "4c4c4544-0042-4810-8058-b8c04f4a4b4c")?;
    let args = ["enrol", &join, "--yes", "--root", &other_root];
    let (code, _, told) = ran("cupel", &args, &[], directory.path())?;
    ensure!(code == 0, "{told}");
    let to = node.rack.root().join("var/lib/cupel/identity");
    fs::create_dir_all(&to)?;
    for entry in fs::read_dir(other.join("var/lib/cupel/identity"))? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }

    // Without a token nothing is reported, and that is said.
    node.start()?;
    let foreign = |status: &Value| {
        let why = status["identity"]["why"].as_str().unwrap_or_default();
        status["identity"]["state"] == "other-node" && why.contains(&id)
    };
    node.wait_for("an identity that is not used", LIMIT, |status| {
        let why = status["inventory"]["last_error"].as_str();
        foreign(status) && why.is_some_and(|why| why.contains("cannot be used"))
    })?;
    ensure!(inventory.node(&id)?.is_none(), "it reported all the same");
    node.stop()?;

    let token = inventory.run(&["token", "create", "nodes", "--scope", "report"])?;
    let token = token.split_whitespace().last().context("a token")?;
    let authority = data(directory.path()) + "/authority.pem";
    node.configure(&NodeOptions {
        inventory: Some(format!("https://{}", inventory.address)),
        token: token.to_owned(),
        ca_file: Some(authority),
        ..NodeOptions::default()
    })?;
    node.start()?;
    node.wait_for("reports with the token", LIMIT, |status| {
        foreign(status) && status["inventory"]["state"] == "delivered"
    })?;
    ensure!(
        inventory.node(&id)?.is_some(),
        "the inventory does not know it"
    );
    node.stop()?;

    // What would not be used is not begun.
    let own = inventory.join("own", 1, inventory.address)?;
    let elsewhere = inventory.join("elsewhere", 1, "127.0.0.1:1".parse()?)?;
    let environment = node.environment();
    for (args, why) in [
        (
            &["enrol", &elsewhere, "--yes"][..],
            "take inventory.url out",
        ),
        (
            &["enrol", &own, "--yes", "--seal", "tpm"],
            "cannot be sealed",
        ),
    ] {
        let (code, _, told) = ran("cupel", args, &environment, directory.path())?;
        ensure!(code == 4 && told.contains(why), "{args:?}: {code}: {told}");
    }
    ensure!(inventory.used("own")? == 0);
    Ok(())
}

/// Changes `identity.json`.
fn change(root: &Path, changes: &[(&str, &str)]) -> Result<()> {
    let mut changed = document(root)?;
    for (key, value) in changes {
        changed[key] = (*value).into();
    }
    let path = root.join("var/lib/cupel/identity/identity.json");
    Ok(fs::write(path, serde_json::to_vec(&changed)?)?)
}

#[test]
fn a_certificate_that_is_given_again_is_no_renewal() -> Result<()> {
    let directory = scratch()?;
    let inventory = Inventory::start(directory.path(), &[])?;
    let (mut node, _) = node(directory.path())?;
    let join = inventory.join("one", 1, inventory.address)?;
    let (code, said) = node.cupel(&["enrol", &join, "--yes"])?;
    ensure!(code == 0, "{said}");
    // By the node's clock it is long due.
    let past = [
        ("not_before", "2026-01-01T00:00:00Z"),
        ("renew_after", "2026-01-02T00:00:00Z"),
        ("not_after", "2026-01-03T00:00:00Z"),
    ];
    let root = node.rack.root().to_owned();
    change(&root, &past)?;
    node.start()?;
    node.wait_for("an answer that is no renewal", LIMIT, |status| {
        let why = status["identity"]["renewal_error"].as_str();
        why.is_some_and(|why| why.contains("the same certificate"))
            && status["inventory"]["last_delivered_at"].is_string()
    })?;
    let now = document(&root)?;
    ensure!(past.iter().all(|(key, at)| now[key] == *at), "{now}");
    node.stop()?;
    Ok(())
}

#[test]
fn with_an_inventory_that_was_set_up_anew_a_node_enrols_anew() -> Result<()> {
    let directory = scratch()?;
    let first = Inventory::start(directory.path(), &[])?;
    let address = first.address;
    let machine = directory.path().join("machine");
    let root = bare(&machine, "4c4c4544-0051-3010-8052-b4c04f4d5933")?;
    let enrol = |join: &str| {
        let args = ["enrol", join, "--yes", "--root", &root];
        ran("cupel", &args, &[], directory.path())
    };
    let join = first.join("one", 1, address)?;
    let (code, said, told) = enrol(&join)?;
    ensure!(code == 0, "{said}{told}");
    let old = document(&machine)?;
    drop(first);

    // Nobody answers: it is kept.
    let (code, said, told) = enrol(&join)?;
    ensure!(code == 0 && document(&machine)? == old, "{said}{told}");

    let anew = directory.path().join("anew");
    fs::create_dir_all(&anew)?;
    let second = Inventory::start_at(&anew, address, &[])?;
    // The file of before does not vouch for it.
    let (code, said, told) = enrol(&join)?;
    ensure!(code == 2 && document(&machine)? == old, "{said}{told}");
    ensure!(told.contains("do not trust each other"), "{told}");
    let join = second.join("new", 1, address)?;
    let (code, said, told) = enrol(&join)?;
    ensure!(code == 0, "{said}{told}");
    let new = document(&machine)?;
    ensure!(new["authority"] != old["authority"], "{said}{told}");
    ensure!(second.used("new")? == 1);
    Ok(())
}

#[test]
fn what_expired_at_the_inventory_is_not_kept_by_a_clock_that_is_behind() -> Result<()> {
    let directory = scratch()?;
    let inventory = Inventory::start(directory.path(), &["--certificate-life", "3s"])?;
    let machine = directory.path().join("machine");
    let root = bare(&machine, "4c4c4544-0051-3010-8052-b4c04f4d5933")?;
    let enrol = |join: &str| {
        let args = ["enrol", join, "--yes", "--root", &root];
        ran("cupel", &args, &[], directory.path())
    };
    let (code, said, told) = enrol(&inventory.join("one", 1, inventory.address)?)?;
    ensure!(code == 0, "{said}{told}");
    let old = document(&machine)?;
    std::thread::sleep(Duration::from_secs(4));
    change(&machine, &[("not_after", "2100-01-01T00:00:00Z")])?;
    let (code, said, told) = enrol(&inventory.join("two", 1, inventory.address)?)?;
    ensure!(code == 0, "{said}{told}");
    let new = document(&machine)?;
    ensure!(new["key"] != old["key"], "it was kept: {said}{told}");
    ensure!(inventory.used("two")? == 1);
    Ok(())
}

/// What a proxy does with what goes by.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Mode {
    /// It passes on nothing.
    Holds,
    /// It passes on all that is asked, and nothing of what is answered once the connection stands.
    Swallows,
    /// It passes on everything.
    Passes,
}

/// A way to an inventory that can be interrupted.
fn way_to(inventory: SocketAddr) -> Result<(SocketAddr, Arc<AtomicU8>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mode = Arc::new(AtomicU8::new(Mode::Holds as u8));
    let shared = Arc::clone(&mode);
    let held = Mutex::new(Vec::new());
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let mode = shared.load(Ordering::SeqCst);
            if mode == Mode::Holds as u8 {
                held.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(client);
                continue;
            }
            let Ok(server) = TcpStream::connect(inventory) else {
                continue;
            };
            // What a client says first is its hello; with what it says next it asks.
            let said = Arc::new(AtomicU8::new(0));
            for (mut from, mut to, asks) in [
                (client.try_clone(), server.try_clone(), true),
                (server.try_clone(), client.try_clone(), false),
            ]
            .into_iter()
            .filter_map(|(from, to, asks)| Some((from.ok()?, to.ok()?, asks)))
            {
                let said = Arc::clone(&said);
                std::thread::spawn(move || {
                    let mut bytes = [0; 16 << 10];
                    while let Ok(count @ 1..) = from.read(&mut bytes) {
                        let swallows = mode == Mode::Swallows as u8;
                        if asks {
                            said.fetch_add(1, Ordering::SeqCst);
                        } else if swallows && said.load(Ordering::SeqCst) > 1 {
                            continue;
                        }
                        if to.write_all(&bytes[..count]).is_err() {
                            break;
                        }
                    }
                    // Gone already: good.
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    Ok((address, mode))
}

#[test]
fn killed_anywhere_a_second_run_completes_it_and_costs_nothing() -> Result<()> {
    let directory = scratch()?;
    let inventory = Inventory::start(directory.path(), &[])?;
    let (address, mode) = way_to(inventory.address)?;
    let join = inventory.join("one", 1, address)?;
    let machine = directory.path().join("machine");
    let root = bare(&machine, "4c4c4544-0051-3010-8052-b4c04f4d5933")?;
    let args = ["enrol", &join, "--yes", "--root", &root];
    let key = machine.join("var/lib/cupel/identity/key-1.pem");
    let begin = |log: &str| {
        let log = directory.path().join(log);
        Running::start(&program("cupel")?, &args, &[], &log)
    };

    // Killed before the inventory heard of it.
    let mut enrol = begin("first.log")?;
    let made = wait("a key", || {
        Ok(fs::read(&key).ok().filter(|pem| !pem.is_empty()))
    })?;
    enrol.kill()?;
    ensure!(inventory.used("one")? == 0 && document(&machine).is_err());

    // Killed after the inventory gave an identity, and before that arrived.
    mode.store(Mode::Swallows as u8, Ordering::SeqCst);
    let mut enrol = begin("second.log")?;
    wait("the inventory's use of the token", || {
        Ok((inventory.used("one")? == 1).then_some(()))
    })?;
    ensure!(enrol.runs()?, "{}", enrol.told());
    enrol.kill()?;
    ensure!(document(&machine).is_err(), "the answer arrived");

    mode.store(Mode::Passes as u8, Ordering::SeqCst);
    let (code, said, told) = ran("cupel", &args, &[], directory.path())?;
    ensure!(code == 0, "{said}{told}");
    ensure!(told.contains("cut short"), "{told}");
    ensure!(document(&machine)?["key"] == "key-1.pem");
    ensure!(fs::read(&key)? == made, "it is another key");
    ensure!(inventory.used("one")? == 1, "it cost another use");
    Ok(())
}
