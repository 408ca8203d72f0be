//! Advanced Matrix Extensions: products of small whole numbers in the tile unit of Intel processors.
//!
//! # Invariants
//! - Nothing of it runs before the processor, the kernel's saved state and the kernel's permission
//!   were asked for.
//! - Tiles are configured and released within one call: no other code of this process sees them.
//!
//! # What is absent
//! bf16 and fp16: only what is exact, and so the same on every processor, is computed here.
#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "tile instructions, which the language has no stable names for, and the system call \
                  that permits them"
    )
)]

use cupel_model::Reading;

/// Rows of a tile, and columns of a result.
pub const ROWS: usize = 16;
/// Bytes of a row.
pub const ROW_BYTES: usize = 64;
/// Bytes of a tile.
pub const TILE: usize = ROWS * ROW_BYTES;

/// A tile unit that may be used.
#[derive(Clone, Copy, Debug)]
pub struct Amx(());

impl Amx {
    /// The tile unit, where this processor has one with 8-bit products and the kernel permits it.
    pub fn find() -> Reading<Self> {
        static FOUND: std::sync::OnceLock<Result<(), &'static str>> = std::sync::OnceLock::new();
        match FOUND.get_or_init(permitted) {
            Ok(()) => Reading::Value(Self(())),
            Err(why) => Reading::unsupported(*why),
        }
    }

    /// Sum of the products of tiles: `a` holds tiles of 16 rows of 64 signed bytes, `b` as many
    /// tiles whose byte `64 r + 4 n + j` is row `4 r + j`, column `n` of the second factor. Element
    /// `16 m + n` of the result is the sum of `a[m][k] * b[k][n]` over all tiles, modulo 2^32. What
    /// is no whole tile is left out.
    #[cfg(target_arch = "x86_64")]
    pub fn multiply(self, a: &[i8], b: &[i8]) -> [i32; ROWS * ROWS] {
        /// Palette 1; for each of eight tiles the bytes of a row, and the rows.
        #[repr(align(64))]
        struct Configuration([u8; 64]);
        let mut configuration = Configuration([0; 64]);
        configuration.0[0] = 1;
        for tile in 0..3 {
            configuration.0[16 + 2 * tile] = 64;
            configuration.0[48 + tile] = 16;
        }
        let mut sums = [0_i32; ROWS * ROWS];
        let tiles = a.len().min(b.len()) / TILE;
        if tiles == 0 {
            return sums;
        }
        // SAFETY: a value of this type was made by `find` alone, which asked processor and kernel
        // for tiles. The configuration is 64 bytes; every load reads one whole tile of 1024 bytes
        // inside `a` and `b`, of which there are `tiles`; the store writes the 1024 bytes of `sums`.
        unsafe {
            std::arch::asm!(
                "ldtilecfg [{configuration}]",
                "tilezero tmm0",
                "2:",
                "tileloadd tmm1, [{a} + {stride} * 1]",
                "tileloadd tmm2, [{b} + {stride} * 1]",
                "tdpbssd tmm0, tmm1, tmm2",
                "add {a}, 1024",
                "add {b}, 1024",
                "dec {tiles}",
                "jnz 2b",
                "tilestored [{sums} + {stride} * 1], tmm0",
                "tilerelease",
                configuration = in(reg) configuration.0.as_ptr(),
                a = inout(reg) a.as_ptr() => _,
                b = inout(reg) b.as_ptr() => _,
                tiles = inout(reg) tiles => _,
                stride = in(reg) ROW_BYTES,
                sums = in(reg) sums.as_mut_ptr(),
                out("tmm0") _,
                out("tmm1") _,
                out("tmm2") _,
                options(nostack),
            );
        }
        sums
    }

    /// There is no tile unit here.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn multiply(self, _: &[i8], _: &[i8]) -> [i32; ROWS * ROWS] {
        [0; ROWS * ROWS]
    }
}

/// Whether tiles may be used, and why not.
#[cfg(target_arch = "x86_64")]
fn permitted() -> Result<(), &'static str> {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    /// `arch_prctl` code: permission for a part of the state that is saved on demand.
    const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
    /// That part: the data of tiles.
    const XFEATURE_XTILEDATA: i64 = 18;
    const TILE_BITS: u32 = 1 << 24 | 1 << 25;
    const OSXSAVE: u32 = 1 << 27;
    if __cpuid(0).eax < 7 || __cpuid_count(7, 0).edx & TILE_BITS != TILE_BITS {
        return Err("this processor has no AMX");
    }
    if __cpuid(1).ecx & OSXSAVE == 0 {
        return Err("the kernel does not save the state of AMX");
    }
    // SAFETY: the system call takes two numbers and touches no memory of this process.
    let answer = unsafe {
        nix::libc::syscall(
            nix::libc::SYS_arch_prctl,
            ARCH_REQ_XCOMP_PERM,
            XFEATURE_XTILEDATA,
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err("the kernel does not permit AMX")
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn permitted() -> Result<(), &'static str> {
    Err("this processor has no AMX")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_multiply_as_the_manual_says_or_are_not_there() {
        let Reading::Value(amx) = Amx::find() else {
            eprintln!("left out: {:?}", Amx::find().why());
            return;
        };
        let byte = |seed: usize| i8::try_from(seed * 37 % 255).map_or(-1, |b| b.wrapping_sub(64));
        let a: Vec<i8> = (0..3 * TILE).map(byte).collect();
        let b: Vec<i8> = (0..3 * TILE).map(|at| byte(at + 11)).collect();
        let mut want = [0_i32; ROWS * ROWS];
        for (a, b) in a.chunks(TILE).zip(b.chunks(TILE)) {
            for (at, sum) in want.iter_mut().enumerate() {
                let (m, n) = (at / ROWS, at % ROWS);
                for k in 0..ROW_BYTES {
                    let x = i32::from(a[m * ROW_BYTES + k]);
                    let y = i32::from(b[k / 4 * ROW_BYTES + 4 * n + k % 4]);
                    *sum = sum.wrapping_add(x * y);
                }
            }
        }
        assert_eq!(amx.multiply(&a, &b), want);
        assert_eq!(amx.multiply(&a[..100], &b), [0; ROWS * ROWS]);
    }
}
