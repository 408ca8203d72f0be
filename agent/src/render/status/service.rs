//! The service itself: what is wrong with it and what to do, and what is as it should be.

use cupel_model::enrolment::KeyProtection;
use cupel_model::units::Seconds;

use super::{Row, row, since, time};
use crate::output::printable;
use crate::render::words::{self, count, span, word};
use crate::status::{Delivery, IdentityState, Status};

/// Reports that wait for longer are told as trouble, in seconds: several heartbeats.
const LONG: f64 = 300.0;

/// What is wrong with the service, and what to do about it.
pub(super) fn troubles(status: &Status) -> Vec<Row> {
    let mut rows = Vec::new();
    if let Some(until) = status.released_until {
        let rest = span(until.seconds_since(status.said_at).max(0.0));
        rows.push(row(
            "driver",
            format!(
                "released until {} (for another {rest}): no GPU is read. To end it: \
                 cupel release --end",
                time(until)
            ),
        ));
    }
    if !status.storage.saved {
        rows.push(row(
            "storage",
            format!(
                "in memory{}. A restart loses findings and waiting reports. Make room or mount it \
                 writable; it is saved again by itself",
                because(status.storage.why.as_deref())
            ),
        ));
    }
    if let Some(why) = &status.configuration.refused {
        rows.push(row(
            "configuration",
            format!(
                "the newest is refused: {}. The one of {} holds. Correct it, then: systemctl \
                 reload cupel",
                words::one_line(why),
                time(status.configuration.loaded_at)
            ),
        ));
    }
    inventory_troubles(status, &mut rows);
    identity_troubles(status, &mut rows);
    if let Some(why) = &status.wanted.refused {
        rows.push(row(
            "wanted",
            format!(
                "what the inventory wants is refused: {}. What it wanted before holds. Update \
                 cupel, or correct it in the inventory",
                words::one_line(why)
            ),
        ));
    }
    log_troubles(status, &mut rows);
    for source in &status.sources {
        if let Some(why) = &source.why {
            let age = match source.age_seconds.map(Seconds::get) {
                Some(age) => format!("; what it last gave is {} old", span(age)),
                None => "; it never gave anything".to_owned(),
            };
            let why = words::one_line(why);
            rows.push(row(
                "source",
                format!("{}: {why}{age}", printable(&source.name)),
            ));
        }
    }
    rows
}

fn because(why: Option<&str>) -> String {
    why.map(|why| format!(": {}", words::one_line(why)))
        .unwrap_or_default()
}

fn inventory_troubles(status: &Status, rows: &mut Vec<Row>) {
    let inventory = &status.inventory;
    let host = printable(inventory.host.as_deref().unwrap_or("the inventory"));
    let why = because(inventory.last_error.as_deref());
    let late = inventory
        .oldest_waiting_since
        .is_some_and(|oldest| status.said_at.seconds_since(oldest) > LONG);
    match inventory.state {
        Delivery::Refused => rows.push(row(
            "inventory",
            format!(
                "{host} refused the last report{why}. Check the token and the id of this node \
                 there; {}",
                waiting(status)
            ),
        )),
        Delivery::Waiting if late || inventory.last_error.is_some() => rows.push(row(
            "inventory",
            format!(
                "{host} does not take reports{why}. Check that it runs and can be reached from \
                 here; {}",
                waiting(status)
            ),
        )),
        Delivery::Waiting | Delivery::Delivered | Delivery::NotConfigured => {}
    }
    let dropped = inventory.dropped;
    let lists: Vec<String> = [
        (dropped.changes, "report of changes", "reports of changes"),
        (dropped.fulls, "full report", "full reports"),
        (dropped.heartbeats, "heartbeat", "heartbeats"),
    ]
    .into_iter()
    .filter(|(number, _, _)| *number > 0)
    .map(|(number, one, many)| format!("{number} {}", if number == 1 { one } else { many }))
    .collect();
    if !lists.is_empty() {
        let lists = lists.join(", ");
        rows.push(row(
            "dropped",
            format!("{lists} since the service began, for lack of space"),
        ));
    }
}

fn identity_troubles(status: &Status, rows: &mut Vec<Row>) {
    let Some(identity) = &status.identity else {
        return;
    };
    if let Some(why) = &identity.why {
        rows.push(row("identity", words::one_line(why)));
    }
    if let (Some(why), Some(end)) = (&identity.renewal_error, identity.not_after) {
        rows.push(row(
            "identity",
            format!(
                "not renewed: {}. It is good until {}, and is tried again until then",
                words::one_line(why),
                time(end)
            ),
        ));
    }
}

