//! `cupel explain`: what a finding or an XID means, why it matters, what to do.

use anyhow::bail;
use cupel_health::registry::CHECKS;
use cupel_health::{Explanation, explain};
use cupel_model::SCHEMA_VERSION;
use serde_json::json;

use crate::context::Context;
use crate::exit::Exit;
use crate::output::Format;
use crate::render::table::{Grid, Layout};
use crate::render::words::word;

/// Options of `cupel explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cupel explain                list the checks
  cupel explain gpu.off-bus    a finding
  cupel explain 79             an XID; also xid.79, and sxid.20034 for an NVSwitch

Exit codes: 0 explained, 2 nothing is known by that name")]
pub struct Args {
    /// Code of a finding, or number of an XID; without one the checks are listed
    code: Option<String>,
}

/// Explains a code, or lists the checks.
pub fn run(args: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    match &args.code {
        None => list(context)?,
        Some(code) => match explain(&code.trim().to_lowercase()) {
            Some(known) => one(context, &known)?,
            None => bail!("nothing is known by the name {code:?}{}", like(code)),
        },
    }
    Ok(Exit::Fine)
}

/// Checks whose code has a part of the name that was given.
fn like(code: &str) -> String {
    let code = code.to_lowercase();
    let near: Vec<&str> = CHECKS
        .iter()
        .map(|check| check.code)
        .filter(|known| {
            code.split(['.', '-', '_', ' '])
                .any(|part| part.len() > 2 && known.contains(part))
        })
        .collect();
    if near.is_empty() {
        "; cupel explain lists the checks, and any XID has a number".to_owned()
    } else {
        format!("; did you mean {}?", near.join(", "))
    }
}

fn list(context: &mut Context) -> anyhow::Result<()> {
    let known = CHECKS
        .iter()
        .filter_map(|check| Some((check, explain(check.code)?)));
    match context.format {
        Format::Text => {
            let mut grid = Grid::new(&["Code", "Mode", "Finds"]);
            for (check, explanation) in known {
                grid.row([check.code.to_owned(), word(&check.mode), explanation.title]);
            }
            let text = context.layout().grid(&grid, 0);
            context.out.text(&text)?;
        }
        Format::Json => {
            let checks: Vec<_> = known
                .map(|(_, explanation)| to_json(&explanation))
                .collect();
            let all = json!({ "schema_version": SCHEMA_VERSION, "checks": checks });
            context.out.json(&all, Format::Json)?;
        }
        Format::Jsonl => {
            for (_, explanation) in known {
                context.out.json(&to_json(&explanation), Format::Jsonl)?;
            }
        }
    }
    Ok(())
}

fn one(context: &mut Context, known: &Explanation) -> anyhow::Result<()> {
    match context.format {
        Format::Text => {
            let text = text(known, context.layout());
            context.out.text(&text)?;
        }
        Format::Json | Format::Jsonl => context.out.json(&to_json(known), context.format)?,
    }
    Ok(())
}

fn to_json(known: &Explanation) -> serde_json::Value {
    json!({
        "code": known.code,
        "title": known.title,
        "what": known.what,
        "why": known.why,
        "remedy": known.remedy,
        "sources": known.sources,
        "xid": known.xid.as_ref().map(|xid| json!({
            "code": xid.code,
            "mnemonic": xid.mnemonic,
            "immediate": xid.immediate,
            "investigatory": xid.investigatory,
            "rule": xid.rule,
        })),
    })
}

/// Paragraphs and lists, wrapped anew: a line that begins an item begins a line.
fn wrapped(markdown: &str, layout: Layout) -> String {
    let mut text = String::new();
    let mut paragraph = String::new();
    let mut put = |paragraph: &mut String| {
        if !paragraph.is_empty() {
            text.push_str(&layout.paragraph(paragraph, 2));
            paragraph.clear();
        }
    };
    for line in markdown.lines() {
        let item = line.starts_with("- ")
            || line
                .split_once(". ")
                .is_some_and(|(number, _)| number.parse::<u8>().is_ok());
        if line.trim().is_empty() || item || line.starts_with('|') {
            put(&mut paragraph);
        }
        if !paragraph.is_empty() {
            paragraph.push(' ');
        }
        paragraph.push_str(line.trim());
    }
    put(&mut paragraph);
    text
}

fn text(known: &Explanation, layout: Layout) -> String {
    let mut text = layout.heading(&known.code);
    text.push_str(&layout.paragraph(&known.title, 2));
    if let Some(xid) = &known.xid {
        let told = |text: &Option<String>| text.clone().unwrap_or_else(|| "none published".into());
        text.push('\n');
        text.push_str(&layout.heading("NVIDIA's catalogue"));
        let rows = [
            ("mnemonic", told(&xid.mnemonic)),
            ("immediate action", told(&xid.immediate)),
            ("investigatory action", told(&xid.investigatory)),
            ("Cupel's rule", xid.rule.clone()),
        ]
        .map(|(label, text)| (label.to_owned(), text));
        text.push_str(&layout.labelled(&rows, 2));
    }
    for (heading, body) in [
        ("What it means", &known.what),
        ("Why it matters", &known.why),
        ("What to do", &known.remedy),
    ] {
        if !body.is_empty() {
            text.push('\n');
            text.push_str(&layout.heading(heading));
            text.push_str(&wrapped(body, layout));
        }
    }
    if !known.sources.is_empty() {
        text.push('\n');
        text.push_str(&layout.heading("Sources"));
        for source in &known.sources {
            text.push_str(&layout.paragraph(&format!("- {source}"), 2));
        }
    }
    text
}
