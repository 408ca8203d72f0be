//! The pages under `docs/checks`, made of the checks' own documentation.

use crate::doc;
use crate::explain::explain;
use crate::registry::CHECKS;

/// File name and text of each page, sorted: one a check, and the index.
pub fn docs() -> Vec<(String, String)> {
    let mut index = String::from(
        "# Checks\n\nGenerated from the checks' own documentation by `cargo xtask docs`; \
         `cupel explain CODE` says the same.\n\n| Code | Finds |\n|---|---|\n",
    );
    let mut pages = Vec::with_capacity(CHECKS.len() + 1);
    for check in CHECKS {
        let title = explain(check.code).map_or_else(String::new, |known| known.title);
        let (code, text) = (check.code, doc::of(check));
        let rest = text.split_once("\n\n").map_or("", |(_, rest)| rest);
        let rest = rest.replace("\n# ", "\n## ");
        let rest = rest
            .strip_prefix("# ")
            .map_or_else(|| rest.clone(), |after_first| format!("## {after_first}"));
        index.push_str(&format!("| [`{code}`]({code}.md) | {title} |\n"));
        pages.push((
            format!("{code}.md"),
            format!("# {code}\n\n{title}\n\n{}\n", rest.trim_end()),
        ));
    }
    pages.push(("README.md".to_owned(), index));
    pages.sort();
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_page_a_check_and_an_index_of_them() {
        let pages = docs();
        assert_eq!(pages.len(), CHECKS.len() + 1);
        let index = &pages
            .iter()
            .find(|(name, _)| name == "README.md")
            .expect("index")
            .1;
        for check in CHECKS {
            assert!(
                index.contains(&format!("[`{}`]", check.code)),
                "{}",
                check.code
            );
        }
        for (name, page) in &pages {
            assert!(page.starts_with("# "), "{name}");
            assert!(!page.contains("//!"), "{name}");
            assert!(page.ends_with('\n') && !page.ends_with("\n\n"), "{name}");
        }
    }
}
