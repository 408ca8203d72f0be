//! The kernels, compiled for each architecture (`cargo xtask kernels`), and which one a GPU runs.

/// An image.
#[derive(Clone, Copy)]
pub struct Image {
    /// As the compiler calls its architecture.
    pub name: &'static str,
    /// Machine code, or PTX that ends with a zero byte.
    pub bytes: &'static [u8],
    /// Whether the tensor cores can be driven to what they can do. Where not, a rate is no peak.
    pub peak: bool,
    /// Whether it has Hopper's warpgroup kernels.
    pub warpgroups: bool,
}

macro_rules! cubin {
    ($name:literal, $peak:literal, $warpgroups:literal) => {
        Image {
            name: $name,
            bytes: include_bytes!(concat!("../../kernels/built/", $name, ".cubin")),
            peak: $peak,
            warpgroups: $warpgroups,
        }
    };
}

/// Machine code by compute capability. Code for 10.0 does not run on 10.3, nor 12.0's on 12.1.
const IMAGES: [((i32, i32), Image); 6] = [
    ((8, 0), cubin!("sm_80", true, false)),
    ((8, 6), cubin!("sm_86", true, false)),
    ((8, 9), cubin!("sm_89", true, false)),
    ((9, 0), cubin!("sm_90a", true, true)),
    ((10, 0), cubin!("sm_100a", false, false)),
    ((12, 0), cubin!("sm_120a", true, false)),
];

/// For every other GPU since Ampere: the driver compiles it.
const PORTABLE: Image = Image {
    name: "compute_80",
    bytes: include_bytes!("../../kernels/built/compute_80.ptx"),
    peak: false,
    warpgroups: false,
};

/// The image of a GPU; none for one before Ampere.
pub fn image(major: i32, minor: i32) -> Option<Image> {
    let own = IMAGES.iter().find(|(of, _)| *of == (major, minor));
    match own {
        Some((_, image)) => Some(*image),
        None => (major >= 8).then_some(PORTABLE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gpu_gets_the_image_that_it_can_run() {
        let name = |major, minor| image(major, minor).map(|image| image.name);
        assert_eq!(name(9, 0), Some("sm_90a"));
        assert_eq!(name(10, 3), Some("compute_80"), "B300");
        assert_eq!(name(8, 7), Some("compute_80"));
        assert_eq!(name(7, 5), None);
    }

    #[test]
    fn images_are_small_and_what_they_seem() {
        let mut total = PORTABLE.bytes.len();
        for (_, image) in IMAGES {
            total += image.bytes.len();
            // The ABI that drivers of CUDA 12 load; Blackwell came with another one.
            let abi: &[u8] = match image.name {
                "sm_100a" | "sm_120a" => b"\x7fELF\x02\x01\x01\x41\x08",
                _ => b"\x7fELF\x02\x01\x01\x33\x07",
            };
            assert!(image.bytes.starts_with(abi), "{}", image.name);
        }
        assert!(total <= 2 << 20, "{total} bytes");
        assert_eq!(PORTABLE.bytes.last(), Some(&0), "PTX is a C string");
        assert!(
            PORTABLE
                .bytes
                .windows(12)
                .any(|text| text == b".version 8.0")
        );
    }
}
