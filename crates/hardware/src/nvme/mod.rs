//! NVMe controllers: sysfs, and the controller's own pages (Identify, SMART / health, firmware
//! slots).
//!
//! # Invariants
//! - Each controller is asked on its own thread: a dead one keeps an admin command for a minute.
//! - Commands only read, but for those of [`SelfTester`], which start and end the controller's own
//!   test of itself. None carries a time limit of its own: the kernel answers an expired one by
//!   resetting the controller.

mod ioctl;
mod pages;
mod read;
mod self_test;

pub use pages::{
    FIRMWARE_SLOTS_BYTES, HEALTH_BYTES, IDENTIFY_BYTES, Identify, PageError, parse_firmware_slots,
    parse_health, parse_identify,
};
pub use read::{names, namespaces, one, unread};
pub use self_test::{
    SELF_TEST_BYTES, SelfTestEnd, SelfTestKind, SelfTestLog, SelfTester, parse_self_test,
};
