//! Configuration files: whatever the bytes, settings or an error that names a place in them.

use cupel_agent::config::{Inputs, Settings, parse};

/// One configuration file.
pub fn configuration(data: &[u8]) {
    match parse(data, "fuzz.toml") {
        Ok(fragment) => {
            let mut inputs = Inputs::default();
            inputs.merge("fuzz.toml", fragment);
            let settings = Settings::from(inputs);
            let share = settings.burn_in_memory_share.value;
            assert!(share > 0.0 && share <= 0.95, "{share}");
            assert!(!settings.rows().is_empty());
        }
        Err(error) => {
            let lines = data.iter().filter(|byte| **byte == b'\n').count() + 1;
            assert!((1..=lines).contains(&error.line), "{error}");
            assert!(error.column >= 1 && !error.what.is_empty(), "{error}");
        }
    }
}
