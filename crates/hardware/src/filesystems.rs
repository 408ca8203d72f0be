//! Mounted file systems that hold data, and how full they are.
//!
//! # Invariants
//! - A network file system is listed and never asked: asking one whose server is away hangs.
//! - A service that systemd keeps apart sees its own mounts, some of them read-only for it alone.
//!   What is mounted a second time, in part, is left out; read-only is what the file system itself
//!   is. So it sees what everybody sees.

use std::time::Duration;

use cupel_model::Reading;
use cupel_model::snapshot::{Filesystem, Problem};
use cupel_model::units::Bytes;
use procfs_core::process::MountInfos;
use procfs_core::{FromRead, MountEntry};

use crate::deadline;
use crate::root::Root;

const MOUNTS: &str = "/proc/mounts";

/// As [`MOUNTS`], with what of a file system is mounted and with the file system's own options.
const MOUNT_INFORMATION: &str = "/proc/self/mountinfo";

/// File systems on this machine's own devices, and the overlay that a container has as its root.
const LOCAL: [&str; 9] = [
    "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "vfat", "xfs", "zfs",
];

/// File systems whose data are elsewhere.
const REMOTE: [&str; 13] = [
    "9p",
    "beegfs",
    "ceph",
    "cifs",
    "fuse.glusterfs",
    "fuse.weka",
    "gpfs",
    "lustre",
    "nfs",
    "nfs4",
    "smb3",
    "virtiofs",
    "wekafs",
];

/// Mounted file systems, by mount point, and what could not be read.
pub fn collect(root: &Root, limit: Duration) -> (Vec<Filesystem>, Vec<Problem>) {
    let problem = |why: String| {
        vec![Problem {
            source: "filesystems".to_owned(),
            why,
        }]
    };
    let (path, parse): (_, fn(&str) -> _) = if root.is_live() {
        (MOUNT_INFORMATION, parse_mount_information)
    } else {
        (MOUNTS, parse_mounts)
    };
    let text = match root.text(path) {
        Ok(text) => text,
        Err(error) if error.is_missing() && !root.is_live() => return (Vec::new(), Vec::new()),
        Err(error) => return (Vec::new(), problem(error.to_string())),
    };
    let mut filesystems = match parse(&text) {
        Ok(filesystems) => filesystems,
        Err(why) => return (Vec::new(), problem(why)),
    };
    let sizes = if root.is_live() {
        deadline::within(root, "filesystems/sizes", limit, sizes)
            .unwrap_or_else(|late| Err(late.to_string()))
    } else {
        Ok(Vec::new())
    };
    for filesystem in &mut filesystems {
        let (total, free) = size_of(filesystem, &sizes, root.is_live());
        filesystem.total_bytes = total;
        filesystem.free_bytes = free;
    }
    (filesystems, Vec::new())
}

/// One mount point with its size and what is free.
type Size = (String, u64, u64);

fn sizes() -> Result<Vec<Size>, String> {
    let wanted = sysinfo::DiskRefreshKind::nothing().with_storage();
    let disks = sysinfo::Disks::new_with_refreshed_list_specifics(wanted)
        .map_err(|error| format!("cannot ask for sizes: {error}"))?;
    let size = |disk: &sysinfo::Disk| {
        let name = disk.mount_point().to_string_lossy().into_owned();
        (name, disk.total_space(), disk.available_space())
    };
    Ok(disks.iter().map(size).collect())
}

fn size_of(
    filesystem: &Filesystem,
    sizes: &Result<Vec<Size>, String>,
    live: bool,
) -> (Reading<Bytes>, Reading<Bytes>) {
    let both = |reading: Reading<Bytes>| (reading.clone(), reading);
    if REMOTE.contains(&filesystem.kind.as_str()) {
        return both(Reading::unsupported(
            "a network file system is not asked: it may hang",
        ));
    }
    if !live {
        return both(Reading::absent(
            "sizes are known on the machine itself only",
        ));
    }
    match sizes {
        Err(why) => both(Reading::failed(why.clone())),
        Ok(sizes) => match sizes.iter().find(|(name, _, _)| *name == filesystem.name) {
            Some((_, total, free)) if *total > 0 => {
                (Reading::Value(Bytes(*total)), Reading::Value(Bytes(*free)))
            }
            Some(_) | None => both(Reading::failed("the system does not tell its size")),
        },
    }
}

/// File systems of the text of `/proc/mounts`, by mount point. Where several are mounted at one
/// place, the last one is what is seen there.
///
/// # Errors
/// The text is no such table.
pub fn parse_mounts(text: &str) -> Result<Vec<Filesystem>, String> {
    let entries = Vec::<MountEntry>::from_read(text.as_bytes())
        .map_err(|_| format!("{MOUNTS}: not a table of mounts"))?;
    let mut filesystems: Vec<Filesystem> = Vec::new();
    for mut entry in entries {
        // procfs-core undoes the kernel's other escapes, not the blank's.
        entry.fs_file = entry.fs_file.replace("\\040", " ");
        let read_only = entry.fs_mntops.contains_key("ro");
        let (name, device) = (entry.fs_file, entry.fs_spec);
        mounted(&mut filesystems, name, device, entry.fs_vfstype, read_only);
    }
    filesystems.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(filesystems)
}

