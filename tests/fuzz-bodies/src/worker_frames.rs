//! Frames of a GPU worker, which has a driver library in its memory and is not trusted: whatever
//! the bytes, messages are taken or refused, and what is admitted is what was asked for.

use cupel_hardware::gpu::frames::{Admitted, admit, greet, take};
use cupel_model::worker::{Ask, FromWorker, Group, MAX_FRAME};

/// A stream of frames; its first byte chooses the request that is in flight.
pub fn worker_frames(data: &[u8]) {
    let Some((choice, mut stream)) = data.split_first() else {
        return;
    };
    let ask = asked(*choice);
    loop {
        match take(stream) {
            Ok(Some((message, taken))) => {
                assert!((4..=stream.len().min(4 + MAX_FRAME)).contains(&taken));
                stream = &stream[taken..];
                judge(message, &ask);
            }
            Ok(None) => return,
            Err(error) => {
                let said = error.to_string();
                assert!(!said.is_empty() && said.len() < 2000, "{said:?}");
                return;
            }
        }
    }
}

fn asked(choice: u8) -> Ask {
    if choice == u8::MAX {
        return Ask::Watch {
            milliseconds: 1,
            skip: Vec::new(),
        };
    }
    match usize::from(choice).checked_sub(2) {
        Some(group) => Ask::Read {
            gpu: 0,
            group: Group::ALL[group % Group::ALL.len()],
        },
        None if choice == 0 => Ask::Open {
            library: "libnvidia-ml.so.1".to_owned(),
            skip: Vec::new(),
        },
        None => Ask::Close,
    }
}

fn judge(message: FromWorker, ask: &Ask) {
    let id = match &message {
        FromWorker::Hello(hello) => {
            let (build, protocol) = (hello.build.clone(), hello.protocol);
            let ours = greet(message.clone(), &build).is_ok();
            assert_eq!(ours, protocol == cupel_model::worker::PROTOCOL);
            assert!(greet(message.clone(), &format!("{build}x")).is_err());
            0
        }
        FromWorker::Calling { id, .. } | FromWorker::Answer { id, .. } => *id,
    };
    let other = id.wrapping_add(1);
    assert!(admit(message.clone(), other, ask).is_err(), "of no request");
    match admit(message, id, ask) {
        Ok(Admitted::Calling { call, .. }) => {
            assert!(call.bytes().all(|byte| byte.is_ascii_graphic()), "{call:?}");
        }
        Ok(Admitted::Answer(Ok(answer))) => {
            let text = serde_json::to_string(&answer).expect("an admitted answer is JSON");
            let control = |c: char| c.is_control();
            assert!(!text.contains(control), "{text:?}");
        }
        Ok(Admitted::Answer(Err(error))) => {
            assert!(!error.to_string().chars().any(char::is_control), "{error}");
        }
        Err(_) => {}
    }
}
