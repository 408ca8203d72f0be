//! From what the store gives to what the pages show of it.

use cupel_model::ComponentKind;

use crate::pages::view;
use crate::record::{Difference, ExpectationState, PartKind, Placement};
use crate::store::{FleetLine, RackCount, RackName};

/// How something stands, by the number that the store keeps.
pub fn standing(number: i64) -> view::Standing {
    usize::try_from(number)
        .ok()
        .and_then(|index| view::Standing::ALL.get(index).copied())
        .unwrap_or(view::Standing::Unknown)
}

/// The number that the store keeps.
pub fn standing_number(standing: view::Standing) -> i64 {
    view::Standing::ALL
        .iter()
        .zip(0..)
        .find_map(|(one, number)| (*one == standing).then_some(number))
        .unwrap_or_default()
}

/// A rack's name.
pub fn rack(name: RackName) -> view::RackPlace {
    view::RackPlace {
        region: name.region,
        site: name.site,
        row: name.row,
        rack: name.rack,
    }
}

/// What was found against what should have arrived.
pub fn expectation(state: ExpectationState, differences: &[Difference]) -> view::Expectation {
    match state {
        ExpectationState::NoList => view::Expectation::NoList,
        ExpectationState::AsExpected => view::Expectation::AsExpected,
        ExpectationState::Unexpected => view::Expectation::Unexpected,
        ExpectationState::Mismatched => view::Expectation::Mismatched(
            differences
                .iter()
                .map(|difference| view::Mismatch {
                    what: difference.field.clone(),
                    expected: difference.expected.clone(),
                    found: difference.found.clone(),
                })
                .collect(),
        ),
    }
}

/// A node in a line.
pub fn line(line: FleetLine) -> view::NodeLine {
    view::NodeLine {
        standing: standing(line.standing),
        expectation: expectation(line.expectation, &line.differences),
        id: line.id,
        hostname: line.hostname,
        serial: line.serial,
        place: view::Place {
            rack: rack(line.rack),
            unit: line.unit,
            height_units: line.height_units,
        },
        lifecycle: line.lifecycle,
        in_use: line.in_use,
        platform: line.platform,
        more_findings: line
            .findings
            .saturating_sub(u32::from(line.worst.is_some())),
        worst: line.worst.as_ref().map(view::FindingLine::from),
        last_report: line.last_report,
    }
}

/// A rack in the grid.
pub fn counts(count: RackCount) -> view::RackCounts {
    let mut counts = view::Counts {
        unexpected: count.unexpected,
        mismatched: count.mismatched,
        ..view::Counts::default()
    };
    for (standing, number) in view::Standing::ALL.into_iter().zip(count.standings) {
        *counts.of_mut(standing) = number;
    }
    view::RackCounts {
        place: rack(count.rack),
        counts,
    }
}

/// The kind of component that a kind of part is.
pub fn component(kind: PartKind) -> ComponentKind {
    match kind {
        PartKind::Chassis | PartKind::Board => ComponentKind::Node,
        PartKind::Gpu => ComponentKind::Gpu,
        PartKind::Rdma => ComponentKind::Rdma,
        PartKind::Nic => ComponentKind::Nic,
        PartKind::Nvme => ComponentKind::Nvme,
        PartKind::Dimm => ComponentKind::Dimm,
    }
}

/// Where a part was; the place of its node is not looked up here.
pub fn stay(placement: &Placement, place: view::Place) -> view::PartStay {
    view::PartStay {
        node: placement.node.clone(),
        hostname: placement.hostname.clone(),
        place,
        slot: placement.slot.clone(),
        from: placement.from,
        until: placement.until,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derive;
    use crate::record::Presence;
    use cupel_model::Verdict;

    #[test]
    fn standings_have_the_numbers_of_the_store() {
        use view::Standing;
        for (verdict, presence, want) in [
            (Verdict::Unhealthy, Presence::Reporting, Standing::Unhealthy),
            (Verdict::Unhealthy, Presence::Lost, Standing::Silent),
            (Verdict::Unknown, Presence::Late, Standing::Silent),
            (Verdict::Unknown, Presence::Reporting, Standing::Unknown),
            (Verdict::Degraded, Presence::Reporting, Standing::Degraded),
            (Verdict::Unknown, Presence::Quiet, Standing::Quiet),
            (Verdict::Healthy, Presence::Reporting, Standing::Healthy),
        ] {
            let number = derive::standing(verdict, presence);
            assert_eq!(standing(number), want);
            assert_eq!(standing_number(want), number);
        }
        assert_eq!(standing_number(Standing::Missing), derive::MISSING);
    }
}
