//! A machine as files: `/sys`, `/proc`, `/dev`, `/etc`, `/run` as the kernel and the firmware
//! would show it.
//!
//! # Invariants
//! - Rendering is pure: one machine, one set of files.
//! - [`Tree::sync`] makes a directory that held one tree hold another: each changed file is
//!   replaced in one step, a file that only grew is appended to, and what is in neither tree is
//!   left alone.

mod bus;
mod devices;
mod host;
mod pages;
mod smbios;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};

use crate::machine::Machine;

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    File(Vec<u8>),
    Link(String),
    Directory,
}

/// Files below a root, by relative path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree(BTreeMap<String, Entry>);

impl Tree {
    /// Everything that the machine shows.
    pub fn of(machine: &Machine) -> Self {
        let mut tree = Self::default();
        bus::render(&mut tree, machine);
        devices::render(&mut tree, machine);
        host::render(&mut tree, machine);
        smbios::render(&mut tree, machine);
        for (path, content) in &machine.files {
            match content {
                Some(bytes) => tree.bytes(path, bytes.clone()),
                None => tree.remove(path),
            }
        }
        tree
    }

    /// A text file; a line break is added.
    fn text(&mut self, path: impl Into<String>, value: impl std::fmt::Display) {
        self.bytes(path, format!("{value}\n").into_bytes());
    }

    /// A file.
    fn bytes(&mut self, path: impl Into<String>, content: Vec<u8>) {
        self.0.insert(path.into(), Entry::File(content));
    }

    /// A symbolic link from `path` to `target`, both relative to the root; stored relative, as
    /// sysfs does.
    fn link(&mut self, path: impl Into<String>, target: &str) {
        let path = path.into();
        let from: Vec<&str> = path.split('/').collect();
        let to: Vec<&str> = target.split('/').collect();
        let directory = from.len() - 1;
        let common = from[..directory]
            .iter()
            .zip(&to)
            .take_while(|(a, b)| a == b)
            .count();
        let mut parts = vec![".."; directory - common];
        parts.extend(&to[common..]);
        let relative = parts.join("/");
        self.0.insert(path, Entry::Link(relative));
    }

    /// A directory that may be empty.
    fn directory(&mut self, path: impl Into<String>) {
        self.0.insert(path.into(), Entry::Directory);
    }

    /// Takes a file, or a directory with all that is in it, away.
    fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        self.0
            .retain(|name, _| name != path && !name.starts_with(&below));
    }

    /// Makes `root`, which holds `old`, hold this tree.
    pub fn sync(&self, root: &Path, old: &Self) -> Result<()> {
        for path in old
            .0
            .keys()
            .rev()
            .filter(|path| !self.0.contains_key(*path))
        {
            take_away(root, path).with_context(|| format!("cannot remove {path}"))?;
        }
        for (path, entry) in &self.0 {
            let before = old.0.get(path);
            if before != Some(entry) {
                put(&root.join(path), entry, before)
                    .with_context(|| format!("cannot write {path}"))?;
            }
        }
        Ok(())
    }
}

/// Removes one entry and the directories above it that are empty then.
fn take_away(root: &Path, path: &str) -> Result<()> {
    let whole = root.join(path);
    if fs::symlink_metadata(&whole)?.is_dir() {
        // Not empty: another entry of the tree or a stranger's file is still in it.
        if fs::remove_dir(&whole).is_err() {
            return Ok(());
        }
    } else {
        fs::remove_file(&whole)?;
    }
    let mut above = whole.parent();
    while let Some(directory) = above.filter(|d| *d != root) {
        if fs::remove_dir(directory).is_err() {
            break;
        }
        above = directory.parent();
    }
    Ok(())
}

fn put(path: &Path, entry: &Entry, before: Option<&Entry>) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let beside = path.with_file_name(format!(
        ".{}.new",
        path.file_name().unwrap_or_default().to_string_lossy()
    ));
    match (entry, before) {
        (Entry::Directory, _) => fs::create_dir_all(path)?,
        (Entry::File(bytes), Some(Entry::File(old))) if bytes.starts_with(old) => {
            fs::OpenOptions::new()
                .append(true)
                .open(path)?
                .write_all(&bytes[old.len()..])?;
        }
        (Entry::File(bytes), None) => fs::write(path, bytes)?,
        (Entry::File(bytes), Some(_)) => {
            fs::write(&beside, bytes)?;
            fs::rename(&beside, path)?;
        }
        (Entry::Link(target), None) => symlink(target, path)?,
        (Entry::Link(target), Some(_)) => {
            symlink(target, &beside)?;
            fs::rename(&beside, path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        for (path, content) in files {
            tree.bytes(*path, content.as_bytes().to_vec());
        }
        tree
    }

    #[test]
    fn links_are_relative_as_in_sysfs() {
        let mut tree = Tree::default();
        tree.link(
            "sys/bus/pci/devices/0000:01:00.0",
            "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0",
        );
        assert_eq!(
            tree.0.values().next(),
            Some(&Entry::Link(
                "../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0".to_owned()
            ))
        );
    }

    #[test]
    fn a_directory_follows_its_tree_and_strangers_stay() {
        let root = tempfile::tempdir().expect("directory");
        let old = tree(&[("a/x", "1"), ("a/b/y", "2"), ("log", "one\n")]);
        old.sync(root.path(), &Tree::default()).expect("write");
        fs::write(root.path().join("a/stranger"), "mine").expect("write");
        let grown = fs::File::open(root.path().join("log")).expect("open");
        let new = tree(&[("a/x", "3"), ("log", "one\ntwo\n")]);
        new.sync(root.path(), &old).expect("change");
        let read = |path: &str| fs::read_to_string(root.path().join(path)).ok();
        assert_eq!(read("a/x").as_deref(), Some("3"));
        assert_eq!(read("a/b/y"), None);
        assert!(!root.path().join("a/b").exists());
        assert_eq!(read("a/stranger").as_deref(), Some("mine"));
        assert_eq!(
            std::io::read_to_string(grown).expect("the log is the same file"),
            "one\ntwo\n"
        );
    }
}
