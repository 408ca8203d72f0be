//! How fast results are computed, how fast the oracle judges them, and how fast memory is compared:
//! what is verified costs load that is not made.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use cupel_burnin::{Kernel, Pattern};
use cupel_hardware::processor::VectorUnit;

const SEED: u64 = 0x5eed;

fn kernels(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compute");
    for unit in VectorUnit::available() {
        for kernel in Kernel::ALL {
            group.throughput(Throughput::Elements(kernel.operations()));
            let id = BenchmarkId::new(kernel.name(), unit.name());
            group.bench_function(id, |bench| bench.iter(|| kernel.compute(SEED, 1, unit)));
        }
    }
    group.finish();
}

fn oracle(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("oracle");
    for kernel in Kernel::ALL {
        let words = kernel.compute(SEED, 1, VectorUnit::Baseline);
        assert!(kernel.is_right(SEED, 1, &words));
        group.throughput(Throughput::Elements(kernel.operations()));
        group.bench_function(kernel.name(), |bench| {
            bench.iter(|| kernel.is_right(SEED, 1, &words));
        });
    }
    group.finish();
}

fn comparison(criterion: &mut Criterion) {
    let pattern = Pattern::new(SEED);
    let words: Vec<u64> = (0..1 << 20).map(|index| pattern.word(index)).collect();
    let mut wrong = words.clone();
    for at in (0..wrong.len()).step_by(1000) {
        wrong[at] ^= 1;
    }
    let mut group = criterion.benchmark_group("comparison");
    group.throughput(Throughput::Bytes(8 << 20));
    group.bench_function("all right", |bench| {
        bench.iter(|| assert_eq!(pattern.differing(&words, 0), 0));
    });
    group.bench_function("one word in a thousand wrong", |bench| {
        bench.iter(|| assert_eq!(pattern.differing(&wrong, 0), 1049));
    });
    group.finish();
}

criterion_group!(benches, kernels, oracle, comparison);
criterion_main!(benches);
