//! What ran when: a row a part of the machine, a bar a stage.

use plotters::prelude::{IntoDrawingArea, PathElement, Rectangle, SVGBackend, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, RGBColor};

use super::{FINE, INK, LIGHT, in_page, words};
use crate::burn_in::schedule::clock;

const WIDTH: i32 = 960;
const NAMES: i32 = 150;
const ROW: i32 = 22;
const HEAD: i32 = 24;
/// Narrowest bar that is seen.
const LEAST: i32 = 2;
/// Width of a letter.
const LETTER: i32 = 7;

/// A stage in the timeline.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Which row.
    pub row: String,
    /// What stands in it.
    pub label: String,
    /// When it began.
    pub begin: f64,
    /// How long it took.
    pub length: f64,
    /// Its colour, by how it ended.
    pub colour: (u8, u8, u8),
}

/// The timeline of some stages, from second 0 to `seconds`.
pub fn timeline(bars: &[Bar], seconds: f64) -> Option<String> {
    let mut rows: Vec<&str> = Vec::new();
    for bar in bars {
        if !rows.contains(&bar.row.as_str()) {
            rows.push(&bar.row);
        }
    }
    if rows.is_empty() {
        return None;
    }
    let mut svg = String::new();
    draw(&mut svg, &rows, bars, seconds.max(1.0)).ok()?;
    in_page(&svg, "what ran when")
}

/// A distance of round numbers between marks.
fn step(seconds: f64) -> f64 {
    const STEPS: [f64; 14] = [
        1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0,
        14_400.0,
    ];
    STEPS
        .into_iter()
        .find(|step| seconds / step <= 10.0)
        .unwrap_or(43_200.0)
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw(svg: &mut String, rows: &[&str], bars: &[Bar], seconds: f64) -> Drawn {
    let height = HEAD + ROW * i32::try_from(rows.len())? + 4;
    let size = (u32::try_from(WIDTH)?, u32::try_from(height)?);
    let area = SVGBackend::with_string(svg, size).into_drawing_area();
    let place = |at: f64| {
        let share = (at / seconds).clamp(0.0, 1.0) * f64::from(WIDTH - NAMES - 20);
        NAMES
            + (0..=WIDTH)
                .find(|pixel| f64::from(*pixel) >= share)
                .unwrap_or(0)
    };
    let step = step(seconds);
    let mut at = 0.0;
    while at <= seconds {
        let x = place(at);
        area.draw(&PathElement::new(
            vec![(x, HEAD - 4), (x, height - 2)],
            FINE,
        ))?;
        let middle = Pos::new(HPos::Center, VPos::Center);
        area.draw(&Text::new(
            clock(at),
            (x, HEAD / 2 - 2),
            words(&INK, 12, middle),
        ))?;
        at += step;
    }
    for (number, row) in (0..).zip(rows) {
        let top = HEAD + number * ROW;
        let pos = Pos::new(HPos::Right, VPos::Center);
        let at = (NAMES - 8, top + ROW / 2);
        area.draw(&Text::new((*row).to_owned(), at, words(&INK, 12, pos)))?;
        for bar in bars.iter().filter(|bar| bar.row == **row) {
            let (left, right) = (place(bar.begin), place(bar.begin + bar.length));
            // Neighbours stay apart.
            let (left, right) = (left + 1, (right - 1).max(left + 1 + LEAST));
            let (red, green, blue) = bar.colour;
            let corners = [(left, top + 2), (right, top + ROW - 2)];
            area.draw(&Rectangle::new(
                corners,
                RGBColor(red, green, blue).filled(),
            ))?;
            let wide = i32::try_from(bar.label.chars().count())? * LETTER + 8;
            if wide <= right - left {
                let pos = Pos::new(HPos::Left, VPos::Center);
                let at = (left + 5, top + ROW / 2);
                let style = words(&LIGHT, 12, pos);
                area.draw(&Text::new(bar.label.clone(), at, style))?;
            }
        }
    }
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_has_a_bar_and_only_long_ones_a_label() {
        let bar = |row: &str, begin, length| Bar {
            row: row.to_owned(),
            label: "gpu-memory".to_owned(),
            begin,
            length,
            colour: (89, 161, 79),
        };
        let bars = [
            bar("gpu0", 0.0, 60.0),
            bar("gpu0", 60.0, 0.1),
            bar("cpu", 3.0, 50.0),
        ];
        let svg = timeline(&bars, 61.0).expect("a timeline");
        assert_eq!(svg.matches("<rect").count(), 3, "{svg}");
        assert_eq!(svg.matches("gpu-memory").count(), 2, "{svg}");
        assert!(timeline(&[], 10.0).is_none());
    }

    #[test]
    fn marks_are_few_and_round() {
        for seconds in [1.0, 59.0, 110.0, 900.0, 7200.0, 86_400.0] {
            let count = seconds / step(seconds);
            assert!(count <= 10.0, "{seconds}: {count}");
        }
    }
}
