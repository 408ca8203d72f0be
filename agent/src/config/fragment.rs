//! One configuration file, parsed and held against the ranges of its values.
//!
//! # Invariants
//! - Unknown keys are refused.
//! - Parsing is pure: bytes and a name in, a fragment or an error out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cupel_hardware::collect::Source;
use cupel_model::Mode;
use cupel_model::snapshot::Tenancy;
use serde::Deserialize;
use toml::Spanned;

/// Why a configuration file is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {}{what}", key.as_ref().map(|key| format!("{key}: ")).unwrap_or_default())]
pub struct ConfigError {
    /// The file.
    pub file: String,
    /// Line, 1-based.
    pub line: usize,
    /// Column in characters, 1-based.
    pub column: usize,
    /// Dotted path of the key, where there is one.
    pub key: Option<String>,
    /// What is wrong and what would be right.
    pub what: String,
}

/// One configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fragment {
    /// Who owns the node: `none`, `scheduler`, `vm-passthrough`, `vgpu`, `bare-metal`.
    pub tenancy: Option<Spanned<Tenancy>>,
    /// Name of the platform this node is held against, instead of the one it is recognised as.
    pub platform: Option<Spanned<String>>,
    /// Units of systemd whose state is read, instead of the built-in list.
    pub units: Option<Spanned<Vec<String>>>,
    /// Mode of single checks, by code.
    #[serde(default)]
    pub checks: BTreeMap<Spanned<String>, Mode>,
    /// The GPU driver's library.
    #[serde(default)]
    pub nvml: NvmlFragment,
    /// How long things may take.
    #[serde(default)]
    pub deadlines: DeadlinesFragment,
    /// Burn-in.
    #[serde(default)]
    pub burn_in: BurnInFragment,
    /// The service.
    #[serde(default)]
    pub service: ServiceFragment,
    /// Where reports go.
    #[serde(default)]
    pub inventory: InventoryFragment,
    #[serde(skip)]
    pub(super) lines: Lines,
}

/// `[nvml]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NvmlFragment {
    /// Absolute path of `libnvidia-ml.so.1`.
    pub library: Option<Spanned<PathBuf>>,
}

/// `[deadlines]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadlinesFragment {
    /// One GPU driver call.
    pub gpu_call_seconds: Option<Spanned<f64>>,
    /// Loading and initialising the GPU driver's library.
    pub gpu_initialisation_seconds: Option<Spanned<f64>>,
}

/// `[burn_in]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BurnInFragment {
    /// Share of the available memory that is tested, 0.01 to 0.95.
    pub memory_share: Option<Spanned<f64>>,
}

/// `[service]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceFragment {
    /// Address of the read-only HTTP, on loopback; `off` for none.
    pub listen: Option<Spanned<String>>,
    /// How long `cupel hook` believes what the service said last.
    pub hook_valid_seconds: Option<Spanned<f64>>,
    /// How often each source is read, in seconds, by its name.
    #[serde(default)]
    pub every_seconds: BTreeMap<Spanned<String>, Spanned<f64>>,
}

/// `[inventory]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InventoryFragment {
    /// Where the inventory is, `https://HOST[:PORT]`; plain HTTP on loopback only.
    pub url: Option<Spanned<String>>,
    /// Absolute path of the file that holds the token.
    pub token_file: Option<Spanned<PathBuf>>,
    /// Absolute path of further root certificates, PEM.
    pub ca_file: Option<Spanned<PathBuf>>,
    /// Time between heartbeats.
    pub heartbeat_seconds: Option<Spanned<f64>>,
    /// Time between full reports when nothing changes.
    pub full_seconds: Option<Spanned<f64>>,
    /// Most disk space of reports that wait, in MiB.
    pub spool_mib: Option<Spanned<f64>>,
}

/// Where each line of a file begins, to tell line and column of a byte.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(String);

impl Lines {
    /// Line and column (characters) of a byte, both 1-based.
    pub(super) fn position(&self, byte: usize) -> (usize, usize) {
        let before = &self.0.as_bytes()[..byte.min(self.0.len())];
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        let start = before
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
        (line, column)
    }
}

