//! SHA256SUMS, and detached signatures that minisign verifies.
//!
//! # Invariants
//! - A secret key is made once, readable by its owner alone, and never over another.
//! - A password comes from the terminal or from a file; never from the command line.
//! - The trusted comment, which is signed too, names the file, so that no signature passes for that
//!   of another artefact.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use minisign::{KeyPair, PublicKey, SecretKey, SecretKeyBox};
use sha2::{Digest as _, Sha256};

/// The list of all artefacts.
pub const SUMS: &str = "SHA256SUMS";

/// Options of `cargo xtask release-key`.
#[derive(clap::Args)]
pub struct KeyOptions {
    /// Directory that gets cupel-release.key, which stays secret, and cupel-release.pub
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// File whose first line is the password of the secret key; without, it is asked for
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// No password: who has the file can sign
    #[arg(long, conflicts_with = "password_file")]
    no_password: bool,
}

/// Makes a pair of keys.
pub fn make_key(options: &KeyOptions) -> anyhow::Result<u8> {
    let pair = if options.no_password {
        KeyPair::generate_unencrypted_keypair()
    } else {
        let password = options.password_file.as_deref().map(password).transpose()?;
        KeyPair::generate_encrypted_keypair(password)
    }
    .context("make a pair of keys")?;
    let secret = pair.sk.to_box(Some("Cupel release: secret key"))?;
    let public = pair.pk.to_box()?;
    fs::create_dir_all(&options.to).with_context(|| format!("create {}", options.to.display()))?;
    let write = |name: &str, mode: u32, text: String| {
        let path = options.to.join(name);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .with_context(|| format!("create {}", path.display()))?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .with_context(|| format!("write {}", path.display()))?;
        println!("{}", path.display());
        anyhow::Ok(())
    };
    write("cupel-release.key", 0o600, secret.into_string())?;
    write("cupel-release.pub", 0o644, public.into_string())?;
    println!(
        "keep the key where releases are cut; servers get the .pub in /etc/cupel/release-keys"
    );
    Ok(0)
}

/// First line of a file.
fn password(path: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Signs artefacts.
pub struct Signer {
    secret: SecretKey,
    public: PublicKey,
    /// What every trusted comment says: version and commit.
    about: String,
}

impl Signer {
    /// With the key of a file.
    pub fn open(key: &Path, password_file: Option<&Path>, about: &str) -> anyhow::Result<Self> {
        let text = fs::read_to_string(key).with_context(|| format!("read {}", key.display()))?;
        let password = password_file.map(password).transpose()?;
        let parse = || SecretKeyBox::from_string(&text);
        let secret = match parse()?.into_unencrypted_secret_key() {
            Ok(secret) => secret,
            Err(_) => parse()?
                .into_secret_key(password)
                .with_context(|| format!("open {} with this password", key.display()))?,
        };
        Ok(Self {
            public: PublicKey::from_secret_key(&secret)?,
            secret,
            about: about.to_owned(),
        })
    }

    /// Signs a file of the directory; the signature is beside it.
    pub fn sign(&self, directory: &Path, name: &str) -> anyhow::Result<()> {
        let path = directory.join(name);
        let file = fs::File::open(&path).with_context(|| format!("read {}", path.display()))?;
        let trusted = format!("file:{name}\t{}", self.about);
        let signature = minisign::sign(
            Some(&self.public),
            &self.secret,
            file,
            Some(&trusted),
            Some("signature of a Cupel release"),
        )
        .with_context(|| format!("sign {name}"))?;
        let to = directory.join(format!("{name}.minisig"));
        fs::write(&to, signature.into_string()).with_context(|| format!("write {}", to.display()))
    }
}

/// What SHA256SUMS says of these files.
pub fn sums(directory: &Path, names: &[String]) -> anyhow::Result<String> {
    let mut text = String::new();
    for name in names {
        let path = directory.join(name);
        let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        writeln!(text, "{}  {name}", sha256(&bytes))?;
    }
    Ok(text)
}

/// Its SHA-256, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// In hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names of the files of a release, sorted, without sums and signatures.
pub fn artefacts(directory: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in directory
        .read_dir()
        .with_context(|| format!("list {}", directory.display()))?
    {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !entry.file_type()?.is_file() {
            bail!("{}: not a file", entry.path().display());
        }
        if name != SUMS && !name.ends_with(".minisig") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use minisign::SignatureBox;

    use super::*;

    #[test]
    fn a_signature_verifies_and_a_flipped_byte_does_not() {
        let at = tempfile::tempdir().expect("directory");
        let path = |name: &str| at.path().join(name);
        fs::write(path("word"), "of a test\n").expect("write");
        let options = KeyOptions {
            to: at.path().to_owned(),
            password_file: Some(path("word")),
            no_password: false,
        };
        make_key(&options).expect("keys");
        make_key(&options).expect_err("never over another key");
        fs::write(path("cupel-x86_64"), b"a program").expect("write");

        let key = path("cupel-release.key");
        let signer = Signer::open(&key, Some(&path("word")), "cupel 0.1.0").expect("signer");
        signer.sign(at.path(), "cupel-x86_64").expect("signed");
        let signature = SignatureBox::from_file(path("cupel-x86_64.minisig")).expect("signature");
        assert!(signature.is_prehashed());
        assert_eq!(
            signature.trusted_comment().expect("comment"),
            "file:cupel-x86_64\tcupel 0.1.0"
        );
        let public = PublicKey::from_file(path("cupel-release.pub")).expect("public key");
        let verifies = |bytes: &[u8]| {
            let bytes = std::io::Cursor::new(bytes.to_vec());
            minisign::verify(&public, &signature, bytes, true, false, false).is_ok()
        };
        assert!(verifies(b"a program"));
        assert!(!verifies(b"a pro\x67ral"));

        fs::write(path("other"), "wrong\n").expect("write");
        assert!(Signer::open(&key, Some(&path("other")), "").is_err());
    }

    #[test]
    fn sums_are_those_of_sha256sum() {
        let at = tempfile::tempdir().expect("directory");
        fs::write(at.path().join("a"), "abc").expect("write");
        let text = sums(at.path(), &["a".to_owned()]).expect("sums");
        assert_eq!(
            text,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a\n"
        );
    }
}
