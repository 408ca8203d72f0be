//! `cupel config`: every setting, its value, and where the value comes from.

use crate::config::Row;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Format, printable};
use crate::render::table::Grid;
use crate::render::words::json;

/// Options of `cupel config`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Files are /usr/lib/cupel/*.toml, then /run/cupel/*.toml, then /etc/cupel/*.toml, each in order of
its name. A later value replaces an earlier one, so /etc wins over /run and /run over /usr/lib.
CUPEL_NVML wins over nvml.library of every file. Unknown keys are refused.

A whole file:
  tenancy = \"none\"                # none, scheduler, vm-passthrough, vgpu, bare-metal
  platform = \"dgx-h100\"           # instead of the platform this machine is recognised as
  units = [\"sshd.service\"]        # units of systemd to ask about, instead of the built-in list
  [nvml]
  library = \"/opt/nvidia/libnvidia-ml.so.1\"
  [deadlines]
  gpu_call_seconds = 5
  gpu_initialisation_seconds = 60
  [burn_in]
  memory_share = 0.5              # of the memory that is available
  [checks]
  \"pcie.width\" = \"observe\"        # or \"enforce\"

Exit codes: 0 the configuration is sound, 2 it is not (the error names file, line and key)")]
pub struct Args {}

/// Writes every setting.
pub fn run(_: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    let rows = context.settings()?.rows();
    match context.format {
        Format::Json => context.out.json(
            &serde_json::json!({
                "schema_version": cupel_model::SCHEMA_VERSION,
                "settings": rows,
            }),
            Format::Json,
        )?,
        Format::Jsonl => {
            for row in &rows {
                context.out.json(row, Format::Jsonl)?;
            }
        }
        Format::Text => {
            let layout = context.layout();
            context.out.text(&layout.grid(&grid(&rows), 0))?;
        }
    }
    Ok(Exit::Fine)
}

fn grid(rows: &[Row]) -> Grid {
    let mut grid = Grid::new(&["Key", "Value", "Origin"]);
    for row in rows {
        let value = match &row.value {
            serde_json::Value::Null => "(found out by itself)".to_owned(),
            serde_json::Value::Array(list) => list.iter().map(json).collect::<Vec<_>>().join(" "),
            other @ (serde_json::Value::Bool(_)
            | serde_json::Value::Number(_)
            | serde_json::Value::String(_)
            | serde_json::Value::Object(_)) => json(other),
        };
        let origin = printable(&row.origin.to_string()).into_owned();
        grid.row([row.key.clone(), value, origin]);
    }
    grid
}
