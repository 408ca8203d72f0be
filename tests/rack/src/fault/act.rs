//! What each fault does to the machine, and what comes with it.

use anyhow::{Context, Result, bail};
use cupel_fake_driver::state;

use super::Fault;
use crate::machine::{Machine, Record};

/// NVML's `GPU_IS_LOST`.
const GPU_IS_LOST: u32 = 15;
/// Syslog level "err" and "warning" of the kernel.
const ERROR: u32 = 3;
const WARNING: u32 = 4;

impl Fault {
    /// Lets it happen to the machine.
    pub(crate) fn act(&self, machine: &mut Machine) -> Result<()> {
        match self {
            Self::PcieWidth { device, width } => link(machine, device, None, Some(*width)),
            Self::PcieSpeed { device, gts } => link(machine, device, Some(*gts), None),
            Self::PcieGone { device } => gone(machine, device),
            Self::PcieAer {
                device,
                class,
                name,
                count,
            } => aer(machine, device, class, name, *count),
            Self::DeviceMissing { device } => {
                let address = machine.address(device)?;
                machine.remove(address);
                Ok(())
            }
            Self::GpuOffBus { gpu } => off_bus(machine, *gpu),
            Self::GpuHandle { gpu, code } => {
                machine.gpu(*gpu)?.handle = *code;
                Ok(())
            }
            Self::GpuEcc {
                gpu,
                dram,
                volatile,
                aggregate,
                threshold_exceeded,
            } => {
                let gpu = machine.gpu(*gpu)?;
                for (counts, value) in [
                    (&mut gpu.ecc_volatile, *volatile),
                    (&mut gpu.ecc_aggregate, *aggregate),
                ] {
                    let counts = counts.get_or_insert_default();
                    if *dram {
                        counts.dram_uncorrected = value;
                    } else {
                        counts.sram_uncorrected = value;
                    }
                }
                gpu.sram_threshold_exceeded = Some(u32::from(*threshold_exceeded));
                Ok(())
            }
            Self::GpuRowRemap {
                gpu,
                uncorrectable,
                correctable,
                pending,
                failure,
            } => {
                machine.gpu(*gpu)?.remapped_rows = Some(state::RemappedRows {
                    correctable: *correctable,
                    uncorrectable: *uncorrectable,
                    pending: u32::from(*pending),
                    failure: u32::from(*failure),
                });
                Ok(())
            }
            Self::GpuXid {
                gpu,
                code,
                text,
                times,
            } => {
                let pci = machine.gpu(*gpu)?.pci.clone();
                let place = pci.trim_end_matches(".0");
                for _ in 0..*times {
                    machine.log(WARNING, format!("NVRM: Xid (PCI:{place}): {code}, {text}"));
                }
                Ok(())
            }
            Self::NvlinkInactive { gpu, links } => {
                let gpu = machine.gpu(*gpu)?;
                for number in links {
                    let link = gpu.nvlinks.get_mut(*number as usize);
                    let link = link.with_context(|| format!("no NVLink {number}"))?;
                    link.active = 0;
                    link.remote_type = None;
                    link.remote_pci = None;
                }
                Ok(())
            }
            Self::GpuThermalSlowdown {
                gpu,
                temperature,
                reasons,
                violation_ns,
            } => {
                let gpu = machine.gpu(*gpu)?;
                gpu.temperature = Some(*temperature);
                gpu.memory_temperature = gpu.memory_temperature.map(|_| temperature + 6);
                gpu.throttle_reasons = Some(*reasons);
                gpu.violations.get_or_insert_default().thermal = *violation_ns;
                if let (Some(now), Some(most)) = (&mut gpu.clocks, gpu.max_clocks) {
                    now.sm = most.sm / 2;
                    now.graphics = most.graphics / 2;
                }
                Ok(())
            }
            Self::GpuBusy { gpu } => {
                if let Some(index) = gpu {
                    machine.gpu(*index)?;
                }
                for (number, card) in (0_u32..).zip(&mut machine.gpus) {
                    if gpu.is_none_or(|index| index == number) {
                        card.utilisation = Some(state::Utilisation {
                            gpu: 99,
                            memory: 61,
                        });
                        card.clocks = card.max_clocks;
                        card.performance_state = Some(0);
                        card.throttle_reasons = Some(0);
                        card.processes = Some(vec![state::Process {
                            pid: 31_337 + number,
                            memory: Some(60 << 30),
                        }]);
                    }
                }
                Ok(())
            }
            Self::GpuIdleLink { gpu } => link(machine, &format!("gpu{gpu}"), Some(2.5), None),
            Self::GpuRecovery { gpu, action } => {
                machine.gpu(*gpu)?.recovery_action = Some(*action);
                Ok(())
            }
            Self::Fabric {
                gpu,
                state,
                status,
                health,
            } => fabric(machine, *gpu, *state, *status, *health),
            Self::DriverMismatch { library } => {
                machine.driver.library = Some(library.clone());
                // NVML_ERROR_LIB_RM_VERSION_MISMATCH
                machine.driver.init = 18;
                let kernel = machine.driver.kernel.clone().unwrap_or_default();
                machine.log(
                    ERROR,
                    format!("NVRM: API mismatch: the client 'nvidia-smi' (pid 4711)\nNVRM: has the version {library}, but this kernel module has\nNVRM: the version {kernel}.  Please make sure that this\nNVRM: kernel module and all NVIDIA driver components\nNVRM: have the same version."),
                );
                Ok(())
            }
            Self::DriverNotLoaded => {
                machine.driver.kernel = None;
                // NVML_ERROR_DRIVER_NOT_LOADED
                machine.driver.init = 9;
                unbind(machine);
                Ok(())
            }
            Self::DriverAbsent => {
                machine.driver.kernel = None;
                machine.driver.library = None;
                unbind(machine);
                Ok(())
            }
            Self::DriverCall { call, gpu, act } => {
                let fault = state::Fault {
                    call: call.clone(),
                    gpu: *gpu,
                    act: act.clone(),
                };
                machine.driver.calls.insert(0, fault);
                Ok(())
            }
            Self::DriverSymbols { missing } => {
                machine.driver.missing.extend(missing.iter().cloned());
                Ok(())
            }
            Self::Unit { name, active, sub } => {
                let unit = machine.units.iter_mut().find(|unit| unit.name == name);
                let unit = unit.with_context(|| format!("no unit {name:?}"))?;
                unit.active.clone_from(active);
                unit.sub.clone_from(sub);
                Ok(())
            }
            Self::RdmaPortDown { device } => {
                for port in &mut rdma(machine, device)?.ports {
                    port.state = "1: DOWN";
                    port.physical_state = "2: Polling";
                    port.rate = "10 Gb/sec (4X SDR)".to_owned();
                    port.lid = 0;
                    port.counters.push(("link_downed".to_owned(), 1));
                }
                let address = rdma(machine, device)?.pci;
                for net in machine.nets.iter_mut().filter(|net| net.pci == address) {
                    net.up = false;
                    machine.log.push(Record {
                        priority: 6,
                        microseconds: machine.log.last().map_or(0, |r| r.microseconds) + 900,
                        text: format!("mlx5_core {address} {}: Link down", net.name),
                    });
                }
                Ok(())
            }
            Self::RdmaRate { device, rate } => {
                for port in &mut rdma(machine, device)?.ports {
                    port.rate.clone_from(rate);
                }
                Ok(())
            }
            Self::RdmaCounter {
                device,
                name,
                value,
            } => {
                for port in &mut rdma(machine, device)?.ports {
                    port.counters.retain(|(counter, _)| counter != name);
                    port.counters.push((name.clone(), *value));
                }
                Ok(())
            }
            Self::NvmeWarning {
                device,
                bits,
                media_errors,
                spare,
            } => {
                let drive = machine.nvme.iter_mut().find(|drive| drive.name == *device);
                let drive = drive.with_context(|| format!("no drive {device:?}"))?;
                drive.critical_warning = *bits;
                drive.media_errors = *media_errors;
                drive.spare = *spare;
                Ok(())
            }
            Self::DimmMissing { locator } => {
                let dimm = machine.dimms.iter_mut().find(|d| d.locator == *locator);
                dimm.with_context(|| format!("no DIMM {locator:?}"))?.mib = 0;
                Ok(())
            }
            Self::Reboot => {
                machine.reboot();
                Ok(())
            }
            Self::KernelLog { text, level, user } => {
                let facility = u32::from(*user);
                machine.log(facility * 8 + level, text);
                Ok(())
            }
            Self::File { path, content } => {
                let content = content.as_ref().map(|text| text.clone().into_bytes());
                machine.files.push((path.clone(), content));
                Ok(())
            }
        }
    }
}

