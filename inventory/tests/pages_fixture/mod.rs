//! Views to render: a fleet of 12,500 nodes, a rack, nodes of several kinds. Synthetic.

mod fleet;
mod node;

pub use fleet::*;
pub use node::*;

use cupel_inventory::pages::view::*;
use cupel_model::Timestamp;

/// When every view is made.
pub fn now() -> Timestamp {
    "2026-02-03T14:20:31.5Z".parse().expect("time")
}

/// So many seconds before that.
pub fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_microseconds(now().microseconds() - seconds * 1_000_000).expect("time")
}

pub fn context() -> Context {
    Context {
        now: now(),
        version: "0.1.0".to_owned(),
        signed_in: Some("ops-read".to_owned()),
    }
}

pub fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

pub fn login(error: Option<LoginError>) -> Login {
    Login {
        context: Context {
            signed_in: None,
            ..context()
        },
        error,
        next: some("/nodes/1"),
    }
}

pub fn problem(status: u16, detail: Option<&str>) -> Problem {
    Problem {
        context: context(),
        status,
        detail: detail.map(str::to_owned),
    }
}
