//! Who may depend on whom.
//!
//! # Invariants
//! - Every member of the workspace has a line in [`MAY_USE`]; a new one is refused until it has.
//! - The pure crates link nothing that can reach a machine.

use super::Violation;
use super::graph::Graph;

/// Members of the workspace, and which other members each may link.
const MAY_USE: &[(&str, &[&str])] = &[
    ("cupel-model", &[]),
    ("cupel-kernel-log", &["cupel-model"]),
    ("cupel-health", &["cupel-model", "cupel-kernel-log"]),
    ("cupel-hardware", &["cupel-model", "cupel-kernel-log"]),
    ("cupel-gpu-worker", &["cupel-model"]),
    (
        "cupel-burnin",
        &["cupel-model", "cupel-kernel-log", "cupel-hardware"],
    ),
    ("cupel-reporting", &["cupel-model"]),
    ("cupel-inventory", &["cupel-model"]),
    ("cupel-installer", &["cupel-model", "cupel-hardware"]),
    (
        AGENT,
        &[
            "cupel-model",
            "cupel-kernel-log",
            "cupel-hardware",
            "cupel-health",
            "cupel-burnin",
            "cupel-reporting",
            "cupel-installer",
        ],
    ),
];

/// The package of the binary `cupel`.
const AGENT: &str = "cupel";

/// Members that never ship: tests and tools. They may use what ships, and each other.
const NEVER_SHIPS: &[&str] = &[
    "cupel-e2e",
    "cupel-fake-driver",
    "cupel-fleet",
    "cupel-fuzz-bodies",
    "cupel-gpu-acceptance",
    "cupel-machines",
    "cupel-rack",
    "xtask",
];

/// Those of [`NEVER_SHIPS`] that may link the agent's library.
const MAY_USE_AGENT: &[&str] = &["cupel-fuzz-bodies", "xtask"];

/// Crates that are functions of their arguments alone.
pub const PURE: &[&str] = &["cupel-model", "cupel-kernel-log", "cupel-health"];

/// What reaches the machine, the network, a clock or another process.
const REACHES_OUT: &[&str] = &[
    "async-std",
    "axum",
    "getrandom",
    "hyper",
    "libc",
    "libloading",
    "mio",
    "nix",
    "nvml-wrapper",
    "nvml-wrapper-sys",
    "procfs",
    "procfs-core",
    "rand",
    "reqwest",
    "rusqlite",
    "rustix",
    "smbios-lib",
    "socket2",
    "sqlx",
    "sysinfo",
    "tempfile",
    "tokio",
    "ureq",
    "zbus",
];

/// Outside packages that only some members may name.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    ("nvml-wrapper", &["cupel-gpu-worker"], WORKER),
    (
        "nvml-wrapper-sys",
        &["cupel-gpu-worker", "cupel-fake-driver"],
        WORKER,
    ),
    ("libloading", &["cupel-gpu-worker"], WORKER),
    ("zbus", &["cupel-hardware"], HARDWARE),
    ("sysinfo", &["cupel-hardware"], HARDWARE),
    ("smbios-lib", &["cupel-hardware"], HARDWARE),
    ("procfs-core", &["cupel-hardware"], HARDWARE),
    ("rusqlite", &["cupel-reporting"], STATE),
    // Machines in a box are asked for over TLS.
    ("reqwest", &["cupel-reporting", "cupel-machines"], STATE),
    ("sqlx", &["cupel-inventory"], STORE),
];
const WORKER: &str =
    "a driver library is loaded by the GPU worker alone, which may hang and be killed";
const STATE: &str = "what a node remembers and sends is `reporting`'s";
const STORE: &str = "SQL of the inventory is in its store, one module a backend";
const HARDWARE: &str = "only `hardware` touches the machine: add a reader there";

/// Never, anywhere.
const NEVER: &[&str] = &["native-tls", "openssl", "openssl-sys"];

/// All rules about the graph.
pub fn check(graph: &Graph) -> Vec<Violation> {
    let mut found = directions(graph);
    found.extend(pure(graph));
    found.extend(only_in(graph));
    found.extend(never(graph));
    found
}

fn directions(graph: &Graph) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut breaks = |at: &str, what: String| {
        found.push(Violation {
            at: at.to_owned(),
            rule: "direction",
            what,
        });
    };
    let members = graph.packages.iter().filter(|(_, package)| package.member);
    for (name, package) in members {
        let line = MAY_USE.iter().find(|(member, _)| member == name);
        let ships = line.is_some();
        if !ships && !NEVER_SHIPS.contains(&name.as_str()) {
            breaks(
                name,
                "has no place in the house yet: give it a line in xtask/src/tidy/directions.rs \
                 and in docs/architecture.md"
                    .to_owned(),
            );
            continue;
        }
        let used = |set: &std::collections::BTreeSet<String>| {
            set.iter()
                .filter(|key| {
                    graph
                        .packages
                        .get(*key)
                        .is_some_and(|package| package.member)
                })
                .cloned()
                .collect::<Vec<_>>()
        };
        for other in used(&package.normal)
            .into_iter()
            .chain(used(&package.build))
        {
            match line {
                Some((_, may_use)) if !may_use.contains(&other.as_str()) => breaks(
                    name,
                    format!("depends on {other}, which is not below it in the house"),
                ),
                None if other == AGENT && !MAY_USE_AGENT.contains(&name.as_str()) => {
                    breaks(name, "depends on the agent; nothing does".to_owned());
                }
                Some(_) | None => {}
            }
        }
        for other in used(&package.dev) {
            if other == AGENT && !MAY_USE_AGENT.contains(&name.as_str()) {
                breaks(
                    name,
                    "its tests depend on the agent; end-to-end tests run it".to_owned(),
                );
            }
        }
    }
    found
}

