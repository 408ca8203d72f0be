//! What the kernel knows of a drive: which one has a serial, who uses it.

use crate::error::ReadError;
use crate::nvme;
use crate::root::Root;

use super::signs::Sign;

/// A drive by its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveName {
    /// The controller, e.g. `nvme0`.
    pub controller: String,
    /// The block device of its namespace, e.g. `nvme0n1`.
    pub block: String,
    /// Serial.
    pub serial: String,
}

/// The one drive with this serial.
///
/// # Errors
/// Signs that it is not to be touched: there is none, or more than one; it has several namespaces;
/// it is reached over a network; other controllers share it.
pub fn with_serial(root: &Root, serial: &str) -> Result<DriveName, Sign> {
    let unfit = |what: String| Sign::Unfit(what);
    let names = nvme::names(root).map_err(|error| unfit(error.to_string()))?;
    let mut found = names.into_iter().filter(|name| {
        let told = root.value(&format!("/sys/class/nvme/{name}/serial"));
        told.is_ok_and(|told| told == serial)
    });
    let controller = found
        .next()
        .ok_or_else(|| unfit(format!("no NVMe drive has the serial {serial}")))?;
    if let Some(second) = found.next() {
        return Err(unfit(format!(
            "{controller} and {second} both have the serial {serial}: two ways to one drive, or a \
             serial that is none"
        )));
    }
    let transport = root.value(&format!("/sys/class/nvme/{controller}/transport"));
    if let Ok(transport) = transport
        && transport != "pcie"
    {
        return Err(unfit(format!(
            "{controller} is reached over {transport}: other nodes may use it"
        )));
    }
    let blocks = nvme::namespaces(root, &controller).map_err(|error| unfit(error.to_string()))?;
    match blocks.as_slice() {
        [block] => Ok(DriveName {
            controller,
            block: block.clone(),
            serial: serial.to_owned(),
        }),
        [] => Err(unfit(format!("{controller} has no namespace"))),
        many => Err(unfit(format!(
            "{controller} has {} namespaces: which of them is empty is for a person to say",
            many.len()
        ))),
    }
}

/// Who the kernel says uses a block device or a part of it.
pub(super) fn users(root: &Root, block: &str) -> Vec<Sign> {
    match find_users(root, block) {
        Ok(signs) => signs,
        Err(error) => vec![Sign::Unreadable(error.to_string())],
    }
}

fn find_users(root: &Root, block: &str) -> Result<Vec<Sign>, ReadError> {
    let mut signs = Vec::new();
    let directory = format!("/sys/class/block/{block}");
    let mut add = |what: String| signs.push(Sign::InUse(what));
    let mut numbers = vec![root.value(&format!("{directory}/dev"))?];
    let mut devices = vec![directory.clone()];
    for name in root.names(&directory)? {
        let inside = format!("{directory}/{name}");
        if root.exists(&format!("{inside}/partition")) {
            add(format!("it has the partition {name}"));
            numbers.push(root.value(&format!("{inside}/dev"))?);
            devices.push(inside);
        }
    }
    for device in &devices {
        match root.names(&format!("{device}/holders")) {
            Ok(holders) => {
                for holder in holders {
                    add(format!("{holder} is built on it"));
                }
            }
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error),
        }
    }
    for line in root.text("/proc/self/mountinfo")?.lines() {
        let mut fields = line.split(' ').skip(2);
        let (Some(number), Some(_), Some(mount)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if numbers.iter().any(|own| own == number) {
            add(format!("it is mounted on {mount}"));
        }
    }
    match root.text("/proc/swaps") {
        Ok(swaps) => {
            let path = format!("/dev/{block}");
            for line in swaps.lines().skip(1) {
                if line
                    .split_whitespace()
                    .next()
                    .is_some_and(|name| name == path || name.starts_with(&format!("{path}p")))
                {
                    add("the kernel swaps to it".to_owned());
                }
            }
        }
        Err(error) if error.is_missing() => {}
        Err(error) => return Err(error),
    }
    if root.value(&format!("{directory}/ro"))? != "0" {
        signs.push(Sign::Unfit("it is read-only".to_owned()));
    }
    Ok(signs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    fn node() -> Tree {
        let tree = Tree::new();
        for (file, text) in [
            ("/sys/class/nvme/nvme0/serial", "S1"),
            ("/sys/class/nvme/nvme0/transport", "pcie"),
            ("/sys/class/nvme/nvme0/nvme0n1/size", "1000"),
            ("/sys/class/block/nvme0n1/dev", "259:0"),
            ("/sys/class/block/nvme0n1/ro", "0"),
            (
                "/proc/self/mountinfo",
                "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n",
            ),
            ("/proc/swaps", "Filename Type Size Used Priority\n"),
        ] {
            tree.file(file, text);
        }
        tree
    }

    #[test]
    fn a_drive_is_found_by_its_serial_and_by_nothing_less() {
        let tree = node();
        let found = with_serial(&tree.root(), "S1").expect("one drive");
        assert_eq!(found.block, "nvme0n1");
        assert!(with_serial(&tree.root(), "S").is_err());
        tree.file("/sys/class/nvme/nvme0/transport", "tcp");
        let sign = with_serial(&tree.root(), "S1")
            .expect_err("remote")
            .to_string();
        assert!(sign.contains("over tcp"), "{sign}");
        tree.file("/sys/class/nvme/nvme0/transport", "pcie");
        tree.file("/sys/class/nvme/nvme0/nvme0n2/size", "1000");
        let sign = with_serial(&tree.root(), "S1")
            .expect_err("two")
            .to_string();
        assert!(sign.contains("2 namespaces"), "{sign}");
        tree.file("/sys/class/nvme/nvme1/serial", "S1");
        let sign = with_serial(&tree.root(), "S1")
            .expect_err("twice")
            .to_string();
        assert!(sign.contains("both have"), "{sign}");
    }

    #[test]
    fn every_user_that_the_kernel_knows_is_named() {
        let tree = node();
        let told = |tree: &Tree| -> Vec<String> {
            let signs = users(&tree.root(), "nvme0n1");
            signs.iter().map(ToString::to_string).collect()
        };
        assert_eq!(told(&tree), Vec::<String>::new());
        for (file, text, want) in [
            (
                "/sys/class/block/nvme0n1/holders/dm-3",
                "",
                "dm-3 is built on it",
            ),
            (
                "/proc/self/mountinfo",
                "1 0 259:0 / /scratch rw - ext4 /dev/nvme0n1 rw\n",
                "it is mounted on /scratch",
            ),
            (
                "/proc/swaps",
                "Filename\n/dev/nvme0n1 partition 8 0 -2\n",
                "the kernel swaps to it",
            ),
            ("/sys/class/block/nvme0n1/ro", "1", "it is read-only"),
        ] {
            let tree = node();
            tree.file(file, text);
            assert_eq!(told(&tree), [want]);
        }
        let tree = node();
        tree.file("/sys/class/block/nvme0n1/nvme0n1p2/partition", "2");
        tree.file("/sys/class/block/nvme0n1/nvme0n1p2/dev", "259:2");
        tree.file("/sys/class/block/nvme0n1/nvme0n1p2/holders/md0", "");
        assert_eq!(
            told(&tree),
            ["it has the partition nvme0n1p2", "md0 is built on it"]
        );
    }

    #[test]
    fn what_the_kernel_does_not_say_is_a_sign() {
        let signs = users(&Tree::new().root(), "nvme0n1");
        assert!(matches!(signs[..], [Sign::Unreadable(_)]), "{signs:?}");
    }
}
