//! Manual pages and shell completions, from the trees of commands themselves.

use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

/// Completions of a program.
pub struct Completions {
    /// For bash.
    pub bash: Vec<u8>,
    /// For zsh.
    pub zsh: Vec<u8>,
    /// For fish.
    pub fish: Vec<u8>,
}

/// Texts of one program.
struct Program {
    name: &'static str,
    /// File name and roff, sorted.
    manual: Vec<(String, Vec<u8>)>,
    completions: Completions,
}

/// Texts of all programs.
pub struct Texts(Vec<Program>);

impl Texts {
    /// Writes all of them; `date` is that of the commit, `YYYY-MM-DD`.
    pub fn write(date: &str) -> anyhow::Result<Self> {
        let programs = [
            ("cupel", cupel_agent::cli::command()),
            ("cupel-inventory", cupel_inventory::cli::command()),
        ];
        let mut texts = Vec::new();
        for (name, command) in programs {
            let complete = |shell| {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut command.clone(), name, &mut script);
                script
            };
            let completions = Completions {
                bash: complete(Shell::Bash),
                zsh: complete(Shell::Zsh),
                fish: complete(Shell::Fish),
            };
            let mut command = command.disable_help_subcommand(true);
            command.build();
            let mut manual = Vec::new();
            pages(&command, date, &mut manual)?;
            manual.sort();
            texts.push(Program {
                name,
                manual,
                completions,
            });
        }
        Ok(Self(texts))
    }

    /// Manual pages of a program.
    pub fn manual(&self, name: &str) -> &[(String, Vec<u8>)] {
        self.0
            .iter()
            .find(|program| program.name == name)
            .map_or(&[], |program| &program.manual)
    }

    /// Completions of a program.
    pub fn completions(&self, name: &str) -> Option<&Completions> {
        let program = self.0.iter().find(|program| program.name == name)?;
        Some(&program.completions)
    }

    /// All of it, as files below one directory.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        for program in &self.0 {
            let name = program.name;
            for (page, text) in &program.manual {
                files.push((format!("man/{page}"), text.clone()));
            }
            let of = &program.completions;
            for (file, text) in [
                (format!("bash/{name}"), &of.bash),
                (format!("zsh/_{name}"), &of.zsh),
                (format!("fish/{name}.fish"), &of.fish),
            ] {
                files.push((format!("completions/{file}"), text.clone()));
            }
        }
        files.sort();
        files
    }
}

/// The page of a command, and those of its subcommands. The command is built: it knows its names.
fn pages(
    command: &clap::Command,
    date: &str,
    into: &mut Vec<(String, Vec<u8>)>,
) -> anyhow::Result<()> {
    for below in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        pages(below, date, into)?;
    }
    let page = Man::new(command.clone())
        .date(date)
        .source(format!("Cupel {}", env!("CARGO_PKG_VERSION")))
        .manual("Cupel");
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    if command.get_arguments().any(|one| !one.is_hide_set()) {
        page.render_options_section(&mut text)?;
    }
    if command.get_subcommands().any(|one| !one.is_hide_set()) {
        page.render_subcommands_section(&mut text)?;
    }
    // Examples and exit codes: their lines are lines.
    if let Some(after) = command.get_after_help() {
        let mut section = Roff::new();
        section.control("SH", ["EXAMPLES AND EXIT CODES"]);
        section.control("nf", []);
        for line in after.to_string().lines() {
            section.text([roman(line)]);
        }
        section.control("fi", []);
        section.to_writer(&mut text)?;
    }
    into.push((page.get_filename(), text));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_is_listed_has_a_page_and_is_completed() {
        let texts = Texts::write("2026-11-26").expect("texts");
        let pages: Vec<&str> = texts
            .manual("cupel")
            .iter()
            .map(|(page, _)| page.as_str())
            .collect();
        for page in ["cupel.1", "cupel-check.1", "cupel-platform-derive.1"] {
            assert!(pages.contains(&page), "{page} of {pages:?}");
        }
        assert!(!pages.contains(&"cupel-burn-in-guard.1"), "it is hidden");
        let (_, check) = texts
            .manual("cupel")
            .iter()
            .find(|(page, _)| page == "cupel-check.1")
            .expect("page");
        let check = String::from_utf8_lossy(check);
        assert!(check.contains("2026-11-26"), "{check}");
        let files = texts.files();
        for file in [
            "completions/bash/cupel-inventory",
            "completions/zsh/_cupel",
            "completions/fish/cupel.fish",
            "man/cupel-inventory-serve.1",
        ] {
            assert!(files.iter().any(|(name, _)| name == file), "{file}");
        }
    }
}
