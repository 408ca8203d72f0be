//! What a program is made of: a CycloneDX bill of materials.
//!
//! # Invariants
//! - It lists what is linked, on this target, and nothing that only tests or the compiler use.
//! - It is a function of the commit and the program: its number and time come from those.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail};
use cargo_metadata::{DependencyKind, Metadata, Package, PackageId, TargetKind};
use cyclonedx_bom::models::component::{Classification, Component, Components};
use cyclonedx_bom::models::dependency::{Dependencies, Dependency};
use cyclonedx_bom::models::hash::{Hash, HashAlgorithm, HashValue, Hashes};
use cyclonedx_bom::models::license::{LicenseChoice, Licenses};
use cyclonedx_bom::models::tool::{Tool, Tools};
use cyclonedx_bom::prelude::{
    Bom, DateTime, Metadata as About, NormalizedString, Purl, SpdxExpression, SpecVersion, UrnUuid,
    Validate as _,
};

use super::seal::sha256;
use crate::process;
use crate::workspace::Workspace;

/// What it is a bill of.
pub struct Subject<'a> {
    /// The program, which is also a package.
    pub program: &'a str,
    /// Packages whose programs are inside it.
    pub carries: &'a [&'a str],
    /// The target that it was built for.
    pub target: &'a str,
    /// Name and version of what is linked on that target, as [`present`] tells.
    pub present: &'a BTreeSet<(String, String)>,
    /// The program itself.
    pub bytes: &'a [u8],
    /// The commit, in hexadecimal.
    pub commit: &'a str,
    /// Seconds since 1970 of the commit.
    pub date: u32,
}

/// Name and version of all that is linked into a program and those it carries, on one target:
/// cargo's metadata has the features of all targets at once.
///
/// # Errors
/// `cargo tree` fails.
pub fn present(
    workspace: &Workspace,
    programs: &[&str],
    target: &str,
) -> anyhow::Result<BTreeSet<(String, String)>> {
    let mut present = BTreeSet::new();
    for program in programs {
        let mut args = vec!["tree", "--locked", "--package", program, "--target", target];
        args.extend(["--edges", "normal,no-proc-macro", "--prefix", "none"]);
        let answer = process::output(&process::cargo(), &args, &[], &workspace.root)?;
        if !answer.status.success() {
            bail!(
                "cargo {}: {}",
                args.join(" "),
                String::from_utf8_lossy(&answer.stderr).trim()
            );
        }
        let told = String::from_utf8_lossy(&answer.stdout);
        present.extend(told.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
            Some((name.to_owned(), version.to_owned()))
        }));
    }
    Ok(present)
}

/// The bill, as JSON. `lock` is Cargo.lock: it has the hashes of what was fetched.
pub fn write(subject: &Subject<'_>, metadata: &Metadata, lock: &str) -> anyhow::Result<Vec<u8>> {
    let parts = Parts::of(metadata, subject)?;
    let hashes = hashes(lock)?;
    let mut root = component(parts.root, Classification::Application, None)?;
    root.hashes = Some(Hashes(vec![hash(&sha256(subject.bytes))]));
    let mut components = Vec::new();
    for package in parts
        .packages
        .values()
        .filter(|one| one.id != parts.root.id)
    {
        let key = (package.name.to_string(), package.version.to_string());
        let hash = hashes.get(&key).map(String::as_str);
        components.push(component(package, Classification::Library, hash)?);
    }
    let number =
        sha256(format!("{} {} {}", subject.commit, subject.program, subject.target).as_bytes());
    let number = UrnUuid::new(uuid(&number))
        .ok()
        .context("the bill's number is no UUID")?;
    let date = jiff::Timestamp::from_second(i64::from(subject.date))?;
    let bom = Bom {
        version: 1,
        serial_number: Some(number),
        metadata: Some(About {
            timestamp: Some(DateTime::try_from(date.to_string())?),
            tools: Some(Tools::List(vec![Tool::new("Cupel", "xtask dist", "1")])),
            component: Some(root),
            ..About::default()
        }),
        components: Some(Components(components)),
        dependencies: Some(Dependencies(parts.dependencies()?)),
        services: None,
        external_references: None,
        compositions: None,
        properties: None,
        vulnerabilities: None,
        signature: None,
        annotations: None,
        formulation: None,
        spec_version: SpecVersion::V1_5,
    };
    let result = bom.validate_version(SpecVersion::V1_5);
    if !result.passed() {
        bail!("the bill of {} is not valid: {result:?}", subject.program);
    }
    let mut text = Vec::new();
    bom.output_as_json_v1_5(&mut text)?;
    text.push(b'\n');
    Ok(text)
}

