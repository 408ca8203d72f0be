//! The drawing: one row a GPU, from its adapters over PCIe to its NVLinks and switches.
//!
//! # Invariants
//! - Every state is a symbol and a text; colours come from the style sheet and only repeat them.
//! - The size depends on the number of devices alone, and that is bounded by the map.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::gpu::DrawnGpu;
use super::io::Io;
use super::links::{Link, State};
use super::map::{Group, Map, Numa};
use super::marks::Mark;
use crate::pages::text::{cut, line};

const WIDTH: usize = 920;
const WIDTH_WITHOUT_NVLINK: usize = 552;
const ROW: usize = 42;
const GAP: usize = 6;
const HEAD: usize = 26;
const IO_X: usize = 10;
const IO_WIDTH: usize = 244;
const BUS_X: usize = 268;
const GPU_X: usize = 282;
const GPU_WIDTH: usize = 258;
const LINKS_X: usize = 554;
const LINKS_WIDTH: usize = 156;
const SWITCH_X: usize = 794;
const SWITCH_WIDTH: usize = 118;
const SMALL: usize = 28;

/// What is drawn so far.
struct Canvas {
    parts: Vec<Markup>,
    /// Where each GPU's links leave it, and what they are.
    ends: Vec<(usize, Vec<Link>)>,
    y: usize,
}

fn text(x: usize, y: usize, class: &str, anchor_end: bool, words: &str) -> Markup {
    html! {
        text.(class) x=(x) y=(y) text-anchor=[anchor_end.then_some("end")] { (words) }
    }
}

fn rect(x: usize, y: usize, width: usize, height: usize, mark: &Mark) -> Markup {
    let dashed = matches!(mark, Mark::Unread(_));
    html! {
        rect.box.(mark.tone()).sick[mark.is_sick()] x=(x) y=(y) width=(width) height=(height) rx="3"
            stroke-dasharray=[dashed.then_some("4 3")] {}
    }
}

/// A box with two lines and its mark.
fn labelled(
    x: usize,
    y: usize,
    width: usize,
    name: &str,
    slot: &str,
    detail: &str,
    mark: &Mark,
) -> Markup {
    let told = mark.text();
    // A slot that has no room beside a long mark stands before the detail: it is what a technician
    // looks for.
    let room = (width / 8).saturating_sub(name.chars().count() + told.chars().count() + 2);
    let beside = slot.chars().count() <= room;
    let below = match beside || slot.is_empty() {
        true => detail.to_owned(),
        false => format!("{slot}, {detail}"),
    };
    html! {
        (rect(x, y, width, ROW, mark))
        text x=(x + 8) y=(y + 17) {
            tspan.n { (name) }
            @if beside { " " tspan.d { (slot) } }
        }
        (text(x + width - 8, y + 17, &format!("m {}", mark.tone()), true, &told))
        (text(x + 8, y + 34, "d", false, &cut(&below, width * 3 / 20)))
    }
}

fn io(canvas: &mut Canvas, x: usize, y: usize, width: usize, io: &Io) {
    if io.small {
        canvas.parts.push(html! {
            (rect(x, y, width, SMALL - 4, &io.mark))
            text x=(x + 8) y=(y + 16) {
                tspan.n { (io.name) } @if !io.mark.is_sick() { " " tspan.d { (io.slot) } }
            }
            (text(x + width - 6, y + 16, &format!("m {}", io.mark.tone()), true, &io.mark.text()))
        });
    } else {
        canvas.parts.push(labelled(
            x, y, width, &io.name, &io.slot, &io.detail, &io.mark,
        ));
    }
}

