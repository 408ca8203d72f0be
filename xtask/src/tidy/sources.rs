//! Rules about single files.
//!
//! # Invariants
//! - Rust is judged by its tokens: what stands in a comment or a string breaks no rule about code.

use super::Violation;
use super::directions::PURE;
use super::tokens::{self, Token};

/// Longest Rust file, in lines.
const LONGEST: usize = 600;

/// Directories whose code may be `unsafe`: system calls, driver calls, and a driver that is played.
const MAY_BE_UNSAFE: &[&str] = &[
    "crates/hardware/",
    "crates/gpu-worker/",
    "tests/fake-driver/",
];

/// Where processes are started: one place that ships, one that does not.
const MAY_START_PROCESSES: &[&str] = &["crates/hardware/", "xtask/src/process.rs"];

/// Words of unfinished work, kept apart here so that this file has none.
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
];

/// Macros of unfinished work.
const UNFINISHED_MACROS: &[&str] = &["todo", "unimplemented", "dbg"];

/// What a pure crate does not name.
const REACHES_OUT: &[&[&str]] = &[
    &["std", ":", ":", "env", ":", ":"],
    &["std", ":", ":", "fs"],
    &["std", ":", ":", "net"],
    &["std", ":", ":", "os"],
    &["std", ":", ":", "process"],
    &["std", ":", ":", "thread"],
    &["Instant", ":", ":", "now"],
    &["SystemTime", ":", ":", "now"],
    &["Timestamp", ":", ":", "now"],
    &["Zoned", ":", ":", "now"],
];

/// Paths of this machine that must not get into the project.
pub struct Machine {
    /// Where the checkout lies.
    pub checkout: String,
    /// The home directory.
    pub home: String,
}

/// All rules about one file; `path` is relative to the checkout.
pub fn check(path: &str, text: &str, machine: &Machine) -> Vec<Violation> {
    let mut found = Found {
        path,
        violations: Vec::new(),
    };
    machine_paths(&mut found, text, machine);
    if path.ends_with(".rs") {
        unfinished_words(&mut found, text);
        length(&mut found, text);
        match tokens::of(text) {
            Ok(tokens) => rust(&mut found, &tokens),
            Err(why) => found.add(1, "rust", format!("cannot be read as Rust: {why}")),
        }
    }
    found.violations
}

struct Found<'a> {
    path: &'a str,
    violations: Vec<Violation>,
}

impl Found<'_> {
    fn add(&mut self, line: usize, rule: &'static str, what: impl Into<String>) {
        self.violations.push(Violation {
            at: format!("{}:{line}", self.path),
            rule,
            what: what.into(),
        });
    }

    /// Whether the file lies under one of these.
    fn under(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }

    /// Whether the file is tests only.
    fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.contains("/benches/")
            || self.path.ends_with("/tests.rs")
    }
}

fn machine_paths(found: &mut Found<'_>, text: &str, machine: &Machine) {
    let mut patterns = vec![
        concat!("/.cargo/", "registry").to_owned(),
        concat!("/.rust", "up/").to_owned(),
        concat!("/Us", "ers/").to_owned(),
    ];
    // A short path such as "/" or "/root" stands for other things too.
    for own in [&machine.checkout, &machine.home] {
        if own.matches('/').count() >= 2 {
            patterns.push(own.clone());
        }
    }
    for (index, line) in text.lines().enumerate() {
        for pattern in &patterns {
            if line.contains(pattern.as_str()) {
                found.add(
                    index + 1,
                    "machine-path",
                    format!("holds {pattern}, a path of one machine"),
                );
            }
        }
    }
}

fn unfinished_words(found: &mut Found<'_>, text: &str) {
    for (index, line) in text.lines().enumerate() {
        let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        for word in words.filter(|word| UNFINISHED.contains(word)) {
            found.add(
                index + 1,
                "unfinished",
                format!("{word}: finish it, or file it as an issue"),
            );
        }
    }
}

fn length(found: &mut Found<'_>, text: &str) {
    let lines = text.lines().count();
    if lines > LONGEST {
        found.add(
            LONGEST,
            "length",
            format!("{lines} lines, at most {LONGEST}: split it by meaning"),
        );
    }
}

