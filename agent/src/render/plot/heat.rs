//! Values of pairs as a heat map.

use cupel_burnin::Matrix;
use plotters::prelude::{IntoDrawingArea, Rectangle, SVGBackend, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, RGBColor};

use super::{FINE, INK, LIGHT, in_page, words};
use crate::render::words::significant;

/// Width of a cell.
const CELL: i32 = 64;
/// Height of a cell.
const ROW: i32 = 30;
/// Width of a letter, for the names of rows.
const LETTER: i32 = 8;
/// Height of the names of columns.
const HEAD: i32 = 26;

/// From few to much: pale to dark blue, which can be told apart in grey as well.
const PALE: (f64, f64, f64) = (222.0, 235.0, 247.0);
const DARK: (f64, f64, f64) = (8.0, 81.0, 156.0);
/// The frame of what misses its floor.
const BAD: RGBColor = RGBColor(200, 30, 30);

/// The heat map of a matrix.
pub fn heat_map(matrix: &Matrix) -> Option<String> {
    let values = || matrix.cells.iter().flatten().filter_map(|cell| *cell);
    let most = values().fold(f64::NEG_INFINITY, f64::max);
    let least = values().fold(f64::INFINITY, f64::min);
    if !most.is_finite() {
        return None;
    }
    let mut svg = String::new();
    draw(&mut svg, matrix, (least, most)).ok()?;
    let name = format!(
        "{}: {} to {} {}",
        matrix.name,
        significant(least),
        significant(most),
        matrix.unit
    );
    in_page(&svg, &name)
}

/// The colour of a value, and whether words on it must be light.
fn shade(value: f64, (least, most): (f64, f64)) -> (RGBColor, bool) {
    // Values within a tenth of each other look alike: no pattern is made of noise.
    let low = least.min(0.9 * most);
    let share = if most > low {
        ((value - low) / (most - low)).clamp(0.0, 1.0)
    } else {
        1.0
    };
    let mix = |pale: f64, dark: f64| byte(pale + (dark - pale) * share);
    let colour = RGBColor(
        mix(PALE.0, DARK.0),
        mix(PALE.1, DARK.1),
        mix(PALE.2, DARK.2),
    );
    (colour, share > 0.5)
}

fn byte(value: f64) -> u8 {
    (0..=u8::MAX)
        .find(|byte| f64::from(*byte) >= value.round())
        .unwrap_or(u8::MAX)
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw(svg: &mut String, matrix: &Matrix, range: (f64, f64)) -> Drawn {
    let count = |length: usize| i32::try_from(length);
    let longest = matrix
        .rows
        .iter()
        .map(|row| row.chars().count())
        .max()
        .unwrap_or(0);
    let names = (count(longest)? * LETTER + 10).max(60);
    let wide = matrix
        .columns
        .iter()
        .map(|column| column.chars().count())
        .max()
        .unwrap_or(0);
    let cell = CELL.max(count(wide)? * LETTER + 8);
    let width = names + cell * count(matrix.columns.len())? + 2;
    let height = HEAD + ROW * count(matrix.rows.len())? + 2;
    let size = (u32::try_from(width)?, u32::try_from(height)?);
    let area = SVGBackend::with_string(svg, size).into_drawing_area();
    let centre = Pos::new(HPos::Center, VPos::Center);
    let right = Pos::new(HPos::Right, VPos::Center);
    for (number, column) in (0..).zip(&matrix.columns) {
        let at = (names + number * cell + cell / 2, HEAD / 2);
        area.draw(&Text::new(column.clone(), at, words(&INK, 13, centre)))?;
    }
    for ((number, row), cells) in (0..).zip(&matrix.rows).zip(&matrix.cells) {
        let top = HEAD + number * ROW;
        let at = (names - 8, top + ROW / 2);
        area.draw(&Text::new(row.clone(), at, words(&INK, 13, right)))?;
        for (number, value) in (0..).zip(cells) {
            let left = names + number * cell;
            let corners = [(left + 1, top + 1), (left + cell - 1, top + ROW - 1)];
            let middle = (left + cell / 2, top + ROW / 2);
            let Some(value) = value else {
                area.draw(&Rectangle::new(corners, FINE.stroke_width(1)))?;
                continue;
            };
            let (colour, light) = shade(*value, range);
            area.draw(&Rectangle::new(corners, colour.filled()))?;
            let ink = if light { &LIGHT } else { &super::DARK };
            let style = words(ink, 13, centre);
            area.draw(&Text::new(significant(*value), middle, style))?;
            let one = cupel_burnin::Measured::uncalibrated("", *value, "");
            if one.against(matrix.floor.clone()).holds() == Some(false) {
                area.draw(&Rectangle::new(corners, BAD.stroke_width(3)))?;
            }
        }
    }
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupel_burnin::Floor;

    fn matrix(cells: Vec<Vec<Option<f64>>>) -> Matrix {
        Matrix {
            name: "GPU to GPU".to_owned(),
            unit: "GB/s".to_owned(),
            rows: vec!["GPU 0".to_owned(), "GPU 1".to_owned()],
            columns: vec!["GPU 0".to_owned(), "GPU 1".to_owned()],
            cells,
            floor: Floor::AtLeast {
                value: 316.0,
                source: "a page".to_owned(),
            },
        }
    }

    #[test]
    fn every_pair_has_a_cell_and_what_misses_its_floor_a_frame() {
        let svg = heat_map(&matrix(vec![
            vec![None, Some(370.5)],
            vec![Some(40.25), None],
        ]));
        let svg = svg.expect("a map");
        assert!(svg.contains("370.5") && svg.contains("40.25"), "{svg}");
        assert_eq!(svg.matches("#C81E1E").count(), 1, "{svg}");
        assert!(heat_map(&matrix(vec![vec![None, None]])).is_none());
    }

    #[test]
    fn noise_makes_no_pattern_and_a_slow_pair_is_pale() {
        let range = (368.0, 371.0);
        let (slow, _) = shade(368.0, range);
        let (fast, _) = shade(371.0, range);
        let gap = i32::from(slow.0) - i32::from(fast.0);
        assert!(gap.abs() < 40, "{gap}");
        let (pale, light) = shade(40.0, (40.0, 371.0));
        assert_eq!((pale.0, light), (222, false));
    }
}
