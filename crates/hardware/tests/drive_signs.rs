//! What the field's own tools leave on a drive is refused: their images, and block devices in use.
//!
//! A tool that is not installed, and a kernel without loop devices, are said on standard error and
//! left out; the places and names themselves are tested without any tool in `drive::signs`.

use std::path::{Path, PathBuf};
use std::process::Command;

use cupel_hardware::Root;
use cupel_hardware::drive::Unused;

const SIZE: u64 = 512 << 20;

/// A file that stands for a blank drive.
fn blank(directory: &Path) -> PathBuf {
    let path = directory.join("drive");
    let file = std::fs::File::create(&path).expect("file");
    file.set_len(SIZE).expect("size");
    path
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test runs the tools whose traces it looks for"
)]
fn tool(name: &str, arguments: &[&str]) -> Option<bool> {
    let path = ["/usr/sbin", "/sbin", "/usr/bin"]
        .iter()
        .map(|place| Path::new(place).join(name))
        .find(|path| path.exists())?;
    let output = Command::new(path).args(arguments).output().ok()?;
    Some(output.status.success())
}

/// Tool, its arguments before the drive, and a word of what is to be told.
const TRACES: [(&str, &[&str], &str); 16] = [
    ("mkfs.ext4", &["-q", "-F"], "ext2, ext3 or ext4"),
    ("mkfs.xfs", &["-q", "-f"], "XFS"),
    ("mkfs.btrfs", &["-q", "-f"], "Btrfs"),
    ("mkfs.f2fs", &["-q", "-f"], "F2FS"),
    ("mkfs.vfat", &["-F", "32"], "FAT"),
    ("mkfs.ntfs", &["-q", "-Q", "-F"], "NTFS"),
    ("mkfs.exfat", &[], "exFAT"),
    ("mkswap", &["-q"], "swap"),
    ("sfdisk-gpt", &[], "GPT"),
    ("sfdisk-dos", &[], "MBR"),
    ("pvcreate", &["-q", "-ff", "-y"], "LVM"),
    ("cryptsetup-1", &[], "LUKS"),
    ("cryptsetup-2", &[], "LUKS"),
    ("mdadm", &[], "Linux RAID"),
    ("make-bcache", &["-B"], "bcache"),
    ("zpool", &[], "ZFS"),
];

/// Runs the tool of a row; `None` when it is not installed or cannot work on this machine.
fn leave(name: &str, arguments: &[&str], drive: &str) -> Option<bool> {
    let script = |script: &str| tool("sh", &["-c", script]).or(shell(script));
    match name {
        "sfdisk-gpt" => script(&format!("echo 'label: gpt' | sfdisk -q {drive}")),
        "sfdisk-dos" => script(&format!("echo 'label: dos' | sfdisk -q {drive}")),
        "cryptsetup-1" | "cryptsetup-2" => {
            let version = &name[name.len() - 1..];
            script(&format!(
                "echo key | cryptsetup -q luksFormat --type luks{version} \
                 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 {drive} -"
            ))
        }
        "mdadm" => {
            // The kernel may have no RAID; a device of one's own is needed.
            let device = Loop::of(Path::new(drive))?;
            script(&format!(
                "mdadm --create /dev/md/cupel-test --run --force --level=1 --raid-devices=1 {} && \
                 mdadm --stop /dev/md/cupel-test",
                device.path
            ))
        }
        "pvcreate" => {
            let device = Loop::of(Path::new(drive))?;
            tool("pvcreate", &[arguments, &[device.path.as_str()]].concat())
        }
        "zpool" => tool("zpool", &["create", "-f", "cupel-test", drive])
            .map(|made| made && tool("zpool", &["export", "cupel-test"]) == Some(true)),
        _ => tool(name, &[arguments, &[drive]].concat()),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test runs the tools whose traces it looks for"
)]
fn shell(script: &str) -> Option<bool> {
    let status = Command::new("/bin/sh")
        .args(["-c", script])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .ok()?;
    // 127: not installed.
    (status.code() != Some(127)).then_some(status.success())
}

#[test]
fn what_tools_leave_behind_is_named_and_refused() {
    let mut seen = 0;
    for (name, arguments, word) in TRACES {
        let directory = tempfile::tempdir().expect("directory");
        let path = blank(directory.path());
        Unused::take_file(&path).expect("blank before");
        match leave(name, arguments, &path.to_string_lossy()) {
            Some(true) => {}
            Some(false) | None => {
                eprintln!("left out: {name} is not installed or does not work here");
                continue;
            }
        }
        let refusal = Unused::take_file(&path).expect_err(name).to_string();
        assert!(refusal.contains(word), "{name}: {refusal}");
        seen += 1;
    }
    eprintln!("{seen} of {} tools were tried", TRACES.len());
}

/// A loop device over a file, as long as it lives.
struct Loop {
    path: String,
}

impl Loop {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test makes the block device that it looks at"
    )]
    fn of(file: &Path) -> Option<Self> {
        let output = Command::new("/usr/sbin/losetup")
            .args(["--find", "--show"])
            .arg(file)
            .output()
            .ok()?;
        let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (output.status.success() && !path.is_empty()).then_some(Self { path })
    }

    fn block(&self) -> &str {
        self.path.trim_start_matches("/dev/")
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        tool("losetup", &["--detach", &self.path]);
    }
}

#[test]
fn a_block_device_is_taken_alone_and_only_when_nothing_uses_it() {
    let directory = tempfile::tempdir().expect("directory");
    let path = blank(directory.path());
    let Some(device) = Loop::of(&path) else {
        eprintln!("left out: no loop device here, or not root");
        return;
    };
    let root = Root::live();
    let first = Unused::take(&root, device.block()).expect("blank and free");
    let refusal = Unused::take(&root, device.block())
        .expect_err("taken")
        .to_string();
    assert!(refusal.contains("alone"), "{refusal}");
    drop(first);
    assert_eq!(tool("mkfs.ext4", &["-q", "-F", &device.path]), Some(true));
    let mount = directory.path().join("mount");
    std::fs::create_dir(&mount).expect("directory");
    let at = mount.to_string_lossy().into_owned();
    if tool("mount", &[&device.path, &at]) != Some(true) {
        eprintln!("left out: nothing can be mounted here");
        return;
    }
    let refusal = Unused::take(&root, device.block())
        .expect_err("mounted")
        .to_string();
    assert_eq!(tool("umount", &[&at]), Some(true));
    assert!(refusal.contains(&format!("mounted on {at}")), "{refusal}");
    let refusal = Unused::take(&root, device.block())
        .expect_err("a file system")
        .to_string();
    assert!(refusal.contains("ext4"), "{refusal}");
    let refusal = Unused::take(&root, "no-such-drive")
        .expect_err("none")
        .to_string();
    assert!(refusal.contains("no-such-drive"), "{refusal}");
}
