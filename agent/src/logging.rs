//! Logs go to standard error; `-v` and `CUPEL_LOG` say how much of them.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;

/// Environment variable with a filter such as `cupel_hardware=debug`; it goes before `-v`.
pub const LOG_VARIABLE: &str = "CUPEL_LOG";

/// Starts logging: warnings, `-v` notes, `-vv` details, `-vvv` everything.
///
/// # Errors
/// `CUPEL_LOG` is no filter.
pub fn start(verbosity: u8) -> anyhow::Result<()> {
    let filter = match std::env::var(LOG_VARIABLE) {
        Ok(text) => text.parse::<Targets>().map_err(|error| {
            anyhow::anyhow!("{LOG_VARIABLE}={text:?} is no log filter: {error}")
        })?,
        Err(_) => Targets::new().with_default(match verbosity {
            0 => LevelFilter::WARN,
            1 => LevelFilter::INFO,
            2 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        }),
    };
    let colour = std::io::stderr().is_terminal()
        && anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(verbosity > 1)
        .without_time()
        .finish()
        .with(filter);
    // Set already only where one process runs several commands (tests): the first one stands.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}