fn rust(found: &mut Found<'_>, tokens: &[Token]) {
    module_docs(found, tokens);
    attributes(found, tokens);
    for name in UNFINISHED_MACROS {
        for token in tokens::find(tokens, &[name, "!"]).filter(|token| token.word) {
            found.add(token.line, "unfinished", format!("{name}!: finish it"));
        }
    }
    if !found.under(MAY_BE_UNSAFE) {
        for token in tokens
            .iter()
            .filter(|token| token.word && token.text == "unsafe")
        {
            let places = MAY_BE_UNSAFE.join(", ");
            found.add(
                token.line,
                "unsafe",
                format!("unsafe code lives in {places} alone"),
            );
        }
    }
    if !found.under(MAY_START_PROCESSES) && !found.is_test() {
        for token in tokens::find(tokens, &["Command", ":", ":", "new"]) {
            found.add(
                token.line,
                "process",
                "processes are started by cupel_hardware::command alone",
            );
        }
    }
    let pure = PURE
        .iter()
        .filter_map(|name| name.strip_prefix("cupel-"))
        .any(|name| found.path.starts_with(&format!("crates/{name}/src/")));
    if pure && !found.is_test() {
        for sequence in REACHES_OUT {
            for token in tokens::find(tokens, sequence).filter(|token| !token.test) {
                let what = sequence.concat();
                found.add(
                    token.line,
                    "pure",
                    format!("{what} in a crate that is pure"),
                );
            }
        }
    }
}

/// The file must open with `//!`, inner attributes aside.
fn module_docs(found: &mut Found<'_>, tokens: &[Token]) {
    let mut rest = tokens;
    while let [hash, bang, open, name, ..] = rest {
        if hash.text != "#" || bang.text != "!" || open.text != "[" {
            break;
        }
        if name.text == "doc" {
            return;
        }
        let mut depth = 0_usize;
        let end = rest.iter().position(|token| {
            match token.text.as_str() {
                "[" => depth += 1,
                "]" => depth -= 1,
                _ => {}
            }
            token.text == "]" && depth == 0
        });
        rest = end.map_or(&[], |end| &rest[end + 1..]);
    }
    found.add(
        1,
        "module-docs",
        "begins without `//!`: say its purpose, invariants, what is absent",
    );
}

fn attributes(found: &mut Found<'_>, tokens: &[Token]) {
    for open in [&["#", "["][..], &["#", "!", "["][..]] {
        for (index, window) in tokens.windows(open.len() + 2).enumerate() {
            let begins = window
                .iter()
                .zip(open)
                .all(|(token, text)| token.text == *text);
            if !begins {
                continue;
            }
            let name = &window[open.len()];
            let next = &window[open.len() + 1];
            match name.text.as_str() {
                "allow" => found.add(
                    name.line,
                    "attribute",
                    "allow: write #[expect(…, reason = \"…\")], which ends when its cause does",
                ),
                "expect" if next.text == "(" && !has_reason(&tokens[index..]) => {
                    found.add(name.line, "attribute", "expect without a reason");
                }
                "ignore" if next.text != "=" => {
                    found.add(name.line, "attribute", "ignore without a reason");
                }
                _ => {}
            }
        }
    }
}

