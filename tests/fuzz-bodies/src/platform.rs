//! Platform files: whatever the bytes, they are refused with the file's name, or they are a
//! platform that is written and read back unchanged and that a node can be judged by.

use cupel_health::platform::{matching, parse, to_toml};
use cupel_health::{Modes, evaluate};
use cupel_model::Snapshot;

/// A machine of which nothing could be read.
const NOTHING: &str = include_str!("nothing.json");

/// One platform file.
pub fn platform(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // The name in the file must be the file's own: take it from there, so that more gets further.
    let name = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| key.trim() == "name")
        .map_or("any", |(_, value)| value.trim().trim_matches('"'));
    let file = format!("{name}.toml");
    let platform = match parse(text, &file) {
        Ok(platform) => platform,
        Err(error) => {
            assert!(error.to_string().starts_with(&file), "{error}");
            assert!(
                error
                    .line
                    .is_none_or(|line| line <= text.lines().count() + 1),
                "{error}"
            );
            return;
        }
    };
    let written = to_toml(&platform).expect("what was read can be written");
    let again = parse(&written, &file).expect("what was written can be read");
    assert_eq!(again, platform);
    let nothing: Snapshot = serde_json::from_str(NOTHING).expect("a snapshot");
    let report = evaluate(&nothing, Some(&platform), &Modes::default());
    assert_eq!(report.platform.as_deref(), Some(platform.name.as_str()));
    assert!(
        matching(&nothing, &[platform]).is_err(),
        "a machine without a name matched"
    );
}
