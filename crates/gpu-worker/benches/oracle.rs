//! What the host computes while GPUs burn in: the oracle's sums, and the comparison of what came over
//! a link. Both have to keep up with a GPU.

// The parts of the worker that are measured bring their tests along; those are run with the worker.
#[cfg(not(test))]
#[expect(
    dead_code,
    reason = "a part of the worker, of which one function is measured"
)]
#[path = "../src/burn/operands.rs"]
mod operands;
#[cfg(not(test))]
#[expect(
    dead_code,
    reason = "a part of the worker, of which one function is measured"
)]
#[path = "../src/burn/pattern.rs"]
mod pattern;

#[cfg(not(test))]
mod measured {
    use std::hint::black_box;

    use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
    use cupel_model::worker_burnin::Element;

    use crate::{operands, pattern};

    fn oracle(criterion: &mut Criterion) {
        let mut group = criterion.benchmark_group("oracle of an exact product");
        group.sample_size(10);
        for size in [512_u64, 2048] {
            // Operands that are made, of both passes over both matrices.
            group.throughput(Throughput::Elements(4 * size * size));
            for element in [Element::Bf16, Element::Fp8, Element::Fp64] {
                let exact = operands::Exact {
                    element,
                    rows: size,
                    columns: size,
                    depth: size,
                    seed_a: 1,
                    seed_b: 2,
                };
                let id = BenchmarkId::new(element.name(), size);
                group.bench_function(id, |bencher| bencher.iter(|| black_box(&exact).sums()));
            }
        }
        group.finish();
    }

    fn comparison(criterion: &mut Criterion) {
        let mut group = criterion.benchmark_group("comparison of a copy");
        let words: Vec<u64> = (0..1 << 20).map(|index| pattern::word(7, index)).collect();
        group.throughput(Throughput::Bytes(8 << 20));
        group.bench_function("8 MiB", |bencher| {
            bencher.iter(|| pattern::first_wrong(7, black_box(&words)));
        });
        group.finish();
    }

    criterion_group!(benches, oracle, comparison);
}

#[cfg(not(test))]
criterion::criterion_main!(measured::benches);

#[cfg(test)]
fn main() {}
