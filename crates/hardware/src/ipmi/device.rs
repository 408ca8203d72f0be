//! The kernel's IPMI device.
#![expect(unsafe_code, reason = "ioctls with pointers into buffers of ours")]

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc::{c_int, c_long, c_short, c_uchar, c_uint, c_ushort};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::transport::Request;
use crate::error::ReadError;

/// `IPMI_MAX_MSG_LENGTH` of the kernel.
const MESSAGE_BYTES: usize = 272;

/// `struct ipmi_system_interface_addr`.
#[repr(C)]
struct SystemInterface {
    kind: c_int,
    channel: c_short,
    unit: c_uchar,
}

const SYSTEM_INTERFACE: c_int = 0x0c;
const BMC_CHANNEL: c_short = 0x0f;
/// `IPMI_RESPONSE_RECV_TYPE`: an answer to a request.
const RESPONSE: c_int = 1;

/// `struct ipmi_msg`.
#[repr(C)]
struct Message {
    function: c_uchar,
    command: c_uchar,
    length: c_ushort,
    data: *mut c_uchar,
}

/// `struct ipmi_req`.
#[repr(C)]
pub(super) struct Send {
    address: *mut c_uchar,
    address_length: c_uint,
    id: c_long,
    message: Message,
}

/// `struct ipmi_recv`.
#[repr(C)]
pub(super) struct Receive {
    kind: c_int,
    address: *mut c_uchar,
    address_length: c_uint,
    id: c_long,
    message: Message,
}

mod request {
    use super::{Receive, Send};
    nix::ioctl_read!(send_command, b'i', 13, Send);
    nix::ioctl_readwrite!(receive_truncated, b'i', 11, Receive);
}

/// The open device.
pub(super) struct Device {
    file: File,
    path: &'static str,
    next: c_long,
}

impl Device {
    /// Opens the device for asking.
    pub(super) fn open(path: &'static str) -> Result<Self, ReadError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(path)
            .map_err(|error| ReadError::from_io(path, &error))?;
        Ok(Self {
            file,
            path,
            next: 1,
        })
    }

    /// The reply's bytes, beginning with the completion code.
    pub(super) fn request(
        &mut self,
        request: Request<'_>,
        limit: Duration,
    ) -> Result<Vec<u8>, ReadError> {
        let path = self.path;
        self.exchange(request, limit)
            .map_err(|errno| ReadError::System {
                path: path.to_owned(),
                errno,
            })
    }

    fn exchange(&mut self, request: Request<'_>, limit: Duration) -> nix::Result<Vec<u8>> {
        let id = self.next;
        self.next += 1;
        self.send(request, id)?;
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Errno::ETIMEDOUT);
            }
            let mut watched = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut watched, timeout) {
                Ok(0) => return Err(Errno::ETIMEDOUT),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
            // Answers to earlier requests that came too late, and events, are passed over.
            if let Some((kind, answered, reply)) = self.receive()?
                && kind == RESPONSE
                && answered == id
            {
                return Ok(reply);
            }
        }
    }

    fn send(&self, request: Request<'_>, id: c_long) -> nix::Result<()> {
        let mut address = SystemInterface {
            kind: SYSTEM_INTERFACE,
            channel: BMC_CHANNEL,
            unit: request.unit,
        };
        let mut data = request.data.to_vec();
        let mut send = Send {
            address: (&raw mut address).cast(),
            address_length: length_of::<SystemInterface>(),
            id,
            message: Message {
                function: request.function,
                command: request.command,
                length: c_ushort::try_from(data.len()).map_err(|_| Errno::EMSGSIZE)?,
                data: data.as_mut_ptr(),
            },
        };
        // SAFETY: the file is open; `send` is the kernel's structure, and its pointers and lengths
        // are those of `address` and `data`, which live until after the call.
        unsafe { request::send_command(self.file.as_raw_fd(), &raw mut send) }.map(drop)
    }

    /// Kind, id and bytes of the next message; `None` when there is none.
    fn receive(&self) -> nix::Result<Option<(c_int, c_long, Vec<u8>)>> {
        // `struct ipmi_addr` is larger than every address that it stands for.
        let mut address = [0_u64; 8];
        let mut data = [0_u8; MESSAGE_BYTES];
        let mut receive = Receive {
            kind: 0,
            address: address.as_mut_ptr().cast(),
            address_length: length_of::<[u64; 8]>(),
            id: 0,
            message: Message {
                function: 0,
                command: 0,
                length: c_ushort::try_from(data.len()).unwrap_or(c_ushort::MAX),
                data: data.as_mut_ptr(),
            },
        };
        // SAFETY: the file is open; `receive` is the kernel's structure, and its pointers and
        // lengths are those of `address` and `data`, which live until after the call.
        let result = unsafe { request::receive_truncated(self.file.as_raw_fd(), &raw mut receive) };
        match result {
            Err(Errno::EAGAIN) => return Ok(None),
            // EMSGSIZE: longer than any message may be; what fits was given.
            Ok(_) | Err(Errno::EMSGSIZE) => {}
            Err(errno) => return Err(errno),
        }
        let length = usize::from(receive.message.length).min(data.len());
        Ok(Some((receive.kind, receive.id, data[..length].to_vec())))
    }
}

fn length_of<T>() -> c_uint {
    c_uint::try_from(size_of::<T>()).unwrap_or(c_uint::MAX)
}
