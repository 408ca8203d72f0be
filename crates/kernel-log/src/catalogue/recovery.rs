//! The driver's recovery action, as XID 154 writes it and NVML numbers it.
//!
//! # Invariants
//! - The words win over the number: numbers were added over time, words say what they say.
//! - What is not known means that a person must look; it is never "none".

use cupel_model::{RemedyAction, Severity};

/// What the driver wants done to a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryAction {
    /// 0: nothing.
    None,
    /// 1: reset the GPU.
    GpuReset,
    /// 2: reboot the node.
    NodeReboot,
    /// 3: end the peer-to-peer traffic.
    DrainP2p,
    /// 4: end all work, then reset.
    DrainAndReset,
    /// 5: recover the IMEX domain.
    RecoverImexDomain,
    /// 6: reset the bus above the GPU.
    BusReset,
    /// 7: reboot the system.
    SystemReboot,
}

impl RecoveryAction {
    /// By NVML's number.
    pub fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::GpuReset),
            2 => Some(Self::NodeReboot),
            3 => Some(Self::DrainP2p),
            4 => Some(Self::DrainAndReset),
            5 => Some(Self::RecoverImexDomain),
            6 => Some(Self::BusReset),
            7 => Some(Self::SystemReboot),
            _ => None,
        }
    }

    /// By the driver's words, with or without "Required".
    pub fn from_words(words: &str) -> Option<Self> {
        let lower = words.trim().to_ascii_lowercase();
        match lower.strip_suffix(" required").unwrap_or(&lower).trim() {
            "none" => Some(Self::None),
            "gpu reset" | "reset" => Some(Self::GpuReset),
            "node reboot" | "reboot" => Some(Self::NodeReboot),
            "drain p2p" => Some(Self::DrainP2p),
            "drain and reset" => Some(Self::DrainAndReset),
            "recover imex domain" => Some(Self::RecoverImexDomain),
            "bus reset" => Some(Self::BusReset),
            "system reboot" => Some(Self::SystemReboot),
            _ => None,
        }
    }

    /// Reads "… changed from 0x0 (None) to 0x1 (GPU Reset Required)": the new action.
    pub fn from_message(message: &str) -> Option<Self> {
        let (_, new) = message.rsplit_once(" to ")?;
        let new = new.trim();
        let (number, words) = match new.split_once('(') {
            Some((number, words)) => (number.trim(), words.split(')').next()),
            None => (new, None),
        };
        words.and_then(Self::from_words).or_else(|| {
            let digits = number.strip_prefix("0x")?;
            let digits = digits.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
            // Words that are there and not known outrank a number that is.
            match words {
                Some(_) => None,
                None => Self::from_number(u32::from_str_radix(digits, 16).ok()?),
            }
        })
    }

    /// Cupel's first step for it.
    pub fn remedy(self) -> RemedyAction {
        match self {
            Self::None => RemedyAction::None,
            Self::GpuReset => RemedyAction::ResetGpu,
            Self::NodeReboot | Self::SystemReboot => RemedyAction::RebootNode,
            Self::DrainP2p | Self::DrainAndReset => RemedyAction::Drain,
            Self::RecoverImexDomain => RemedyAction::RecoverImex,
            Self::BusReset => RemedyAction::ResetBus,
        }
    }

    /// How bad it is that the driver asks for it.
    pub fn severity(self) -> Severity {
        match self {
            Self::None => Severity::Info,
            Self::DrainP2p | Self::RecoverImexDomain => Severity::Warning,
            Self::GpuReset
            | Self::NodeReboot
            | Self::DrainAndReset
            | Self::BusReset
            | Self::SystemReboot => Severity::Critical,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_action_is_read() {
        for (message, want) in [
            (
                "GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)",
                Some(RecoveryAction::GpuReset),
            ),
            (
                "GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)",
                Some(RecoveryAction::None),
            ),
            (
                "GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)",
                Some(RecoveryAction::NodeReboot),
            ),
            (
                "GPU recovery action changed from 0x0 (None) to 0x4 (Drain and Reset)",
                Some(RecoveryAction::DrainAndReset),
            ),
            (
                "changed from 0x0 (None) to 0x6",
                Some(RecoveryAction::BusReset),
            ),
            ("changed from 0x0 (None) to 0x9", None),
            ("changed from 0x0 (None) to 0x0 (Something New)", None),
            ("changed from 0x0 (None", None),
            ("(", None),
        ] {
            assert_eq!(RecoveryAction::from_message(message), want, "{message}");
        }
    }

    #[test]
    fn only_none_is_none() {
        for number in 1..8 {
            let action = RecoveryAction::from_number(number).expect("known");
            assert_ne!(action.remedy(), RemedyAction::None);
        }
        assert_eq!(RecoveryAction::from_number(8), None);
    }
}
