//! A Debian package: an archive of two archives.

use std::fmt::Write as _;

use anyhow::Context as _;
use md5::{Digest as _, Md5};

use super::{File, Package, Role, gzip};
use crate::dist::seal::hex;

/// Debian's number of the package, after the program's version.
const REVISION: &str = "1";

const PREINST: &str = include_str!("preinst.sh");
const POSTINST: &str = include_str!("postinst.sh");
const PRERM: &str = include_str!("prerm.sh");
const POSTRM: &str = include_str!("postrm.sh");

/// Name of the package's file.
pub fn file_name(package: &Package) -> String {
    let architecture = package.architecture.debian();
    format!(
        "{}_{}-{REVISION}_{architecture}.deb",
        package.name, package.version
    )
}

/// The package.
pub fn write(package: &Package) -> anyhow::Result<Vec<u8>> {
    let files: Vec<(String, u32, &[u8])> = package
        .files
        .iter()
        .map(|file| (file.path.clone(), u32::from(file.mode), &*file.bytes))
        .collect();
    let data = gzip(&tar(&files, package.date)?)?;

    let sums = package
        .files
        .iter()
        .try_fold(String::new(), |mut sums, file| {
            writeln!(sums, "{}  {}", hex(&Md5::digest(&file.bytes)), file.path)?;
            anyhow::Ok(sums)
        })?;
    let control = control(package)?;
    let mut about: Vec<(String, u32, &[u8])> = vec![
        ("control".to_owned(), 0o644, control.as_bytes()),
        ("md5sums".to_owned(), 0o644, sums.as_bytes()),
    ];
    let scripts = scripts(package);
    for (name, text) in &scripts {
        about.push(((*name).to_owned(), 0o755, text.as_bytes()));
    }
    about.sort_by(|a, b| a.0.cmp(&b.0));
    let about = gzip(&tar(&about, package.date)?)?;

    let mut archive = ar::Builder::new(Vec::new());
    for (name, bytes) in [
        ("debian-binary", &b"2.0\n"[..]),
        ("control.tar.gz", &about),
        ("data.tar.gz", &data),
    ] {
        let mut header = ar::Header::new(name.as_bytes().to_vec(), bytes.len() as u64);
        header.set_mtime(u64::from(package.date));
        header.set_mode(0o100_644);
        archive
            .append(&header, bytes)
            .with_context(|| format!("add {name}"))?;
    }
    Ok(archive.into_inner()?)
}

/// A tar archive of files and the directories above them, all root's.
pub fn tar(files: &[(String, u32, &[u8])], date: u32) -> anyhow::Result<Vec<u8>> {
    let mut archive = ::tar::Builder::new(Vec::new());
    let header = |kind, mode: u32, size: u64| {
        let mut header = ::tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(u64::from(date));
        header
    };
    let mut made = std::collections::BTreeSet::new();
    for (path, mode, bytes) in files {
        let above = path.match_indices('/').map(|(end, _)| &path[..end]);
        for directory in std::iter::once("").chain(above) {
            if made.insert(directory.to_owned()) {
                let mut header = header(::tar::EntryType::Directory, 0o755, 0);
                let name = if directory.is_empty() {
                    "./".to_owned()
                } else {
                    format!("./{directory}/")
                };
                append(&mut archive, &mut header, &name, &[])?;
            }
        }
        let mut header = header(::tar::EntryType::Regular, *mode, bytes.len() as u64);
        append(&mut archive, &mut header, &format!("./{path}"), bytes)?;
    }
    Ok(archive.into_inner()?)
}

/// Adds an entry whose name begins with `./`, as dpkg writes them.
fn append(
    archive: &mut ::tar::Builder<Vec<u8>>,
    header: &mut ::tar::Header,
    name: &str,
    bytes: &[u8],
) -> anyhow::Result<()> {
    let gnu = header.as_gnu_mut().context("a header of GNU tar")?;
    gnu.name
        .get_mut(..name.len())
        .with_context(|| format!("{name}: too long"))?
        .copy_from_slice(name.as_bytes());
    header.set_cksum();
    archive
        .append(header, bytes)
        .with_context(|| format!("add {name}"))
}

fn control(package: &Package) -> anyhow::Result<String> {
    let bytes: usize = package.files.iter().map(|file| file.bytes.len()).sum();
    let mut text = String::new();
    writeln!(text, "Package: {}", package.name)?;
    writeln!(text, "Version: {}-{REVISION}", package.version)?;
    writeln!(text, "Architecture: {}", package.architecture.debian())?;
    writeln!(text, "Maintainer: {}", package.maintainer)?;
    writeln!(text, "Installed-Size: {}", bytes.div_ceil(1024))?;
    writeln!(text, "Section: admin")?;
    writeln!(text, "Priority: optional")?;
    writeln!(text, "Description: {}", package.summary)?;
    for line in package.description.lines() {
        writeln!(text, " {line}")?;
    }
    Ok(text)
}

/// Scripts that dpkg runs.
fn scripts(package: &Package) -> Vec<(&'static str, String)> {
    let fill = |text: &str| {
        text.replace("@NAME@", &package.name)
            .replace("@SERVICES@", &package.units.started.join(" "))
            .replace(
                "@SYSUSERS@",
                &package.units.of("usr/lib/sysusers.d").join(" "),
            )
            .replace(
                "@TMPFILES@",
                &package.units.of("usr/lib/tmpfiles.d").join(" "),
            )
    };
    vec![
        ("preinst", fill(PREINST)),
        ("postinst", fill(POSTINST)),
        ("prerm", fill(PRERM)),
        ("postrm", fill(POSTRM)),
    ]
}

/// What Debian's policy wants besides.
pub fn documents(package: &Package) -> anyhow::Result<Vec<File>> {
    let (name, maintainer) = (&package.name, &package.maintainer);
    let date = jiff::Timestamp::from_second(i64::from(package.date))?;
    let day = date.strftime("%a, %d %b %Y %H:%M:%S +0000");
    let changelog = format!(
        "{name} ({}-{REVISION}) unstable; urgency=medium\n\n  * Release {}.\n\n -- {maintainer}  \
         {day}\n",
        package.version, package.version
    );
    let copyright = format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: Cupel\n\
         Comment:\n \
         The program is linked statically. Its parts, with version and licence of\n \
         each, are listed in {name}.cdx.json.gz; their texts are in licences.txt.gz.\n\n\
         Files: *\n\
         Copyright: {} the authors of Cupel\n\
         License: Apache-2.0\n \
         On Debian systems, the full text of this licence is in\n \
         /usr/share/common-licenses/Apache-2.0.\n",
        date.strftime("%Y")
    );
    // A static program is what Cupel is for: it runs where nothing else is installed.
    let overrides = format!(
        "# One file that runs on any Linux, also in a rescue system (ADR 2).\n\
         {name}: statically-linked-binary [usr/bin/{name}]\n\
         # Linked from the sources that its SBOM names; there is no shared library to use.\n\
         {name}: embedded-library *\n"
    );
    let file = |path: String, bytes: Vec<u8>| File {
        path,
        mode: 0o644,
        bytes,
        role: Role::Document,
    };
    let documents = format!("usr/share/doc/{name}");
    Ok(vec![
        file(
            format!("{documents}/changelog.Debian.gz"),
            gzip(changelog.as_bytes())?,
        ),
        file(format!("{documents}/copyright"), copyright.into_bytes()),
        file(
            format!("usr/share/lintian/overrides/{name}"),
            overrides.into_bytes(),
        ),
    ])
}
