//! What a worker sends, held against what it was asked. Pure.
//!
//! # Invariants
//! - Whatever the bytes are, the result is a message that answers the request or a typed error;
//!   never a panic, never more memory than a frame may have.

mod burn;

use std::collections::BTreeSet;

use cupel_model::Reading;
use cupel_model::worker::{
    Answer, Ask, FromWorker, Group, Hello, MAX_FRAME, Opened, PROTOCOL, Watched, WorkerError,
    read_frame,
};
use serde_json::Value;

/// Most GPUs that a machine is believed to have.
const GPUS_MAX: usize = 256;

/// Most links that a GPU is believed to have.
const LINKS_MAX: usize = 64;

/// Most different events that a watch gives.
const EVENTS_MAX: usize = 1024;

/// Longest text in an answer, bytes. NVML's longest is 96; reasons may quote two of them.
const TEXT_MAX: usize = 1024;

/// Longest name of a driver function.
const CALL_MAX: usize = 96;

/// Why a worker's message was refused. The worker is replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than a frame may be.
    #[error("a frame of {0} bytes")]
    TooLong(u64),
    /// Not JSON, or not a message.
    #[error("a frame that is no message: {0}")]
    NoMessage(String),
    /// Another request's answer.
    #[error("an answer to request {told} where {asked} was asked")]
    WrongRequest {
        /// Its id.
        told: u64,
        /// The one in flight.
        asked: u64,
    },
    /// An answer of another kind.
    #[error("an answer of another kind than was asked")]
    WrongKind,
    /// A greeting where none belongs, or something else where one does.
    #[error("a message out of turn")]
    OutOfTurn,
    /// Another protocol or another build.
    #[error(
        "the worker is build {build} with protocol {protocol}; this is build {ours} with protocol {PROTOCOL}"
    )]
    OtherBuild {
        /// Its protocol.
        protocol: u32,
        /// Its build.
        build: String,
        /// This build.
        ours: String,
    },
    /// Text with control characters, or too much of it.
    #[error("text that is too long or not printable")]
    BadText,
    /// What cannot be.
    #[error("{0}")]
    Implausible(String),
}

/// The first message in `buffer` and how many bytes it took; `None` while it is not complete.
///
/// # Errors
/// [`FrameError`].
pub fn take(buffer: &[u8]) -> Result<Option<(FromWorker, usize)>, FrameError> {
    let Some((head, rest)) = buffer.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let announced = u32::from_le_bytes(*head);
    let length = usize::try_from(announced).unwrap_or(usize::MAX);
    if length > MAX_FRAME {
        return Err(FrameError::TooLong(u64::from(announced)));
    }
    if rest.len() < length {
        return Ok(None);
    }
    let mut frame = &buffer[..4 + length];
    match read_frame::<FromWorker>(&mut frame) {
        Ok(Some(message)) => Ok(Some((message, 4 + length))),
        Ok(None) => Ok(None),
        Err(error) => Err(FrameError::NoMessage(
            error
                .to_string()
                .chars()
                .filter(|c| !c.is_control())
                .take(200)
                .collect(),
        )),
    }
}

/// Holds a greeting against this build.
///
/// # Errors
/// [`FrameError`].
pub fn greet(message: FromWorker, build: &str) -> Result<(), FrameError> {
    match message {
        FromWorker::Hello(Hello {
            protocol,
            build: theirs,
        }) => {
            if protocol == PROTOCOL && theirs == build {
                return Ok(());
            }
            Err(FrameError::OtherBuild {
                protocol,
                build: theirs
                    .chars()
                    .filter(|c| !c.is_control())
                    .take(64)
                    .collect(),
                ours: build.to_owned(),
            })
        }
        FromWorker::Calling { .. } | FromWorker::Answer { .. } => Err(FrameError::OutOfTurn),
    }
}

/// A message that answers the request in flight.
#[derive(Clone, Debug, PartialEq)]
pub enum Admitted {
    /// About to call.
    Calling {
        /// The C function.
        call: String,
        /// The GPU, where one is concerned.
        gpu: Option<u32>,
    },
    /// The end.
    Answer(Result<Box<Answer>, WorkerError>),
}

