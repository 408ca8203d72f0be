//! What could not be told, and how far what was told can be trusted. Written last.

use std::collections::BTreeMap;

use crate::metrics::family::{Family, Group, Unit};

pub(super) const GROUP: Group = Group {
    title: "What is missing from these metrics",
    source: "metrics",
    families: &[
        Family::gauge(
            "cupel_readings_unread",
            Unit::None,
            &["source", "state"],
            "Readings that have no sample here because they have no value, by group of metrics and state: failed (should be there and could not be read), absent (the thing is not there), unsupported (it does not offer this value).",
            |_, out| {
                let mut unread = std::mem::take(&mut out.unread);
                unread.sort_unstable();
                for (source, why, count) in unread {
                    out.put("", &[("source", source), ("state", why.word())], count);
                }
            },
        ),
        Family::gauge(
            "cupel_problems",
            Unit::None,
            &["source"],
            "Troubles of reading that belong to no single value, by source; cupel inspect tells them.",
            |at, out| {
                let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
                for problem in at.snapshot.iter().flat_map(|snapshot| &snapshot.problems) {
                    *counts.entry(&problem.source).or_default() += 1;
                }
                for (source, count) in counts {
                    out.put("", &[("source", source)], count);
                }
            },
        ),
        Family::gauge(
            "cupel_saturated",
            Unit::None,
            &[
                "metric",
                "gpu",
                "pci",
                "memory",
                "error",
                "period",
                "cause",
                "link",
                "device",
                "port",
                "counter",
                "interface",
                "severity",
                "place",
                "label",
            ],
            "1 for each sample of a counter whose register stands at its maximum, with the name of the metric and the sample's labels: the counter says at least, and its rate says nothing.",
            |_, out| {
                for saturated in std::mem::take(&mut out.saturated) {
                    out.one(&saturated.labels, &[("metric", saturated.metric)]);
                }
            },
        ),
        Family::gauge(
            "cupel_duplicate_samples",
            Unit::None,
            &[],
            "Samples that were left out because an earlier one has the same labels: two parts that give the same name.",
            |_, out| {
                let duplicates = out.duplicates;
                out.put("", &[], duplicates);
            },
        ),
    ],
};
