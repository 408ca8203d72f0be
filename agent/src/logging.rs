//! Logs go to standard error; `-v` and `CUPEL_LOG` say how much of them.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Environment variable with a filter such as `cupel_hardware=debug`; it goes before `-v`.
pub const LOG_VARIABLE: &str = "CUPEL_LOG";

/// Starts logging: warnings, `-v` notes, `-vv` details, `-vvv` everything.
///
/// # Errors
/// `CUPEL_LOG` is no filter.
pub fn start(verbosity: u8) -> anyhow::Result<()> {
    let filter = match std::env::var(LOG_VARIABLE) {
        Ok(text) => EnvFilter::try_new(&text).map_err(|error| {
            anyhow::anyhow!("{LOG_VARIABLE}={text:?} is no log filter: {error}")
        })?,
        Err(_) => EnvFilter::new(match verbosity {
            0 => "warn",
            1 => "info",
            2 => "debug",
            _ => "trace",
        }),
    };
    let colour = std::io::stderr().is_terminal()
        && anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(verbosity > 1)
        .without_time()
        .finish();
    // Set already only where one process runs several commands (tests): the first one stands.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}
