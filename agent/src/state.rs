//! What outlives a run: `parts.json`, the parts of this node as last seen in good order.
//!
//! # Invariants
//! - It is of one node: what a disk brings along from another chassis is forgotten.
//! - It is replaced atomically: whoever reads it sees the old file or the new one.
//! - It is a help, not a need: a directory that is missing or read-only, or a damaged file, is a
//!   note in the log and never an error.
//! - Under a root other than `/` nothing outside it is written, whatever its links say.
//!
//! # What is absent
//! The journal of bring-up, which is bring-up's own.

use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use cupel_hardware::Root;
use cupel_model::SCHEMA_VERSION;
use cupel_model::snapshot::RememberedPart;
use serde::{Deserialize, Serialize};

/// Where state is kept, beneath the root.
pub const STATE_DIRECTORY: &str = "/var/lib/cupel";

/// Where the running service is found, beneath the root.
pub const RUN_DIRECTORY: &str = "/run/cupel";

const PARTS: &str = "parts.json";

/// Most bytes of `parts.json`: about 100 bytes a part, some hundred parts a node.
const PARTS_CAP: u64 = 4 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    schema_version: u32,
    /// Id of the node that has them: a disk may move to another chassis.
    node: Option<String>,
    parts: Vec<RememberedPart>,
}

/// The directory of state beneath the root, with the root's own links resolved inside it.
pub fn directory(root: &Root) -> PathBuf {
    beneath(root, STATE_DIRECTORY)
}

/// The directory of the service's socket and gate beneath the root, resolved likewise.
pub fn run_directory(root: &Root) -> PathBuf {
    beneath(root, RUN_DIRECTORY)
}

fn beneath(root: &Root, directory: &str) -> PathBuf {
    let wanted = Path::new(directory);
    if root.is_live() {
        return wanted.to_owned();
    }
    for ancestor in wanted.ancestors() {
        let resolved = ancestor.to_str().and_then(|path| root.resolve(path).ok());
        if let (Some(resolved), Ok(rest)) = (resolved, wanted.strip_prefix(ancestor)) {
            let inside = resolved.trim_start_matches('/');
            return root.path().join(inside).join(rest);
        }
    }
    root.path().join(directory.trim_start_matches('/'))
}

/// The parts of a node remembered in a directory; none where there is no file.
pub fn remembered(directory: &Path, node: Option<&str>) -> Vec<RememberedPart> {
    let path = directory.join(PARTS);
    match load(&path) {
        Ok(stored) if stored.node.as_deref() == node => stored.parts,
        Ok(stored) => {
            tracing::info!("{}: of another node, {:?}", path.display(), stored.node);
            Vec::new()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            tracing::info!(
                "{}: remembered parts are not usable: {error}",
                path.display()
            );
            Vec::new()
        }
    }
}

fn load(path: &Path) -> io::Result<Parts> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() > PARTS_CAP {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too large"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let parts: Parts = serde_json::from_slice(&bytes)?;
    if parts.schema_version != SCHEMA_VERSION {
        let text = format!(
            "schema_version {}, not {SCHEMA_VERSION}",
            parts.schema_version
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(parts)
}

/// Remembers a node's parts for the next run.
pub fn remember(directory: &Path, node: Option<&str>, parts: Vec<RememberedPart>) {
    let path = directory.join(PARTS);
    let parts = Parts {
        schema_version: SCHEMA_VERSION,
        node: node.map(str::to_owned),
        parts,
    };
    let result = crate::json::pretty(&parts)
        .map_err(io::Error::from)
        .and_then(|mut json| {
            json.push(b'\n');
            fs::create_dir_all(directory)?;
            replace(&path, &json)
        });
    if let Err(error) = result {
        tracing::info!("{}: parts are not remembered: {error}", path.display());
    }
}

/// Replaces a file atomically: written beside it, synced, renamed.
///
/// # Errors
/// The system's; then the old file stands.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    };
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut beside = name.to_os_string();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = directory.join(beside);
    let written = File::options()
        .write(true)
        .create_new(true)
        .open(&beside)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written?;
    // The name lasts through a power cut only once its directory is on the disk.
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupel_model::ComponentKind;

    fn part() -> RememberedPart {
        RememberedPart {
            kind: ComponentKind::Gpu,
            index: Some(3),
            slot: Some("SXM 4".to_owned()),
            pci: None,
            serial: Some("1650".to_owned()),
            uuid: None,
            name: None,
            seen_at: "2026-01-31T12:00:00Z".parse().expect("time"),
        }
    }

    #[test]
    fn parts_are_remembered_and_replaced() {
        let directory = tempfile::tempdir().expect("directory");
        let state = directory.path().join("lib/cupel");
        assert_eq!(remembered(&state, Some("n1")), Vec::new());
        remember(&state, Some("n1"), vec![part()]);
        remember(&state, Some("n1"), vec![part(), part()]);
        assert_eq!(remembered(&state, Some("n1")), vec![part(), part()]);
        let names: Vec<_> = fs::read_dir(&state).expect("list").collect();
        assert_eq!(names.len(), 1, "nothing is left beside it: {names:?}");
    }

    #[test]
    fn parts_of_another_node_are_forgotten() {
        let directory = tempfile::tempdir().expect("directory");
        remember(directory.path(), Some("n1"), vec![part()]);
        assert_eq!(remembered(directory.path(), Some("n2")), Vec::new());
        assert_eq!(remembered(directory.path(), None), Vec::new());
    }

    #[test]
    fn what_is_damaged_is_forgotten_and_what_is_forbidden_is_no_error() {
        let directory = tempfile::tempdir().expect("directory");
        fs::write(directory.path().join(PARTS), "{").expect("write");
        assert_eq!(remembered(directory.path(), None), Vec::new());
        let file = directory.path().join(PARTS);
        remember(&file, None, vec![part()]);
        assert_eq!(fs::read(&file).expect("read"), b"{");
    }

    #[test]
    fn links_do_not_lead_out_of_a_root() {
        let directory = tempfile::tempdir().expect("directory");
        fs::create_dir(directory.path().join("other")).expect("mkdir");
        std::os::unix::fs::symlink("/other", directory.path().join("var")).expect("link");
        let root = Root::at(directory.path()).expect("root");
        let real = fs::canonicalize(directory.path()).expect("path");
        assert_eq!(super::directory(&root), real.join("other/lib/cupel"));
    }
}
