//! Which GPUs must offer ECC counters and row remapping: those with HBM.
//!
//! # Invariants
//! - Names are compared word by word: "GH200" is not "H200", and both are listed.

use cupel_model::snapshot::Gpu;

/// Product words of NVIDIA GPUs with HBM since Ampere.
const WORDS: [&str; 15] = [
    "A100", "A800", "A30", "H100", "H800", "H200", "H20", "GH200", "B100", "B200", "B300", "GB200",
    "GB300", "H200NVL", "GH100",
];

/// Whether this GPU must offer ECC and row remapping: it has HBM by its name, or its name could not
/// be read, and MIG is not on (with MIG these values are not offered for the whole GPU).
pub fn expects_memory_health(gpu: &Gpu) -> bool {
    if gpu.identity.mig_mode.get() == Some(true) {
        return false;
    }
    match gpu.identity.name.value() {
        Some(name) => name
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| WORDS.contains(&word)),
        None => gpu.identity.name.is_failed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupel_model::Reading;

    #[test]
    fn names_are_matched_by_whole_words() {
        let mut gpu = Gpu::default();
        for (name, expected) in [
            ("NVIDIA H200", true),
            ("NVIDIA A100-SXM4-80GB", true),
            ("NVIDIA L40S", false),
            ("NVIDIA RTX A3000", false),
        ] {
            gpu.identity.name = Reading::Value(name.to_owned());
            assert_eq!(expects_memory_health(&gpu), expected, "{name}");
        }
        gpu.identity.name = Reading::Value("NVIDIA H200".to_owned());
        gpu.identity.mig_mode = Reading::Value(true);
        assert!(!expects_memory_health(&gpu));
    }
}
