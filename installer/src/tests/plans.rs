//! Plans are functions of what is known.

use cupel_hardware::place::Place;

use super::played::{Behaviour, Server, release};
use crate::facts::{Facts, Package, PackageManager};
use crate::journal::{Journal, State};
use crate::layout::{INVENTORY, PROGRAM, TOKEN};
use crate::plan::{self, InstallWish, Refusals, Step};
use crate::release::Architecture;

/// A server on which nothing is.
fn bare() -> Facts {
    Facts {
        is_root: true,
        busy: Ok(Vec::new()),
        architecture: Some(Architecture::X86_64),
        place: Ok(Place {
            directory: "/usr/lib".into(),
            free_bytes: 10 << 30,
            no_programs: false,
            read_only: false,
        }),
        package: None,
        journal: Ok(None),
        current: None,
        foreign: Vec::new(),
        configured: Vec::new(),
    }
}

fn with(state: State) -> Facts {
    Facts {
        journal: Ok(Some(Journal::new(state))),
        ..bare()
    }
}

fn settled() -> Facts {
    with(State::Settled {
        version: "1.0.0-0123456789ab".parse().expect("version"),
    })
}

fn probation() -> Facts {
    with(State::Probation {
        from: "1.0.0-0123456789ab".parse().expect("version"),
        to: "2.0.0-0123456789ab".parse().expect("version"),
        since: cupel_model::Timestamp::EPOCH,
        probation_seconds: 60,
        interruptions: 0,
        counted: false,
    })
}

fn refusals(facts: &Facts) -> Vec<String> {
    let wish = InstallWish::default();
    match plan::install(facts, &wish, 40 << 20) {
        Ok(_) => Vec::new(),
        Err(Refusals(against)) => against,
    }
}

#[test]
fn each_reason_against_an_installation_is_told_with_what_to_do() {
    let place = |change: fn(&mut Place)| {
        let mut facts = bare();
        change(facts.place.as_mut().expect("place"));
        facts
    };
    let package = |manager| Facts {
        package: Some(Package {
            name: "cupel".to_owned(),
            manager,
        }),
        ..bare()
    };
    let cases: [(Facts, &str); 12] = [
        (
            Facts {
                is_root: false,
                ..bare()
            },
            "only root",
        ),
        (
            package(PackageManager::Dpkg),
            "use apt-get install or remove cupel",
        ),
        (package(PackageManager::Rpm), "use dnf"),
        (
            Facts {
                busy: Ok(vec!["cupel-burn-in-9.scope".to_owned()]),
                ..bare()
            },
            "cupel-burn-in-9.scope is at work",
        ),
        (
            Facts {
                busy: Err("no bus".to_owned()),
                ..bare()
            },
            "systemd cannot be asked: no bus",
        ),
        (
            Facts {
                architecture: None,
                ..bare()
            },
            "no releases for this machine's processors",
        ),
        (
            place(|place| place.no_programs = true),
            "mounted with noexec",
        ),
        (place(|place| place.read_only = true), "mounted read-only"),
        (
            place(|place| place.free_bytes = 70 << 20),
            "has 70 MiB left, 104 are needed",
        ),
        (
            Facts {
                foreign: vec![PROGRAM.to_owned()],
                ..bare()
            },
            "/usr/bin/cupel is there and is not of such an installation",
        ),
        (
            settled(),
            "1.0.0-0123456789ab is installed: use 'cupel upgrade FILE'",
        ),
        (probation(), "an upgrade is under way"),
    ];
    for (facts, word) in &cases {
        let against = refusals(facts);
        assert_eq!(against.len(), 1, "{word}: {against:?}");
        assert!(against[0].contains(word), "{against:?}");
    }
    let all = Facts {
        is_root: false,
        architecture: None,
        ..settled()
    };
    assert_eq!(refusals(&all).len(), 3, "all of them at once");
    assert_eq!(refusals(&bare()), Vec::<String>::new());
}

