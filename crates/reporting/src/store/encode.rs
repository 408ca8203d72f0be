//! From a report to the bytes that travel.
//!
//! # Invariants
//! - Never more than the inventory takes, neither compressed nor expanded; counting stops there, so
//!   that no report can take all memory.
//! - The frame names its size and has a checksum: whoever reads it knows beforehand and afterwards.

use std::io::{self, Write};

use cupel_model::wire::{REPORT_BYTES, REPORT_BYTES_EXPANDED, Report};

use super::error::CommitError;
use super::spool::{Class, Parcel, Spooled};

/// zstd's own default: a full report shrinks to about a tenth at little cost.
const LEVEL: i32 = 3;

/// Encodes a report whose `sequence` and `dropped` are set. `index` is for the error.
pub(super) fn encode(index: usize, report: &Report) -> Result<Parcel, CommitError> {
    let class = Class::of(&report.body);
    let what = class.name();
    let mut json = Capped::default();
    if let Err(source) = serde_json::to_writer(&mut json, report) {
        return Err(if json.overflowed {
            CommitError::TooLarge {
                index,
                what,
                bytes: REPORT_BYTES_EXPANDED + 1,
                stage: "before compression",
                limit: REPORT_BYTES_EXPANDED,
            }
        } else {
            CommitError::Unwritable {
                index,
                what,
                source: source.into(),
            }
        });
    }
    let bytes = compress(&json.bytes).map_err(|source| CommitError::Unwritable {
        index,
        what,
        source,
    })?;
    if bytes.len() > REPORT_BYTES {
        return Err(CommitError::TooLarge {
            index,
            what,
            bytes: bytes.len(),
            stage: "compressed",
            limit: REPORT_BYTES,
        });
    }
    Ok(Parcel {
        report: Spooled {
            node: report.node.clone(),
            boot: report.boot.clone(),
            sequence: report.sequence,
            class,
            bytes,
        },
        made_at: report.made_at,
        carries: report.dropped,
    })
}

fn compress(json: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    compressor.include_checksum(true)?;
    compressor.include_contentsize(true)?;
    compressor.compress(json)
}

/// Memory that takes no more than the inventory does.
#[derive(Default)]
struct Capped {
    bytes: Vec<u8>,
    overflowed: bool,
}

impl Write for Capped {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + part.len() > REPORT_BYTES_EXPANDED {
            self.overflowed = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
