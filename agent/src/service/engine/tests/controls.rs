//! What people and the inventory ask for.

use super::*;
use crate::service::deliver::News;
use cupel_model::Verdict;
use cupel_model::wire::{UpgradeOutcome, UpgradeState};
use cupel_reporting::{WantedDocument, WantedNews};

fn down(configuration: &str) -> Bench {
    let mut bench = Bench::new(configuration).started();
    bench.port(0, "DOWN");
    bench.read(Source::Rdma);
    bench.run(seconds(200.0));
    assert!(!bench.published().status.allocation.allowed);
    bench
}

fn clear(id: &str, because: &str) -> Ask {
    Ask::Clear {
        id: id.to_owned(),
        because: because.to_owned(),
    }
}

#[test]
fn a_part_that_was_taken_out_on_purpose_is_not_waited_for_once_a_person_has_cleared_it() {
    let mut bench = Bench::new(INVENTORY).started();
    bench.run(seconds(5.0));
    let serial = bench.machine.nvme[0].serial.value().cloned();
    bench.machine.nvme.remove(0);
    bench.read(Source::Nvme);
    bench.run(seconds(5.0));
    let parts = |bench: &Bench| -> Vec<Option<String>> {
        let published = bench.published();
        let missing = published
            .findings
            .iter()
            .filter(|tracked| tracked.finding.code == "nvme.missing");
        missing
            .map(|tracked| tracked.finding.component.serial.clone())
            .collect()
    };
    assert_eq!(parts(&bench), [serial]);
    let id = bench.findings()[0].clone();
    let (reply, _) = bench.ask(clear(&id, "taken out"));
    assert_eq!(reply, Reply::Done(format!("{id} is cleared")));
    bench.run(seconds(5.0));
    // The platform still counts; of that drive nobody speaks.
    assert!(
        parts(&bench).iter().all(Option::is_none),
        "{:?}",
        bench.findings()
    );
}

#[test]
fn a_person_clears_what_is_over_and_what_lasts_comes_back() {
    let mut bench = down(INVENTORY);
    let id = bench.findings()[0].clone();
    let first = bench.published().findings[0].finding.since;
    bench.forget_reports();
    let (reply, _) = bench.ask(clear(&id, "new cable\u{7}"));
    assert_eq!(reply, Reply::Done(format!("{id} is cleared")));
    bench.round();
    assert_eq!(
        bench.told()[0],
        "changes [cleared rdma.port-down, raised rdma.port-down] 0 events"
    );
    bench.run(seconds(1.0));
    assert_eq!(bench.findings(), [id.as_str()], "it is still down");
    let published = bench.published();
    assert_ne!(
        published.findings[0].finding.since, first,
        "another occurrence"
    );

    let (reply, _) = bench.ask(clear("no.such/thing", "x"));
    assert!(matches!(reply, Reply::Error(why) if why.contains("no.such/thing")));
    let (reply, _) = bench.ask(clear(&id, " \n"));
    assert!(matches!(reply, Reply::Error(_)), "{reply:?}");
}

#[test]
fn a_check_that_only_observes_closes_nothing() {
    let mut bench = down("");
    let observe = "[checks]\n\"rdma.port-down\" = \"observe\"\n";
    assert_eq!(bench.engine.reload(Ok(rules(observe))), [Wish::Cadences]);
    bench.run(seconds(1.0));
    let status = bench.published().status.clone();
    assert_eq!(status.verdict, Verdict::Healthy);
    assert!(status.allocation.allowed, "{:?}", status.allocation);

    bench.engine.reload(Ok(rules("")));
    bench.run(seconds(1.0));
    assert_eq!(bench.published().status.verdict, Verdict::Unhealthy);
    assert!(!bench.published().status.allocation.allowed);
}

