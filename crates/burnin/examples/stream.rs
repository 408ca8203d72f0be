//! A copy as STREAM does it, written without any of the burn-in's code: what the stage
//! `memory-bandwidth` is held against.
//!
//! `cargo run --release -p cupel-burnin --example stream -- [MiB of an array]`

use std::io::Write;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Passes; the best counts.
const PASSES: usize = 100;

fn main() -> std::io::Result<()> {
    let megabytes: usize = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(128);
    let threads = std::thread::available_parallelism()?.get();
    let words = megabytes * (1 << 20) / 8 / threads;
    let barrier = Barrier::new(threads);
    let epoch = Instant::now();
    let spans: Vec<Vec<(Duration, Duration)>> = std::thread::scope(|scope| {
        let copiers: Vec<_> = (0..threads)
            .map(|number| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let a: Vec<f64> = (0..words).map(|at| (at + number) as f64).collect();
                    let mut b = vec![1.0; words];
                    let mut spans = Vec::new();
                    for _ in 0..PASSES {
                        barrier.wait();
                        let began = epoch.elapsed();
                        b.copy_from_slice(std::hint::black_box(&a));
                        std::hint::black_box(&b);
                        spans.push((began, epoch.elapsed()));
                    }
                    spans
                })
            })
            .collect();
        copiers
            .into_iter()
            .map(|copier| copier.join().unwrap_or_default())
            .collect()
    });
    let best = (0..PASSES)
        .filter_map(|pass| {
            let first = spans
                .iter()
                .filter_map(|s| s.get(pass))
                .map(|s| s.0)
                .min()?;
            let last = spans
                .iter()
                .filter_map(|s| s.get(pass))
                .map(|s| s.1)
                .max()?;
            Some(last - first)
        })
        .min()
        .unwrap_or_default();
    let bytes = (16 * words * threads) as f64;
    writeln!(
        std::io::stdout(),
        "copy {:.2} GB/s, {threads} threads, arrays of {megabytes} MiB, best of {PASSES}",
        bytes / best.as_secs_f64() / 1e9
    )
}