/// A GPU's links: one cell each, filled when up, crossed when down, dashed when unreadable.
fn links(gpu: &DrawnGpu, y: usize) -> Markup {
    let links = gpu.links.read();
    let step = (LINKS_WIDTH / links.len().max(1)).clamp(3, 14);
    let cell = step - 2;
    let (mut up, mut down, mut unread) = (String::new(), String::new(), String::new());
    for (at, link) in links.iter().enumerate() {
        let x = LINKS_X + at * step;
        let _ = match link.state {
            State::Up => write!(up, "M{x} {y}h{cell}v14h-{cell}z", y = y + 5),
            State::Down => write!(
                down,
                "M{x} {y}h{cell}v14h-{cell}zl{cell} 14m0-14l-{cell} 14",
                y = y + 5
            ),
            State::Unread => write!(unread, "M{x} {y}h{cell}v14h-{cell}z", y = y + 5),
        };
    }
    let well = down.is_empty() && unread.is_empty() && !links.is_empty();
    html! {
        @if !up.is_empty() { path.up d=(up) {} }
        @if !down.is_empty() { path.down d=(down) {} }
        @if !unread.is_empty() { path.unread d=(unread) {} }
        (text(LINKS_X, y + 34, if well { "d" } else { "d strong" }, false, &gpu.links.text()))
    }
}

fn group(canvas: &mut Canvas, group: &Group, nvlink: bool) {
    let top = canvas.y;
    let rows = group.ios.len().max(group.gpus.len());
    let joined = !group.ios.is_empty() || group.gpus.len() > 1;
    let middle = |row: usize| top + row * (ROW + GAP) + ROW / 2;
    let mut wires = String::new();
    for (row, one) in group.ios.iter().enumerate() {
        let large = Io {
            name: one.name.clone(),
            slot: one.slot.clone(),
            detail: if one.small {
                "drive".to_owned()
            } else {
                one.detail.clone()
            },
            mark: one.mark.clone(),
            small: false,
        };
        io(canvas, IO_X, top + row * (ROW + GAP), IO_WIDTH, &large);
        let _ = write!(wires, "M{} {}H{BUS_X}", IO_X + IO_WIDTH, middle(row));
    }
    for (row, gpu) in group.gpus.iter().enumerate() {
        let y = top + row * (ROW + GAP);
        canvas.parts.push(labelled(
            GPU_X,
            y,
            GPU_WIDTH,
            &gpu.name,
            &gpu.slot,
            &gpu.detail,
            &gpu.mark,
        ));
        if joined {
            let _ = write!(wires, "M{BUS_X} {}H{GPU_X}", middle(row));
        }
        if nvlink {
            canvas.parts.push(links(gpu, y));
            canvas.ends.push((y + 12, gpu.links.read().to_vec()));
        }
    }
    if rows > 1 {
        let _ = write!(wires, "M{BUS_X} {}V{}", middle(0), middle(rows - 1));
    }
    if !wires.is_empty() {
        canvas.parts.push(html! { path.wire d=(wires) {} });
    }
    canvas.y += rows * (ROW + GAP);
}

/// How wide a processor's part of the drawing is: what is right of it belongs to the switches.
fn inner(nvlink: bool) -> usize {
    match nvlink {
        true => LINKS_X + LINKS_WIDTH - IO_X,
        false => WIDTH_WITHOUT_NVLINK - 2 * IO_X,
    }
}

/// What shares no root port with a GPU, side by side.
fn others(canvas: &mut Canvas, others: &[Io], nvlink: bool) {
    let inner = inner(nvlink);
    for (small, height) in [(false, ROW + GAP), (true, SMALL + 2)] {
        let list: Vec<_> = others.iter().filter(|io| io.small == small).collect();
        let sick = list.iter().any(|io| io.mark.is_sick());
        let columns = match (small, nvlink) {
            (false, true) => 3,
            (false, false) => 2,
            (true, true) if !sick => 4,
            (true, true) => 3,
            (true, false) if !sick => 3,
            (true, false) => 2,
        };
        let column = inner / columns;
        for (at, one) in list.iter().enumerate() {
            let (x, y) = (
                IO_X + at % columns * column,
                canvas.y + at / columns * height,
            );
            io(canvas, x, y, column - 8, one);
        }
        canvas.y += list.len().div_ceil(columns) * height;
    }
}

