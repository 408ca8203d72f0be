//! A storm in the kernel log: read once, in constant memory, to its end.

use std::fs;
use std::io::{BufWriter, Write};

use cupel_hardware::Root;
use cupel_hardware::kmsg::EventLog;
use cupel_kernel_log::fold;

/// Lines of the storm, and how many are told apart.
const LINES: u64 = 200_000;
const DISTINCT: u64 = 29;

/// A number of this process, from a file of procfs.
fn own(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/self/{file}")).expect("procfs");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.expect(name).parse().expect("a number")
}

#[test]
fn a_storm_is_followed_to_its_end_in_constant_memory() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("dev/kmsg");
    fs::create_dir_all(path.parent().expect("directory")).expect("directory");
    let mut file = BufWriter::new(fs::File::create(&path).expect("log"));
    for n in 0..LINES {
        let text = n % DISTINCT;
        writeln!(
            file,
            "4,{n},{n},-;NVRM: Xid (PCI:0000:38:00): 95, pid='<unknown>', name=<unknown>, Uncontained: LTC TAG (0x{text:x},0x0). RST: Yes, D-RST: No"
        )
        .expect("line");
    }
    file.flush().expect("log");
    drop(file);
    let length = fs::metadata(&path).expect("log").len();

    let root = Root::at(directory.path()).expect("root");
    let (read, memory) = (own("io", "rchar:"), own("status", "VmHWM:"));
    let mut log = EventLog::open(&root, None).expect("log");
    let (mut records, mut folded) = (0, Vec::new());
    while records < LINES {
        let batch = log.next(None).expect("batch");
        records += batch.records;
        let events = batch.events.into_iter().map(|(_, event)| event);
        folded = fold(folded.into_iter().chain(events));
    }
    assert_eq!(records, LINES);
    assert_eq!(folded.len() as u64, DISTINCT);
    assert_eq!(folded.iter().map(|event| event.repeats).sum::<u64>(), LINES);
    let read = own("io", "rchar:") - read;
    assert!(read < length + length / 8, "read {read} bytes of {length}");
    let grown = own("status", "VmHWM:").saturating_sub(memory);
    assert!(grown < 24 * 1024, "memory grew by {grown} kB");
}
