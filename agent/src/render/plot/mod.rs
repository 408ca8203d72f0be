//! Plots as SVG, to stand inside a page: lines over time, a heat map of pairs, a timeline.
//!
//! # Invariants
//! - No font, no style sheet, no script is needed: text is the page's, colours of axes and words are
//!   those of the page, so that a dark page and a printed one can both be read.
//! - What cannot be drawn is no plot, never a broken page.

mod heat;
mod lines;
mod timeline;

pub use heat::heat_map;
pub use lines::{Curve, line_chart};
pub use timeline::{Bar, timeline};

use plotters::style::text_anchor::Pos;
use plotters::style::{IntoFont, RGBColor, TextStyle};

/// Stands for the colour of words until the page's own takes its place.
const INK: RGBColor = RGBColor(1, 1, 1);
/// Stands for the colour of fine lines.
const FINE: RGBColor = RGBColor(2, 2, 2);
/// Words on something dark.
const LIGHT: RGBColor = RGBColor(255, 255, 255);
/// Words on something pale, whatever the page's colours are.
const DARK: RGBColor = RGBColor(20, 20, 20);

/// Words of this colour and size.
fn words(colour: &'static RGBColor, size: i32, pos: Pos) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size).into_font())
        .color(colour)
        .pos(pos)
}

/// Colours of curves: apart from each other on white and on black.
pub const COLOURS: [(u8, u8, u8); 8] = [
    (78, 121, 167),
    (242, 142, 43),
    (225, 87, 89),
    (74, 160, 155),
    (89, 161, 79),
    (176, 122, 161),
    (156, 117, 95),
    (140, 140, 140),
];

/// The colour of a curve by its number, as CSS writes it.
pub fn css(number: usize) -> String {
    let (red, green, blue) = COLOURS[number % COLOURS.len()];
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn colour(number: usize) -> RGBColor {
    let (red, green, blue) = COLOURS[number % COLOURS.len()];
    RGBColor(red, green, blue)
}

/// The drawing as it stands in a page: as wide as its column, in the page's colours, named for whoever
/// cannot see it.
fn in_page(svg: &str, name: &str) -> Option<String> {
    let begin = svg.find("<svg")?;
    let open_end = begin + svg[begin..].find('>')?;
    let head = &svg[begin..open_end];
    let attribute = |key: &str| {
        let at = head.find(&format!(" {key}=\""))? + key.len() + 3;
        let rest = &head[at..];
        Some(rest[..rest.find('"')?].to_owned())
    };
    let width = attribute("width")?;
    let view = attribute("viewBox").or_else(|| {
        Some(format!(
            "0 0 {} {}",
            attribute("width")?,
            attribute("height")?
        ))
    })?;
    let body = svg[open_end + 1..]
        .replace("#010101", "currentColor")
        .replace("#020202", "var(--line)")
        .replace("font-family=\"sans-serif\"", "font-family=\"inherit\"");
    let name: String = name
        .chars()
        .map(|c| {
            if matches!(c, '"' | '<' | '>' | '&') {
                ' '
            } else {
                c
            }
        })
        .collect();
    Some(format!(
        "<svg viewBox=\"{view}\" role=\"img\" aria-label=\"{name}\" class=\"plot\" \
         style=\"max-width:{width}px\" width=\"{width}\">{body}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_takes_the_colours_of_its_page() {
        let svg = "<svg width=\"10\" height=\"20\" xmlns=\"x\">\n<text fill=\"#010101\"/></svg>";
        let page = in_page(svg, "a \"b\"").expect("a drawing");
        assert!(
            page.starts_with("<svg viewBox=\"0 0 10 20\" role=\"img\""),
            "{page}"
        );
        assert!(page.contains("aria-label=\"a  b \""), "{page}");
        assert!(page.contains("fill=\"currentColor\""), "{page}");
        assert_eq!(in_page("nothing", "a"), None);
    }
}
