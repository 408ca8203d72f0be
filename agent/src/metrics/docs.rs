//! The page of all metrics, made from the table that they are made from.

use super::families::GROUPS;
use super::family::Family;

const HEAD: &str = "\
# Metrics

What `/metrics` of `cupel run` gives, in the Prometheus text format. This page is made by `cargo xtask docs` from the table that the metrics are made from.

## What holds for all of them

- Names begin with `cupel_`; the unit stands in the name, in base units: seconds, bytes, hertz, degrees Celsius. A share is a ratio from 0 to 1.
- **Unknown is left out**, never 0. A sample that is missing is not a good one: `cupel_readings_unread` counts what could not be read, `cupel_source_age_seconds` says how old the rest is. Alert on `absent()` where a value must be there.
- A flag is 1 or 0. A state is one sample for each known state, 1 for the one that holds; a state that is not known is added with 1. An `_info` metric is always 1 and says what it says in its labels.
- A label that is not known is left out. `gpu` is the index that NVML gives and people use; it moves when the driver leaves a GPU out. `pci` stays. Slot, serial and UUID are in `cupel_gpu_info`: `cupel_gpu_temperature_celsius * on (gpu, pci) group_left (slot, serial) cupel_gpu_info`.
- Counters are those of the hardware, the driver or the kernel where there are any: they begin anew when these do. A counter whose register stands at its maximum keeps that value, and `cupel_saturated` names it: it says \"at least\", and a rate of 0 says nothing.
- Messages of the kernel log are counted (`cupel_kernel_events_total`), so that none is hidden by a later one. What a program wrote into the log has `source=\"user\"`: it can write what it likes.
- Values are as old as their source; a scrape asks no hardware.

## Alerts to begin with

```yaml
- alert: CupelNodeUnfit
  expr: cupel_allocation_blocked == 1
- alert: CupelFinding
  expr: cupel_finding{severity=\"critical\", mode=\"enforce\", confidence=\"confirmed\"} == 1
- alert: CupelCannotTell
  expr: cupel_verdict{verdict=\"unknown\"} == 1
  for: 15m
- alert: CupelSourceSilent
  expr: cupel_source_up == 0
  for: 15m
- alert: CupelReportsWait
  expr: min_over_time(cupel_reports_waiting[1h]) > 0
- alert: CupelStateInMemory
  expr: cupel_state_saved == 0
  for: 15m
```
";

/// The page, for `docs/metrics.md`.
pub fn docs() -> String {
    let mut page = HEAD.to_owned();
    for group in GROUPS {
        page.push_str(&format!("\n## {}\n\n", group.title));
        page.push_str("| Metric | Type | Unit | Labels | What it says |\n|---|---|---|---|---|\n");
        for family in group.families {
            page.push_str(&row(family));
        }
    }
    page
}

fn row(family: &Family) -> String {
    let labels: Vec<String> = family.labels.iter().map(|l| format!("`{l}`")).collect();
    let (_, unit) = family.unit.words();
    format!(
        "| `{}` | {} | {unit} | {} | {} |\n",
        family.name,
        family.kind.word(),
        labels.join(", "),
        family.help.replace('|', "\\|"),
    )
}
