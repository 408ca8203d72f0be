//! Plain tables: no borders, a bold head, cells wrapped so that the whole fits its width.

use anstyle::Style;
use comfy_table::{ContentArrangement, Table, presets};

use crate::cli::COLUMNS;
use crate::output::paint;

/// Head and rows, not yet laid out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grid {
    /// Names of the columns.
    pub head: Vec<&'static str>,
    /// Cells, one a column.
    pub rows: Vec<Vec<String>>,
}

impl Grid {
    /// A grid without rows.
    pub fn new(head: &[&'static str]) -> Self {
        Self {
            head: head.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl Into<Vec<String>>) {
        self.rows.push(cells.into());
    }
}

/// How text is laid out.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Columns to fit into.
    pub width: usize,
    /// Whether colour may be used.
    pub colour: bool,
}

impl Layout {
    /// The terminal's width, at most [`COLUMNS`]; [`COLUMNS`] where there is no terminal.
    pub fn of_terminal(colour: bool) -> Self {
        let terminal = Table::new().width().map_or(COLUMNS, usize::from);
        Self {
            width: terminal.clamp(40, COLUMNS),
            colour,
        }
    }

    /// The grid as text, each line indented and ended; nothing when it has no rows.
    pub fn grid(self, grid: &Grid, indent: usize) -> String {
        if grid.rows.is_empty() {
            return String::new();
        }
        let mut table = Table::new();
        table.set_header(&grid.head);
        for row in &grid.rows {
            table.add_row(row);
        }
        self.lay(table, indent, !grid.head.is_empty())
    }

    /// Lines of two columns: a label and wrapped text.
    pub fn labelled(self, rows: &[(String, String)], indent: usize) -> String {
        if rows.is_empty() {
            return String::new();
        }
        let mut table = Table::new();
        for (label, text) in rows {
            table.add_row([label, text]);
        }
        self.lay(table, indent, false)
    }

    /// Wrapped text.
    pub fn paragraph(self, text: &str, indent: usize) -> String {
        let mut table = Table::new();
        table.add_row([text]);
        self.lay(table, indent, false)
    }

    /// A heading.
    pub fn heading(self, text: &str) -> String {
        format!("{}\n", paint(text, Style::new().bold(), self.colour))
    }

    fn lay(self, mut table: Table, indent: usize, head: bool) -> String {
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(u16::try_from(self.width.saturating_sub(indent)).unwrap_or(u16::MAX));
        let last = table.column_count().saturating_sub(1);
        for (number, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, if number == last { 0 } else { 2 }));
        }
        let mut text = String::new();
        for (number, line) in table.lines().enumerate() {
            let line = line.trim_end();
            text.push_str(&" ".repeat(indent));
            if head && number == 0 {
                text.push_str(&paint(line, Style::new().underline(), self.colour));
            } else {
                text.push_str(line);
            }
            text.push('\n');
        }
        text
    }
}

/// Text in lines of at most `width` characters, cut at spaces where there are some; nothing but
/// the spaces at the cuts is lost.
pub fn wrap(text: &str, width: usize) -> Vec<&str> {
    let mut rest = text;
    let mut lines = Vec::new();
    while let Some((limit, _)) = rest.char_indices().nth(width.max(1)) {
        // A space just behind the limit is a good cut, too.
        let window = rest.get(..=limit).unwrap_or(&rest[..limit]);
        let (line, after) = match window.rfind(' ') {
            Some(at) if !window[..at].trim().is_empty() => rest.split_at(at),
            Some(_) | None => rest.split_at(limit),
        };
        lines.push(line.trim_end());
        rest = after.trim_start_matches(' ');
    }
    lines.push(rest);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_at_spaces() {
        assert_eq!(wrap("", 5), [""]);
        assert_eq!(wrap("aa bb cc", 8), ["aa bb cc"]);
        assert_eq!(wrap("aa bb cc", 5), ["aa bb", "cc"]);
        assert_eq!(wrap("aa bb  cc", 4), ["aa", "bb", "cc"]);
        assert_eq!(wrap("aaaaaaa b", 3), ["aaa", "aaa", "a b"]);
        assert_eq!(wrap("ää ßßß\u{3b1}\u{3b1}", 3), ["ää", "ßßß", "αα"]);
        assert_eq!(wrap("  ab", 3), ["  a", "b"]);
    }

    #[test]
    fn tables_fit_their_width() {
        let mut grid = Grid::new(&["Slot", "What", "Why"]);
        grid.row(["SXM 1", "short", &"long words ".repeat(30)].map(str::to_owned));
        grid.row(["SXM 2", &"x".repeat(150), "y"].map(str::to_owned));
        for width in [60, 80, 100] {
            let layout = Layout {
                width,
                colour: false,
            };
            for line in layout.grid(&grid, 2).lines() {
                assert!(line.chars().count() <= width, "{line:?}");
                assert!(line.starts_with("  "));
            }
        }
    }

    #[test]
    fn text_keeps_its_words() {
        let layout = Layout {
            width: 30,
            colour: false,
        };
        assert_eq!(
            layout.labelled(
                &[(
                    "do".to_owned(),
                    "reset the GPU in SXM 4, then look".to_owned()
                )],
                2
            ),
            "  do  reset the GPU in SXM 4,\n      then look\n"
        );
    }
}
