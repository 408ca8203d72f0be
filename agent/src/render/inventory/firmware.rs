//! Every firmware version that is visible in-band.

use cupel_model::Snapshot;

use super::Section;
use crate::output::printable;
use crate::render::table::Grid;
use crate::render::words::{cell, told};

/// The section of `cupel firmware status`.
pub fn section(snapshot: &Snapshot) -> Section {
    let mut section = Section::new(format!("Firmware ({})", snapshot.firmware.len()));
    if snapshot.firmware.is_empty() {
        section.note("no version is visible in-band");
        return section;
    }
    let mut grid = Grid::new(&["Component", "Which", "Version", "Source"]);
    for version in &snapshot.firmware {
        grid.row([
            printable(&version.component).into_owned(),
            printable(&version.name).into_owned(),
            match version.version.value() {
                Some(_) => cell(&version.version),
                None => told(&version.version),
            },
            printable(&version.source).into_owned(),
        ]);
    }
    section.grid = grid;
    section
}
