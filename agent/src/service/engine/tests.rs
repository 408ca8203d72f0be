//! The engine with a clock, a disk and a machine of the test's own.