/// Parses one file and checks its values.
///
/// # Errors
/// What is no UTF-8, no TOML, an unknown key, or a value that does not fit.
pub fn parse(bytes: &[u8], file: &str) -> Result<Fragment, ConfigError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let lines = Lines(String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned());
        let (line, column) = lines.position(error.valid_up_to());
        ConfigError {
            file: file.to_owned(),
            line,
            column,
            key: None,
            what: "this byte is not UTF-8".to_owned(),
        }
    })?;
    let lines = Lines(text.to_owned());
    let at = |span: Option<std::ops::Range<usize>>, key: Option<String>, what: String| {
        let (line, column) = lines.position(span.map_or(0, |span| span.start));
        ConfigError {
            file: file.to_owned(),
            line,
            column,
            key,
            what,
        }
    };
    let deserializer = toml::Deserializer::parse(text)
        .map_err(|error| at(error.span(), None, error.message().to_owned()))?;
    let mut fragment: Fragment =
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            let key = error
                .path()
                .iter()
                .map(ToString::to_string)
                .filter(|part| !part.starts_with("$__serde_spanned") && part != "?")
                .collect::<Vec<_>>()
                .join(".");
            let inner = error.into_inner();
            at(
                inner.span(),
                (!key.is_empty()).then_some(key),
                inner
                    .message()
                    .replace("unknown field", "unknown key")
                    .replace("expected f64", "expected a number"),
            )
        })?;
    check(&fragment).map_err(|(span, key, what)| at(Some(span), Some(key), what))?;
    fragment.lines = lines;
    Ok(fragment)
}

type Objection = (std::ops::Range<usize>, String, String);

fn check(fragment: &Fragment) -> Result<(), Objection> {
    check_reading(fragment)?;
    check_service(fragment)
}

/// Holds a number against its range.
fn within(
    key: String,
    value: &Spanned<f64>,
    range: std::ops::RangeInclusive<f64>,
    unit: &str,
) -> Result<(), Objection> {
    let number = *value.get_ref();
    if range.contains(&number) {
        return Ok(());
    }
    let what = format!(
        "{number} is not between {} and {} {unit}",
        range.start(),
        range.end()
    );
    Err((value.span(), key, what))
}

fn check_service(fragment: &Fragment) -> Result<(), Objection> {
    let service = &fragment.service;
    if let Some(listen) = &service.listen
        && let Err(what) = listen.get_ref().parse::<super::Listen>()
    {
        return Err((listen.span(), "service.listen".to_owned(), what));
    }
    for (name, seconds) in &service.every_seconds {
        let known = Source::ALL
            .iter()
            .any(|source| source.name() == name.get_ref());
        if !known {
            let names: Vec<&str> = Source::ALL.iter().map(|source| source.name()).collect();
            let what = format!(
                "there is no source {:?}: want one of {}",
                name.get_ref(),
                names.join(", ")
            );
            return Err((name.span(), "service.every_seconds".to_owned(), what));
        }
        let key = format!("service.every_seconds.{}", name.get_ref());
        within(key, seconds, 0.2..=86_400.0, "seconds")?;
    }
    if let Some(valid) = &service.hook_valid_seconds {
        let key = "service.hook_valid_seconds".to_owned();
        within(key, valid, 2.0..=3600.0, "seconds")?;
    }
    let inventory = &fragment.inventory;
    if let Some(url) = &inventory.url
        && let Err(error) = cupel_reporting::check_url(url.get_ref())
    {
        return Err((url.span(), "inventory.url".to_owned(), error.to_string()));
    }
    let paths = [
        ("inventory.token_file", &inventory.token_file),
        ("inventory.ca_file", &inventory.ca_file),
    ];
    for (key, path) in paths {
        if let Some(path) = path
            && !path.get_ref().is_absolute()
        {
            let what = format!("{:?} is not an absolute path", path.get_ref());
            return Err((path.span(), key.to_owned(), what));
        }
    }
    let numbers = [
        (
            "heartbeat_seconds",
            &inventory.heartbeat_seconds,
            1.0..=3600.0,
            "seconds",
        ),
        (
            "full_seconds",
            &inventory.full_seconds,
            10.0..=86_400.0,
            "seconds",
        ),
        ("spool_mib", &inventory.spool_mib, 1.0..=10_240.0, "MiB"),
    ];
    for (name, value, range, unit) in numbers {
        if let Some(value) = value {
            within(format!("inventory.{name}"), value, range, unit)?;
        }
    }
    Ok(())
}

