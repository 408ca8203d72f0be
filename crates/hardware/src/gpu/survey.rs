//! What NVML told of each GPU, before it is merged with the PCI bus.

use cupel_model::snapshot::{Gpu, HungCall};
use cupel_model::worker::{Answer, Group, Opened};
use cupel_model::{PciAddress, Reading};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Nothing there to ask.
    Absent,
    /// Asking went wrong.
    Failed,
}

impl Lack {
    /// A reading without a value.
    pub fn reading<T>(self, why: &str) -> Reading<T> {
        match self {
            Self::Absent => Reading::absent(why),
            Self::Failed => Reading::failed(why),
        }
    }
}

/// A value of which every reading is without a value, for one reason.
///
/// A new reading is `Failed("not read")`; in the serialised form of a new value each of those is
/// replaced, so that a field added to the model is never forgotten here.
fn lacking<T: Default + Serialize + DeserializeOwned>(lack: Lack, why: &str) -> T {
    let unread = json!(Reading::<()>::default());
    let reason = json!(lack.reading::<()>(why));
    serde_json::to_value(T::default())
        .and_then(|mut value| {
            replace(&mut value, &unread, &reason);
            // As an answer of the worker is read, not in a way of its own.
            serde_json::from_slice(&serde_json::to_vec(&value)?)
        })
        .unwrap_or_default()
}

fn replace(value: &mut Value, unread: &Value, reason: &Value) {
    if value == unread {
        *value = reason.clone();
        return;
    }
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        Value::Array(values) => values
            .iter_mut()
            .for_each(|value| replace(value, unread, reason)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|value| replace(value, unread, reason)),
    }
}

/// A GPU of which nothing is known, for one reason.
pub fn unknown(lack: Lack, why: &str) -> Gpu {
    lacking(lack, why)
}

/// Puts an answer where it belongs.
pub fn fill(gpu: &mut Gpu, answer: Answer) {
    match answer {
        Answer::Identity(identity) => gpu.identity = identity,
        Answer::Memory(memory) => gpu.memory = memory,
        Answer::Ecc(ecc) => gpu.ecc = ecc,
        Answer::RemappedRows(rows) => gpu.remapped_rows = rows,
        Answer::RetiredPages(pages) => gpu.retired_pages = pages,
        Answer::Thermal(thermal) => gpu.thermal = thermal,
        Answer::Clocks(clocks) => gpu.clocks = clocks,
        Answer::Pcie(pcie) => gpu.pcie = pcie,
        Answer::Nvlink(nvlink) => gpu.nvlink = nvlink,
        Answer::Fabric(fabric) => gpu.fabric = fabric,
        Answer::Processes(processes) => gpu.processes = processes,
        // No part of a GPU; the client asks for them by themselves.
        Answer::Opened(_)
        | Answer::Refused(_)
        | Answer::Watched(_)
        | Answer::Closed
        | Answer::Burn(_) => {}
    }
}

/// Says of a whole group why it has no values.
pub fn fail(gpu: &mut Gpu, group: Group, why: &str) {
    let lack = Lack::Failed;
    match group {
        Group::Identity => gpu.identity = lacking(lack, why),
        Group::Memory => gpu.memory = lacking(lack, why),
        Group::Ecc => gpu.ecc = lacking(lack, why),
        Group::RemappedRows => gpu.remapped_rows = Reading::failed(why),
        Group::RetiredPages => gpu.retired_pages = Reading::failed(why),
        Group::Thermal => gpu.thermal = lacking(lack, why),
        Group::Clocks => gpu.clocks = lacking(lack, why),
        Group::Pcie => gpu.pcie = lacking(lack, why),
        Group::Nvlink => gpu.nvlink = Reading::failed(why),
        Group::Fabric => gpu.fabric = Reading::failed(why),
        Group::Processes => gpu.processes = lacking(lack, why),
    }
}

/// One GPU of NVML's list.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// NVML index.
    pub index: u32,
    /// Where it is, as NVML says.
    pub address: Reading<PciAddress>,
    /// Its values, as far as they were read.
    pub gpu: Gpu,
}

impl Listed {
    /// A GPU as the list has it, with nothing read yet. Without an address there is no handle, or
    /// none that was tried.
    pub fn new(index: u32, address: &Reading<PciAddress>) -> Self {
        let mut gpu = match address.why() {
            None => Gpu::default(),
            Some(why) => unknown(Lack::Failed, why),
        };
        gpu.index = Reading::Value(index);
        gpu.in_driver = match address {
            Reading::Value(_) => Reading::Value(true),
            // A library that lacks the function says nothing of the GPU.
            Reading::Unsupported(why) => Reading::unsupported(why),
            Reading::Absent(_) | Reading::Failed(_) => Reading::Value(false),
        };
        gpu.pci = address.clone();
        Self {
            index,
            address: address.clone(),
            gpu,
        }
    }

    /// A GPU that was not asked, or only in part.
    pub fn give_up(&mut self, groups: &[Group], why: &str, hung: Option<HungCall>) {
        for group in groups {
            fail(&mut self.gpu, *group, why);
        }
        self.gpu.hung = hung;
    }
}

/// What NVML lists.
pub fn list(opened: &Opened) -> Vec<Listed> {
    (0_u32..)
        .zip(&opened.gpus)
        .map(|(index, address)| Listed::new(index, address))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reading_of_an_unknown_gpu_says_why() {
        let gpu = unknown(Lack::Absent, "no driver");
        let json = serde_json::to_string(&gpu).expect("json");
        assert!(!json.contains("not read"), "{json}");
        assert_eq!(
            gpu.ecc.volatile.dram_uncorrected,
            Reading::absent("no driver")
        );
        assert_eq!(gpu.nvlink, Reading::absent("no driver"));
        assert_eq!(gpu.identity.serial, Reading::absent("no driver"));
    }

    #[test]
    fn every_group_fails_as_a_whole_and_alone() {
        for group in Group::ALL {
            let mut gpu = Gpu::default();
            fail(&mut gpu, group, "lost");
            assert_ne!(gpu, Gpu::default(), "{group:?}");
            for other in Group::ALL {
                fail(&mut gpu, other, "lost");
            }
            gpu.index = Reading::Value(0);
            gpu.pci = Reading::absent("");
            gpu.slot = Reading::absent("");
            gpu.on_bus = Reading::Value(true);
            gpu.in_driver = Reading::Value(true);
            let json = serde_json::to_string(&gpu).expect("json");
            assert!(!json.contains("not read"), "{json}");
        }
    }
}
