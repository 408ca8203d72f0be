//! What requests may cost.

use std::time::Duration;

use cupel_model::wire;

/// What requests may cost.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest report as it travels, in bytes.
    pub report_bytes: usize,
    /// Largest report after decompression, in bytes.
    pub report_bytes_expanded: usize,
    /// Largest expected list, in bytes.
    pub list_bytes: usize,
    /// Largest other body, in bytes.
    pub small_bytes: usize,
    /// Bytes of bodies that are being read, over all requests.
    pub body_memory: usize,
    /// Large reports that are taken apart at the same time.
    pub heavy_at_once: usize,
    /// KiB of reports that wait for their commit.
    pub waiting_memory: usize,
    /// Listeners to the stream of changes.
    pub listeners: usize,
    /// Connections.
    pub connections: usize,
    /// How long a body may take to arrive.
    pub body_deadline: Duration,
    /// How long a request's head may take to arrive; also how long an idle connection is kept.
    pub head_deadline: Duration,
    /// How long an answer may take.
    pub answer_deadline: Duration,
    /// How long a large report waits for its turn before the sender is told to come back.
    pub turn_deadline: Duration,
    /// How long a stream lasts before its listener must come again.
    pub stream_lasts: Duration,
    /// Time between two looks for silent nodes; `None`: nobody looks by itself.
    pub sweep_every: Option<Duration>,
    /// How long answers may take after the server was told to end.
    pub grace: Duration,
}

/// How many connections there may be: most of the files that this process may open.
pub fn connections() -> usize {
    const USUAL: usize = 8192;
    let text = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let open_files = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|soft| soft.parse::<usize>().ok());
    open_files.map_or(USUAL, |files| files.saturating_sub(128).clamp(64, 65_536))
}

impl Default for Limits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            report_bytes: wire::REPORT_BYTES,
            report_bytes_expanded: wire::REPORT_BYTES_EXPANDED,
            list_bytes: 32 << 20,
            small_bytes: 64 << 10,
            body_memory: 128 << 20,
            heavy_at_once: cores.clamp(2, 8),
            waiting_memory: 256 << 10,
            listeners: 256,
            connections: connections(),
            body_deadline: Duration::from_secs(30),
            head_deadline: Duration::from_secs(15),
            answer_deadline: Duration::from_secs(60),
            turn_deadline: Duration::from_secs(10),
            stream_lasts: Duration::from_secs(15 * 60),
            sweep_every: Some(Duration::from_secs(5)),
            grace: Duration::from_secs(5),
        }
    }
}
