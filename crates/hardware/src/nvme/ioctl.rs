//! Admin commands to an NVMe controller, through the kernel.
#![expect(unsafe_code, reason = "an ioctl with a pointer into a buffer of ours")]

use std::fs::File;
use std::os::fd::AsRawFd;

use nix::errno::Errno;

/// `struct nvme_admin_cmd` of the kernel.
#[repr(C)]
#[derive(Default)]
pub(super) struct AdminCommand {
    opcode: u8,
    flags: u8,
    reserved: u16,
    nsid: u32,
    cdw2: u32,
    cdw3: u32,
    metadata: u64,
    address: u64,
    metadata_length: u32,
    data_length: u32,
    cdw10: u32,
    cdw11: u32,
    cdw12: u32,
    cdw13: u32,
    cdw14: u32,
    cdw15: u32,
    timeout_ms: u32,
    result: u32,
}

/// The kernel checks the size inside the request's number.
const _: () = assert!(size_of::<AdminCommand>() == 72);

mod request {
    use super::AdminCommand;
    nix::ioctl_readwrite!(admin_command, b'N', 0x41, AdminCommand);
}

/// A page that a controller gives.
#[derive(Clone, Copy)]
pub(super) enum Page {
    /// Identify Controller.
    Identify,
    /// SMART / health, log page 02h, of the whole controller.
    Health,
    /// Firmware slots, log page 03h.
    FirmwareSlots,
    /// Device Self-test, log page 06h.
    SelfTest,
}

/// Which self-test, or its end: the command's STC field.
#[derive(Clone, Copy, Debug)]
pub(super) enum SelfTestCode {
    Short,
    Extended,
    End,
}

/// Why a controller gave no page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AdminError {
    /// The kernel refused or the device is gone.
    #[error("{}", .0.desc())]
    System(Errno),
    /// The controller answered with an error status.
    #[error("the controller answered with status {0:#x}")]
    Status(i32),
}

/// Asks for a page of `size` bytes.
pub(super) fn page(device: &File, page: Page, size: u32) -> Result<Vec<u8>, AdminError> {
    const IDENTIFY: u8 = 0x06;
    const GET_LOG_PAGE: u8 = 0x02;
    const ALL_NAMESPACES: u32 = 0xffff_ffff;
    // Number of double words, 0-based, above the page's number.
    let log = |number: u32| AdminCommand {
        opcode: GET_LOG_PAGE,
        nsid: ALL_NAMESPACES,
        cdw10: number | ((size / 4 - 1) << 16),
        ..AdminCommand::default()
    };
    let mut command = match page {
        Page::Identify => AdminCommand {
            opcode: IDENTIFY,
            cdw10: 1,
            ..AdminCommand::default()
        },
        Page::Health => log(0x02),
        Page::FirmwareSlots => log(0x03),
        Page::SelfTest => log(0x06),
    };
    let mut buffer = vec![0_u8; usize::try_from(size).unwrap_or_default()];
    command.address = buffer.as_mut_ptr().expose_provenance() as u64;
    command.data_length = size;
    // SAFETY: the file is open for the call's duration; `command` is the kernel's structure, and its
    // address and length are those of `buffer`, which lives until after the call.
    let status = unsafe { request::admin_command(device.as_raw_fd(), &raw mut command) }
        .map_err(AdminError::System)?;
    if status == 0 {
        Ok(buffer)
    } else {
        Err(AdminError::Status(status))
    }
}

/// Starts or ends the controller's test of itself. It answers at once; the test goes on by itself.
pub(super) fn self_test(device: &File, code: SelfTestCode) -> Result<(), AdminError> {
    const DEVICE_SELF_TEST: u8 = 0x14;
    const ALL_NAMESPACES: u32 = 0xffff_ffff;
    let mut command = AdminCommand {
        opcode: DEVICE_SELF_TEST,
        nsid: ALL_NAMESPACES,
        cdw10: match code {
            SelfTestCode::Short => 1,
            SelfTestCode::Extended => 2,
            SelfTestCode::End => 0xf,
        },
        ..AdminCommand::default()
    };
    // SAFETY: the file is open for the call's duration; `command` is the kernel's structure and
    // names no buffer.
    let status = unsafe { request::admin_command(device.as_raw_fd(), &raw mut command) }
        .map_err(AdminError::System)?;
    if status == 0 {
        Ok(())
    } else {
        Err(AdminError::Status(status))
    }
}
