//! The packages and who depends on whom, from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, PackageId, TargetKind};

/// One package.
#[derive(Clone, Debug, Default)]
pub struct Package {
    /// Whether it belongs to this workspace.
    pub member: bool,
    /// Whether it runs inside the compiler and is no part of a program.
    pub proc_macro: bool,
    /// SPDX expression.
    pub licence: Option<String>,
    /// What it is built from and links, as keys of the graph.
    pub normal: BTreeSet<String>,
    /// What its tests need besides.
    pub dev: BTreeSet<String>,
    /// What its build script needs.
    pub build: BTreeSet<String>,
}

/// All packages, by name; a second version of one is `name@version`.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The packages.
    pub packages: BTreeMap<String, Package>,
}

impl Graph {
    /// From cargo's own resolution.
    pub fn from_metadata(metadata: &Metadata) -> Self {
        let mut keys: BTreeMap<&PackageId, String> = BTreeMap::new();
        let mut taken = BTreeSet::new();
        for package in &metadata.packages {
            let name = package.name.to_string();
            let key = if taken.insert(name.clone()) {
                name
            } else {
                format!("{name}@{}", package.version)
            };
            keys.insert(&package.id, key);
        }
        let members: BTreeSet<&PackageId> = metadata.workspace_members.iter().collect();
        let mut graph = Self::default();
        for package in &metadata.packages {
            let target_is = |kind: &TargetKind| {
                package
                    .targets
                    .iter()
                    .any(|target| target.kind.contains(kind))
            };
            graph.packages.insert(
                keys[&package.id].clone(),
                Package {
                    member: members.contains(&package.id),
                    proc_macro: target_is(&TargetKind::ProcMacro),
                    licence: package.license.clone(),
                    ..Package::default()
                },
            );
        }
        let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
        for node in nodes {
            let Some(package) = graph.packages.get_mut(&keys[&node.id]) else {
                continue;
            };
            for dependency in &node.deps {
                let key = keys[&dependency.pkg].clone();
                for kind in &dependency.dep_kinds {
                    // Kinds that cargo may add are held to the strictest rule.
                    let list = if kind.kind == DependencyKind::Development {
                        &mut package.dev
                    } else if kind.kind == DependencyKind::Build {
                        &mut package.build
                    } else {
                        &mut package.normal
                    };
                    list.insert(key.clone());
                }
            }
        }
        graph
    }

    /// Everything that `package` is built from and links, itself left out.
    pub fn linked(&self, package: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut next = vec![package];
        while let Some(key) = next.pop() {
            for (name, dependency) in self
                .packages
                .get(key)
                .into_iter()
                .flat_map(|package| &package.normal)
                .filter_map(|name| self.packages.get_key_value(name))
            {
                if !dependency.proc_macro && seen.insert(name.as_str()) {
                    next.push(name);
                }
            }
        }
        seen
    }

    /// The name without a version.
    pub fn bare(key: &str) -> &str {
        key.split('@').next().unwrap_or(key)
    }
}

#[cfg(test)]
pub mod fake {
    //! Graphs for the rules' tests.

    use super::{Graph, Package};

    impl Graph {
        /// Adds a member of the workspace with its normal dependencies.
        pub fn member(mut self, name: &str, normal: &[&str]) -> Self {
            let entry = self.packages.entry(name.to_owned()).or_default();
            entry.member = true;
            entry.licence = Some("Apache-2.0".to_owned());
            entry
                .normal
                .extend(normal.iter().map(|&name| name.to_owned()));
            for name in normal {
                self.packages.entry((*name).to_owned()).or_default();
            }
            self
        }

        /// Adds a package from outside.
        pub fn outside(mut self, name: &str, licence: Option<&str>, normal: &[&str]) -> Self {
            self.packages.insert(
                name.to_owned(),
                Package {
                    licence: licence.map(str::to_owned),
                    normal: normal.iter().map(|&name| name.to_owned()).collect(),
                    ..Package::default()
                },
            );
            self
        }
    }

    #[test]
    fn what_is_linked_is_transitive_and_leaves_out_what_runs_in_the_compiler() {
        let mut graph = Graph::default()
            .member("a", &["b", "derive"])
            .outside("b", None, &["c"])
            .outside("c", None, &["b"])
            .outside("derive", None, &["syn"]);
        graph
            .packages
            .entry("derive".to_owned())
            .or_default()
            .proc_macro = true;
        assert_eq!(
            graph.linked("a").into_iter().collect::<Vec<_>>(),
            ["b", "c"]
        );
    }

    #[test]
    fn this_checkout_resolves_to_a_graph_with_kinds_told_apart() {
        let workspace = crate::workspace::Workspace::find().expect("workspace");
        let graph = Graph::from_metadata(&workspace.metadata(None).expect("metadata"));
        let model = &graph.packages["cupel-model"];
        assert!(model.member && model.normal.contains("serde"), "{model:?}");
        assert!(model.dev.contains("proptest") && !model.normal.contains("proptest"));
        assert!(graph.packages["serde_derive"].proc_macro);
    }
}
