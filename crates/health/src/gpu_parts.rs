//! Naming a GPU, and asking each GPU the same question.

use cupel_model::snapshot::{Gpu, WorkerState};
use cupel_model::{Component, ComponentKind};

use crate::context::{Context, GpuPart};
use crate::outcome::Outcome;

impl GpuPart<'_> {
    /// The GPU as a finding's component: of a lost one, the serial last seen in this slot.
    pub fn component(&self, kind: ComponentKind) -> Component {
        let serial = self.gpu.identity.serial.value().cloned();
        Component {
            kind,
            index: self
                .gpu
                .index
                .get()
                .or_else(|| self.remembered.and_then(|part| part.index)),
            serial: serial.or_else(|| self.remembered.and_then(|part| part.serial.clone())),
            pci: self.gpu.pci.get(),
            slot: self.slot.clone(),
        }
    }

    /// The GPU in few words, for the coverage: its slot, else its address, else its index.
    pub fn short(&self) -> String {
        match (&self.slot, self.gpu.pci.get(), self.gpu.index.get()) {
            (Some(slot), _, _) => slot.clone(),
            (None, Some(pci), _) => format!("GPU at {pci}"),
            (None, None, Some(index)) => format!("GPU {index}"),
            (None, None, None) => "a GPU".to_owned(),
        }
    }

    /// The GPU in a sentence.
    pub fn name(&self) -> String {
        let component = self.component(ComponentKind::Gpu);
        let model = self.gpu.identity.name.value().cloned();
        let model = model.or_else(|| self.remembered.and_then(|part| part.name.clone()));
        gpu_name(&component, model.as_deref())
    }

    /// Why the driver can tell nothing about this GPU; `None` when it can.
    pub fn blind(&self, context: &Context<'_>) -> Option<String> {
        if self.loss.as_ref().is_some_and(|loss| {
            loss.silent || loss.dropped || self.gpu.in_driver.get() != Some(true)
        }) {
            return Some("off the bus".to_owned());
        }
        match &context.snapshot.driver.worker {
            WorkerState::Answered { .. } => {}
            WorkerState::NotStarted { why } => return Some(format!("no driver to ask: {why}")),
            WorkerState::Failed { why, .. } => {
                return Some(format!("the driver did not initialise: {why}"));
            }
        }
        match self.gpu.in_driver.get() {
            Some(true) => None,
            Some(false) => Some("the driver does not list it".to_owned()),
            None => self.gpu.in_driver.why().map(str::to_owned),
        }
    }
}

/// A GPU in a sentence: `GPU 2 in SXM 3 (NVIDIA H200, serial 165…, 0000:5d:00.0)`.
pub fn gpu_name(component: &Component, model: Option<&str>) -> String {
    let mut name = "GPU".to_owned();
    if let Some(index) = component.index {
        name.push_str(&format!(" {index}"));
    }
    if let Some(slot) = &component.slot {
        name.push_str(&format!(" in {slot}"));
    }
    let serial = component
        .serial
        .as_ref()
        .map(|serial| format!("serial {serial}"));
    let pci = component.pci.map(|pci| pci.to_string());
    let known: Vec<String> = [model.map(str::to_owned), serial, pci]
        .into_iter()
        .flatten()
        .collect();
    if !known.is_empty() {
        name.push_str(&format!(" ({})", known.join(", ")));
    }
    name
}

/// Asks each GPU that the driver can tell about. A GPU it cannot tell about is unknown; a node
/// without GPUs, or with all of them passed through, is skipped.
pub fn each_gpu(
    context: &Context<'_>,
    mut judge: impl FnMut(&GpuPart<'_>, &Gpu, &mut Outcome),
) -> Outcome {
    if let Some(why) = no_gpus(context) {
        return why;
    }
    let mut outcome = Outcome::default();
    for part in &context.gpus {
        match part.blind(context) {
            Some(why) => outcome.unknown(&part.short(), why),
            None => judge(part, part.gpu, &mut outcome),
        }
    }
    outcome
}

/// The outcome of every check that asks GPUs, where there is none to ask.
pub fn no_gpus(context: &Context<'_>) -> Option<Outcome> {
    not_for_gpus(context).or_else(|| {
        let found = !context.gpus.is_empty();
        (!found).then(|| Outcome::undetermined("GPUs", none_found(context)))
    })
}

/// The outcome of every check of the GPUs' driver, where the host needs none.
pub fn not_for_gpus(context: &Context<'_>) -> Option<Outcome> {
    let passed = "the GPUs are passed through to virtual machines";
    gpu_less(context).or_else(|| context.passed_through().then(|| Outcome::skipped(passed)))
}

/// The outcome of every check of GPUs on a node that has none, or of which that is not known.
pub fn gpu_less(context: &Context<'_>) -> Option<Outcome> {
    if context.has_gpus() {
        return None;
    }
    Some(match context.bus_unread() {
        Some(_) if context.passed_through() => {
            Outcome::skipped("the GPUs are passed through to virtual machines")
        }
        Some(why) => Outcome::undetermined("GPUs", why),
        None => Outcome::skipped("no NVIDIA GPU"),
    })
}

/// Why no GPU is listed on a node that should have some.
pub fn none_found(context: &Context<'_>) -> String {
    context
        .bus_unread()
        .unwrap_or_else(|| "none was found where the platform has some".to_owned())
}
