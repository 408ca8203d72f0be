//! Every package's licence is one that deny.toml allows.
//!
//! # What is absent
//! No advisories and no registry: `cargo deny check` does those where it is installed.

use anyhow::{Context as _, anyhow};
use spdx::{Expression, LicenseReq, ParseMode};

use super::Violation;
use super::graph::Graph;

/// The list `licenses.allow` of deny.toml.
pub fn allowed(deny: &str) -> anyhow::Result<Vec<String>> {
    let table: toml::Table = deny.parse().context("deny.toml")?;
    table
        .get("licenses")
        .and_then(|licences| licences.get("allow"))
        .and_then(toml::Value::as_array)
        .ok_or_else(|| anyhow!("deny.toml has no list licenses.allow"))?
        .iter()
        .map(|name| {
            name.as_str()
                .map(str::to_owned)
                .ok_or_else(|| anyhow!("deny.toml: licenses.allow holds {name}, which is no text"))
        })
        .collect()
}

/// Packages whose licence is not allowed, is missing, or cannot be read.
pub fn check(graph: &Graph, allowed: &[String]) -> Vec<Violation> {
    graph
        .packages
        .iter()
        .filter_map(|(name, package)| {
            let what = match &package.licence {
                None => "states no licence".to_owned(),
                Some(text) => match Expression::parse_mode(text, ParseMode::LAX) {
                    Err(error) => format!("licence {text:?} cannot be read: {}", error.reason),
                    Ok(expression) if !expression.evaluate(|one| is_allowed(one, allowed)) => {
                        format!("licence {text:?} is not allowed by deny.toml")
                    }
                    Ok(_) => return None,
                },
            };
            Some(Violation {
                at: name.clone(),
                rule: "licence",
                what,
            })
        })
        .collect()
}

fn is_allowed(requirement: &LicenseReq, allowed: &[String]) -> bool {
    let text = requirement.to_string();
    allowed.contains(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(licence: Option<&str>) -> bool {
        let graph = Graph::default().outside("thing", licence, &[]);
        let allowed = ["MIT", "Apache-2.0", "Unicode-3.0"].map(str::to_owned);
        !check(&graph, &allowed).is_empty()
    }

    #[test]
    fn one_allowed_way_through_the_expression_is_enough_and_needed() {
        for fine in [
            "MIT",
            "GPL-3.0-only OR MIT",
            "MIT/Apache-2.0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR MIT",
        ] {
            assert!(!broken(Some(fine)), "{fine}");
        }
        for bad in ["GPL-3.0-only", "MIT AND SSPL-1.0", "whatever you like"] {
            assert!(broken(Some(bad)), "{bad}");
        }
        assert!(broken(None));
    }

    #[test]
    fn the_list_is_read_from_deny_toml_or_refused() {
        let list = allowed("[licenses]\nallow = [\"MIT\"]\n").expect("list");
        assert_eq!(list, ["MIT"]);
        assert!(allowed("[licenses]\n").is_err());
        assert!(allowed("[licenses]\nallow = [1]\n").is_err());
    }
}