#[test]
fn the_mode_holds_for_what_waits_for_its_clear_rule_too() {
    let mut bench = down("");
    bench.port(0, "ACTIVE");
    bench.read(Source::Rdma);
    bench.run(seconds(1.0));
    let waiting = bench.published();
    assert!(!waiting.findings[0].observed && !waiting.status.allocation.allowed);
    let observe = "[checks]\n\"rdma.port-down\" = \"observe\"\n";
    bench.engine.reload(Ok(rules(observe)));
    bench.run(seconds(1.0));
    let status = bench.published().status.clone();
    assert_eq!(status.findings.len(), 1);
    assert_eq!(status.verdict, Verdict::Healthy);
    assert!(
        status.allocation.allowed,
        "the hook and the verdict say the same"
    );
}

#[test]
fn a_configuration_that_is_refused_changes_nothing_and_is_told() {
    let mut bench = Bench::new("").started();
    let loaded = bench.published().status.configuration.loaded_at;
    pass(seconds(10.0));
    let refused = Err(anyhow::anyhow!("node.toml:3:1: unknown key"));
    assert_eq!(bench.engine.reload(refused), []);
    bench.run(seconds(1.5));
    let status = bench.published().status.clone();
    assert_eq!(status.configuration.loaded_at, loaded);
    let why = status.configuration.refused.expect("told");
    assert!(why.contains("node.toml:3:1"), "{why}");
    bench.engine.reload(Ok(rules("")));
    bench.run(seconds(1.5));
    let status = bench.published().status.clone();
    assert_eq!(status.configuration.refused, None);
    assert!(status.configuration.loaded_at > loaded);
}

#[test]
fn an_inventory_that_comes_with_a_new_configuration_is_told_everything() {
    let mut bench = down("");
    assert_eq!(bench.told(), Vec::<String>::new());
    bench.engine.reload(Ok(rules(INVENTORY)));
    bench.run(seconds(3.0));
    assert_eq!(bench.told(), ["full 1"]);
}

#[test]
fn the_driver_is_released_for_a_time_that_makes_sense() {
    let mut bench = Bench::new("").started();
    for bad in [0.0, 0.5, -1.0, 1e9, f64::NAN, f64::INFINITY] {
        let (reply, wishes) = bench.ask(Ask::Release { seconds: bad });
        assert!(matches!(reply, Reply::Error(_)), "{bad}");
        assert_eq!(wishes, []);
    }
    let (reply, wishes) = bench.ask(Ask::Release { seconds: 60.0 });
    assert!(matches!(reply, Reply::Done(_)));
    assert_eq!(wishes, [Wish::Release(Some(BOOTED.get() + seconds(60.0)))]);
    bench.run(seconds(1.0));
    assert!(bench.published().status.released_until.is_some());
    let (_, wishes) = bench.ask(Ask::Resume {});
    assert_eq!(wishes, [Wish::Release(None)]);
    bench.run(seconds(1.0));
    assert_eq!(bench.published().status.released_until, None);
}

fn wanted(news: WantedNews) -> Input {
    Input::Delivery(News::Delivered {
        at: read_clocks().0,
        send_full: false,
        wanted: Some(Box::new(news)),
    })
}

#[test]
fn wishes_are_kept_and_those_not_understood_are_refused_in_the_next_reports() {
    let mut bench = Bench::new(INVENTORY).started();
    let json = r#"{"etag":"7","lifecycle":"maintenance","baseline":"b1","colour":"red"}"#;
    let understood = WantedNews::Understood {
        wanted: serde_json::from_str(json).expect("wishes"),
        document: WantedDocument {
            etag: "7".to_owned(),
            json: json.to_owned(),
        },
    };
    bench.engine.take(wanted(understood));
    bench.run(seconds(61.0));
    let kept = bench.kept();
    assert_eq!(kept.wanted.as_ref().expect("kept").json, json);
    let last = |bench: &Bench| bench.reports().last().expect("report").wanted.clone();
    assert_eq!(last(&bench).etag.as_deref(), Some("7"));
    let status = bench.published().status.clone();
    assert_eq!(status.wanted.baseline.as_deref(), Some("b1"));

    bench.engine.take(wanted(WantedNews::Refused {
        why: "lifecycle: levitating".to_owned(),
    }));
    bench.run(seconds(61.0));
    let told = last(&bench);
    assert_eq!(told.etag.as_deref(), Some("7"), "those of before hold");
    assert_eq!(told.refused.as_deref(), Some("lifecycle: levitating"));
    let again = Bench::that_kept(INVENTORY, kept);
    assert_eq!(again.engine.wanted_state.etag.as_deref(), Some("7"));
}