/// Changes the link above a device: the device, the port above it, and the driver's view.
fn link(machine: &mut Machine, device: &str, gts: Option<f64>, width: Option<u32>) -> Result<()> {
    let address = machine.address(device)?;
    let above = machine.function(address)?.parent;
    for end in [Some(address), above].into_iter().flatten() {
        let function = machine.function(end)?;
        function.speed = gts.unwrap_or(function.speed);
        function.width = width.unwrap_or(function.width);
    }
    let spelt = address.to_string();
    for gpu in machine.gpus.iter_mut().filter(|gpu| gpu.pci == spelt) {
        let pcie = gpu.pcie.as_mut().context("the GPU has no PCIe link")?;
        pcie.current_width = width.unwrap_or(pcie.current_width);
        if let Some(gts) = gts {
            pcie.current_generation = match gts {
                g if g < 4.0 => 1,
                g if g < 6.0 => 2,
                g if g < 10.0 => 3,
                g if g < 20.0 => 4,
                _ => 5,
            };
        }
    }
    Ok(())
}

/// A function answers no more; the port above it has lost its link.
fn gone(machine: &mut Machine, device: &str) -> Result<()> {
    let address = machine.address(device)?;
    let function = machine.function(address)?;
    function.gone = true;
    if let Some(above) = function.parent {
        let port = machine.function(above)?;
        port.speed = 2.5;
        port.width = 0;
    }
    Ok(())
}