fn check_reading(fragment: &Fragment) -> Result<(), Objection> {
    let seconds = |name: &str, value: &Option<Spanned<f64>>| match value {
        Some(value) if !(0.1..=600.0).contains(value.get_ref()) => Err((
            value.span(),
            format!("deadlines.{name}"),
            format!("{} is not between 0.1 and 600 seconds", value.get_ref()),
        )),
        Some(_) | None => Ok(()),
    };
    let deadlines = &fragment.deadlines;
    seconds("gpu_call_seconds", &deadlines.gpu_call_seconds)?;
    seconds(
        "gpu_initialisation_seconds",
        &deadlines.gpu_initialisation_seconds,
    )?;
    if let Some(share) = &fragment.burn_in.memory_share
        && !(0.01..=0.95).contains(share.get_ref())
    {
        let what = format!("{} is not between 0.01 and 0.95", share.get_ref());
        return Err((share.span(), "burn_in.memory_share".to_owned(), what));
    }
    if let Some(library) = &fragment.nvml.library
        && !library.get_ref().is_absolute()
    {
        let what = format!("{:?} is not an absolute path", library.get_ref());
        return Err((library.span(), "nvml.library".to_owned(), what));
    }
    if let Some(platform) = &fragment.platform
        && !is_name(platform.get_ref())
    {
        let what = format!(
            "{:?} is not a platform's name (lower-case letters, digits and -)",
            platform.get_ref()
        );
        return Err((platform.span(), "platform".to_owned(), what));
    }
    if let Some(units) = &fragment.units
        && let Some(bad) = units.get_ref().iter().find(|unit| !is_unit(unit))
    {
        let what = format!("{bad:?} is not a unit's name (such as nvidia-persistenced.service)");
        return Err((units.span(), "units".to_owned(), what));
    }
    for code in fragment.checks.keys() {
        let known = cupel_health::registry::CHECKS
            .iter()
            .any(|check| check.code == code.get_ref());
        if !known {
            let what = format!(
                "there is no check {:?} (cupel explain lists them)",
                code.get_ref()
            );
            return Err((code.span(), "checks".to_owned(), what));
        }
    }
    Ok(())
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_unit(text: &str) -> bool {
    text.len() <= 256
        && text
            .rsplit_once('.')
            .is_some_and(|(stem, kind)| !stem.is_empty() && !kind.is_empty())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text.as_bytes(), "/etc/cupel/x.toml")
            .expect_err("must be refused")
            .to_string()
    }

    #[test]
    fn a_whole_file_is_read() {
        let fragment = parse(
            br#"
tenancy = "vm-passthrough"
platform = "dell-xe9680-h200"
units = ["nvidia-persistenced.service"]
[nvml]
library = "/opt/libnvidia-ml.so.1"
[deadlines]
gpu_call_seconds = 5
gpu_initialisation_seconds = 90.5
[burn_in]
memory_share = 0.25
"#,
            "x.toml",
        )
        .expect("fits");
        assert_eq!(
            fragment.tenancy.map(Spanned::into_inner),
            Some(Tenancy::VmPassthrough)
        );
        assert_eq!(
            fragment.deadlines.gpu_call_seconds.map(Spanned::into_inner),
            Some(5.0)
        );
    }

    #[test]
    fn errors_name_file_line_column_and_key() {
        insta::assert_snapshot!(
            [
                "tenanci = \"none\"\n",
                "\n\ntenancy = \"nobody\"\n",
                "[deadlines]\ngpu_call_seconds = \"5s\"\n",
                "[deadlines]\n\ngpu_call_seconds = 0\n",
                "[deadlines]\ngpu_call_seconds = nan\n",
                "[burn_in]\nmemory_share = 1.5\n",
                "[nvml]\nlibrary = \"libnvidia-ml.so\"\n",
                "[nvml]\nlibary = \"/x\"\n",
                "[service]\nlisten = \"0.0.0.0:9477\"\n",
                "[service]\nlisten = \"nine\"\n",
                "[service.every_seconds]\ngpus = 15\n",
                "[service.every_seconds]\ngpu = 0\n",
                "[service]\nhook_valid_seconds = 1\n",
                "[inventory]\nurl = \"http://inventory.example\"\n",
                "[inventory]\ntoken_file = \"token\"\n",
                "[inventory]\nspool_mib = 0\n",
                "units = [\"a.service\", \"../x\"]\n",
                "platform = \"../../etc\"\n",
                "[checks]\n\"gpu.no-such\" = \"enforce\"\n",
                "tenancy = \"none\"\ntenancy = \"vgpu\"\n",
                "a = [1,\n",
            ]
            .map(error)
            .join("\n")
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_located() {
        let error = parse(b"a = 1\nb = \"\xff\"\n", "x").expect_err("refused");
        assert_eq!((error.line, error.column), (2, 6));
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = parse(&bytes, "x");
        }
    }
}
