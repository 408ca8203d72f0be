//! Which finding of a report is which of those that are known.
//!
//! # Invariants
//! - Each finding has at most one life and each life at most one finding.
//! - From the closest likeness to the loosest: all that is known of the part and the sentence; all
//!   that is known of the part; its serial; its slot; its address. The looser ones serve parts of
//!   which something is known now that was not before, or the other way round.

use std::collections::BTreeMap;

use cupel_model::{Component, ComponentKind, Finding};

use super::identity::{aspect, compatible, wording};

/// What two findings must share to be likened.
type Key = (String, Option<&'static str>, ComponentKind, Vec<String>);

/// What is compared in one kind of likeness; `None` where too little is known for it.
type Likeness = fn(&Finding) -> Option<Vec<String>>;

/// Closest first.
const LIKENESSES: [Likeness; 5] = [
    |finding| {
        let mut all = known(&finding.component);
        all.push(wording(&finding.summary));
        Some(all)
    },
    |finding| Some(known(&finding.component)),
    |finding| finding.component.serial.clone().map(|serial| vec![serial]),
    |finding| finding.component.slot.clone().map(|slot| vec![slot]),
    |finding| finding.component.pci.map(|pci| vec![pci.to_string()]),
];

fn known(component: &Component) -> Vec<String> {
    // A link's number is what the finding says of its GPU, not which GPU it is.
    let index = component
        .index
        .filter(|_| component.kind != ComponentKind::Nvlink);
    let text =
        |part: Option<String>| part.map_or_else(|| "-".to_owned(), |part| format!("={part}"));
    vec![
        text(component.serial.clone()),
        text(component.slot.clone()),
        text(component.pci.map(|pci| pci.to_string())),
        text(index.map(|index| index.to_string())),
    ]
}

/// For each of `findings` the place of its own among `lives`, where it has one.
pub(super) fn matching<'a>(
    findings: &[Finding],
    lives: impl Iterator<Item = &'a Finding> + Clone,
) -> Vec<Option<usize>> {
    let mut found: Vec<Option<usize>> = vec![None; findings.len()];
    let mut taken: Vec<bool> = lives.clone().map(|_| false).collect();
    for likeness in LIKENESSES {
        let key = |finding: &Finding| -> Option<Key> {
            let of = likeness(finding)?;
            Some((
                finding.code.clone(),
                aspect(finding),
                finding.component.kind,
                of,
            ))
        };
        let mut known: BTreeMap<Key, Vec<(usize, &Component)>> = BTreeMap::new();
        for (at, life) in lives.clone().enumerate() {
            if !taken.get(at).copied().unwrap_or(true)
                && let Some(key) = key(life)
            {
                known.entry(key).or_default().push((at, &life.component));
            }
        }
        if known.is_empty() {
            continue;
        }
        for (finding, found) in findings.iter().zip(&mut found) {
            if found.is_some() {
                continue;
            }
            let Some(candidates) = key(finding).and_then(|key| known.get_mut(&key)) else {
                continue;
            };
            let fits = candidates
                .iter()
                .position(|(_, component)| compatible(component, &finding.component));
            if let Some(place) = fits {
                let (at, _) = candidates.remove(place);
                *found = Some(at);
                if let Some(taken) = taken.get_mut(at) {
                    *taken = true;
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::Draft;

    fn finding(serial: Option<&str>, slot: Option<&str>, summary: &str) -> Finding {
        let component = Component {
            serial: serial.map(str::to_owned),
            slot: slot.map(str::to_owned),
            ..Component::of(ComponentKind::Dimm)
        };
        Draft::warning("memory.dimm-missing", component, summary.to_owned()).into()
    }

    #[test]
    fn the_closest_likeness_wins_and_nothing_is_taken_twice() {
        let lives = [
            finding(None, None, "of group compute"),
            finding(None, None, "of group storage"),
            finding(Some("S1"), Some("A1"), "x"),
            finding(None, Some("A2"), "x"),
            finding(Some("S3"), Some("A3"), "x"),
        ];
        let now = [
            finding(None, None, "of group storage"),
            finding(Some("S1"), Some("B7"), "x"), // moved
            finding(Some("S2"), Some("A2"), "x"), // its serial is known now
            finding(None, Some("A3"), "x"),       // its serial is known no longer
            finding(Some("S9"), Some("A1"), "x"), // another part in the slot
            finding(None, None, "of group compute"),
            finding(None, None, "of group compute"),
        ];
        assert_eq!(
            matching(&now, lives.iter()),
            [Some(1), Some(2), Some(3), Some(4), None, Some(0), None]
        );
    }
}