/// The same of the text of `/proc/self/mountinfo`.
///
/// # Errors
/// The text is no such table.
pub fn parse_mount_information(text: &str) -> Result<Vec<Filesystem>, String> {
    let entries = MountInfos::from_read(text.as_bytes())
        .map_err(|_| format!("{MOUNT_INFORMATION}: not a table of mounts"))?;
    let mut filesystems: Vec<Filesystem> = Vec::new();
    for entry in entries {
        let own = &entry.super_options;
        // Btrfs mounts a subvolume, and says which; else what is mounted is a whole file system.
        let whole = own.get("subvol").and_then(Option::as_deref).unwrap_or("/");
        let name = entry.mount_point.to_string_lossy().replace("\\040", " ");
        if entry.root != whole && name != "/" {
            continue;
        }
        let device = entry.mount_source.unwrap_or_default();
        let read_only = own.contains_key("ro");
        mounted(&mut filesystems, name, device, entry.fs_type, read_only);
    }
    filesystems.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(filesystems)
}

/// One more mount, over whatever was mounted there.
fn mounted(
    filesystems: &mut Vec<Filesystem>,
    name: String,
    device: String,
    kind: String,
    read_only: bool,
) {
    let is_root = name == "/" && kind != "rootfs";
    filesystems.retain(|other| other.name != name);
    if LOCAL.contains(&kind.as_str()) || REMOTE.contains(&kind.as_str()) || is_root {
        filesystems.push(Filesystem {
            name,
            device,
            kind,
            read_only,
            total_bytes: Reading::default(),
            free_bytes: Reading::default(),
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::Tree;

    #[test]
    fn a_service_that_is_kept_apart_sees_what_everybody_sees() {
        let text = "\
            21 1 8:1 / / ro,relatime master:1 - ext4 /dev/sda1 rw,errors=remount-ro\n\
            40 21 8:1 /var/lib/cupel /var/lib/cupel rw - ext4 /dev/sda1 rw,errors=remount-ro\n\
            41 21 8:1 /tmp/private/tmp /tmp rw - ext4 /dev/sda1 rw,errors=remount-ro\n\
            42 21 8:2 / /data\\040one rw - xfs /dev/sdb1 ro\n\
            43 21 0:30 /@home /home rw - btrfs /dev/sdc1 rw,subvolid=257,subvol=/@home\n\
            44 21 0:30 /@home/a /srv rw - btrfs /dev/sdc1 rw,subvolid=257,subvol=/@home\n";
        let filesystems = parse_mount_information(text).expect("table");
        let told: Vec<_> = filesystems
            .iter()
            .map(|f| (f.name.as_str(), f.kind.as_str(), f.read_only))
            .collect();
        assert_eq!(
            told,
            [
                ("/", "ext4", false),
                ("/data one", "xfs", true),
                ("/home", "btrfs", false),
            ]
        );
        let own = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        assert!(!parse_mount_information(&own).expect("table").is_empty());
        assert!(parse_mount_information("nonsense").is_err());
    }

    #[test]
    fn what_holds_data_is_listed() {
        let tree = Tree::new();
        tree.file(
            MOUNTS,
            "sysfs /sys sysfs rw 0 0\n/dev/md0 / ext4 rw,relatime 0 0\n/dev/sdb1 /data\\040one xfs ro,noatime 0 0\nhome:/h /home nfs4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n",
        );
        let (filesystems, problems) = collect(&tree.root(), Duration::from_secs(1));
        assert_eq!(problems, []);
        let told: Vec<_> = filesystems
            .iter()
            .map(|f| (f.name.as_str(), f.read_only))
            .collect();
        assert_eq!(told, [("/", false), ("/data one", true), ("/home", false)]);
        assert!(matches!(filesystems[0].total_bytes, Reading::Absent(_)));
        assert!(matches!(
            filesystems[2].total_bytes,
            Reading::Unsupported(_)
        ));
    }

    #[test]
    fn this_machines_root_has_a_size() {
        let (filesystems, problems) = collect(&Root::live(), Duration::from_secs(10));
        assert_eq!(problems, []);
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
        if !mounts.contains(" / ") {
            println!("skipped: this process sees no mounted root (a chroot)");
            return;
        }
        let root = filesystems
            .iter()
            .find(|f| f.name == "/")
            .expect("a root file system");
        assert!(root.total_bytes.get() > root.free_bytes.get(), "{root:?}");
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[ -~\n]{0,200}") {
            let _ = parse_mounts(&text);
        }
    }
}
