//! What CUDA needs and does not find, told before a stage begins.

use cupel_hardware::Root;
use cupel_model::{Reading, Snapshot};

use super::set::GpuSet;
use crate::resource::Resource;
use crate::result::{Preflight, PreflightState};
use crate::stage_kind::StageKind;

/// All kinds that need a GPU.
fn gpu_stages() -> Vec<StageKind> {
    StageKind::ALL
        .into_iter()
        .filter(|kind| kind.is_gpu())
        .collect()
}

impl GpuSet {
    /// What the GPU stages need, and whether it is there.
    pub fn preflight(&self, root: &Root, snapshot: &Snapshot) -> Vec<Preflight> {
        let mut needs = vec![driver(snapshot), device_nodes(root, snapshot)];
        needs.extend(fabric(snapshot));
        needs.extend(nvlink5(root, snapshot));
        for gpu in &self.gpus {
            if let Some(why) = &gpu.unfit {
                needs.push(Preflight {
                    name: "gpu-to-itself".to_owned(),
                    on: Some(Resource::Gpu { index: gpu.index }),
                    state: PreflightState::Missing,
                    why: why.clone(),
                    needed_by: gpu_stages(),
                });
            }
        }
        needs
    }
}

fn need(name: &str, state: PreflightState, why: impl Into<String>) -> Preflight {
    Preflight {
        name: name.to_owned(),
        on: None,
        state,
        why: why.into(),
        needed_by: gpu_stages(),
    }
}

fn driver(snapshot: &Snapshot) -> Preflight {
    let state = |state, why: String| need("nvidia-driver", state, why);
    match &snapshot.driver.kernel_version {
        Reading::Value(version) => state(PreflightState::Met, format!("version {version}")),
        Reading::Absent(why) => state(
            PreflightState::Missing,
            format!("the kernel module is not loaded ({why}); modprobe nvidia"),
        ),
        Reading::Unsupported(why) | Reading::Failed(why) => {
            state(PreflightState::Unknown, why.clone())
        }
    }
}

/// `/dev/nvidia-uvm`, which CUDA opens and whose absence it calls "no device", and the nodes of the
/// GPUs.
fn device_nodes(root: &Root, snapshot: &Snapshot) -> Preflight {
    if snapshot.driver.kernel_version.value().is_none() {
        return need(
            "nvidia-uvm",
            PreflightState::Unknown,
            "the driver is not loaded",
        );
    }
    if root.exists("/dev/nvidia-uvm") {
        return need(
            "nvidia-uvm",
            PreflightState::Met,
            "/dev/nvidia-uvm is there",
        );
    }
    if !root.is_live() {
        return need(
            "nvidia-uvm",
            PreflightState::Unknown,
            "device nodes are those of the machine that cupel runs on",
        );
    }
    need(
        "nvidia-uvm",
        PreflightState::Missing,
        "there is no /dev/nvidia-uvm; modprobe nvidia-uvm, or nvidia-modprobe -u -c=0",
    )
}

/// On servers with NVSwitches CUDA answers 802 until the fabric manager has set them up.
fn fabric(snapshot: &Snapshot) -> Option<Preflight> {
    let registered: Vec<_> = snapshot
        .gpus
        .iter()
        .filter_map(|gpu| Some((gpu.index.value()?, gpu.fabric.value()?)))
        // What has no NVLink to a switch, as in a virtual machine with one of eight GPUs.
        .filter(|(_, fabric)| fabric.state.value().map(String::as_str) != Some("not-supported"))
        .collect();
    if snapshot.nvswitches.is_empty() && registered.is_empty() {
        return None;
    }
    let manager = snapshot
        .services
        .iter()
        .find(|service| service.name.contains("nvidia-fabricmanager"));
    let waiting: Vec<String> = registered
        .iter()
        .filter(|(_, fabric)| {
            fabric
                .state
                .value()
                .is_some_and(|state| state != "completed")
        })
        .map(|(index, _)| index.to_string())
        .collect();
    let state = |state, why: String| Some(need("fabric-manager", state, why));
    if !waiting.is_empty() {
        return state(
            PreflightState::Missing,
            format!(
                "GPUs {} are not registered with the fabric; CUDA answers 802 until they are: is nvidia-fabricmanager running, of the driver's version?",
                waiting.join(", ")
            ),
        );
    }
    match manager {
        Some(service) if service.active_state.value().is_some_and(|state| state == "active") => {
            state(PreflightState::Met, "nvidia-fabricmanager is active".to_owned())
        }
        Some(_) | None if registered.is_empty() => state(
            PreflightState::Missing,
            "there are NVSwitches and nvidia-fabricmanager is not active; CUDA answers 802 without it".to_owned(),
        ),
        Some(_) | None => state(
            PreflightState::Met,
            "every GPU is registered with the fabric".to_owned(),
        ),
    }
}

/// On B200 servers the fabric manager talks to the switches through NVLSM, over InfiniBand.
fn nvlink5(root: &Root, snapshot: &Snapshot) -> Option<Preflight> {
    let is_b200 = snapshot.gpus.iter().any(|gpu| {
        let name = gpu.identity.name.value();
        name.is_some_and(|name| name.contains("B200") || name.contains("B300"))
    });
    let several = snapshot.gpus.len() > 1;
    if !is_b200 || !several {
        return None;
    }
    let loaded = root.exists("/sys/module/ib_umad");
    Some(if loaded {
        need("nvlsm", PreflightState::Met, "ib_umad is loaded")
    } else {
        need(
            "nvlsm",
            PreflightState::Unknown,
            "ib_umad is not loaded; the NVLink subnet manager needs it (modprobe ib_umad, nvlsm installed)",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupel_health::testing::Node;

    fn set_fabric(node: &mut Node, state: &str) {
        for gpu in &mut node.snapshot.gpus {
            if let Reading::Value(fabric) = &mut gpu.fabric {
                fabric.state = Reading::Value(state.to_owned());
            }
        }
    }

    fn of(snapshot: &Snapshot) -> Option<PreflightState> {
        fabric(snapshot).map(|need| need.state)
    }

    #[test]
    fn gpus_wait_for_the_fabric_where_there_is_one() {
        let mut node = Node::good();
        assert_eq!(of(&node.snapshot), Some(PreflightState::Met));
        set_fabric(&mut node, "in-progress");
        assert_eq!(of(&node.snapshot), Some(PreflightState::Missing));
    }

    /// As NVML tells of a GPU that a virtual machine has without its NVLinks: seen on an H200.
    #[test]
    fn a_gpu_without_a_fabric_waits_for_none() {
        let mut node = Node::good();
        set_fabric(&mut node, "not-supported");
        node.snapshot.nvswitches.clear();
        assert_eq!(of(&node.snapshot), None);
    }

    /// Whatever this process's working directory is.
    #[test]
    fn device_nodes_of_this_machine_are_looked_for_from_its_root() {
        let root = Root::live();
        let told = device_nodes(&root, &Node::good().snapshot);
        let is_there = std::path::Path::new("/dev/nvidia-uvm").exists();
        assert_eq!(told.state == PreflightState::Met, is_there);
        let directory = tempfile::tempdir().expect("directory");
        std::fs::create_dir(directory.path().join("dev")).expect("dev");
        std::fs::write(directory.path().join("dev/nvidia-uvm"), "").expect("node");
        let root = Root::at(directory.path()).expect("root");
        let told = device_nodes(&root, &Node::good().snapshot);
        assert_eq!(told.state, PreflightState::Met);
    }
}
