//! The binary `cupel`. Everything is in the library, so that tests, fuzzing and documentation
//! reach the same code.

mod heap;

use std::process::ExitCode;

#[global_allocator]
static HEAP: heap::Heap = heap::Heap;

fn main() -> ExitCode {
    cupel_agent::cli::main()
}
