//! Stages that cannot begin: what they need was looked for beforehand and is not there.

use std::time::Duration;

use crate::resource::Claim;
use crate::result::{Preflight, PreflightState, StageResult};
use crate::stage::{Stage, StageSpec, Watch};
use crate::stage_kind::StageName;

/// A stage that is not begun, and why.
#[derive(Debug)]
pub struct Blocked {
    /// Its name.
    pub name: StageName,
    /// What it would have done.
    pub what: String,
    /// Why it cannot.
    pub why: String,
}

impl Stage for Blocked {
    fn spec(&self) -> StageSpec {
        StageSpec {
            name: self.name.clone(),
            what: format!("NOT BEGUN: {}", self.why),
            claims: Vec::new(),
            expected: Duration::ZERO,
            at_most: Duration::from_secs(1),
            required: true,
        }
    }

    fn run(self: Box<Self>, _: &Watch) -> StageResult {
        StageResult {
            what: self.what,
            ..StageResult::incomplete(self.name, self.why)
        }
    }
}

/// Why a stage cannot begin, if something that it needs is missing.
fn missing(spec: &StageSpec, preflight: &[Preflight]) -> Option<String> {
    let on = |need: &Preflight| match &need.on {
        None => true,
        // A stage over several goes on over those that are fit.
        Some(resource) => spec
            .claims
            .iter()
            .any(|claim: &Claim| claim.resource == *resource && !claim.dispensable),
    };
    preflight
        .iter()
        .filter(|need| need.state == PreflightState::Missing)
        .find(|need| need.needed_by.contains(&spec.name.kind) && on(need))
        .map(|need| format!("{}: {}", need.name, need.why))
}

/// The stages, those replaced that cannot begin.
pub(crate) fn hold_back(
    stages: Vec<Box<dyn Stage>>,
    preflight: &[Preflight],
) -> Vec<Box<dyn Stage>> {
    stages
        .into_iter()
        .map(|stage| {
            let spec = stage.spec();
            match missing(&spec, preflight) {
                Some(why) => Box::new(Blocked {
                    name: spec.name,
                    what: spec.what,
                    why,
                }),
                None => stage,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Resource;
    use crate::stage_kind::StageKind;

    fn spec(name: &str, claims: Vec<Claim>) -> StageSpec {
        StageSpec {
            name: name.parse().expect("a name"),
            what: String::new(),
            claims,
            expected: Duration::ZERO,
            at_most: Duration::ZERO,
            required: true,
        }
    }

    #[test]
    fn what_is_missing_holds_back_what_needs_it_and_nothing_else() {
        let gpu = |index| Resource::Gpu { index };
        let need = |on: Option<Resource>, state| Preflight {
            name: "fabric-manager".to_owned(),
            on,
            state,
            why: "it does not run".to_owned(),
            needed_by: vec![StageKind::GpuMemory, StageKind::GpuLinks],
        };
        let memory = spec("gpu-memory/gpu1", vec![Claim::alone(gpu(1))]);
        let links = spec("gpu-links", vec![Claim::alone(gpu(1)).dispensable()]);
        let cpu = spec("cpu", vec![Claim::alone(Resource::Processors)]);
        let all = [need(None, PreflightState::Missing)];
        assert_eq!(
            missing(&memory, &all).as_deref(),
            Some("fabric-manager: it does not run")
        );
        assert!(missing(&links, &all).is_some());
        assert!(missing(&cpu, &all).is_none());
        let one = [need(Some(gpu(1)), PreflightState::Missing)];
        assert!(missing(&memory, &one).is_some());
        assert!(missing(&links, &one).is_none());
        let unknown = [need(None, PreflightState::Unknown)];
        assert!(missing(&memory, &unknown).is_none());
    }
}
