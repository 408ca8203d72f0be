//! Random numbers that a printed seed repeats.

use std::time::Duration;

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From `CUPEL_SEED`, else from the clock; says which.
    #[expect(clippy::print_stdout, reason = "whoever repeats a test needs its seed")]
    pub fn told(test: &str) -> Self {
        let asked = std::env::var("CUPEL_SEED").ok();
        let seed = asked.and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            let now = cupel_hardware::clock::now().microseconds();
            now.unsigned_abs()
        });
        println!("{test}: CUPEL_SEED={seed}");
        Self(seed)
    }

    /// Another stream of the same seed.
    pub fn apart(&mut self) -> Self {
        Self(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Up to so many milliseconds.
    pub fn milliseconds(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.below(most + 1))
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let at = usize::try_from(self.below(of.len() as u64)).expect("an index");
        of.get(at).expect("not empty")
    }
}
