//! XID 74: what the register words of an NVLink error (up to Hopper) say about its cause.
//!
//! The message carries seven words; the first, third, fourth and fifth are documented for Hopper.
//!
//! # Invariants
//! - A bit that is not documented is [`Cause::Undocumented`], never harmless.
//! - A message without all seven words has no causes: nothing is judged by half.

/// What one group of register bits points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Documented as safe to ignore.
    Ignorable,
    /// A threshold of corrected errors was passed; nothing was lost.
    CorrectedThreshold,
    /// Follows from another error; alone it is for the vendor.
    Sympathetic,
    /// Follows from another error, and the fabric must be reset.
    SympatheticFabricReset,
    /// Marginal signal: other errors first, then seating and a field diagnostic.
    MarginalSignal,
    /// Possibly mechanical: seating and connections, then a diagnostic.
    Mechanical,
    /// Likely ECC or parity in the chip; more than twice on one link is for the vendor.
    EccOrParity,
    /// Matters when it comes repeatedly.
    IfRepeated,
    /// Matters when it comes repeatedly: field diagnostic.
    IfRepeatedDiagnose,
    /// Not expected outside a laboratory.
    NotExpected,
    /// Set, and not documented.
    Undocumented,
}

/// An XID 74 message, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NvlinkError {
    /// The link's number.
    pub link: Option<u32>,
    /// The seven register words.
    pub registers: [u32; 7],
    /// What they point at, each once, sorted.
    pub causes: Vec<Cause>,
}

const fn bits<const N: usize>(list: [u32; N]) -> u32 {
    let mut mask = 0;
    let mut i = 0;
    while i < N {
        mask |= 1 << list[i];
        i += 1;
    }
    mask
}

/// Register index, bits, cause: sheet `Resolution Buckets`, WORKFLOW_NVLINK_ERR, 2025-09-30.
const BITS: [(usize, u32, Cause); 14] = [
    (0, bits([0, 23, 30]), Cause::Ignorable),
    (0, bits([1, 20]), Cause::Sympathetic),
    (0, bits([4, 5]), Cause::EccOrParity),
    (0, bits([8, 9, 12, 16, 17, 24, 28]), Cause::Mechanical),
    (0, bits([21, 22]), Cause::MarginalSignal),
    (0, bits([27, 29]), Cause::IfRepeated),
    (2, bits([0, 1, 2, 6]), Cause::EccOrParity),
    (2, bits([13]), Cause::NotExpected),
    (2, bits([16, 19]), Cause::IfRepeatedDiagnose),
    (2, bits([17, 18]), Cause::IfRepeated),
    (3, bits([16, 17]), Cause::Sympathetic),
    (3, bits([18]), Cause::SympatheticFabricReset),
    (
        4,
        bits([18, 19, 21, 22, 24, 25, 27, 28]),
        Cause::EccOrParity,
    ),
    (4, bits([20, 23, 26, 29]), Cause::CorrectedThreshold),
];

/// Takes apart "NVLink: fatal error detected on link 14(0x0, 0x0, 0x10000, 0x0, 0x0, 0x0, 0x0)".
pub fn decode(message: &str) -> Option<NvlinkError> {
    let (before, words) = message.rsplit_once('(')?;
    let (words, _) = words.split_once(')')?;
    let mut registers = [0_u32; 7];
    let mut given = 0;
    for word in words.split(',') {
        let digits = word.trim().strip_prefix("0x")?;
        *registers.get_mut(given)? = u32::from_str_radix(digits, 16).ok()?;
        given += 1;
    }
    if given != registers.len() {
        return None;
    }
    let link = before
        .rsplit_once("link ")
        .and_then(|(_, number)| number.trim().parse().ok());
    Some(NvlinkError {
        link,
        registers,
        causes: causes(&registers),
    })
}

fn causes(registers: &[u32; 7]) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, register) in registers.iter().enumerate() {
        let mut known = 0;
        for (_, mask, cause) in BITS.iter().filter(|(i, _, _)| *i == index) {
            known |= mask;
            if register & mask != 0 {
                causes.push(*cause);
            }
        }
        if register & !known != 0 {
            causes.push(Cause::Undocumented);
        }
    }
    causes.sort_unstable();
    causes.dedup();
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &str) -> Option<NvlinkError> {
        decode(&format!("NVLink: fatal error detected on link 14({words})"))
    }

    #[test]
    fn registers_point_at_causes() {
        let error = of("0x0, 0x0, 0x10000, 0x0, 0x0, 0x0, 0x0").expect("whole");
        assert_eq!(error.link, Some(14));
        assert_eq!(error.causes, [Cause::IfRepeatedDiagnose]);
        let error = of("0x00800001, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0").expect("whole");
        assert_eq!(error.causes, [Cause::Ignorable]);
        let error = of("0x100, 0x0, 0x0, 0x40000, 0x100000, 0x0, 0x1").expect("whole");
        assert_eq!(
            error.causes,
            [
                Cause::CorrectedThreshold,
                Cause::SympatheticFabricReset,
                Cause::Mechanical,
                Cause::Undocumented
            ]
        );
    }

    #[test]
    fn nothing_is_judged_by_half() {
        assert_eq!(of("0x0, 0x0, 0x10000"), None);
        assert_eq!(of("0x0, 0x0, zz, 0x0, 0x0, 0x0, 0x0"), None);
        assert_eq!(of("0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0"), None);
        assert_eq!(
            decode("NVLink: fatal error detected on link 14(0x0, 0x0"),
            None
        );
    }
}
