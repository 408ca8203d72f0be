//! The schedule as text: what runs when, and why, before anybody agrees to it.

use cupel_burnin::{Schedule, Slot, StageKind};

use crate::render::words::span;

/// Stages of one kind that run at the same time for the same reason.
#[derive(Debug)]
struct Group<'a> {
    kind: StageKind,
    slots: Vec<&'a Slot>,
}

fn groups(schedule: &Schedule) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for slot in &schedule.slots {
        let same = |group: &&mut Group<'_>| {
            group.kind == slot.stage.kind
                && group.slots.first().is_some_and(|first| {
                    first.begins_seconds == slot.begins_seconds
                        && first.ends_seconds == slot.ends_seconds
                })
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.slots.push(slot),
            None => groups.push(Group {
                kind: slot.stage.kind,
                slots: vec![slot],
            }),
        }
    }
    groups.sort_by(|a, b| {
        let begin = |group: &Group<'_>| group.slots.first().map_or(0.0, |s| s.begins_seconds.get());
        begin(a).total_cmp(&begin(b))
    });
    groups
}

/// One line a group of stages: when, which, what, why.
pub fn lines(schedule: &Schedule) -> Vec<String> {
    let mut lines: Vec<String> = groups(schedule).iter().map(line).collect();
    lines.push(format!(
        "at most {} in all, {}",
        span(schedule.lasts().get()),
        match schedule.most_at_once() {
            0 | 1 => "one stage at a time".to_owned(),
            many => format!("up to {many} stages at once"),
        }
    ));
    lines
}

fn line(group: &Group<'_>) -> String {
    let Some(first) = group.slots.first() else {
        return String::new();
    };
    let when = format!(
        "{}-{}",
        clock(first.begins_seconds.get()),
        clock(first.ends_seconds.get())
    );
    let targets: Vec<&str> = group
        .slots
        .iter()
        .filter_map(|slot| slot.stage.target.as_deref())
        .collect();
    let name = match targets.as_slice() {
        [] => group.kind.name().to_owned(),
        [one] => format!("{} {one}", group.kind.name()),
        many => format!("{} {}", group.kind.name(), ranges(many)),
    };
    let optional = if group.slots.iter().all(|slot| !slot.required) {
        "; the verdict does not need it"
    } else {
        ""
    };
    format!("{when}  {name}: {}; {}{optional}", first.what, why(group))
}

/// Why of the group: of several, the targets are the group's own and are left out.
fn why(group: &Group<'_>) -> String {
    let Some(first) = group.slots.first() else {
        return String::new();
    };
    let many = group.slots.len() > 1;
    match (many, first.after.len()) {
        (true, 0) => "at once: they share nothing with a stage before them".to_owned(),
        (false, 0..3) => first.why.clone(),
        (true, _) | (false, _) => {
            let mut kinds: Vec<&str> = first.after.iter().map(|name| name.kind.name()).collect();
            kinds.sort_unstable();
            kinds.dedup();
            let kinds = kinds.join(", ");
            if many {
                format!("each after {kinds} on the same part")
            } else {
                format!("after {kinds} on every part of it")
            }
        }
    }
}

/// `0:05`, `1:02:30`.
pub fn clock(seconds: f64) -> String {
    let whole = seconds.round().max(0.0);
    let (hours, rest) = ((whole / 3600.0).floor(), whole % 3600.0);
    let (minutes, seconds) = ((rest / 60.0).floor(), rest % 60.0);
    if hours > 0.0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// `gpu0-gpu7` for names that count up, else all of them.
fn ranges(names: &[&str]) -> String {
    let split = |name: &str| {
        let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
        let stem = &name[..name.len() - digits.len()];
        Some((stem.to_owned(), digits.parse::<u32>().ok()?))
    };
    let parts: Option<Vec<(String, u32)>> = names.iter().map(|name| split(name)).collect();
    if let Some(parts) = parts
        && let (Some((stem, first)), Some((_, last))) = (parts.first(), parts.last())
        && parts.len() > 2
        && (*first..)
            .zip(&parts)
            .all(|(want, (s, n))| s == stem && *n == want)
    {
        return format!("{stem}{first}-{stem}{last}");
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupel_burnin::{Claim, Resource, StageSpec};
    use std::time::Duration;

    #[test]
    fn eight_gpus_are_a_line_and_every_line_says_why() {
        let mut specs = Vec::new();
        let spec = |name: &str, seconds, claims| StageSpec {
            name: name.parse().expect("a name"),
            what: "patterns".to_owned(),
            claims,
            expected: Duration::from_secs(seconds),
            at_most: Duration::from_secs(seconds),
            required: true,
        };
        for kind in ["gpu-memory", "gpu-compute"] {
            for index in 0..8 {
                let claims = vec![Claim::alone(Resource::Gpu { index })];
                specs.push(spec(&format!("{kind}/gpu{index}"), 20, claims));
            }
        }
        specs.push(spec("cpu", 70, vec![Claim::alone(Resource::Processors)]));
        let lines = lines(&Schedule::of(&specs));
        assert_eq!(
            lines,
            [
                "0:00-0:20  gpu-memory gpu0-gpu7: patterns; at once: they share nothing with a \
                 stage before them",
                "0:00-1:10  cpu: patterns; at once: it shares nothing with a stage before it",
                "0:20-0:40  gpu-compute gpu0-gpu7: patterns; each after gpu-memory on the same part",
                "at most 1 min 10 s in all, up to 9 stages at once",
            ]
        );
    }

    #[test]
    fn names_and_times_are_short() {
        assert_eq!(clock(3750.0), "1:02:30");
        assert_eq!(ranges(&["nvme0", "nvme2", "nvme3"]), "nvme0, nvme2, nvme3");
        assert_eq!(ranges(&["gpu0", "gpu1"]), "gpu0, gpu1");
    }
}
