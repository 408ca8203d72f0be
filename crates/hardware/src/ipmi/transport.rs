//! How a request reaches the management controller: the kernel's IPMI device, or a file of
//! recorded replies.

use std::time::{Duration, Instant};

use serde::Deserialize;

use super::device::Device;
use crate::error::ReadError;
use crate::root::Root;

/// The kernel's devices, newest naming first.
const DEVICES: [&str; 3] = ["/dev/ipmi0", "/dev/ipmi/0", "/dev/ipmidev/0"];
const REPLIES: &str = "/dev/ipmi0.replies";

/// Most bytes of recorded replies.
const CAP: usize = 8 << 20;

/// Longest that one request may take.
const REQUEST: Duration = Duration::from_secs(5);

/// A request to the management controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Network function, even.
    pub function: u8,
    /// Logical unit.
    pub unit: u8,
    /// Command.
    pub command: u8,
    /// Data bytes.
    pub data: &'a [u8],
}

/// Why there is no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IpmiError {
    /// The device or file.
    #[error("{0}")]
    Read(ReadError),
    /// The controller refused.
    #[error("command {function:#04x}/{command:#04x}: completion code {code:#04x} ({meaning})")]
    Refused {
        /// Network function.
        function: u8,
        /// Command.
        command: u8,
        /// Completion code.
        code: u8,
        /// What it means.
        meaning: &'static str,
    },
    /// The reply is too short for what it should hold.
    #[error("{what}: reply has {size} bytes, not {want}")]
    Short {
        /// What was asked.
        what: &'static str,
        /// How many bytes came.
        size: usize,
        /// How many belong there.
        want: usize,
    },
    /// The file of recorded replies has none for this request.
    #[error("no reply to {function:#04x}/{command:#04x} {data} is recorded")]
    NotRecorded {
        /// Network function.
        function: u8,
        /// Command.
        command: u8,
        /// Data, hexadecimal.
        data: String,
    },
    /// The time for asking is over.
    #[error("the time for asking the controller is over")]
    OutOfTime,
}

/// A way to the management controller.
pub struct Transport {
    way: Way,
    until: Instant,
}

enum Way {
    Device(Device),
    Recorded(Vec<Recorded>),
}

/// One recorded reply; bytes are hexadecimal, `reply` begins with the completion code.
#[derive(Clone, Debug, Deserialize)]
struct Recorded {
    netfn: u8,
    cmd: u8,
    data: String,
    reply: String,
}

impl Transport {
    /// Opens the way; asking ends at `until`.
    ///
    /// # Errors
    /// There is no device, or no file of replies.
    pub fn open(root: &Root, until: Instant) -> Result<Self, ReadError> {
        let way = if root.is_live() {
            let path = DEVICES
                .iter()
                .find(|path| root.exists(path))
                .unwrap_or(&DEVICES[0]);
            Way::Device(Device::open(path)?)
        } else {
            let bytes = root.read(REPLIES, CAP)?;
            let recorded = serde_json::from_slice(&bytes).map_err(|error| ReadError::Binary {
                path: REPLIES.to_owned(),
                detail: error.to_string(),
            })?;
            Way::Recorded(recorded)
        };
        Ok(Self { way, until })
    }

    /// The data of the reply, after its completion code; at least `want` bytes.
    ///
    /// # Errors
    /// [`IpmiError`].
    pub fn ask(
        &mut self,
        what: &'static str,
        request: Request<'_>,
        want: usize,
    ) -> Result<Vec<u8>, IpmiError> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(IpmiError::OutOfTime);
        }
        let reply = match &mut self.way {
            Way::Device(device) => device
                .request(request, left.min(REQUEST))
                .map_err(IpmiError::Read)?,
            Way::Recorded(replies) => recorded(replies, request)?,
        };
        let Some((&code, data)) = reply.split_first() else {
            return Err(IpmiError::Short {
                what,
                size: 0,
                want: want + 1,
            });
        };
        if code != 0 {
            let Request {
                function, command, ..
            } = request;
            let meaning = meaning(code);
            return Err(IpmiError::Refused {
                function,
                command,
                code,
                meaning,
            });
        }
        if data.len() < want {
            return Err(IpmiError::Short {
                what,
                size: data.len(),
                want,
            });
        }
        Ok(data.to_vec())
    }
}

fn recorded(replies: &[Recorded], request: Request<'_>) -> Result<Vec<u8>, IpmiError> {
    let Request {
        function,
        command,
        data,
        ..
    } = request;
    let data = hexadecimal(data);
    let reply = replies
        .iter()
        .find(|r| r.netfn == function && r.cmd == command && r.data.eq_ignore_ascii_case(&data))
        .ok_or(IpmiError::NotRecorded {
            function,
            command,
            data,
        })?;
    bytes_of(&reply.reply).ok_or_else(|| {
        IpmiError::Read(ReadError::malformed(
            REPLIES,
            1,
            &reply.reply,
            "an even number of digits",
        ))
    })
}

/// Bytes as hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(
        digits
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
    )
}

/// Completion codes (IPMI 2.0, table 5-2).
fn meaning(code: u8) -> &'static str {
    match code {
        0xc0 => "busy",
        0xc1 => "unknown command",
        0xc2 => "unknown for this unit",
        0xc3 => "timed out",
        0xc4 => "out of space",
        0xc5 => "reservation lost",
        0xc6 => "request cut short",
        0xc7 => "request has a wrong length",
        0xc8 => "a field has a wrong length",
        0xc9 => "a parameter is out of range",
        0xca => "cannot give so many bytes",
        0xcb => "no such sensor or record",
        0xcc => "a field is wrong",
        0xcd => "not for this sensor or record",
        0xce => "no reply possible",
        0xcf => "duplicated request",
        0xd0 => "repository is being updated",
        0xd1 => "firmware is being updated",
        0xd2 => "starting up",
        0xd3 => "destination is not there",
        0xd4 => "not privileged",
        0xd5 => "not now",
        0xd6 => "switched off",
        0xff => "unspecified",
        _ => "specific to the controller",
    }
}
