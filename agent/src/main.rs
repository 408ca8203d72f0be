//! The binary `cupel`. Everything is in the library, so that tests, fuzzing and documentation
//! reach the same code.

use std::process::ExitCode;

use dlmalloc::GlobalDlmalloc;

/// One heap for all threads, whichever C library there is. The service has a dozen threads that
/// wait most of the time and pass on what they read: a heap for each, as others give them, costs
/// twice the memory and saves no time.
#[global_allocator]
static HEAP: GlobalDlmalloc = GlobalDlmalloc;

fn main() -> ExitCode {
    cupel_agent::cli::main()
}
