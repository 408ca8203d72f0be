//! The binary `cupel`. Everything is in the library, so that tests, fuzzing and documentation
//! reach the same code.

use std::process::ExitCode;

use cupel_hardware::own::Heap;

#[global_allocator]
static HEAP: Heap = Heap;

fn main() -> ExitCode {
    cupel_agent::cli::main()
}
