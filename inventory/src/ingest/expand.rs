//! Undoes the compression of a request, with a limit that a bomb runs into early.

use std::io::Read;

/// How a body is compressed, by `Content-Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// It is not.
    Identity,
    /// RFC 8878.
    Zstd,
    /// RFC 1952.
    Gzip,
}

impl Encoding {
    /// What is accepted, for the `Accept-Encoding` of a refusal.
    pub const ACCEPTED: &str = "zstd, gzip, identity";

    /// From the header's value.
    pub fn from_header(value: &str) -> Option<Self> {
        match value.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "zstd" => Some(Self::Zstd),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            _ => None,
        }
    }
}

/// Largest window of a zstd frame, as a power of two: 16 MiB. What `cupel` sends needs 2 MiB.
const LARGEST_WINDOW: u32 = 24;

/// Why a body could not be expanded.
#[derive(Debug, thiserror::Error)]
pub enum ExpandError {
    /// It is longer than it may be.
    #[error("expands to more than {0} bytes")]
    TooLong(usize),
    /// It is not what its header says.
    #[error("is not valid {encoding}")]
    Broken {
        /// Name of the encoding.
        encoding: &'static str,
        /// The decoder's word.
        #[source]
        source: std::io::Error,
    },
}

/// The body without its compression, at most `limit` bytes of it.
///
/// # Errors
/// [`ExpandError`].
pub fn expand(encoding: Encoding, body: Vec<u8>, limit: usize) -> Result<Vec<u8>, ExpandError> {
    let broken = |encoding| move |source| ExpandError::Broken { encoding, source };
    match encoding {
        Encoding::Identity if body.len() > limit => Err(ExpandError::TooLong(limit)),
        Encoding::Identity => Ok(body),
        Encoding::Gzip => read(flate2::read::MultiGzDecoder::new(&body[..]), "gzip", limit),
        Encoding::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(&body[..]).map_err(broken("zstd"))?;
            decoder
                .window_log_max(LARGEST_WINDOW)
                .map_err(broken("zstd"))?;
            read(decoder, "zstd", limit)
        }
    }
}

fn read(from: impl Read, encoding: &'static str, limit: usize) -> Result<Vec<u8>, ExpandError> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    from.take(most)
        .read_to_end(&mut bytes)
        .map_err(|source| ExpandError::Broken { encoding, source })?;
    if bytes.len() > limit {
        return Err(ExpandError::TooLong(limit));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::bulk::compress(bytes, 3).expect("memory")
    }

    #[test]
    fn each_encoding_gives_the_text_back() {
        let text = b"{\"a\": [1, 2, 3]}".repeat(50);
        for (encoding, body) in [
            (Encoding::Identity, text.clone()),
            (Encoding::Gzip, gzip(&text)),
            (Encoding::Zstd, zstd(&text)),
        ] {
            assert_eq!(expand(encoding, body, 4096).expect("expanded"), text);
        }
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit() {
        let zeros = vec![0_u8; 20 << 20];
        for (encoding, body) in [
            (Encoding::Gzip, gzip(&zeros)),
            (Encoding::Zstd, zstd(&zeros)),
        ] {
            assert!(body.len() < 64 << 10);
            let refused = expand(encoding, body, 1 << 20);
            assert!(
                matches!(refused, Err(ExpandError::TooLong(_))),
                "{encoding:?}"
            );
        }
    }

    #[test]
    fn a_huge_window_and_nonsense_are_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("encoder");
        encoder.window_log(27).expect("window");
        encoder.write_all(&[7; 4096]).expect("memory");
        let huge = encoder.finish().expect("memory");
        for (encoding, body) in [
            (Encoding::Zstd, huge),
            (Encoding::Zstd, b"nonsense".to_vec()),
            (Encoding::Gzip, b"nonsense".to_vec()),
            (Encoding::Gzip, gzip(b"cut off")[..12].to_vec()),
        ] {
            let refused = expand(encoding, body, 1 << 20);
            assert!(
                matches!(refused, Err(ExpandError::Broken { .. })),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn encodings_are_known_by_their_header() {
        assert_eq!(Encoding::from_header("ZSTD"), Some(Encoding::Zstd));
        assert_eq!(Encoding::from_header("br"), None);
        assert_eq!(Encoding::from_header("gzip, zstd"), None);
    }
}
