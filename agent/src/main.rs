//! The binary `cupel`. Everything is in the library, so that tests, fuzzing and documentation
//! reach the same code.

use std::process::ExitCode;

fn main() -> ExitCode {
    cupel_agent::cli::main()
}
