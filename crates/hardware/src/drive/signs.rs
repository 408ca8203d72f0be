//! Signs that somebody's data is on a drive.
//!
//! # Invariants
//! - What cannot be read is a sign: nobody writes a drive of which a part is unknown.
//! - A drive that shows nothing known must be blank as well: its beginning, its end, and many places
//!   between.

use super::direct::UNIT;
use super::signatures::SIGNATURES;

/// Something whose bytes can be looked at.
pub trait ReadAt {
    /// Its size.
    fn bytes(&self) -> u64;

    /// `length` bytes from `offset`, both multiples of 4096 (the last part may be shorter).
    ///
    /// # Errors
    /// In words.
    fn look(&self, offset: u64, length: usize) -> Result<Vec<u8>, String>;
}

/// A sign that somebody uses a drive, or did.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sign {
    /// The kernel knows of a user.
    InUse(String),
    /// Its content names what it is.
    Content(&'static str),
    /// It holds something, at this byte, that has no known name.
    NotBlank(u64),
    /// A part of it cannot be read.
    Unreadable(String),
    /// Something about the drive itself forbids it.
    Unfit(String),
}

impl std::fmt::Display for Sign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InUse(what) | Self::Unfit(what) => f.write_str(what),
            Self::Content(what) => write!(f, "it holds {what}"),
            Self::NotBlank(at) => write!(f, "it is not blank: there is data at byte {at}"),
            Self::Unreadable(why) => write!(f, "a part of it cannot be read: {why}"),
        }
    }
}

/// Read in whole at the beginning and at the end: all places of the table are in it.
const EDGE: u64 = 5 << 20;
/// Places between that must be blank.
const SAMPLES: u64 = 512;
/// OpenZFS: four labels of 256 KiB, two at each end; uberblocks in the second half of each.
const ZFS_LABEL: u64 = 256 << 10;
/// `UBERBLOCK_MAGIC`.
const ZFS_MAGIC: u64 = 0x00ba_b10c;
/// `MD_SB_MAGIC`.
const MD_MAGIC: u32 = 0xa92b_4efc;

/// All signs in the content.
pub fn signs_in(drive: &dyn ReadAt) -> Vec<Sign> {
    match look(drive) {
        Ok(signs) => signs,
        Err(why) => vec![Sign::Unreadable(why)],
    }
}

fn look(drive: &dyn ReadAt) -> Result<Vec<Sign>, String> {
    let size = drive.bytes();
    let unit = UNIT as u64;
    if size < 2 * unit {
        return Ok(vec![Sign::Unfit(format!("it has {size} bytes only"))]);
    }
    let edge = EDGE.min(size);
    let length = usize::try_from(edge).unwrap_or(UNIT);
    let head = drive.look(0, length)?;
    // The end begins at a whole unit, so that it can be read past the page cache.
    let from = (size - edge) / unit * unit;
    let tail = drive.look(from, usize::try_from(size - from).unwrap_or(UNIT))?;
    let view = View {
        size,
        head,
        tail,
        from,
    };
    let mut signs = view.names();
    if view.has_zfs() {
        signs.push(Sign::Content("a member of a ZFS pool"));
    }
    if view.has_old_raid() {
        signs.push(Sign::Content("a member of a Linux RAID"));
    }
    signs.sort();
    signs.dedup();
    // The name of an unknown thing is that it is there.
    if signs.is_empty() {
        signs.extend(view.first_data().map(Sign::NotBlank));
    }
    if signs.is_empty() {
        let gap = size / (SAMPLES + 1) / unit * unit;
        for number in 1..=SAMPLES {
            let at = number * gap;
            if gap == 0 || at + unit > size {
                break;
            }
            if !is_blank(&drive.look(at, UNIT)?) {
                signs.push(Sign::NotBlank(at));
                break;
            }
        }
    }
    Ok(signs)
}

/// All zeros, or all ones as some drives give for what was never written.
fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0) || bytes.iter().all(|byte| *byte == 0xff)
}

/// Both ends of a drive.
struct View {
    size: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
    /// Where the tail begins.
    from: u64,
}

