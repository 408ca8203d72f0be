//! Which machine this is.
//!
//! # Invariants
//! - The id is a valid SMBIOS UUID, else the machine-id; it says which.

use cupel_model::Reading;
use cupel_model::snapshot::{IdSource, Node};
use cupel_model::units::Seconds;

use crate::clock;
use crate::error::{ReadError, reading};
use crate::root::Root;
use crate::smbios::{Smbios, is_placeholder, valid_uuid};

/// What the kernel extracts from SMBIOS, where the tables themselves are not readable.
const DMI: &str = "/sys/class/dmi/id";

const MACHINE_ID: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/// Which machine this is.
pub fn collect(root: &Root, smbios: &Result<Smbios, ReadError>) -> Node {
    let field = |of: fn(&Smbios) -> &Reading<String>, file: &str| match smbios {
        Ok(smbios) => of(smbios).clone(),
        Err(_) => dmi(root, file),
    };
    let (id, id_source) = id(root, smbios);
    Node {
        id,
        id_source,
        hostname: root
            .value_reading("/proc/sys/kernel/hostname")
            .or(root.value_reading("/etc/hostname")),
        manufacturer: field(|s| &s.manufacturer, "sys_vendor"),
        product: field(|s| &s.product, "product_name"),
        serial: field(|s| &s.serial, "product_serial"),
        chassis_serial: field(|s| &s.chassis_serial, "chassis_serial"),
        board_serial: field(|s| &s.board_serial, "board_serial"),
        boot_id: boot_id(root),
        uptime_seconds: uptime(root),
    }
}

/// A text of `/sys/class/dmi/id`; a placeholder is absent.
pub fn dmi(root: &Root, file: &str) -> Reading<String> {
    let path = format!("{DMI}/{file}");
    match root.value(&path) {
        Ok(text) if is_placeholder(&text) => {
            Reading::absent(format!("{path} has only a placeholder: {text:?}"))
        }
        Err(ReadError::Empty { path }) => Reading::absent(format!("{path}: empty")),
        other => reading(other),
    }
}

fn id(root: &Root, smbios: &Result<Smbios, ReadError>) -> (Reading<String>, Reading<IdSource>) {
    let uuid = match smbios {
        Ok(smbios) => smbios.uuid.value().map(ToString::to_string),
        Err(_) => root.value(&format!("{DMI}/product_uuid")).ok(),
    };
    if let Some(uuid) = uuid.as_deref().and_then(valid_uuid) {
        return (Reading::Value(uuid), Reading::Value(IdSource::SmbiosUuid));
    }
    let mut last = "no machine-id".to_owned();
    for path in MACHINE_ID {
        match root.parsed(path, "a machine-id (32 hexadecimal digits)", machine_id) {
            Ok(id) => return (Reading::Value(id), Reading::Value(IdSource::MachineId)),
            Err(error) if error.is_missing() => {}
            Err(error) => last = error.to_string(),
        }
    }
    let why = format!(
        "no valid SMBIOS UUID ({}), and {last}",
        uuid.unwrap_or_else(|| "none".to_owned())
    );
    (Reading::failed(why.clone()), Reading::failed(why))
}

/// 32 lower-case hexadecimal digits that are not all the same.
fn machine_id(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let known = bytes.len() == 32
        && bytes
            .iter()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b))
        && bytes.iter().any(|b| *b != bytes[0]);
    known.then(|| text.to_owned())
}

/// Time since boot; under a root other than `/`, the first number of `/proc/uptime`.
fn uptime(root: &Root) -> Reading<Seconds> {
    if root.is_live() {
        return Seconds::new(clock::since_boot().as_secs_f64())
            .map_or_else(|error| Reading::failed(error.to_string()), Reading::Value);
    }
    reading(root.parsed("/proc/uptime", "a number of seconds", |text| {
        let seconds = crate::sysfs::decimal(text.split(' ').next()?)?;
        Seconds::new(seconds).ok()
    }))
}

/// The kernel's random id of this boot.
pub fn boot_id(root: &Root) -> Reading<String> {
    root.value_reading("/proc/sys/kernel/random/boot_id")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    fn node(tree: &Tree) -> Node {
        let root = tree.root();
        collect(&root, &crate::smbios::read(&root))
    }

    #[test]
    fn the_kernels_extract_stands_in_for_the_tables() {
        let tree = Tree::new();
        tree.file(
            &format!("{DMI}/product_uuid"),
            "83340CA8-CB49-4474-8C29-D2088CA84DD9\n",
        );
        tree.file(&format!("{DMI}/product_name"), "PowerEdge R6515\n");
        tree.file(&format!("{DMI}/product_serial"), "Default string\n");
        tree.file(&format!("{DMI}/chassis_serial"), "\n");
        tree.file("/proc/uptime", "3600.25 100.00\n");
        tree.file("/etc/hostname", "gpu017\n");
        let node = node(&tree);
        assert_eq!(
            node.id,
            Reading::Value("83340ca8-cb49-4474-8c29-d2088ca84dd9".to_owned())
        );
        assert_eq!(node.id_source, Reading::Value(IdSource::SmbiosUuid));
        assert_eq!(node.product, Reading::Value("PowerEdge R6515".to_owned()));
        assert!(matches!(node.serial, Reading::Absent(_)));
        assert!(matches!(node.chassis_serial, Reading::Absent(_)));
        assert_eq!(node.hostname, Reading::Value("gpu017".to_owned()));
        assert_eq!(node.uptime_seconds.get().map(f64::from), Some(3600.25));
    }

    #[test]
    fn a_placeholder_uuid_gives_way_to_the_machine_id() {
        let tree = Tree::new();
        tree.file(
            &format!("{DMI}/product_uuid"),
            "03000200-0400-0500-0006-000700080009\n",
        );
        tree.file("/etc/machine-id", "0a7fbc1245efd23b0a7fbc1245efd23b\n");
        let node = node(&tree);
        assert_eq!(
            node.id,
            Reading::Value("0a7fbc1245efd23b0a7fbc1245efd23b".to_owned())
        );
        assert_eq!(node.id_source, Reading::Value(IdSource::MachineId));
    }

    #[test]
    fn no_id_says_why() {
        let tree = Tree::new();
        tree.file("/etc/machine-id", "uninitialized\n");
        let why = node(&tree).id.why().map(str::to_owned).expect("no id");
        assert!(
            why.contains("\"uninitialized\" is not a machine-id"),
            "{why}"
        );
    }
}
