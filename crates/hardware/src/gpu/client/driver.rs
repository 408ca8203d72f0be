//! The driver, as far as library and kernel tell of it.

use cupel_model::Reading;
use cupel_model::snapshot::{Driver, WorkerState};
use cupel_model::worker::{Opened, Refused};

use super::super::KernelDriver;
use super::Client;

impl Client {
    /// What is told of the driver after a collection that came to `worker`.
    pub(super) fn driver(
        &self,
        kernel: &KernelDriver,
        worker: WorkerState,
        refused: Option<&Refused>,
    ) -> Driver {
        let told = self.open.as_ref();
        let why = match &worker {
            WorkerState::Answered { .. } => "the worker was lost".to_owned(),
            WorkerState::NotStarted { why } | WorkerState::Failed { why, .. } => why.clone(),
        };
        let lack = |pick: fn(&Opened) -> &Reading<String>| match (told, &worker) {
            (Some(open), _) => pick(&open.opened).clone(),
            (None, WorkerState::NotStarted { .. }) => Reading::absent(&why),
            (None, WorkerState::Answered { .. } | WorkerState::Failed { .. }) => {
                Reading::failed(&why)
            }
        };
        Driver {
            kernel_version: kernel.version.clone(),
            flavour: kernel.flavour.clone(),
            library_version: lack(|opened| &opened.driver_version),
            nvml_version: match refused {
                Some(refused) => refused.nvml_version.clone(),
                None => lack(|opened| &opened.nvml_version),
            },
            cuda_version: lack(|opened| &opened.cuda_version),
            library_path: match (told, refused) {
                (Some(open), _) => open
                    .opened
                    .library_path
                    .clone()
                    .or(Reading::Value(open.library.clone())),
                (None, Some(refused)) => refused.library_path.clone(),
                (None, None) => lack(|opened| &opened.library_path),
            },
            worker,
        }
    }
}