#[test]
fn a_bringup_is_reported_and_its_file_goes_when_that_is_on_disk() {
    let summary = cupel_model::wire::BringupSummary {
        started_at: Timestamp::EPOCH,
        finished_at: Timestamp::EPOCH,
        verdict: Verdict::Healthy,
        reasons: Vec::new(),
        steps: Vec::new(),
    };
    let mut bench = Bench::new(INVENTORY);
    let file = PathBuf::from("unsent-bringup.json");
    bench.engine.unsent_bringup(summary.clone(), file.clone());
    bench.run(seconds(10.0));
    assert!(
        bench.forgotten.is_empty(),
        "not judged yet: nothing was reported"
    );
    let mut bench = bench.started();
    assert_eq!(bench.told()[0], "bringup");
    assert_eq!(bench.forgotten, [file]);
    let (_, wishes) = bench.ask(Ask::Bringup {
        summary: Box::new(summary),
    });
    assert_eq!(wishes, []);
    bench.round();
    assert_eq!(
        bench
            .told()
            .iter()
            .filter(|told| *told == "bringup")
            .count(),
        2
    );
}

#[test]
fn a_version_that_is_wished_is_ordered_once_and_what_came_of_it_is_told_at_once() {
    let mut bench = Bench::new(INVENTORY).started();
    let wish = |more: &str| {
        let json = format!(
            r#"{{"etag":"8","lifecycle":"in-service","baseline":null,"upgrade":{{"version":"0.2.0","url":"https://releases.example/cupel"}}{more}}}"#
        );
        WantedNews::Understood {
            wanted: serde_json::from_str(&json).expect("wishes"),
            document: WantedDocument {
                etag: "8".to_owned(),
                json,
            },
        }
    };
    let wishes = bench.engine.take(wanted(wish("")));
    assert!(
        matches!(&wishes[..], [Wish::Upgrade(Some(order))] if order.version() == "0.2.0"),
        "{wishes:?}"
    );
    // Other wishes, and the same version among them.
    let wishes = bench.engine.take(wanted(wish(r#","colour":"red""#)));
    assert_eq!(wishes, []);
    let at = read_clocks().0;
    let state = |version: &str| UpgradeState {
        version: version.to_owned(),
        outcome: UpgradeOutcome::Refused,
        why: Some("no trusted key signed this file".to_owned()),
        at,
    };
    bench.run(seconds(61.0));
    let before = bench.reports().len();
    bench.engine.take(Input::Upgrade(state("0.1.9")));
    assert_eq!(bench.published().status.wanted.upgrade_state, None);
    bench.engine.take(Input::Upgrade(state("0.2.0")));
    bench.run(seconds(2.0));
    assert_eq!(
        bench.published().status.wanted.upgrade_state,
        Some(state("0.2.0"))
    );
    let reports = bench.reports();
    assert!(reports.len() > before, "it waits for the next heartbeat");
    let last = reports.last().expect("report").wanted.upgrade.clone();
    assert_eq!(last, Some(state("0.2.0")));
    // It is wished still after a restart.
    let again = Bench::that_kept(INVENTORY, bench.kept());
    assert_eq!(again.engine.upgrade().expect("an order").version(), "0.2.0");
    let none = r#"{"etag":"9","lifecycle":"in-service","baseline":null,"upgrade":null}"#;
    let wishes = bench.engine.take(wanted(WantedNews::Understood {
        wanted: serde_json::from_str(none).expect("wishes"),
        document: WantedDocument {
            etag: "9".to_owned(),
            json: none.to_owned(),
        },
    }));
    assert_eq!(wishes, [Wish::Upgrade(None)]);
}