/// Whether the attribute that begins here names a reason.
fn has_reason(tokens: &[Token]) -> bool {
    tokens
        .iter()
        .take_while(|token| token.text != "]")
        .any(|token| token.word && token.text == "reason")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> Vec<&'static str> {
        let machine = Machine {
            checkout: "/home/someone/cupel".to_owned(),
            home: "/root".to_owned(),
        };
        let mut rules: Vec<_> = check(path, text, &machine)
            .into_iter()
            .map(|violation| violation.rule)
            .collect();
        rules.dedup();
        rules
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn a_file_in_order_breaks_nothing() {
        let text = "//! Purpose.\n#![expect(dead_code, reason = \"why\")]\nfn f() {}\n";
        assert_eq!(broken("agent/src/a.rs", text), NONE);
    }

    #[test]
    fn files_have_module_docs_even_behind_attributes() {
        assert_eq!(broken("agent/src/a.rs", "fn f() {}\n"), ["module-docs"]);
        assert_eq!(
            broken("agent/src/a.rs", "/// Of f.\nfn f() {}\n"),
            ["module-docs"]
        );
        assert_eq!(
            broken("agent/src/a.rs", "#![cfg(unix)]\n//! Purpose.\n"),
            NONE
        );
        assert_eq!(broken("agent/src/a.rs", ""), ["module-docs"]);
    }

    #[test]
    fn long_files_are_refused() {
        let text = format!("//! Purpose.\n{}", "fn f() {}\n".repeat(LONGEST));
        assert_eq!(broken("agent/src/a.rs", &text), ["length"]);
    }

    #[test]
    fn unfinished_work_is_refused_in_comments_and_code() {
        let word = UNFINISHED[0];
        assert_eq!(
            broken("agent/src/a.rs", &format!("//! P.\n// {word}: x\n")),
            ["unfinished"]
        );
        for name in UNFINISHED_MACROS {
            let text = format!("//! P.\nfn f() {{ {name}!() }}\n");
            assert_eq!(broken("agent/src/a.rs", &text), ["unfinished"], "{name}");
        }
    }

    #[test]
    fn attributes_want_reasons() {
        for bad in [
            "#[allow(dead_code)]",
            "#![allow(dead_code)]",
            "#[expect(dead_code)]",
            "#[ignore]",
        ] {
            let text = format!("//! P.\n{bad}\nfn f() {{}}\n");
            assert_eq!(broken("agent/src/a.rs", &text), ["attribute"], "{bad}");
        }
        for fine in [
            "#[expect(dead_code, reason = \"r\")]",
            "#[ignore = \"needs a GPU\"]",
        ] {
            let text = format!("//! P.\n{fine}\nfn f() {{}}\n");
            assert_eq!(broken("agent/src/a.rs", &text), NONE, "{fine}");
        }
    }

    #[test]
    fn processes_start_in_hardware_alone() {
        let text = "//! P.\nfn f() { std::process::Command::new(\"x\"); }\n";
        assert_eq!(broken("agent/src/a.rs", text), ["process"]);
        assert_eq!(broken("xtask/src/a.rs", text), ["process"]);
        assert_eq!(broken("xtask/src/process.rs", text), NONE);
        assert_eq!(broken("crates/hardware/src/command.rs", text), NONE);
        assert_eq!(broken("tests/rack/src/a.rs", text), NONE);
    }

    #[test]
    fn unsafe_code_lives_in_named_crates() {
        let text = "//! P.\nfn f() { unsafe { g() } }\n";
        assert_eq!(broken("crates/burnin/src/a.rs", text), ["unsafe"]);
        assert_eq!(broken("crates/hardware/src/a.rs", text), NONE);
        let words = "//! unsafe.\nfn f() { \"unsafe\"; }\n";
        assert_eq!(broken("crates/burnin/src/a.rs", words), NONE);
    }

    #[test]
    fn pure_crates_name_no_file_clock_or_process() {
        for reach in [
            "std::fs::read(\"x\")",
            "std::env::var(\"x\")",
            "std::thread::spawn(f)",
            "SystemTime::now()",
            "jiff::Timestamp::now()",
        ] {
            let text = format!("//! P.\nfn f() {{ {reach}; }}\n");
            assert_eq!(broken("crates/health/src/a.rs", &text), ["pure"], "{reach}");
            assert_eq!(broken("crates/health/tests/a.rs", &text), NONE, "{reach}");
            let test = format!("//! P.\n#[cfg(test)]\nmod tests {{ fn f() {{ {reach}; }} }}\n");
            assert_eq!(broken("crates/health/src/a.rs", &test), NONE, "{reach}");
        }
    }

    #[test]
    fn paths_of_one_machine_stay_out() {
        for bad in [
            "see /home/someone/cupel/target",
            concat!("/x/.cargo/", "registry/src"),
            concat!("/Us", "ers/someone"),
        ] {
            assert_eq!(broken("README.md", bad), ["machine-path"], "{bad}");
        }
        assert_eq!(broken("README.md", "/root/dump and /home"), NONE);
    }

    #[test]
    fn what_is_not_rust_is_said() {
        assert_eq!(broken("agent/src/a.rs", "//! P.\nfn f( {"), ["rust"]);
    }
}