/// Holds a message against the request in flight.
///
/// # Errors
/// [`FrameError`].
pub fn admit(message: FromWorker, id: u64, ask: &Ask) -> Result<Admitted, FrameError> {
    let (told, admitted) = match message {
        FromWorker::Hello(_) => return Err(FrameError::OutOfTurn),
        FromWorker::Calling { id, call, gpu } => (id, Admitted::Calling { call, gpu }),
        FromWorker::Answer { id, result } => (id, Admitted::Answer(result)),
    };
    if told != id {
        return Err(FrameError::WrongRequest { told, asked: id });
    }
    match &admitted {
        Admitted::Calling { call, .. } => {
            let plain = call.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if call.is_empty() || call.len() > CALL_MAX || !plain {
                return Err(FrameError::BadText);
            }
        }
        Admitted::Answer(Err(error)) => {
            if !is_printable(&error.call) || !is_printable(&error.what) {
                return Err(FrameError::BadText);
            }
        }
        Admitted::Answer(Ok(answer)) => {
            if !is_of_kind(answer, ask) {
                return Err(FrameError::WrongKind);
            }
            check(answer)?;
        }
    }
    Ok(admitted)
}

fn is_of_kind(answer: &Answer, ask: &Ask) -> bool {
    let told = match answer {
        Answer::Opened(_) | Answer::Refused(_) => return matches!(ask, Ask::Open { .. }),
        Answer::Watched(_) => return matches!(ask, Ask::Watch { .. }),
        Answer::Closed => return matches!(ask, Ask::Close),
        Answer::Burn(answer) => return burn::is_of_kind(answer, ask),
        Answer::Identity(_) => Group::Identity,
        Answer::Memory(_) => Group::Memory,
        Answer::Ecc(_) => Group::Ecc,
        Answer::RemappedRows(_) => Group::RemappedRows,
        Answer::RetiredPages(_) => Group::RetiredPages,
        Answer::Thermal(_) => Group::Thermal,
        Answer::Clocks(_) => Group::Clocks,
        Answer::Pcie(_) => Group::Pcie,
        Answer::Nvlink(_) => Group::Nvlink,
        Answer::Fabric(_) => Group::Fabric,
        Answer::Processes(_) => Group::Processes,
    };
    matches!(ask, Ask::Read { group, .. } if *group == told)
}

fn check(answer: &Answer) -> Result<(), FrameError> {
    match answer {
        Answer::Opened(opened) => check_list(opened)?,
        Answer::Burn(answer) => burn::check(answer)?,
        Answer::Watched(Watched { events, problems }) => {
            let count = events.value().map_or(0, Vec::len);
            if count > EVENTS_MAX || problems.len() > GPUS_MAX + 1 {
                return Err(FrameError::Implausible(format!(
                    "{count} events and {} problems",
                    problems.len()
                )));
            }
        }
        Answer::Nvlink(Reading::Value(nvlinks)) => {
            let indices = nvlinks.links.iter().map(|link| link.index);
            if nvlinks.links.len() > LINKS_MAX || !indices.is_sorted_by(|a, b| a < b) {
                return Err(FrameError::Implausible(format!(
                    "{} NVLinks, or not in order",
                    nvlinks.links.len()
                )));
            }
        }
        Answer::Nvlink(_)
        | Answer::Identity(_)
        | Answer::Memory(_)
        | Answer::Ecc(_)
        | Answer::RemappedRows(_)
        | Answer::RetiredPages(_)
        | Answer::Thermal(_)
        | Answer::Clocks(_)
        | Answer::Pcie(_)
        | Answer::Fabric(_)
        | Answer::Processes(_)
        | Answer::Refused(_)
        | Answer::Closed => {}
    }
    let json =
        serde_json::to_value(answer).map_err(|error| FrameError::NoMessage(error.to_string()))?;
    if all_printable(&json) {
        Ok(())
    } else {
        Err(FrameError::BadText)
    }
}

fn check_list(opened: &Opened) -> Result<(), FrameError> {
    if opened.gpus.len() > GPUS_MAX {
        return Err(FrameError::Implausible(format!(
            "{} GPUs",
            opened.gpus.len()
        )));
    }
    let mut seen = BTreeSet::new();
    for address in opened.gpus.iter().filter_map(Reading::value) {
        if !seen.insert(*address) {
            return Err(FrameError::Implausible(format!("two GPUs at {address}")));
        }
    }
    Ok(())
}

