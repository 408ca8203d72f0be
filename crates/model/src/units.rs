//! Units as types, so that what must not be mixed cannot be.
//!
//! # Invariants
//! - A newtype serialises as its bare number; the unit stands in the JSON key.
//! - A floating quantity is finite: NaN and infinities are refused at construction and on reading.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A number that is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{0} is not a finite number")]
pub struct NotFinite(pub f64);

macro_rules! real_unit {
    ($(#[$doc:meta])* $name:ident, $symbol:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "f64", into = "f64")]
        #[schemars(with = "f64")]
        pub struct $name(f64);

        impl $name {
            /// The unit's symbol.
            pub const SYMBOL: &'static str = $symbol;

            /// A finite quantity, or an error.
            ///
            /// # Errors
            /// [`NotFinite`] for NaN and infinities.
            pub fn new(value: f64) -> Result<Self, NotFinite> {
                if value.is_finite() { Ok(Self(value)) } else { Err(NotFinite(value)) }
            }

            /// The bare number.
            pub fn get(self) -> f64 {
                self.0
            }
        }

        impl TryFrom<f64> for $name {
            type Error = NotFinite;
            fn try_from(value: f64) -> Result<Self, NotFinite> {
                Self::new(value)
            }
        }

        impl From<$name> for f64 {
            fn from(unit: $name) -> f64 {
                unit.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let rounded = (self.0 * 1000.0).round() / 1000.0;
                write!(f, "{} {}", rounded, $symbol)
            }
        }
    };
}

macro_rules! whole_unit {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $symbol:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The unit's symbol.
            pub const SYMBOL: &'static str = $symbol;

            /// The bare number.
            pub fn get(self) -> $inner {
                self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{} {}", self.0, $symbol)
            }
        }
    };
}

real_unit!(
    /// Degrees Celsius.
    Celsius, "°C");
real_unit!(
    /// Watts.
    Watts, "W");
real_unit!(
    /// Joules.
    Joules, "J");
real_unit!(
    /// Volts.
    Volts, "V");
real_unit!(
    /// PCIe link speed in gigatransfers a second and lane, as in `current_link_speed`.
    GigatransfersPerSecond, "GT/s");
real_unit!(
    /// Link rate in gigabits a second, as in InfiniBand's `rate`.
    GigabitsPerSecond, "Gb/s");
real_unit!(
    /// Data rate in gigabytes (10⁹ bytes) a second.
    GigabytesPerSecond, "GB/s");
real_unit!(
    /// Seconds.
    Seconds, "s");
real_unit!(
    /// Per cent, 0 to 100 unless the source says otherwise.
    Percent, "%");

impl From<std::time::Duration> for Seconds {
    fn from(duration: std::time::Duration) -> Self {
        Self(duration.as_secs_f64())
    }
}

whole_unit!(
    /// Bytes.
    Bytes, u64, "B");
whole_unit!(
    /// Megahertz.
    Megahertz, u32, "MHz");
whole_unit!(
    /// Megatransfers a second, as SMBIOS gives a DIMM's speed.
    MegatransfersPerSecond, u32, "MT/s");
whole_unit!(
    /// Hours.
    Hours, u64, "h");
whole_unit!(
    /// Revolutions a minute.
    RevolutionsPerMinute, u32, "rpm");

impl Bytes {
    /// For people: binary multiples, at most one decimal (`2.0 TiB`).
    pub fn human(self) -> String {
        const NAMES: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
        let mut step = 0;
        let mut divisor = 1_u64;
        while step + 1 < NAMES.len() && self.0 / divisor >= 1024 {
            divisor *= 1024;
            step += 1;
        }
        if step == 0 {
            return format!("{} B", self.0);
        }
        let tenths = u128::from(self.0) * 10 / u128::from(divisor);
        format!("{}.{} {}", tenths / 10, tenths % 10, NAMES[step])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_finite() {
        assert!(Celsius::new(f64::NAN).is_err());
        assert_eq!(
            serde_json::to_string(&Celsius::new(41.5).expect("finite")).expect("json"),
            "41.5"
        );
    }

    #[test]
    fn bytes_for_people() {
        assert_eq!(Bytes(512).human(), "512 B");
        assert_eq!(Bytes(1536).human(), "1.5 KiB");
        assert_eq!(Bytes(2 << 40).human(), "2.0 TiB");
    }
}
