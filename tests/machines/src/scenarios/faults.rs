//! Faults of real devices, read by the installed service, told to an inventory, and cleared by their
//! rules: an event of the management controller, a lost drive, an error of a PCI Express device, a
//! machine check, an RDMA port that is taken down.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use cupel_fleet::Inventory;
use serde_json::Value;

use super::Bench;
use super::installed::Installed;
use super::reports::known;
use crate::machine::{Drive, Hardware};

/// Longest until a fault is in the inventory: what a screwdriver changes is read every minute.
const SEEN: Duration = Duration::from_secs(240);

/// A software RDMA port on the adapter.
const RDMA: &str = "modprobe rdma_rxe && rdma link add rxe0 type rxe netdev ens10 && \
                    ip link set ens10 up";

/// The controller's log is read often.
const OFTEN: &str = "printf '[service.every_seconds]\\nbmc-details = 10\\n' >/etc/cupel/often.toml && \
     systemctl reload cupel";

/// An event is written into the controller's log: of a power supply (type 8, number 0x51), that a
/// failure was detected; and the same taken back.
const SUPPLY: &str = "ipmitool raw 0x0a 0x44 0 0 2 0 0 0 0 0x20 0 4 8 0x51 0x6f 0x01 0xff 0xff";
const SUPPLY_BACK: &str =
    "ipmitool raw 0x0a 0x44 0 0 2 0 0 0 0 0x20 0 4 8 0x51 0xef 0x01 0xff 0xff";

/// An uncorrected error of the first processor, injected below the kernel's decoder.
const MACHINE_CHECK: &str = "modprobe mce-inject && cd /sys/kernel/debug/mce-inject && \
     echo sw >flags && echo 0xb400000000000135 >status && echo 0x1000 >addr && echo 0 >cpu && \
     echo 4 >bank";

/// Each fault, then each end.
pub fn run(bench: &Bench) -> Result<String> {
    let directory = tempfile::tempdir()?;
    let inventory = Inventory::start(directory.path(), &[])?;
    let token = inventory.token("machine", "report", None)?;
    let port = inventory.url.rsplit(':').next().context("a port")?;
    let drive = |serial: &str| Drive {
        serial: serial.to_owned(),
        size: 64,
    };
    let hardware = Hardware {
        drives: vec![drive("S6CUPEL0001"), drive("S6CUPEL0002")],
        controller: true,
        adapter: true,
        ..Hardware::default()
    };
    let mut node = Installed::reporting(bench, &hardware, port, &token)?;
    let id = known(&inventory)?;
    node.machine.run(RDMA)?.ok()?;
    node.machine
        .run("setpci -d 1af4:1041 CAP_EXP+8.w=f:f")?
        .ok()?;
    let active = "cupel inspect --output json | tr -d ' \\n' | grep -q '\"state\":\"ACTIVE\"'";
    node.machine.until("an active RDMA port", active, SEEN)?;
    // Each of them is known in good order, by the service too.
    std::thread::sleep(Duration::from_secs(65));
    let watch = Watch {
        inventory: &inventory,
        id: &id,
    };
    watch.wait_for(&[], &mut node)?;

    node.machine.run(OFTEN)?.ok()?;
    node.machine.run(SUPPLY)?.ok()?;
    watch.wait_for(&["bmc.event-critical"], &mut node)?;
    let supply = watch.open()?;
    let part = &supply.first().context("no finding of the power supply")?["component"];
    ensure!(part["kind"] == "psu", "the power supply is told as {part}");
    node.machine.run(SUPPLY_BACK)?.ok()?;

    node.machine.link_error("COMP_TIME")?;
    node.machine.run(MACHINE_CHECK)?.ok()?;
    node.machine.unplug("nvme1")?;
    let took = watch.wait_for(
        &["cpu.machine-check", "nvme.missing", "pcie.aer-uncorrected"],
        &mut node,
    )?;
    let lost = watch.open()?;
    let lost = lost
        .iter()
        .find(|finding| finding["code"] == "nvme.missing");
    let part = &lost.context("no finding of the drive")?["component"];
    ensure!(
        part["serial"] == "S6CUPEL0002" && part["slot"] == "12",
        "the lost drive is told as {part}"
    );

    node.machine.run("ip link set ens10 down")?.ok()?;
    watch.wait_for(
        &[
            "cpu.machine-check",
            "nvme.missing",
            "pcie.aer-uncorrected",
            "rdma.port-down",
        ],
        &mut node,
    )?;
    node.machine.run("ip link set ens10 up")?.ok()?;
    watch.wait_for(
        &["cpu.machine-check", "nvme.missing", "pcie.aer-uncorrected"],
        &mut node,
    )?;

    let over = "cupel clear \"$(cupel status --output json | grep -o 'nvme.missing/[^\"]*' | \
                head -1)\" --because 'taken out on purpose'";
    node.machine.run(over)?.ok()?;
    watch.wait_for(&["cpu.machine-check", "pcie.aer-uncorrected"], &mut node)?;
    node.machine.reboot()?;
    node.healthy()?;
    watch.wait_for(&[], &mut node)?;
    Ok(format!(
        "five faults of real devices were in the inventory, three of them after {:.0} s, and each ended by its rule",
        took.as_secs_f64()
    ))
}

/// What the inventory says of the node.
struct Watch<'a> {
    inventory: &'a Inventory,
    id: &'a str,
}

impl Watch<'_> {
    /// Open findings of warning or above.
    fn open(&self) -> Result<Vec<Value>> {
        let path = format!("/v1/findings?node={}&state=open&limit=500", self.id);
        let page = self.inventory.api().json(&path)?;
        let all = page["items"].as_array().context("items")?;
        Ok(all
            .iter()
            .map(|one| one["tracked"]["finding"].clone())
            .filter(|finding| finding["severity"] != "info")
            .collect())
    }

    /// Waits until exactly these are open, and says how long it took.
    fn wait_for(&self, wanted: &[&str], node: &mut Installed) -> Result<Duration> {
        let began = Instant::now();
        loop {
            let open = self.open()?;
            let mut codes: Vec<&str> = open.iter().filter_map(|one| one["code"].as_str()).collect();
            codes.sort_unstable();
            if codes == wanted {
                return Ok(began.elapsed());
            }
            if began.elapsed() > SEEN {
                let status = node.machine.run("cupel status; dmesg | tail -20")?.stdout;
                bail!("not within {SEEN:?}: open are {codes:?}, wanted {wanted:?}\n{status}");
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}
