//! What `nvidia-smi -q -x` says, as elements by path.
//!
//! # Invariants
//! - `N/A` in its spellings is "no value"; an element that is missing is told apart from it.

use anyhow::{Context as _, bail};
use roxmltree::{Document, Node, ParsingOptions};

/// One run of `nvidia-smi -q -x`.
pub struct Smi {
    /// Elements above the GPUs, by name.
    top: Vec<(String, String)>,
    /// The GPUs.
    pub gpus: Vec<SmiGpu>,
}

/// One GPU of it.
pub struct SmiGpu {
    /// PCI address as Cupel writes it.
    pub pci: String,
    /// Leaf elements: path below `<gpu>`, text.
    leaves: Vec<(String, String)>,
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A value.
    Value(String),
    /// `N/A` and the like.
    NotAvailable,
    /// This nvidia-smi has no such element.
    Missing,
}

impl Smi {
    /// Reads the XML.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let options = ParsingOptions {
            allow_dtd: true,
            ..ParsingOptions::default()
        };
        let document = Document::parse_with_options(text, options).context("nvidia-smi's XML")?;
        let root = document.root_element();
        if !root.has_tag_name("nvidia_smi_log") {
            bail!(
                "the root element is {}, not nvidia_smi_log",
                root.tag_name().name()
            );
        }
        let mut gpus = Vec::new();
        for gpu in root.children().filter(|node| node.has_tag_name("gpu")) {
            let id = gpu.attribute("id").context("a <gpu> without an id")?;
            let mut leaves = Vec::new();
            collect(gpu, "", &mut leaves);
            gpus.push(SmiGpu {
                pci: pci(id),
                leaves,
            });
        }
        let mut top = Vec::new();
        for node in root
            .children()
            .filter(|node| node.is_element() && !node.has_tag_name("gpu"))
        {
            collect_leaf(node, node.tag_name().name().to_owned(), &mut top);
        }
        Ok(Self { top, gpus })
    }

    /// An element above the GPUs.
    pub fn told(&self, name: &str) -> Told {
        look_up(&self.top, name)
    }
}

impl SmiGpu {
    /// What stands at a path such as `ecc_mode/current_ecc`.
    pub fn told(&self, path: &str) -> Told {
        look_up(&self.leaves, path)
    }

    /// All leaves below a path: last part of the name, text.
    pub fn below<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.leaves.iter().filter_map(move |(leaf, text)| {
            let name = leaf.strip_prefix(path)?.strip_prefix('/')?;
            Some((name, text.as_str()))
        })
    }

    /// Process ids whose type says that they compute.
    pub fn compute_pids(&self) -> Vec<u64> {
        let processes: Vec<_> = self.below("processes/process_info").collect();
        let mut pids: Vec<u64> = processes
            .split(|(name, _)| *name == "gpu_instance_id")
            .filter_map(|one| {
                let of = |wanted: &str| {
                    one.iter()
                        .find(|(name, _)| *name == wanted)
                        .map(|(_, text)| *text)
                };
                of("type")?.contains('C').then(|| of("pid")?.parse().ok())?
            })
            .collect();
        pids.sort_unstable();
        pids
    }
}

fn look_up(leaves: &[(String, String)], path: &str) -> Told {
    match leaves.iter().find(|(leaf, _)| leaf == path) {
        None => Told::Missing,
        Some((_, text)) if is_not_available(text) => Told::NotAvailable,
        Some((_, text)) => Told::Value(text.clone()),
    }
}

fn is_not_available(text: &str) -> bool {
    let text = text.trim().trim_matches(['[', ']']);
    ["", "n/a", "not supported", "unknown error", "unknown"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word))
}

fn collect(node: Node<'_, '_>, path: &str, leaves: &mut Vec<(String, String)>) {
    for child in node.children().filter(Node::is_element) {
        let name = child.tag_name().name();
        let path = if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}/{name}")
        };
        collect_leaf(child, path, leaves);
    }
}

fn collect_leaf(node: Node<'_, '_>, path: String, leaves: &mut Vec<(String, String)>) {
    if node.children().any(|child| child.is_element()) {
        collect(node, &path, leaves);
    } else {
        leaves.push((path, node.text().unwrap_or_default().trim().to_owned()));
    }
}

/// `00000000:9B:00.0` as `0000:9b:00.0`.
pub fn pci(id: &str) -> String {
    let id = id.trim().to_lowercase();
    match id.split_once(':') {
        Some((domain, rest)) if domain.len() == 8 && domain.starts_with("0000") => {
            format!("{}:{rest}", &domain[4..])
        }
        Some(_) | None => id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_available_is_not_missing() {
        let xml = "<nvidia_smi_log><driver_version>570.1</driver_version><gpu id=\"00000000:9B:00.0\">\
            <serial>N/A</serial><ecc_mode><current_ecc>Enabled</current_ecc></ecc_mode></gpu></nvidia_smi_log>";
        let smi = Smi::parse(xml).expect("parse");
        assert_eq!(smi.told("driver_version"), Told::Value("570.1".to_owned()));
        let gpu = &smi.gpus[0];
        assert_eq!(gpu.pci, "0000:9b:00.0");
        assert_eq!(gpu.told("serial"), Told::NotAvailable);
        assert_eq!(gpu.told("uuid"), Told::Missing);
        assert_eq!(
            gpu.told("ecc_mode/current_ecc"),
            Told::Value("Enabled".to_owned())
        );
    }

    #[test]
    fn compute_processes_are_told_from_graphics() {
        let one = |pid: u32, kind: &str| {
            format!(
                "<process_info><gpu_instance_id>N/A</gpu_instance_id><compute_instance_id>N/A</compute_instance_id>\
                 <pid>{pid}</pid><type>{kind}</type></process_info>"
            )
        };
        let xml = format!(
            "<nvidia_smi_log><gpu id=\"0:1:0.0\"><processes>{}{}{}</processes></gpu></nvidia_smi_log>",
            one(7, "G"),
            one(9, "C"),
            one(8, "C+G")
        );
        assert_eq!(
            Smi::parse(&xml).expect("parse").gpus[0].compute_pids(),
            [8, 9]
        );
    }

    #[test]
    fn what_is_not_its_report_is_refused() {
        assert!(Smi::parse("<html/>").is_err());
        assert!(Smi::parse("NVIDIA-SMI has failed").is_err());
    }
}
