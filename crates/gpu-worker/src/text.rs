//! Text that a driver wrote into a buffer.

use cupel_model::Reading;

/// The text up to the first NUL within `buffer`; blank is absent, and what is unterminated, not
/// UTF-8 or not printable has failed.
pub fn read(call: &str, buffer: &[u8]) -> Reading<String> {
    let Some(end) = buffer.iter().position(|byte| *byte == 0) else {
        return Reading::failed(format!("{call}: text without an end"));
    };
    let Ok(text) = std::str::from_utf8(&buffer[..end]) else {
        return Reading::failed(format!("{call}: text that is not UTF-8"));
    };
    let text = text.trim();
    if text.chars().any(char::is_control) {
        return Reading::failed(format!("{call}: text with control characters"));
    }
    if text.is_empty() {
        return Reading::absent(format!("{call}: empty"));
    }
    Reading::Value(text.to_owned())
}

/// CPUs in a mask of 64-bit words, least significant first, as the kernel writes a list (`0-31,64`).
pub fn cpu_list(words: &[u64]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for (index, word) in words.iter().enumerate() {
        for bit in (0..64).filter(|bit| word >> bit & 1 == 1) {
            let cpu = index * 64 + bit;
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == cpu => *last = cpu,
                Some(_) | None => ranges.push((cpu, cpu)),
            }
        }
    }
    let parts: Vec<String> = ranges
        .into_iter()
        .map(|(first, last)| {
            if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            }
        })
        .collect();
    parts.join(",")
}

/// 16 bytes as a UUID with dashes.
pub fn uuid(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_at_its_nul_and_nowhere_else() {
        assert_eq!(
            read("f", b"NVIDIA H200\0\xff\xff"),
            Reading::Value("NVIDIA H200".to_owned())
        );
        assert!(read("f", b"NVIDIA").is_failed());
        assert!(read("f", b"").is_failed());
        assert!(read("f", b"\xff\xfe\0").is_failed());
        assert!(read("f", b"a\x1b[31m\0").is_failed());
        assert!(matches!(read("f", b" \0"), Reading::Absent(_)));
    }

    #[test]
    fn masks_become_kernel_lists() {
        assert_eq!(cpu_list(&[0xffff_ffff]), "0-31");
        assert_eq!(cpu_list(&[1 << 63, 1]), "63-64");
        assert_eq!(cpu_list(&[0b1011]), "0-1,3");
        assert_eq!(cpu_list(&[]), "");
    }

    #[test]
    fn uuids_have_dashes() {
        assert_eq!(uuid(&[0xc0; 16]), "c0c0c0c0-c0c0-c0c0-c0c0-c0c0c0c0c0c0");
    }
}