/// `12 reports (3.1 MiB) wait since 2026-01-02T03:04:05 (2 h 3 min)`.
fn waiting(status: &Status) -> String {
    let inventory = &status.inventory;
    let number = usize::try_from(inventory.waiting).unwrap_or(usize::MAX);
    let verb = if number == 1 { "waits" } else { "wait" };
    let oldest = inventory.oldest_waiting_since;
    let oldest = oldest.map(|oldest| format!(" since {}", since(oldest, status.said_at)));
    format!(
        "{} ({}) {verb}{}",
        count(number, "report"),
        inventory.waiting_bytes.human(),
        oldest.unwrap_or_default()
    )
}

fn log_troubles(status: &Status, rows: &mut Vec<Row>) {
    if let Some(why) = &status.log.why {
        rows.push(row(
            "kernel log",
            format!(
                "cannot be read: {}. Faults that only it tells are missed: run the service as root",
                words::one_line(why)
            ),
        ));
    }
    if status.log.lost > 0 {
        rows.push(row(
            "kernel log",
            format!(
                "{} records were overwritten before they were read: something floods it. A larger \
                 log_buf_len= on the kernel's command line keeps more",
                status.log.lost
            ),
        ));
    }
}

/// What is as it should be.
pub(super) fn service(status: &Status) -> Vec<Row> {
    let now = status.said_at;
    let uptime = span(status.uptime_seconds.get());
    let mut rows = vec![row(
        "running",
        format!(
            "since {} ({uptime}), cupel {}",
            time(status.started_at),
            status.cupel_version
        ),
    )];
    if let Some(judged) = status.judged_at {
        rows.push(row(
            "judged",
            format!("{} ago", span(now.seconds_since(judged).max(0.0))),
        ));
    }
    let well = || status.sources.iter().filter(|source| source.why.is_none());
    let oldest = well()
        .filter_map(|source| Some((source.age_seconds?.get(), &source.name)))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((age, name)) = oldest {
        let read = well().count();
        let name = printable(name);
        rows.push(row(
            "sources",
            format!("{read} read; oldest {name}, {} ago", span(age)),
        ));
    }
    if status.log.why.is_none() {
        let last = match status.log.last_event_at {
            Some(last) => format!("last event {}", since(last, now)),
            None => "no event".to_owned(),
        };
        rows.push(row(
            "kernel log",
            format!("{} records; {last}", status.log.records),
        ));
    }
    rows.push(row("inventory", delivery(status)));
    rows.extend(identity(status).map(|text| row("identity", text)));
    let wanted = &status.wanted;
    if let Some(lifecycle) = wanted.lifecycle {
        let baseline = match &wanted.baseline {
            Some(baseline) => format!(", firmware baseline {}", printable(baseline)),
            None => String::new(),
        };
        rows.push(row("wanted", format!("{}{baseline}", word(&lifecycle))));
    }
    if let Some(wish) = &wanted.upgrade {
        let state = match &wanted.upgrade_state {
            Some(state) => match &state.why {
                Some(why) => format!("{}: {}", word(&state.outcome), printable(why)),
                None => word(&state.outcome),
            },
            None => "not looked at yet".to_owned(),
        };
        rows.push(row(
            "upgrade",
            format!("{} is wished; {state}", printable(&wish.version)),
        ));
    }
    rows.push(row("tenancy", word(&status.tenancy)));
    if status.storage.saved {
        rows.push(row("storage", "on disk"));
    }
    let loaded = time(status.configuration.loaded_at);
    if status.configuration.refused.is_none() {
        rows.push(row("configuration", format!("loaded {loaded}")));
    }
    rows
}

/// What the inventory knows the node by, where it is used.
fn identity(status: &Status) -> Option<String> {
    let identity = status.identity.as_ref()?;
    if identity.state != IdentityState::Good {
        return None;
    }
    let key = match identity.key_protection? {
        KeyProtection::Tpm => "key sealed to the TPM",
        KeyProtection::File => "key in a file",
    };
    let end = time(identity.not_after?);
    let renewal = time(identity.renew_after?);
    Some(format!(
        "good until {end}, renewed from {renewal} on; {key}"
    ))
}

fn delivery(status: &Status) -> String {
    let inventory = &status.inventory;
    let host = printable(inventory.host.as_deref().unwrap_or("the inventory"));
    let last = match inventory.last_delivered_at {
        Some(last) => format!("last delivery {}", since(last, status.said_at)),
        None => "nothing delivered yet".to_owned(),
    };
    match inventory.state {
        Delivery::NotConfigured => "none is configured: nothing is reported".to_owned(),
        Delivery::Delivered => format!("{host}: all delivered; {last}"),
        Delivery::Waiting | Delivery::Refused => format!("{host}: {}; {last}", waiting(status)),
    }
}