fn is_printable(text: &str) -> bool {
    text.len() <= TEXT_MAX && !text.chars().any(char::is_control)
}

fn all_printable(json: &Value) -> bool {
    match json {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => is_printable(text),
        Value::Array(values) => values.iter().all(all_printable),
        Value::Object(fields) => fields.values().all(all_printable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupel_model::snapshot::{GpuIdentity, GpuMemory};
    use cupel_model::worker::write_frame;
    use proptest::prelude::*;

    const READ: Ask = Ask::Read {
        gpu: 0,
        group: Group::Memory,
    };

    fn answer(answer: Answer) -> FromWorker {
        FromWorker::Answer {
            id: 7,
            result: Ok(Box::new(answer)),
        }
    }

    #[test]
    fn an_answer_must_be_to_the_request() {
        let good = answer(Answer::Memory(GpuMemory::default()));
        assert!(admit(good.clone(), 7, &READ).is_ok());
        assert_eq!(
            admit(good, 8, &READ),
            Err(FrameError::WrongRequest { told: 7, asked: 8 })
        );
        let other = answer(Answer::Identity(GpuIdentity::default()));
        assert_eq!(admit(other, 7, &READ), Err(FrameError::WrongKind));
        assert_eq!(
            admit(answer(Answer::Closed), 7, &READ),
            Err(FrameError::WrongKind)
        );
    }

    #[test]
    fn an_answer_must_be_printable_and_possible() {
        let ask = Ask::Read {
            gpu: 0,
            group: Group::Identity,
        };
        let identity = |name: &str| {
            answer(Answer::Identity(GpuIdentity {
                name: Reading::Value(name.to_owned()),
                ..GpuIdentity::default()
            }))
        };
        assert!(admit(identity("NVIDIA H200"), 7, &ask).is_ok());
        for name in ["a\u{1b}[31m", &"x".repeat(TEXT_MAX + 1)] {
            assert_eq!(admit(identity(name), 7, &ask), Err(FrameError::BadText));
        }
        let one = Reading::Value("0000:9b:00.0".parse().expect("address"));
        let opened = answer(Answer::Opened(Opened {
            driver_version: Reading::default(),
            nvml_version: Reading::default(),
            cuda_version: Reading::default(),
            library_path: Reading::default(),
            gpus: vec![one.clone(), one],
        }));
        let open = Ask::Open {
            library: String::new(),
            skip: Vec::new(),
        };
        assert_eq!(
            admit(opened, 7, &open),
            Err(FrameError::Implausible(
                "two GPUs at 0000:9b:00.0".to_owned()
            ))
        );
    }

    #[test]
    fn another_build_is_refused() {
        let hello = |protocol, build: &str| {
            FromWorker::Hello(Hello {
                protocol,
                build: build.to_owned(),
            })
        };
        assert_eq!(greet(hello(PROTOCOL, "1.2.3"), "1.2.3"), Ok(()));
        assert!(greet(hello(PROTOCOL, "1.2.4"), "1.2.3").is_err());
        assert!(greet(hello(PROTOCOL + 1, "1.2.3"), "1.2.3").is_err());
        let early = answer(Answer::Closed);
        assert_eq!(greet(early, "1.2.3"), Err(FrameError::OutOfTurn));
    }

    #[test]
    fn a_frame_is_taken_when_it_is_complete() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &answer(Answer::Closed)).expect("frame");
        for end in 0..bytes.len() {
            assert_eq!(take(&bytes[..end]), Ok(None), "{end}");
        }
        let (message, taken) = take(&bytes).expect("frame").expect("complete");
        assert_eq!((message, taken), (answer(Answer::Closed), bytes.len()));
        assert_eq!(
            take(&u32::MAX.to_le_bytes()),
            Err(FrameError::TooLong(u64::from(u32::MAX)))
        );
        assert!(matches!(
            take(b"\x02\0\0\0{x"),
            Err(FrameError::NoMessage(_))
        ));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some((message, _))) = take(&bytes) {
                let _ = admit(message, 1, &READ);
            }
        }
    }
}
