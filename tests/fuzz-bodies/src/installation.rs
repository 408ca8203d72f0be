//! What the installer reads: whatever the bytes, a journal that is written and read back
//! unchanged, a rack whose names lead nowhere, a program that is whole; or a reason.

use std::path::Component;

use cupel_installer::journal;
use cupel_installer::push;
use cupel_installer::release::{Architecture, program};

/// The same bytes as a journal, as a RACK.toml and as a program.
pub fn installation(data: &[u8]) {
    if let Ok(journal) = journal::parse(data) {
        let json = serde_json::to_vec(&journal).expect("a journal is JSON");
        assert_eq!(journal::parse(&json).as_ref(), Ok(&journal));
        if let journal::State::Settled { version } = &journal.state {
            let target = version.link_target();
            assert!(
                target
                    .components()
                    .all(|part| matches!(part, Component::Normal(_)))
            );
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        match push::parse(text) {
            Ok(rack) => {
                assert!(!rack.nodes.is_empty());
                for node in &rack.nodes {
                    for word in [node.name.as_str(), node.address(), &rack.user] {
                        assert!(!word.starts_with('-'), "{word}");
                        assert!(
                            !word.contains(['/', ' ', '\'', '"', '$', ';', '\n']),
                            "{word}"
                        );
                    }
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    if program(data, Architecture::X86_64).is_ok() {
        assert!(data.len() > 64 && program(data, Architecture::Aarch64).is_err());
    }
}
