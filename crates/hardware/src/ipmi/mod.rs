//! The management controller, asked in-band: device id, sensors, event log.
//!
//! # Invariants
//! - Asking only reads.
//! - Controllers are slow: sensors and events are read when they are asked for, and until a
//!   deadline; what was read by then is kept, and the rest is told as a problem.
//! - Parsers are pure functions on bytes.
//!
//! # What is absent
//! No network, no other controller than the one at this machine's own interface.

mod device;
mod identity;
mod read;
mod sdr;
mod sel;
mod transport;
mod words;

pub use identity::parse_device_id;
pub use read::collect;
pub use sdr::{Record, SdrError, SensorRecord, parse_reading, parse_record};
pub use sel::{SelInfo, parse_record as parse_sel_record, parse_sel_info};
