//! Prints a snapshot of this machine, or of the directory given, as JSON; how long it took goes to
//! standard error.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what this example is for"
)]

use std::time::Instant;

use cupel_hardware::Root;
use cupel_hardware::collect::{CollectOptions, collect};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = match std::env::args_os().nth(1) {
        Some(directory) => Root::at(directory)?,
        None => Root::live(),
    };
    let began = Instant::now();
    let snapshot = collect(&CollectOptions::new(root));
    let took = began.elapsed();
    println!("{}", serde_json::to_string_pretty(&snapshot)?);
    eprintln!("collected in {:.3} s", took.as_secs_f64());
    Ok(())
}
