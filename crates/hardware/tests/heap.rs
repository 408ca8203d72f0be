//! The heap of the program, with this test running on it.

use std::fs;

use cupel_hardware::own::Heap;

#[global_allocator]
static HEAP: Heap = Heap;

const KIB: usize = 1024;

/// Pages that this process has mapped, in bytes.
fn mapped() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("statm");
    let pages = statm.split(' ').next().and_then(|pages| pages.parse().ok());
    pages.map(|pages: usize| pages * 4 * KIB).expect("a number")
}

/// What grows and shrinks over the border between the two kinds keeps what it holds.
fn crosses_the_border() {
    let numbers = |count: usize| (0..count).map(|n| n % 251).collect::<Vec<_>>();
    let mut grown = Vec::new();
    for number in numbers(256 * KIB) {
        grown.push(number);
    }
    assert_eq!(grown, numbers(256 * KIB));
    for count in [128 * KIB, 8 * KIB + 1, 8 * KIB, 8 * KIB - 1, 10] {
        grown.truncate(count);
        grown.shrink_to_fit();
        assert_eq!(grown, numbers(count));
    }
}

/// What is large is zero where that was asked for, and the kernel has it back once it is freed.
fn goes_back() {
    let before = mapped();
    let mut large = vec![0_u8; 512 * KIB];
    assert!(large.iter().all(|byte| *byte == 0));
    large.fill(1);
    assert!(mapped() >= before + large.len());
    drop(large);
    assert!(mapped() < before + 256 * KIB);
    assert!(vec![0_u8; 512 * KIB].iter().all(|byte| *byte == 0));
}

/// Both in one test: no other may allocate while pages are counted.
#[test]
fn what_is_large_is_kept_and_goes_back() {
    crosses_the_border();
    goes_back();
}
