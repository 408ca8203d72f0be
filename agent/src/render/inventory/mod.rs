//! What a machine is, as sections of facts and tables: laid out once, written as text and as HTML.
//!
//! # Invariants
//! - A part that is not there has its section all the same, which says so.

mod buses;
mod firmware;
mod gpus;
mod host;
mod unread;

pub use firmware::section as firmware_section;

use cupel_model::Snapshot;

use super::table::{Grid, Layout};

/// One part of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Title.
    pub title: String,
    /// Label and text.
    pub facts: Vec<(String, String)>,
    /// Parts of a kind.
    pub grid: Grid,
    /// What else must be said.
    pub notes: Vec<String>,
}

impl Section {
    fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            ..Self::default()
        }
    }

    fn fact(&mut self, label: &str, text: impl Into<String>) {
        self.facts.push((label.to_owned(), text.into()));
    }

    fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What a technician needs at a glance: like parts are grouped.
    Brief,
    /// Every part.
    Full,
}

/// Every section, the machine first.
pub fn sections(snapshot: &Snapshot, detail: Detail) -> Vec<Section> {
    let mut sections = vec![
        host::machine(snapshot),
        host::processors(snapshot, detail),
        host::memory(snapshot, detail),
        gpus::driver(snapshot),
        gpus::gpus(snapshot),
        gpus::nvlinks(snapshot),
        buses::rdma(snapshot),
        buses::nvme(snapshot),
        buses::network(snapshot),
        host::filesystems(snapshot),
        host::bmc(snapshot, detail),
        host::services(snapshot),
        host::kernel_log(snapshot),
        unread::section(snapshot),
    ];
    if detail == Detail::Full {
        sections.insert(sections.len() - 1, firmware::section(snapshot));
    }
    sections
}

/// One section as text.
pub fn text(section: &Section, layout: Layout) -> String {
    let mut text = layout.heading(&section.title);
    text.push_str(&layout.labelled(&section.facts, 2));
    text.push_str(&layout.grid(&section.grid, 2));
    for note in &section.notes {
        text.push_str(&layout.paragraph(note, 2));
    }
    text
}

/// Like texts once each, with how often: `8 x NVIDIA H200`. In order of first appearance.
fn tally(texts: impl IntoIterator<Item = String>) -> Vec<(usize, String)> {
    let mut counted: Vec<(usize, String)> = Vec::new();
    for text in texts {
        match counted.iter_mut().find(|(_, known)| *known == text) {
            Some((count, _)) => *count += 1,
            None => counted.push((1, text)),
        }
    }
    counted
}

/// A tally in one line.
fn tally_line(texts: impl IntoIterator<Item = String>) -> String {
    tally(texts)
        .into_iter()
        .map(|(count, text)| format!("{count} x {text}"))
        .collect::<Vec<_>>()
        .join("; ")
}