fn aer(machine: &mut Machine, device: &str, class: &str, name: &str, count: u64) -> Result<()> {
    let (file, severity, layer) = match class {
        "correctable" => ("correctable", "Corrected", "Data Link Layer"),
        "fatal" => ("fatal", "Uncorrected (Fatal)", "Transaction Layer"),
        "nonfatal" => ("nonfatal", "Uncorrected (Non-Fatal)", "Transaction Layer"),
        other => bail!("AER class {other:?}: want correctable, fatal or nonfatal"),
    };
    let address = machine.address(device)?;
    let function = machine.function(address)?;
    function.aer.push((file, name.to_owned(), count));
    let driver = function.driver.unwrap_or("pcieport");
    machine.log(
        if file == "correctable" {
            WARNING
        } else {
            ERROR
        },
        format!(
            "{driver} {address}: PCIe Bus Error: severity={severity}, type={layer}, (Receiver ID)"
        ),
    );
    Ok(())
}

/// The function is unreadable, the driver has lost the GPU, and the kernel says so.
fn off_bus(machine: &mut Machine, index: u32) -> Result<()> {
    gone(machine, &format!("gpu{index}"))?;
    let gpu = machine.gpu(index)?;
    gpu.handle = GPU_IS_LOST;
    let pci = gpu.pci.clone();
    let uuid = gpu.uuid.clone().unwrap_or_default();
    let serial = gpu.serial.clone().unwrap_or_default();
    let place = pci.trim_end_matches(".0");
    machine.log(ERROR, format!("NVRM: GPU at PCI:{place}: {uuid}"));
    machine.log(ERROR, format!("NVRM: GPU Board Serial Number: {serial}"));
    machine.log(
        ERROR,
        format!("NVRM: Xid (PCI:{place}): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."),
    );
    machine.log(
        ERROR,
        format!("NVRM: GPU {pci}: GPU has fallen off the bus."),
    );
    machine.log(
        ERROR,
        format!("NVRM: GPU {pci}: GPU serial number is {serial}."),
    );
    Ok(())
}

fn fabric(
    machine: &mut Machine,
    gpu: Option<u32>,
    state: u8,
    status: u32,
    health: Option<u32>,
) -> Result<()> {
    if let Some(index) = gpu {
        machine.gpu(index)?;
    }
    for (number, card) in (0_u32..).zip(&mut machine.gpus) {
        if gpu.is_none_or(|index| index == number) {
            let fabric = card.fabric.as_mut().context("the GPU has no fabric")?;
            fabric.state = state;
            fabric.status = status;
            fabric.health_mask = health.unwrap_or(fabric.health_mask);
            if health.is_some() {
                fabric.health_summary = 2;
            }
        }
    }
    Ok(())
}

/// No kernel driver owns the NVIDIA functions.
fn unbind(machine: &mut Machine) {
    for function in machine.pci.iter_mut().filter(|f| f.vendor == 0x10de) {
        function.driver = None;
    }
}

fn rdma<'a>(machine: &'a mut Machine, device: &str) -> Result<&'a mut crate::machine::Rdma> {
    let found = machine.rdma.iter_mut().find(|d| d.name == device);
    found.with_context(|| format!("no RDMA device {device:?}"))
}
