//! The one program that loads GPU driver libraries: NVML and CUDA behind the worker protocol
//! ([`cupel_model::worker`]), on the socket that is its standard input.
//!
//! # Invariants
//! - Before each NVML call the agent is told its C name, so that a hang or a crash has one; of a job
//!   that burns in, the answer to a poll names the call ([`burn`]).
//! - Every symbol but `nvmlInit_v2` is optional: what the library lacks is Unsupported.
//! - Nothing that the driver writes is trusted: strings are read within their buffers, counts are
//!   held against capacities, values against what is possible.
//! - The worker ends when its socket does, even while a driver call hangs.
//!
//! # What is absent
//! No deadline and no retry: the agent kills and replaces. No judgement.
#![expect(
    unsafe_code,
    reason = "the crate that calls the driver's C functions; each block says why it is sound"
)]

mod burn;
mod calls;
mod codes;
mod cuda;
mod groups;
mod hangup;
mod session;
mod text;
mod watch;

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use cupel_model::worker::{
    Answer, Ask, FromWorker, Hello, PROTOCOL, Request, WorkerError, read_frame, write_frame,
};

use crate::burn::Burner;
use crate::calls::Announcer;
use crate::session::{Session, Unopened};

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write;
            // A closed standard error leaves nobody to tell.
            let _ = writeln!(io::stderr(), "cupel-gpu-worker: {error}");
            ExitCode::from(2)
        }
    }
}

/// Answers requests until the socket ends.
fn serve() -> io::Result<()> {
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    write_frame(
        &mut socket,
        &FromWorker::Hello(Hello {
            protocol: PROTOCOL,
            build: env!("CARGO_PKG_VERSION").to_owned(),
        }),
    )
    .map_err(|error| context("standard input must be the agent's socket", &error))?;
    hangup::watch(socket.try_clone()?)?;

    let mut session = None;
    let mut burner = Burner::default();
    while let Some(request) = read_frame::<Request>(&mut socket)
        .map_err(|error| context("cannot read a request", &error))?
    {
        let id = request.id;
        let result = answer(request, &mut session, &mut burner, &socket).map(Box::new);
        write_frame(&mut socket, &FromWorker::Answer { id, result })
            .map_err(|error| context("cannot send an answer", &error))?;
    }
    Ok(())
}

fn answer(
    request: Request,
    session: &mut Option<Session>,
    burner: &mut Burner,
    socket: &UnixStream,
) -> Result<Answer, WorkerError> {
    let announcer = Announcer::new(request.id, socket);
    match request.ask {
        Ask::Open { library, skip } => {
            close(session, &announcer)?;
            match Session::open(&library, &skip, &announcer) {
                Ok((opened, description)) => {
                    *session = Some(opened);
                    Ok(Answer::Opened(description))
                }
                Err(Unopened::Refused(refused)) => Ok(Answer::Refused(refused)),
                Err(Unopened::Failed(error)) => Err(error),
            }
        }
        Ask::Read { gpu, group } => match session {
            Some(session) => session.read(gpu, group, &announcer),
            None => Err(not_open()),
        },
        Ask::Watch { milliseconds, skip } => match session {
            Some(session) => Ok(Answer::Watched(session.watch(
                &skip,
                Duration::from_millis(milliseconds),
                &announcer,
            ))),
            None => Err(not_open()),
        },
        Ask::Close => {
            close(session, &announcer)?;
            Ok(Answer::Closed)
        }
        Ask::Burn(ask) => burner
            .answer(ask)
            .map(Answer::Burn)
            .map_err(|what| WorkerError {
                call: "burn".to_owned(),
                code: None,
                what,
            }),
    }
}

fn not_open() -> WorkerError {
    WorkerError {
        call: "nvmlInit_v2".to_owned(),
        code: None,
        what: "the driver library is not open".to_owned(),
    }
}

fn close(session: &mut Option<Session>, announcer: &Announcer<'_>) -> Result<(), WorkerError> {
    match session.take() {
        Some(session) => session.close(announcer),
        None => Ok(()),
    }
}

fn context(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
