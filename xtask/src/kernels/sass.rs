//! Disassembly of the images, and what is in each kernel: for whoever has to believe that they use
//! what the GPU has.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context as _, bail};

use super::fetch;
use crate::process;
use crate::workspace::Workspace;

/// The disassembler's package: of a newer toolkit, which reads older images.
const PACKAGE: (&str, &str) = ("nvidia-cuda-nvdisasm", "13.3.73");

/// What is counted: matrix instructions of a warpgroup and of a warp, the copy engine, register
/// changes, reading matrices, asynchronous copies, and local memory (spills, stacks).
const COUNTED: [&str; 9] = [
    "HGMMA",
    "QGMMA",
    "HMMA",
    "QMMA",
    "UTMALDG",
    "USETMAXREG",
    "LDSM",
    "LDGSTS",
    "LDL",
];

/// Writes the disassembly of each image into `to`, and prints the counts.
pub fn disassemble(workspace: &Workspace, images: &Path, to: &Path) -> anyhow::Result<()> {
    let package = fetch(workspace, PACKAGE.0, PACKAGE.1)?;
    let program = package.join("nvidia/cu13/bin/nvdisasm");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("{} {} has no nvdisasm", PACKAGE.0, PACKAGE.1))?;
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    let mut files: Vec<_> = images
        .read_dir()
        .with_context(|| format!("list {}", images.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "cubin"))
        .collect();
    files.sort();
    println!("| Image | Kernel | {} |", COUNTED.join(" | "));
    println!("|---|---|{}", "---|".repeat(COUNTED.len()));
    for file in files {
        let path = file.display().to_string();
        let answer = process::output(&program, &["-c", &path], &[], &workspace.root)?;
        if !answer.status.success() {
            bail!("{path}: {}", String::from_utf8_lossy(&answer.stderr));
        }
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let text = String::from_utf8_lossy(&answer.stdout);
        fs::write(to.join(format!("{name}.sass")), text.as_bytes())?;
        for (kernel, counts) in count(&text) {
            let counts: Vec<String> = counts.iter().map(u32::to_string).collect();
            println!("| {name} | {kernel} | {} |", counts.join(" | "));
        }
    }
    Ok(())
}

/// How often each counted instruction is in each kernel.
fn count(text: &str) -> BTreeMap<String, [u32; COUNTED.len()]> {
    let mut kernels = BTreeMap::new();
    let mut kernel = None;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() == Some(".section") {
            kernel = words
                .next()
                .and_then(|name| name.strip_prefix(".text."))
                .and_then(|rest| rest.split(',').next())
                .map(|name| name.trim_matches('"').to_owned());
        } else if let Some(name) = &kernel {
            let counts: &mut [u32; COUNTED.len()] = kernels.entry(name.clone()).or_default();
            for (count, wanted) in counts.iter_mut().zip(COUNTED) {
                let is = |word: &str| {
                    word.strip_prefix(wanted)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                };
                *count += u32::from(line.split_whitespace().any(is));
            }
        }
    }
    kernels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_counted_by_kernel() {
        let text = "\t.section\t.text.one,\"ax\",@progbits\n\
            /*0000*/ HGMMA.64x256x16.F32.BF16 R24, gdesc[UR12], R24 ;\n\
            /*0010*/ HMMA.16816 R1, R2 ;\n/*0020*/ LDLX R1 ;\n\
            \t.sectionflags\t@\"SHF\"\n.section .nv.info\n HMMA\n";
        let counts = count(text);
        assert_eq!(counts["one"], [1, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(counts.len(), 1);
    }
}
