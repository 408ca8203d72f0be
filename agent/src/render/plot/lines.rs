//! Values over time.

use plotters::prelude::{ChartBuilder, IntoDrawingArea, LineSeries, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, ShapeStyle};

use super::{FINE, INK, colour, in_page, words};
use crate::burn_in::schedule::clock;

const WIDTH: u32 = 540;
const HEIGHT: u32 = 220;

/// Above so many points a line is thin, so that what wavers does not become a band.
const THIN: usize = 150;

/// A value over time. Points that lie more than a few intervals apart are not joined.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Which colour.
    pub number: usize,
    /// Seconds and value, by time.
    pub points: Vec<[f64; 2]>,
    /// Seconds that a point stands for.
    pub interval: f64,
}

impl Curve {
    /// Its parts without a gap.
    fn pieces(&self) -> Vec<Vec<(f64, f64)>> {
        let mut pieces: Vec<Vec<(f64, f64)>> = Vec::new();
        for [at, value] in &self.points {
            let joined = pieces
                .last()
                .and_then(|piece| piece.last())
                .is_some_and(|(last, _)| at - last <= 5.0 * self.interval);
            if !joined {
                pieces.push(Vec::new());
            }
            if let Some(piece) = pieces.last_mut() {
                piece.push((*at, *value));
            }
        }
        for piece in &mut pieces {
            // A lone point would be no line.
            if let [(at, value)] = piece.as_slice() {
                let end = (at + self.interval, *value);
                piece.push(end);
            }
        }
        pieces
    }
}

/// The chart of some curves, from second 0 to `seconds`.
pub fn line_chart(name: &str, unit: &str, curves: &[Curve], seconds: f64) -> Option<String> {
    let values = || {
        curves
            .iter()
            .flat_map(|curve| &curve.points)
            .map(|[_, value]| *value)
    };
    let most = values().fold(f64::NEG_INFINITY, f64::max);
    let least = values().fold(f64::INFINITY, f64::min);
    if !most.is_finite() || !least.is_finite() {
        return None;
    }
    let (low, high) = limits(least, most);
    let mut svg = String::new();
    draw(&mut svg, unit, curves, seconds.max(1.0), (low, high)).ok()?;
    in_page(
        &svg,
        &format!("{name} over time, {least:.1} to {most:.1} {unit}"),
    )
}

/// From zero, unless everything is far above it: then what there is to see is the difference, but
/// never so close that noise looks like one.
fn limits(least: f64, most: f64) -> (f64, f64) {
    let span = (most - least).max(most.abs() * 0.1).max(1e-9);
    if least > 0.0 && least > 0.7 * most {
        let middle = f64::midpoint(least, most);
        (middle - span * 0.8, middle + span * 0.8)
    } else {
        (least.min(0.0), most + span * 0.08)
    }
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw(
    svg: &mut String,
    unit: &str,
    curves: &[Curve],
    seconds: f64,
    (low, high): (f64, f64),
) -> Drawn {
    // Marks fall on whole seconds, minutes or hours.
    let scale = match seconds {
        0.0..180.0 => 1.0,
        180.0..10_800.0 => 60.0,
        _ => 3600.0,
    };
    let area = SVGBackend::with_string(svg, (WIDTH, HEIGHT)).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(6)
        .margin_right(14)
        .x_label_area_size(26)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..seconds / scale, low..high)?;
    let words = || words(&INK, 13, Pos::new(HPos::Left, VPos::Top));
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(ShapeStyle {
            color: FINE.mix(0.0),
            filled: false,
            stroke_width: 0,
        })
        .bold_line_style(FINE)
        .axis_style(FINE)
        .label_style(words())
        .x_labels(7)
        .y_labels(5)
        .x_label_formatter(&|at| clock(*at * scale))
        .y_label_formatter(&|value| label(*value, high - low))
        .draw()?;
    for curve in curves {
        for piece in curve.pieces() {
            let width = if piece.len() > THIN { 1 } else { 2 };
            let style = colour(curve.number).stroke_width(width);
            let piece = piece.into_iter().map(|(at, value)| (at / scale, value));
            chart.draw_series(LineSeries::new(piece, style))?;
        }
    }
    let at = (60, 4);
    area.draw(&plotters::prelude::Text::new(unit.to_owned(), at, words()))?;
    area.present()?;
    Ok(())
}

/// As many digits as the range needs.
fn label(value: f64, range: f64) -> String {
    let digits: usize = if range >= 20.0 {
        0
    } else if range >= 2.0 {
        1
    } else if range >= 0.2 {
        2
    } else {
        3
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_cut_at_gaps_and_single_points_are_seen() {
        let curve = Curve {
            number: 0,
            points: vec![
                [0.0, 1.0],
                [1.0, 2.0],
                [20.0, 3.0],
                [60.0, 1.0],
                [61.0, 1.0],
            ],
            interval: 1.0,
        };
        let pieces = curve.pieces();
        assert_eq!(pieces.len(), 3);
        assert_eq!(pieces[1], [(20.0, 3.0), (21.0, 3.0)]);
        let svg = line_chart("power", "W", &[curve], 61.0).expect("a chart");
        assert!(svg.matches("<polyline").count() >= 3, "{svg}");
        assert!(line_chart("power", "W", &[], 61.0).is_none());
    }

    #[test]
    fn a_small_difference_high_up_can_be_seen() {
        let (low, high) = limits(690.0, 700.0);
        assert!(low > 600.0 && high < 760.0, "{low} {high}");
        assert_eq!(limits(0.0, 100.0).0, 0.0);
        let (low, high) = limits(5.0, 5.0);
        assert!(low < 5.0 && high > 5.0);
    }
}