/// The packages that are linked into a program, itself among them, by name.
///
/// # Errors
/// There is no such program.
pub fn linked<'a>(
    subject: &Subject<'_>,
    metadata: &'a Metadata,
) -> anyhow::Result<Vec<&'a Package>> {
    let mut packages: Vec<_> = Parts::of(metadata, subject)?
        .packages
        .into_values()
        .collect();
    packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(packages)
}

/// The packages that are linked into a program, and who brought whom.
struct Parts<'a> {
    root: &'a Package,
    packages: BTreeMap<&'a PackageId, &'a Package>,
    uses: BTreeMap<&'a PackageId, BTreeSet<&'a PackageId>>,
}

impl<'a> Parts<'a> {
    fn of(metadata: &'a Metadata, subject: &Subject<'_>) -> anyhow::Result<Self> {
        let by_id: BTreeMap<&PackageId, &Package> = metadata
            .packages
            .iter()
            .map(|package| (&package.id, package))
            .collect();
        let member = |name: &str| {
            metadata
                .workspace_packages()
                .into_iter()
                .find(|package| package.name.as_str() == name)
                .with_context(|| format!("there is no package {name}"))
        };
        let root = member(subject.program)?;
        let resolve = metadata
            .resolve
            .as_ref()
            .context("cargo resolved nothing")?;
        let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
        let mut parts = Self {
            root,
            packages: BTreeMap::new(),
            uses: BTreeMap::new(),
        };
        let mut next = vec![root];
        for name in subject.carries {
            let carried = member(name)?;
            parts.uses.entry(&root.id).or_default().insert(&carried.id);
            next.push(carried);
        }
        while let Some(package) = next.pop() {
            if parts.packages.insert(&package.id, package).is_some() {
                continue;
            }
            let uses = parts.uses.entry(&package.id).or_default();
            let dependencies = nodes.get(&package.id).map_or(&[][..], |node| &node.deps);
            for dependency in dependencies {
                let linked = dependency
                    .dep_kinds
                    .iter()
                    .any(|kind| kind.kind == DependencyKind::Normal);
                let Some(used) = by_id.get(&dependency.pkg) else {
                    continue;
                };
                let in_compiler = used
                    .targets
                    .iter()
                    .any(|target| target.kind.contains(&TargetKind::ProcMacro));
                let key = (used.name.to_string(), used.version.to_string());
                if linked && !in_compiler && subject.present.contains(&key) {
                    uses.insert(&used.id);
                    next.push(used);
                }
            }
        }
        Ok(parts)
    }

    fn dependencies(&self) -> anyhow::Result<Vec<Dependency>> {
        let mut all = Vec::new();
        for (id, uses) in &self.uses {
            let mut dependencies = Vec::new();
            for used in uses {
                dependencies.push(purl(self.packages[used])?.to_string());
            }
            all.push(Dependency {
                dependency_ref: purl(self.packages[id])?.to_string(),
                dependencies,
            });
        }
        all.sort_by(|a, b| a.dependency_ref.cmp(&b.dependency_ref));
        Ok(all)
    }
}

fn purl(package: &Package) -> anyhow::Result<Purl> {
    Ok(Purl::new(
        "cargo",
        &package.name,
        &package.version.to_string(),
    )?)
}

