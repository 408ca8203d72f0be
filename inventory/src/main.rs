//! The binary `cupel-inventory`. Everything is in the library.

fn main() {}