#[test]
fn what_is_not_settled_is_neither_exchanged_nor_left() {
    for (facts, word) in [
        (bare(), "nothing is installed here"),
        (probation(), "an upgrade is under way"),
        (
            with(State::Installing {
                to: None,
                since: cupel_model::Timestamp::EPOCH,
            }),
            "run 'cupel install' again",
        ),
        (
            Facts {
                package: Some(Package {
                    name: "cupel".to_owned(),
                    manager: PackageManager::Dpkg,
                }),
                ..settled()
            },
            "apt-get",
        ),
        (
            Facts {
                busy: Ok(vec!["cupel-firmware-3.service".to_owned()]),
                ..settled()
            },
            "is at work",
        ),
    ] {
        let Refusals(against) = plan::upgrade(&facts, 1, 60).expect_err("refused");
        assert!(against.iter().any(|why| why.contains(word)), "{against:?}");
        plan::rollback(&facts, 60).expect_err("refused");
    }
    let Refusals(against) = plan::rollback(&settled(), 60).expect_err("refused");
    assert_eq!(against, ["there is no version to go back to"]);
    plan::uninstall(&probation(), true).expect_err("refused");
    plan::uninstall(&settled(), true).expect("plan");
}

fn wish() -> InstallWish {
    let file = |path: &str, text: &str, mode| (path.to_owned(), text.to_owned(), mode);
    InstallWish {
        configuration: vec![
            file(INVENTORY, "[inventory]\nurl = \"https://new\"\n", 0o644),
            file(TOKEN, "s3cret", 0o600),
        ],
        ..InstallWish::default()
    }
}

#[test]
fn configuration_is_added_and_never_overwritten() {
    let writes = |facts: &Facts| -> Vec<String> {
        let plan = plan::install(facts, &wish(), 1).expect("plan");
        let steps = plan.steps.into_iter();
        steps
            .filter_map(|step| {
                let Step::Configuration { path, .. } = step else {
                    return None;
                };
                Some(path)
            })
            .collect()
    };
    assert_eq!(writes(&bare()), [INVENTORY, TOKEN]);
    let facts = Facts {
        configured: vec![INVENTORY.to_owned()],
        ..bare()
    };
    assert_eq!(writes(&facts), [TOKEN]);

    // It appeared between planning and doing.
    let server = Server::bare();
    let plan = plan::install(&server.facts(), &wish(), 1).expect("plan");
    std::fs::create_dir_all(server.layout.at("/etc/cupel")).expect("directory");
    std::fs::write(server.layout.at(INVENTORY), "# mine\n").expect("write");
    let release = release("1.0.0", Behaviour::Good);
    let journal = Journal::new(State::Installing {
        to: None,
        since: cupel_model::Timestamp::EPOCH,
    });
    let disk = server.disk();
    crate::Applier::new(&disk, &server.system, &mut |_| {}, journal, Some(&release))
        .install(&plan)
        .expect("installs");
    let read = |path| std::fs::read_to_string(server.layout.at(path)).expect("read");
    assert_eq!(read(INVENTORY), "# mine\n");
    assert_eq!(read(TOKEN), "s3cret");
}

#[test]
fn a_secret_is_in_no_plan_that_is_shown_and_in_no_journal() {
    let plan = plan::install(&bare(), &wish(), 1).expect("plan");
    let shown: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
    assert!(!shown.join("\n").contains("s3cret"), "{shown:?}");
    assert!(!format!("{plan:?}").contains("s3cret"));
    assert!(shown.contains(&"write /etc/cupel/inventory.token (0600)".to_owned()));
}

#[test]
fn a_bring_up_is_enabled_only_where_it_is_wanted() {
    let enables = |bringup| {
        let wish = InstallWish {
            bringup,
            ..InstallWish::default()
        };
        let plan = plan::install(&bare(), &wish, 1).expect("plan");
        plan.steps.iter().any(|step| {
            matches!(step, Step::Link { path, .. }
                if path.ends_with("multi-user.target.wants/cupel-bringup.service"))
        })
    };
    assert!(enables(true) && !enables(false));
}

#[test]
fn a_package_that_owns_the_program_is_found() {
    let server = Server::bare();
    let lists = server.layout.at("/var/lib/dpkg/info");
    std::fs::create_dir_all(&lists).expect("directory");
    std::fs::write(lists.join("cupelation.list"), "/usr/bin/cupelation\n").expect("write");
    assert_eq!(server.facts().package, None);
    std::fs::write(lists.join("cupel:amd64.list"), "/.\n/usr/bin/cupel\n").expect("write");
    let package = server.facts().package.expect("package");
    assert_eq!(
        (package.name.as_str(), package.manager),
        ("cupel", PackageManager::Dpkg)
    );
}
