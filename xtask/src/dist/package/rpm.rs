//! A package of Red Hat's kind.

use anyhow::Context as _;
use rpm::{BuildConfig, CompressionType, Dependency, FileOptions, PackageBuilder, Scriptlet};

use super::{Package, Role};

/// The distribution's number of the package, after the program's version.
const RELEASE: &str = "1";

/// Name of the package's file.
pub fn file_name(package: &Package) -> String {
    let architecture = package.architecture.name();
    format!(
        "{}-{}-{RELEASE}.{architecture}.rpm",
        package.name, package.version
    )
}

/// The package.
pub fn write(package: &Package) -> anyhow::Result<Vec<u8>> {
    let config = BuildConfig::v4()
        .compression(CompressionType::Gzip)
        .source_date(package.date);
    let mut builder = PackageBuilder::new(
        &package.name,
        &package.version,
        "Apache-2.0",
        package.architecture.name(),
        &capitalized(&package.summary),
    );
    builder
        .using_config(config)
        .release(RELEASE)
        .description(&package.description)
        .group("System Environment/Base")
        .vendor("Cupel")
        .packager(&package.maintainer)
        .build_host("cupel")
        .add_changelog_entry(
            format!("{} - {}-{RELEASE}", package.maintainer, package.version),
            format!("- Release {}.", package.version),
            package.date,
        );
    for directory in package.own_directories() {
        builder
            .with_dir_entry(FileOptions::dir(format!("/{directory}")).permissions(0o755))
            .with_context(|| format!("add {directory}"))?;
    }
    for file in &package.files {
        let options = FileOptions::new(format!("/{}", file.path)).permissions(file.mode);
        let options = match (file.role, file.path.starts_with("usr/share/licenses/")) {
            (Role::Document, true) => options.license(),
            (Role::Document, false) => options.doc(),
            (Role::Part, _) => options,
        };
        builder
            .with_file_contents(file.bytes.clone(), options)
            .with_context(|| format!("add {}", file.path))?;
    }
    let scripts = scripts(package);
    let shell = || vec!["/bin/sh"];
    builder
        .requires(Dependency::any("/bin/sh"))
        .pre_install_script(Scriptlet::new(scripts.before).prog(shell()))
        .post_install_script(Scriptlet::new(scripts.after).prog(shell()))
        .pre_uninstall_script(Scriptlet::new(scripts.before_removal).prog(shell()))
        .post_uninstall_script(Scriptlet::new(scripts.after_removal).prog(shell()));
    let mut bytes = Vec::new();
    builder.build()?.write(&mut bytes)?;
    Ok(bytes)
}

/// As a summary begins there.
fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

/// Scripts that rpm runs. `$1` is how many of the package there will be.
struct Scripts {
    before: String,
    after: String,
    before_removal: String,
    after_removal: String,
}

fn scripts(package: &Package) -> Scripts {
    let services = package.units.started.join(" ");
    let before = if package.name == "cupel" {
        "if [ -L /usr/lib/cupel/current ]; then\n    \
             echo \"cupel was installed by 'cupel install': run 'cupel uninstall' first; \
             it keeps configuration and state\" >&2\n    \
             exit 1\n\
         fi\n"
            .to_owned()
    } else {
        "exit 0\n".to_owned()
    };
    let mut after = String::new();
    for file in package.units.of("usr/lib/sysusers.d") {
        after += &format!("systemd-sysusers {file} || :\n");
    }
    for file in package.units.of("usr/lib/tmpfiles.d") {
        after += &format!("systemd-tmpfiles --create {file} || :\n");
    }
    after += "if [ -d /run/systemd/system ]; then\n    \
                  journalctl --update-catalog || :\n    \
                  systemctl daemon-reload || :\n\
              fi\n";
    let (mut before_removal, mut after_removal) = (String::new(), String::new());
    if !services.is_empty() {
        after += &format!(
            "if [ $1 -eq 1 ]; then\n    \
                 systemctl enable {services} || :\n    \
                 if [ -d /run/systemd/system ]; then systemctl start {services} || :; fi\n\
             fi\n"
        );
        before_removal += &format!(
            "if [ $1 -eq 0 ]; then\n    \
                 systemctl disable {services} || :\n    \
                 if [ -d /run/systemd/system ]; then systemctl stop {services} || :; fi\n\
             fi\n"
        );
        after_removal += &format!(
            "if [ $1 -ge 1 ] && [ -d /run/systemd/system ]; then\n    \
                 systemctl try-restart {services} || :\n\
             fi\n"
        );
    }
    after_removal += "if [ -d /run/systemd/system ]; then systemctl daemon-reload || :; fi\n";
    if before_removal.is_empty() {
        before_removal += "exit 0\n";
    }
    Scripts {
        before,
        after,
        before_removal,
        after_removal,
    }
}
