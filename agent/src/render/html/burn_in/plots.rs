//! Timeline, plots over time, heat maps.

use cupel_burnin::{BurnInResult, Outcome, Resource, Series, StageResult};
use maud::{Markup, PreEscaped, html};

use crate::render::plot::{self, Bar, Curve};
use crate::render::words::significant;

/// Plots of one kind of part.
struct Topic {
    title: &'static str,
    is: fn(&Resource) -> bool,
    /// Names of values, in order.
    values: &'static [&'static str],
}

const TOPICS: [Topic; 5] = [
    Topic {
        title: "GPUs over time",
        is: |on| matches!(on, Resource::Gpu { .. }),
        values: &[
            "power",
            "temperature",
            "memory temperature",
            "sm clock",
            "memory clock",
            "compute",
            "bandwidth",
            "throttled",
        ],
    },
    Topic {
        title: "Processors over time",
        is: |on| *on == Resource::Processors,
        values: &["temperature", "power", "clock"],
    },
    Topic {
        title: "Memory over time",
        is: |on| matches!(on, Resource::Memory { .. }),
        values: &["bandwidth"],
    },
    Topic {
        title: "Drives over time",
        is: |on| matches!(on, Resource::Drive { .. }),
        values: &["bandwidth", "temperature"],
    },
    Topic {
        title: "Adapters over time",
        is: |on| matches!(on, Resource::Adapter { .. }),
        values: &["bandwidth"],
    },
];

/// A curve and its name.
struct Named {
    name: String,
    curve: Curve,
}

/// Of what a series is: what it says, or what its stage is laid on.
fn subject(series: &Series, stage: &StageResult) -> Option<Resource> {
    series.on.clone().or_else(|| match stage.stage {
        cupel_burnin::StageKind::Memory | cupel_burnin::StageKind::MemoryBandwidth => {
            Some(Resource::Memory { node: 0 })
        }
        cupel_burnin::StageKind::Nvme | cupel_burnin::StageKind::NvmeWrite => {
            let name = stage.name.target.clone()?;
            Some(Resource::Drive { name })
        }
        cupel_burnin::StageKind::Cpu => Some(Resource::Processors),
        cupel_burnin::StageKind::Rdma
        | cupel_burnin::StageKind::GpuMemory
        | cupel_burnin::StageKind::GpuCompute
        | cupel_burnin::StageKind::GpuPower
        | cupel_burnin::StageKind::GpuPulse
        | cupel_burnin::StageKind::GpuHostLinks
        | cupel_burnin::StageKind::GpuLinks
        | cupel_burnin::StageKind::GpuAllReduce => None,
    })
}