fn numa(canvas: &mut Canvas, numa: &Numa, nvlink: bool) {
    canvas.parts.push(html! {
        (text(IO_X, canvas.y + 17, "numa", false, &line(&numa.name)))
        path.rule d=(format!("M{IO_X} {}H{}", canvas.y + 23, IO_X + inner(nvlink))) {}
    });
    canvas.y += HEAD + 4;
    for one in &numa.groups {
        group(canvas, one, nvlink);
    }
    others(canvas, &numa.others, nvlink);
    canvas.y += GAP + 2;
}

/// The switches beside the GPUs' rows, with a line for each bundle of links.
fn fabric(canvas: &mut Canvas, map: &Map) {
    let Some((top, bottom)) = canvas
        .ends
        .first()
        .zip(canvas.ends.last())
        .map(|(a, b)| (a.0, b.0))
    else {
        return;
    };
    let (top, height) = (top - 12, bottom - top + ROW);
    let (mut well, mut broken) = (String::new(), String::new());
    if map.switches.is_empty() {
        for (y, links) in &canvas.ends {
            if links.iter().any(|link| link.state == State::Up) {
                let _ = write!(well, "M{} {y}H{SWITCH_X}", LINKS_X + LINKS_WIDTH + 2);
            }
        }
        let mark = Mark::Idle;
        canvas.parts.push(html! {
            (rect(SWITCH_X, top, SWITCH_WIDTH, height, &mark))
            (text(SWITCH_X + 8, top + 17, "n", false, "NVLink"))
            (text(SWITCH_X + 8, top + 33, "d", false, "switches are"))
            (text(SWITCH_X + 8, top + 48, "d", false, "not on this"))
            (text(SWITCH_X + 8, top + 63, "d", false, "PCI bus"))
        });
    }
    let share = height / map.switches.len().max(1);
    for (at, switch) in map.switches.iter().enumerate() {
        let middle = top + share * at + share / 2;
        for (y, links) in &canvas.ends {
            let mine = || links.iter().filter(|link| link.switch == Some(at));
            if mine().next().is_none() {
                continue;
            }
            let to = if mine().any(|link| link.named || link.state != State::Up) {
                &mut broken
            } else {
                &mut well
            };
            let _ = write!(to, "M{} {y}L{SWITCH_X} {middle}", LINKS_X + LINKS_WIDTH + 2);
        }
        let y = middle.saturating_sub(ROW / 2);
        canvas.parts.push(html! {
            (rect(SWITCH_X, y, SWITCH_WIDTH, ROW, &switch.mark))
            (text(SWITCH_X + 8, y + 17, "n", false, &switch.name))
            (text(SWITCH_X + 8, y + 34, "d", false, &match switch.mark.is_sick() {
                true => cut(&switch.mark.text(), 15).into_owned(),
                false => format!("{} {}", switch.mark.text(), switch.detail),
            }))
        });
    }
    canvas.parts.push(html! {
        @if !well.is_empty() { path.bundle d=(well) {} }
        @if !broken.is_empty() { path.bundle.broken d=(broken) {} }
    });
}

/// The drawing.
pub(super) fn draw(map: &Map) -> Markup {
    let mut canvas = Canvas {
        parts: Vec::new(),
        ends: Vec::new(),
        y: 2,
    };
    let nvlink = map.nvlink || !map.switches.is_empty();
    let width = if nvlink { WIDTH } else { WIDTH_WITHOUT_NVLINK };
    for one in &map.numas {
        numa(&mut canvas, one, nvlink);
    }
    if nvlink {
        fabric(&mut canvas, map);
    }
    html! {
        svg.topology.wide[nvlink] viewBox=(format!("0 0 {width} {}", canvas.y)) width=(width) height=(canvas.y)
            role="img" aria-label=(map.summary()) {
            @for part in &canvas.parts { (part) }
        }
    }
}