impl View {
    fn at(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let within = |bytes: &'_ [u8], begin: u64| -> Option<(usize, usize)> {
            let first = usize::try_from(offset.checked_sub(begin)?).ok()?;
            let last = first.checked_add(length)?;
            (last <= bytes.len()).then_some((first, last))
        };
        if let Some((first, last)) = within(&self.head, 0) {
            return self.head.get(first..last);
        }
        let (first, last) = within(&self.tail, self.from)?;
        self.tail.get(first..last)
    }

    fn names(&self) -> Vec<Sign> {
        SIGNATURES
            .iter()
            .filter(|sign| {
                let at = if sign.at < 0 {
                    self.size.checked_sub(sign.at.unsigned_abs())
                } else {
                    Some(sign.at.unsigned_abs())
                };
                at.and_then(|at| self.at(at, sign.bytes.len())) == Some(sign.bytes)
            })
            .map(|sign| Sign::Content(sign.what))
            .collect()
    }

    /// An uberblock in any of the four labels, of either byte order.
    fn has_zfs(&self) -> bool {
        let whole = self.size / ZFS_LABEL * ZFS_LABEL;
        let labels = [
            Some(0),
            Some(ZFS_LABEL),
            whole.checked_sub(2 * ZFS_LABEL),
            whole.checked_sub(ZFS_LABEL),
        ];
        labels.into_iter().flatten().any(|label| {
            (0..ZFS_LABEL / 2 / 1024).any(|slot| {
                let at = label + ZFS_LABEL / 2 + slot * 1024;
                self.at(at, 8).is_some_and(|bytes| {
                    bytes == ZFS_MAGIC.to_le_bytes() || bytes == ZFS_MAGIC.to_be_bytes()
                })
            })
        })
    }

    /// Linux RAID with its superblock at the end: versions 0.90 and 1.0.
    fn has_old_raid(&self) -> bool {
        let old = (self.size & !0xffff).checked_sub(0x1_0000);
        let new = (self.size / 512)
            .checked_sub(16)
            .map(|sector| (sector & !7) * 512);
        [old, new].into_iter().flatten().any(|at| {
            self.at(at, 4).is_some_and(|bytes| {
                bytes == MD_MAGIC.to_le_bytes() || bytes == MD_MAGIC.to_be_bytes()
            })
        })
    }

    /// The first unit at either end that is not blank.
    fn first_data(&self) -> Option<u64> {
        let find = |bytes: &[u8], begin: u64| {
            let at = bytes.chunks(UNIT).position(|unit| !is_blank(unit))?;
            Some(begin + (at * UNIT) as u64)
        };
        find(&self.head, 0).or_else(|| find(&self.tail, self.from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sparse drive: what was put on it, zeros elsewhere.
    struct Image {
        size: u64,
        put: Vec<(u64, Vec<u8>)>,
        broken: Option<u64>,
    }

    impl ReadAt for Image {
        fn bytes(&self) -> u64 {
            self.size
        }

        fn look(&self, offset: u64, length: usize) -> Result<Vec<u8>, String> {
            let end = offset + length as u64;
            if self.broken.is_some_and(|at| (offset..end).contains(&at)) {
                return Err("Input/output error".to_owned());
            }
            let mut bytes = vec![0; length];
            for (at, put) in &self.put {
                let begin = (*at).max(offset);
                let stop = (at + put.len() as u64).min(end);
                let index = |place: u64| usize::try_from(place).expect("small");
                if begin < stop {
                    bytes[index(begin - offset)..index(stop - offset)]
                        .copy_from_slice(&put[index(begin - at)..index(stop - at)]);
                }
            }
            Ok(bytes)
        }
    }

    const SIZE: u64 = 3 << 30;

    fn signs(put: Vec<(u64, Vec<u8>)>) -> Vec<String> {
        let image = Image {
            size: SIZE,
            put,
            broken: None,
        };
        signs_in(&image).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_blank_drive_shows_nothing() {
        assert_eq!(signs(vec![]), Vec::<String>::new());
    }

    #[test]
    fn every_known_signature_is_named_wherever_it_stands() {
        for signature in SIGNATURES {
            let at = if signature.at < 0 {
                SIZE - signature.at.unsigned_abs()
            } else {
                signature.at.unsigned_abs()
            };
            let seen = signs(vec![(at, signature.bytes.to_vec())]);
            let want = format!("it holds {}", signature.what);
            assert!(seen.contains(&want), "{want}: {seen:?}");
        }
        let kinds: std::collections::BTreeSet<_> = SIGNATURES.iter().map(|s| s.what).collect();
        assert!(kinds.len() >= 12, "{}", kinds.len());
    }

    #[test]
    fn zfs_and_old_raid_are_found_in_all_their_places() {
        for label in [0, ZFS_LABEL, SIZE - 2 * ZFS_LABEL, SIZE - ZFS_LABEL] {
            for magic in [ZFS_MAGIC.to_le_bytes(), ZFS_MAGIC.to_be_bytes()] {
                let put = vec![(label + ZFS_LABEL / 2 + 7 * 1024, magic.to_vec())];
                assert_eq!(signs(put), ["it holds a member of a ZFS pool"], "{label}");
            }
        }
        for at in [SIZE - 0x1_0000, SIZE - 8192] {
            let seen = signs(vec![(at, MD_MAGIC.to_le_bytes().to_vec())]);
            assert_eq!(seen, ["it holds a member of a Linux RAID"], "{at}");
        }
    }

    #[test]
    fn data_without_a_name_is_found_at_the_ends_and_between() {
        for at in [0, 123_456, SIZE - 1] {
            let seen = signs(vec![(at, vec![7])]);
            assert!(seen[0].contains("not blank"), "{at}: {seen:?}");
        }
        // Anything of some size between, such as a raw database volume.
        let seen = signs(vec![(SIZE / 3, vec![1; 16 << 20])]);
        assert!(seen[0].contains("not blank"), "{seen:?}");
        assert_eq!(signs(vec![(0, vec![0xff; 4096])]), Vec::<String>::new());
    }

    #[test]
    fn what_cannot_be_read_is_a_sign() {
        for broken in [0, SIZE / 513 / 4096 * 4096, SIZE - 1] {
            let image = Image {
                size: SIZE,
                put: vec![],
                broken: Some(broken),
            };
            assert!(
                matches!(signs_in(&image)[..], [Sign::Unreadable(_)]),
                "{broken}"
            );
        }
        let tiny = Image {
            size: 512,
            put: vec![],
            broken: None,
        };
        assert!(matches!(signs_in(&tiny)[..], [Sign::Unfit(_)]));
    }
}
