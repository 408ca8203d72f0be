//! Names that are known by their shape: MAC addresses, GUIDs, UUIDs.

/// A shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// 8-4-4-4-12 hexadecimal digits.
    Uuid,
    /// Four groups of four hexadecimal digits with colons.
    Guid,
    /// Six groups of two hexadecimal digits with colons.
    Mac,
}

impl Pattern {
    const ALL: [Self; 3] = [Self::Uuid, Self::Guid, Self::Mac];

    fn groups(self) -> (&'static [usize], u8) {
        match self {
            Self::Uuid => (&[8, 4, 4, 4, 12], b'-'),
            Self::Guid => (&[4, 4, 4, 4], b':'),
            Self::Mac => (&[2, 2, 2, 2, 2, 2], b':'),
        }
    }

    /// Length of the shape that `text` begins with, followed by no further digit.
    pub(super) fn length(self, text: &str) -> Option<usize> {
        let bytes = text.as_bytes();
        let (groups, separator) = self.groups();
        let mut at = 0;
        for (number, digits) in groups.iter().enumerate() {
            if number > 0 {
                (bytes.get(at) == Some(&separator)).then_some(())?;
                at += 1;
            }
            let group = bytes.get(at..at + digits)?;
            group.iter().all(u8::is_ascii_hexdigit).then_some(())?;
            at += digits;
        }
        let more = bytes
            .get(at)
            .is_some_and(|next| next.is_ascii_alphanumeric());
        (!more).then_some(at)
    }
}

/// Length of whatever shape `text` begins with.
pub(super) fn find(text: &str) -> Option<usize> {
    Pattern::ALL
        .into_iter()
        .find_map(|pattern| pattern.length(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_told_from_what_looks_like_them() {
        for (text, want) in [
            ("b8:3f:d2:01:02:03 up", Some(17)),
            ("b83f:d203:0001:0203", Some(19)),
            ("4c4c4544-0042-3510-8052-b4c04f4d4733", Some(36)),
            ("0000:9b:00.0", None),
            ("12:34:56", None),
            ("b8:3f:d2:01:02:033", None),
            ("28.39.1002", None),
        ] {
            assert_eq!(find(text), want, "{text}");
        }
    }
}
