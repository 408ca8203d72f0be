//! A program that an installer takes for a version of Cupel, and that goes wrong when it serves: for
//! the tests of upgrades in booted machines. How it goes wrong is the last line of its own file.
//!
//! # Invariants
//! - It tests itself with success and names the files of a real version: nothing tells it from one
//!   before it serves.
//! - It shares no code with the product.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what the installer asks is answered on standard output"
)]

use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

/// The last line of its file.
#[derive(Deserialize)]
struct Part {
    /// `crashes`, `hangs`, `mute` or `fails-its-test`.
    goes_wrong: String,
    /// What `cupel system-files` of a real version says.
    system_files: Value,
}

fn main() -> ExitCode {
    let part = match part() {
        Ok(part) => part,
        Err(why) => {
            eprintln!("no part to play: {why}");
            return ExitCode::from(2);
        }
    };
    let command = std::env::args().nth(1).unwrap_or_default();
    match command.as_str() {
        "system-files" => println!("{}", part.system_files),
        "self-test" if part.goes_wrong == "fails-its-test" => {
            eprintln!("it does not work here");
            return ExitCode::from(2);
        }
        "self-test" => println!("it works here"),
        "run" => serve(&part.goes_wrong),
        _ => println!("cupel 0.0.0"),
    }
    ExitCode::SUCCESS
}

fn part() -> Result<Part, String> {
    let own = std::fs::read("/proc/self/exe").map_err(|error| error.to_string())?;
    let line = own.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    serde_json::from_slice(line).map_err(|error| error.to_string())
}

fn serve(goes_wrong: &str) {
    if goes_wrong == "crashes" {
        std::thread::sleep(Duration::from_millis(500));
        std::process::abort();
    }
    // Mute: it says that it is ready and alive, and answers nobody. Else it hangs before that.
    let mut says = "READY=1";
    loop {
        if goes_wrong == "mute"
            && let Err(error) = tell(says)
        {
            eprintln!("systemd is not told: {error}");
        }
        says = "WATCHDOG=1";
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Tells systemd.
fn tell(what: &str) -> std::io::Result<usize> {
    let to = std::env::var("NOTIFY_SOCKET").unwrap_or_default();
    UnixDatagram::unbound()?.send_to(what.as_bytes(), to)
}
