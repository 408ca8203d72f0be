//! The binary `cupel-inventory`. Everything is in the library, so that tests and documentation
//! reach the same code.

use std::process::ExitCode;

fn main() -> ExitCode {
    cupel_inventory::cli::main()
}
