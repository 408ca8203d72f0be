//! Trees of files for tests.

use std::path::PathBuf;

use crate::root::Root;

/// A directory that stands for a machine.
pub(crate) struct Tree(tempfile::TempDir);

impl Tree {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("temporary directory"))
    }

    pub(crate) fn root(&self) -> Root {
        Root::at(self.0.path()).expect("root")
    }

    /// Path of a file as seen from outside.
    pub(crate) fn outside(&self, path: &str) -> String {
        let top = std::fs::canonicalize(self.0.path()).expect("directory");
        format!("{}{path}", top.display())
    }

    fn place(&self, path: &str) -> PathBuf {
        let place = self.0.path().join(path.trim_start_matches('/'));
        let above = place.parent().expect("a file has a directory");
        std::fs::create_dir_all(above).expect("directories");
        place
    }

    pub(crate) fn file(&self, path: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.place(path), content).expect("file");
    }

    pub(crate) fn append(&self, path: &str, content: impl AsRef<[u8]>) {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(self.place(path))
            .expect("file");
        file.write_all(content.as_ref()).expect("written");
    }

    /// Puts another file in the place of this one, in one step.
    pub(crate) fn replace(&self, path: &str, content: impl AsRef<[u8]>) {
        let place = self.place(path);
        let other = place.with_extension("new");
        std::fs::write(&other, content).expect("file");
        std::fs::rename(other, place).expect("renamed");
    }

    pub(crate) fn remove_directory(&self, path: &str) {
        std::fs::remove_dir_all(self.place(path)).expect("removed");
    }

    pub(crate) fn remove(&self, path: &str) {
        std::fs::remove_file(self.place(path)).expect("removed");
    }

    pub(crate) fn directory(&self, path: &str) {
        std::fs::create_dir_all(self.place(path)).expect("directory");
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        std::os::unix::fs::symlink(target, self.place(path)).expect("link");
    }
}