/// All points of a value, by part, over all stages.
fn curves(result: &BurnInResult, topic: &Topic, value: &str) -> (String, Vec<Named>) {
    let mut unit = String::new();
    let mut found: Vec<(Resource, Named)> = Vec::new();
    for stage in &result.stages {
        for series in stage.series.iter().filter(|series| series.name == value) {
            let Some(on) = subject(series, stage).filter(|on| (topic.is)(on)) else {
                continue;
            };
            // Memory is filled by one stage and copied by another: two curves.
            let name = match &series.on {
                Some(on) => on.to_string(),
                None => stage.name.to_string(),
            };
            unit.clone_from(&series.unit);
            let known = found.iter_mut().find(|(_, named)| named.name == name);
            match known {
                Some((_, named)) => named.curve.points.extend(&series.points),
                None => found.push((
                    on,
                    Named {
                        name,
                        curve: Curve {
                            number: 0,
                            points: series.points.clone(),
                            interval: series.interval_seconds.get(),
                        },
                    },
                )),
            }
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut named: Vec<Named> = found.into_iter().map(|(_, named)| named).collect();
    for (number, one) in named.iter_mut().enumerate() {
        one.curve.number = number;
        one.curve.points.sort_by(|a, b| a[0].total_cmp(&b[0]));
    }
    (unit, named)
}

/// The plots of everything that was sampled.
pub(super) fn all(result: &BurnInResult) -> Markup {
    html! {
        @for topic in &TOPICS {
            @let figures = figures(result, topic);
            @if !figures.is_empty() {
                h2 { (topic.title) }
                div.plots { @for figure in &figures { (figure) } }
            }
        }
    }
}

fn figures(result: &BurnInResult, topic: &Topic) -> Vec<Markup> {
    let seconds = result.elapsed_seconds.get();
    topic
        .values
        .iter()
        .filter_map(|value| {
            let (unit, named) = curves(result, topic, value);
            let plain: Vec<Curve> = named.iter().map(|one| one.curve.clone()).collect();
            let svg = plot::line_chart(value, &unit, &plain, seconds)?;
            Some(html! {
                figure {
                    figcaption { (capital(value)) }
                    (PreEscaped(svg))
                    @if named.len() > 1 { (legend(&named)) }
                }
            })
        })
        .collect()
}

fn capital(text: &str) -> String {
    if let Some(rest) = text.strip_prefix("sm ") {
        return format!("SM {rest}");
    }
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

fn legend(named: &[Named]) -> Markup {
    html! {
        div.legend {
            @for one in named {
                span {
                    svg viewBox="0 0 10 10" width="10" height="10" aria-hidden="true" {
                        rect width="10" height="10" fill=(plot::css(one.curve.number)) {}
                    }
                    " " (one.name)
                }
            }
        }
    }
}

/// Colour of a stage's bar.
fn colour(outcome: Outcome) -> (u8, u8, u8) {
    match outcome {
        Outcome::Pass => (46, 125, 80),
        Outcome::Skipped => (90, 110, 140),
        Outcome::Unsupported | Outcome::Incomplete => (166, 106, 0),
        Outcome::Fail => (190, 30, 35),
    }
}

/// What ran when.
pub(super) fn timeline(result: &BurnInResult) -> Markup {
    let mut bars: Vec<Bar> = result
        .stages
        .iter()
        .filter(|stage| stage.elapsed_seconds.get() > 0.0 && stage.coverage.asked > 0)
        .map(|stage| Bar {
            row: match &stage.name.target {
                Some(target) if stage.stage.is_gpu() => target.clone(),
                Some(_) | None => stage.name.to_string(),
            },
            label: stage.stage.name().to_owned(),
            begin: stage.began_seconds.get(),
            length: stage.elapsed_seconds.get(),
            colour: colour(stage.outcome),
        })
        .collect();
    // The host first, then what is over all GPUs, then GPU by GPU.
    bars.sort_by_key(|bar| bar.row.starts_with("gpu") && !bar.row.contains('-'));
    let svg = plot::timeline(&bars, result.elapsed_seconds.get());
    html! {
        @if let Some(svg) = svg {
            h2 { "What ran when" }
            div.scroll.wide { (PreEscaped(svg)) }
            p.soft { "Green passed, amber is incomplete, red failed. Why each ran when stands at the end." }
        }
    }
}

/// The heat maps.
pub(super) fn matrices(result: &BurnInResult) -> Markup {
    let maps: Vec<_> = result
        .stages
        .iter()
        .flat_map(|stage| stage.matrices.iter().map(move |matrix| (stage, matrix)))
        .filter_map(|(stage, matrix)| Some((stage, matrix, plot::heat_map(matrix)?)))
        .collect();
    html! {
        @if !maps.is_empty() {
            h2 { "Links" }
            div.heats { @for (stage, matrix, svg) in &maps {
                figure.heat {
                    figcaption {
                        (capital(&matrix.name)) ", " (matrix.unit) " "
                        span.soft { "(" (stage.name) ")" }
                    }
                    div.scroll { (PreEscaped(svg)) }
                    p.soft.small { (floor(&matrix.floor)) }
                }
            } }
        }
    }
}

fn floor(floor: &cupel_burnin::Floor) -> String {
    use cupel_burnin::Floor;
    match floor {
        Floor::Uncalibrated => "Uncalibrated: nobody published a floor for this.".to_owned(),
        Floor::AtLeast { value, source } => {
            format!("A red frame is below {}: {source}.", significant(*value))
        }
        Floor::AtMost { value, source } => {
            format!("A red frame is above {}: {source}.", significant(*value))
        }
    }
}
