//! What stages are laid on, and whether two of them disturb each other there.
//!
//! # Invariants
//! - Two stages that claim nothing in common, or the same thing [`Use::Shared`] both, may run at
//!   once. Everything else is one after the other.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A part of the machine that a stage is laid on.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Resource {
    /// All of it: nothing else may run.
    Node,
    /// Every processor.
    Processors,
    /// Memory of a NUMA node: its bandwidth.
    Memory {
        /// Number of the node.
        node: u32,
    },
    /// A GPU.
    Gpu {
        /// NVML index.
        index: u32,
    },
    /// What connects GPUs with each other.
    GpuFabric,
    /// A drive.
    Drive {
        /// Kernel's name of the controller.
        name: String,
    },
    /// An RDMA adapter.
    Adapter {
        /// Kernel's name.
        name: String,
    },
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("the whole node"),
            Self::Processors => f.write_str("every processor"),
            Self::Memory { node } => write!(f, "memory of NUMA node {node}"),
            Self::Gpu { index } => write!(f, "GPU {index}"),
            Self::GpuFabric => f.write_str("the links between GPUs"),
            Self::Drive { name } => write!(f, "drive {name}"),
            Self::Adapter { name } => write!(f, "adapter {name}"),
        }
    }
}

/// How a stage uses a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// It measures it or fills it: whoever else uses it falsifies the result.
    Alone,
    /// It loads it and measures nothing there that a second load would falsify.
    Shared,
}

/// A resource that a stage claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Claim {
    /// What.
    pub resource: Resource,
    /// How.
    pub how: Use,
    /// Whether the stage can do without it once it is lost: a stage over all GPUs goes on over
    /// those that are left.
    #[serde(default)]
    pub dispensable: bool,
}

impl Claim {
    /// For itself alone.
    pub fn alone(resource: Resource) -> Self {
        Self {
            resource,
            how: Use::Alone,
            dispensable: false,
        }
    }

    /// Together with other loads.
    pub fn shared(resource: Resource) -> Self {
        Self {
            resource,
            how: Use::Shared,
            dispensable: false,
        }
    }

    /// The same, and the stage can do without.
    #[must_use]
    pub fn dispensable(mut self) -> Self {
        self.dispensable = true;
        self
    }

    /// Whether two claims keep their stages apart.
    pub fn disturbs(&self, other: &Self) -> bool {
        if self.resource == Resource::Node || other.resource == Resource::Node {
            return true;
        }
        self.resource == other.resource && (self.how == Use::Alone || other.how == Use::Alone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_shared_use_and_different_things_go_together() {
        let gpu = |index| Resource::Gpu { index };
        let disturbs = |a: Claim, b: Claim| {
            assert_eq!(a.disturbs(&b), b.disturbs(&a));
            a.disturbs(&b)
        };
        assert!(disturbs(Claim::alone(gpu(0)), Claim::alone(gpu(0))));
        assert!(disturbs(Claim::alone(gpu(0)), Claim::shared(gpu(0))));
        assert!(!disturbs(Claim::shared(gpu(0)), Claim::shared(gpu(0))));
        assert!(!disturbs(Claim::alone(gpu(0)), Claim::alone(gpu(1))));
        assert!(disturbs(
            Claim::alone(Resource::Node),
            Claim::shared(gpu(1))
        ));
    }
}
