//! How long one scrape of a node with eight GPUs and eight RDMA ports takes.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use cupel_agent::metrics;

#[path = "../src/metrics/tests/node.rs"]
mod node;

fn exposition(criterion: &mut Criterion) {
    let everything = node::everything();
    let text = metrics::exposition(&everything.view());
    let mut group = criterion.benchmark_group("exposition");
    group.throughput(Throughput::Bytes(
        u64::try_from(text.len()).unwrap_or(u64::MAX),
    ));
    group.bench_function("eight GPUs, eight ports", |bench| {
        bench.iter(|| metrics::exposition(black_box(&everything.view())).len());
    });
    group.finish();
}

criterion_group!(benches, exposition);
criterion_main!(benches);
