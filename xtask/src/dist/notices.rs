//! The licence texts of what a program is made of: most of them ask to be passed on with it.
//!
//! # Invariants
//! - Every package that is linked is named, with its text; one whose archive holds no text is named
//!   with its licence, and that this is so.
//! - The same text stands there once, with all that it is of.
//! - It is a function of what is linked: the same twice.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cargo_metadata::Package;

use crate::process;
use crate::workspace::Workspace;

/// How names of files begin that hold such texts, in capitals.
const NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];

/// How deep in a package they are looked for: C sources that it carries have directories of theirs.
const DEPTH: u32 = 2;

/// Longest text, in bytes.
const LONGEST: u64 = 512 * 1024;

/// A text with where it comes from.
struct Text {
    of: String,
    text: String,
}

/// The texts for a program: of its packages, and of the libraries that come with the compilers.
///
/// # Errors
/// A file that is there and cannot be read.
pub fn write(
    workspace: &Workspace,
    program: &str,
    packages: &[&Package],
) -> anyhow::Result<Vec<u8>> {
    let (mut texts, mut bare) = (Vec::new(), Vec::new());
    for package in packages.iter().filter(|package| package.source.is_some()) {
        let of = format!("{} {}", package.name, package.version);
        let directory = package.manifest_path.parent().context("no directory")?;
        let found = texts_in(directory.as_std_path(), &of, DEPTH)?;
        if found.is_empty() {
            let licence = package.license.as_deref().unwrap_or("no licence is named");
            bare.push(format!("{of}: {licence}"));
        }
        texts.extend(found);
    }
    for (of, path) in from_compilers(workspace) {
        match path.and_then(|path| fs::read_to_string(path).ok()) {
            Some(text) => texts.push(Text {
                of: of.to_owned(),
                text,
            }),
            None => bare.push(format!("{of}: its text is not installed here")),
        }
    }
    Ok(render(program, texts, &bare).into_bytes())
}

/// The texts below a directory.
fn texts_in(directory: &Path, of: &str, depth: u32) -> anyhow::Result<Vec<Text>> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))?;
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in entries {
        paths.push(entry?.path());
    }
    paths.sort();
    let mut texts = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_text = {
            let name = name.to_uppercase();
            NAMES.iter().any(|begin| name.starts_with(begin))
        };
        let about = fs::metadata(&path)?;
        if about.is_dir() && depth > 0 && !name.starts_with('.') {
            // A directory of licences holds nothing else.
            let deeper = if is_text {
                every(&path, of)?
            } else {
                Vec::new()
            };
            texts.extend(deeper);
            texts.extend(texts_in(&path, of, depth - 1)?);
        } else if about.is_file() && is_text && about.len() <= LONGEST && !is_code(&name) {
            texts.extend(text(&path, of)?);
        }
    }
    Ok(texts)
}

fn every(directory: &Path, of: &str) -> anyhow::Result<Vec<Text>> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(directory)? {
        paths.push(entry?.path());
    }
    paths.sort();
    let mut texts = Vec::new();
    for path in paths.iter().filter(|path| path.is_file()) {
        texts.extend(text(path, of)?);
    }
    Ok(texts)
}

/// `license.rs` is code about licences, not a licence.
fn is_code(name: &str) -> bool {
    let code = ["rs", "c", "h", "py", "json", "toml", "html"];
    name.rsplit_once('.')
        .is_some_and(|(_, end)| code.contains(&end))
}

/// None for what is no text.
fn text(path: &Path, of: &str) -> anyhow::Result<Option<Text>> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    Ok(String::from_utf8(bytes).ok().map(|text| Text {
        of: of.to_owned(),
        text,
    }))
}

/// What is linked and comes with the compilers.
fn from_compilers(workspace: &Workspace) -> Vec<(&'static str, Option<PathBuf>)> {
    let answer = |program: &str, args: &[&str]| {
        let answer = process::output(Path::new(program), args, &[], &workspace.root).ok()?;
        let text = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        answer.status.success().then_some(text)
    };
    let rust = answer("rustc", &["--print", "sysroot"])
        .map(|root| Path::new(&root).join("share/doc/rust/licenses"));
    let zig = answer("python3", &["-m", "ziglang", "env"]).or_else(|| answer("zig", &["env"]));
    let zig = zig.and_then(|told| {
        let (_, rest) = told.split_once("lib_dir")?;
        Some(PathBuf::from(rest.split('"').nth(1)?))
    });
    let rust = |file: &str| rust.as_ref().map(|directory| directory.join(file));
    vec![
        ("Rust's standard library (MIT)", rust("MIT.txt")),
        (
            "Rust's standard library (or Apache-2.0)",
            rust("Apache-2.0.txt"),
        ),
        (
            "musl, the C library",
            zig.map(|directory| directory.join("libc/musl/COPYRIGHT")),
        ),
    ]
}

fn render(program: &str, texts: Vec<Text>, bare: &[String]) -> String {
    let mut by_text: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Text { of, text } in texts {
        let text: Vec<&str> = text.lines().map(str::trim_end).collect();
        let of_text = by_text
            .entry(text.join("\n").trim_matches('\n').to_owned())
            .or_default();
        if !of_text.contains(&of) {
            of_text.push(of);
        }
    }
    let mut sections: Vec<(Vec<String>, String)> = by_text
        .into_iter()
        .map(|(text, mut of)| {
            of.sort();
            (of, text)
        })
        .collect();
    sections.sort();
    let mut out = format!(
        "{program} is linked with the libraries below. These are the licence texts that came with \
         them.\n"
    );
    if !bare.is_empty() {
        out.push_str("\nWithout a text of their own:\n");
        for one in bare {
            out.push_str(&format!("  {one}\n"));
        }
    }
    for (of, text) in sections {
        let rule = "-".repeat(80);
        out.push_str(&format!("\n{rule}\n{}\n{rule}\n\n{text}\n", of.join("\n")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_stands_there_once_with_all_that_it_is_of() {
        let directory = tempfile::tempdir().expect("directory");
        let at = |path: &str, text: &str| {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("directories");
            fs::write(path, text).expect("file");
        };
        at("LICENSE-MIT", "Permission is granted\r\n");
        at("src/license.rs", "fn licence() {}");
        at("c/LICENSE", "The C library's");
        at("LICENSES/BSD.txt", "Redistribution");
        at("README.md", "no licence");
        let mut texts = texts_in(directory.path(), "one 1.0", DEPTH).expect("texts");
        texts.push(Text {
            of: "other 2.0".to_owned(),
            text: "\nPermission is granted\n\n".to_owned(),
        });
        let out = render("cupel", texts, &["bare 3.0: MIT".to_owned()]);
        assert_eq!(out.matches("Permission is granted").count(), 1, "{out}");
        assert!(out.contains("one 1.0\nother 2.0\n"), "{out}");
        for part in ["The C library's", "Redistribution", "bare 3.0: MIT"] {
            assert!(out.contains(part), "{part}: {out}");
        }
        assert!(!out.contains("fn licence") && !out.contains("no licence"));
    }
}