fn component(
    package: &Package,
    kind: Classification,
    fetched: Option<&str>,
) -> anyhow::Result<Component> {
    let purl = purl(package)?;
    let mut component = Component::new(
        kind,
        &package.name,
        &package.version.to_string(),
        Some(purl.to_string()),
    );
    component.purl = Some(purl);
    component.description = package.description.as_deref().map(NormalizedString::new);
    component.hashes = fetched.map(|value| Hashes(vec![hash(value)]));
    component.licenses = package
        .license
        .as_deref()
        .map(|text| {
            let expression = SpdxExpression::parse_lax(text.to_owned())?;
            anyhow::Ok(Licenses(vec![LicenseChoice::Expression(expression)]))
        })
        .transpose()
        .with_context(|| format!("licence of {}", package.name))?;
    Ok(component)
}

fn hash(value: &str) -> Hash {
    Hash {
        alg: HashAlgorithm::SHA_256,
        content: HashValue(value.to_owned()),
    }
}

/// Hashes by name and version, from Cargo.lock.
fn hashes(lock: &str) -> anyhow::Result<BTreeMap<(String, String), String>> {
    let lock: toml::Table = lock.parse().context("Cargo.lock")?;
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let text = |package: &toml::Value, key: &str| Some(package.get(key)?.as_str()?.to_owned());
    Ok(packages
        .into_iter()
        .flatten()
        .filter_map(|package| {
            let key = (text(package, "name")?, text(package, "version")?);
            Some((key, text(package, "checksum")?))
        })
        .collect())
}

/// A UUID of version 8 (of one's own making) from a hash in hexadecimal.
fn uuid(hash: &str) -> String {
    format!(
        "urn:uuid:{}-{}-8{}-8{}-{}",
        &hash[..8],
        &hash[8..12],
        &hash[12..15],
        &hash[15..18],
        &hash[18..30]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lists_what_is_linked_and_is_the_same_twice() {
        let workspace = Workspace::find().expect("workspace");
        let target = "x86_64-unknown-linux-musl";
        let metadata = workspace.metadata(Some(target)).expect("metadata");
        let lock = std::fs::read_to_string(workspace.root.join("Cargo.lock")).expect("lock");
        let present =
            present(&workspace, &["cupel", "cupel-gpu-worker"], target).expect("what is linked");
        let subject = Subject {
            program: "cupel",
            carries: &["cupel-gpu-worker"],
            target,
            present: &present,
            bytes: b"program",
            commit: "d8cebbf",
            date: 1_795_000_000,
        };
        let bill = write(&subject, &metadata, &lock).expect("bill");
        assert_eq!(bill, write(&subject, &metadata, &lock).expect("again"));
        let bill: serde_json::Value = serde_json::from_slice(&bill).expect("JSON");
        assert_eq!(bill["bomFormat"], "CycloneDX");
        assert_eq!(bill["specVersion"], "1.5");
        assert_eq!(bill["metadata"]["component"]["name"], "cupel");
        assert_eq!(
            bill["metadata"]["component"]["hashes"][0]["content"],
            sha256(b"program")
        );
        let components = bill["components"].as_array().expect("components");
        let named = |name: &str| components.iter().find(|one| one["name"] == name);
        for name in ["cupel-gpu-worker", "libloading", "rustls", "serde"] {
            assert!(named(name).is_some(), "{name} is linked");
        }
        // A resolver is linked where the C library is glibc, and only there.
        for name in [
            "proptest",
            "serde_derive",
            "cc",
            "xtask",
            "windows-sys",
            "hickory-resolver",
        ] {
            assert!(named(name).is_none(), "{name} is not");
        }
        for one in components {
            assert!(
                one["purl"].is_string() && one["licenses"].is_array(),
                "{one}"
            );
            let ours = one["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("cupel-"));
            assert_eq!(one["hashes"].is_array(), !ours, "{one}");
        }
        let known: BTreeSet<&str> = components
            .iter()
            .chain([&bill["metadata"]["component"]])
            .filter_map(|one| one["bom-ref"].as_str())
            .collect();
        for line in bill["dependencies"].as_array().expect("dependencies") {
            let reference = line["ref"].as_str().expect("ref");
            assert!(known.contains(reference), "{reference}");
        }
    }
}