fn pure(graph: &Graph) -> Vec<Violation> {
    let mut found = Vec::new();
    for name in PURE {
        for linked in graph.linked(name) {
            if REACHES_OUT.contains(&Graph::bare(linked)) {
                found.push(Violation {
                    at: (*name).to_owned(),
                    rule: "pure",
                    what: format!("links {linked}: it must stay a function of its arguments"),
                });
            }
        }
    }
    found
}

fn only_in(graph: &Graph) -> Vec<Violation> {
    let mut found = Vec::new();
    for (outside, members, why) in ONLY_IN {
        for (name, package) in graph.packages.iter().filter(|(_, package)| package.member) {
            let names_it = package
                .normal
                .iter()
                .any(|key| Graph::bare(key) == *outside);
            if names_it && !members.contains(&name.as_str()) {
                found.push(Violation {
                    at: name.clone(),
                    rule: "only-in",
                    what: format!("depends on {outside}: {why}"),
                });
            }
        }
    }
    for loader in ["libloading", "nvml-wrapper", "nvml-wrapper-sys"] {
        if graph
            .linked(AGENT)
            .iter()
            .any(|key| Graph::bare(key) == loader)
        {
            found.push(Violation {
                at: AGENT.to_owned(),
                rule: "only-in",
                what: format!("links {loader}: the agent never loads a driver library"),
            });
        }
    }
    found
}

fn never(graph: &Graph) -> Vec<Violation> {
    graph
        .packages
        .keys()
        .filter(|key| NEVER.contains(&Graph::bare(key)))
        .map(|key| Violation {
            at: key.clone(),
            rule: "never",
            what: "is a C library for TLS: rustls is the one provider".to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn house() -> Graph {
        Graph::default()
            .member("cupel-model", &["serde"])
            .member("cupel-kernel-log", &["cupel-model"])
            .member("cupel-health", &["cupel-model", "cupel-kernel-log"])
            .member("cupel-hardware", &["cupel-model", "nix", "zbus"])
            .member(
                "cupel-gpu-worker",
                &["cupel-model", "libloading", "nvml-wrapper"],
            )
            .member("cupel-burnin", &["cupel-hardware", "cupel-model"])
            .member("cupel", &["cupel-burnin", "cupel-health", "cupel-hardware"])
            .member("xtask", &["cupel-health", "cupel"])
    }

    fn rules(graph: &Graph) -> Vec<(String, &'static str)> {
        check(graph)
            .into_iter()
            .map(|violation| (violation.at, violation.rule))
            .collect()
    }

    #[test]
    fn a_house_in_order_breaks_nothing() {
        assert_eq!(check(&house()), []);
    }

    #[test]
    fn upward_and_sideways_dependencies_are_refused() {
        for (from, to) in [
            ("cupel-model", "cupel-kernel-log"),
            ("cupel-kernel-log", "cupel-health"),
            ("cupel-health", "cupel-hardware"),
            ("cupel-hardware", "cupel-health"),
            ("cupel-gpu-worker", "cupel-hardware"),
            ("cupel-burnin", "cupel-health"),
            ("cupel-hardware", "cupel"),
            ("cupel-burnin", "cupel-rack"),
        ] {
            let graph = house().member("cupel-rack", &[]).member(from, &[to]);
            assert!(
                rules(&graph).contains(&(from.to_owned(), "direction")),
                "{from} -> {to}"
            );
        }
    }

    #[test]
    fn nothing_but_tools_depends_on_the_agent() {
        let mut graph = house().member("cupel-e2e", &["cupel"]);
        assert_eq!(rules(&graph), [("cupel-e2e".to_owned(), "direction")]);
        graph = house().member("cupel-e2e", &[]);
        graph
            .packages
            .entry("cupel-e2e".to_owned())
            .or_default()
            .dev
            .insert("cupel".to_owned());
        assert_eq!(rules(&graph), [("cupel-e2e".to_owned(), "direction")]);
    }

    #[test]
    fn a_member_without_a_place_is_refused() {
        let graph = house().member("cupel-extra", &[]);
        assert_eq!(rules(&graph), [("cupel-extra".to_owned(), "direction")]);
    }

    #[test]
    fn a_pure_crate_may_not_reach_out_even_through_others() {
        let graph = house()
            .member("cupel-model", &["handy"])
            .outside("handy", Some("MIT"), &["tokio@0.9.0"])
            .outside("tokio@0.9.0", Some("MIT"), &[]);
        let broken = rules(&graph);
        for name in PURE {
            assert!(
                broken.contains(&((*name).to_owned(), "pure")),
                "{name}: {broken:?}"
            );
        }
    }

    #[test]
    fn driver_libraries_are_the_workers_alone() {
        let graph = house().member("cupel-burnin", &["libloading"]);
        assert_eq!(
            rules(&graph),
            [
                ("cupel-burnin".to_owned(), "only-in"),
                ("cupel".to_owned(), "only-in")
            ]
        );
        let graph = house().member("cupel-burnin", &["zbus"]);
        assert_eq!(rules(&graph), [("cupel-burnin".to_owned(), "only-in")]);
    }

    #[test]
    fn openssl_is_refused_wherever_it_hides() {
        let graph = house().outside("openssl-sys", Some("MIT"), &[]);
        assert_eq!(rules(&graph), [("openssl-sys".to_owned(), "never")]);
    }
}
