//! Values of samples, in base units.

use std::fmt::Write as _;

use cupel_model::Timestamp;
use cupel_model::units::{
    Bytes, Celsius, GigabitsPerSecond, GigatransfersPerSecond, Hours, Joules, Megahertz, Percent,
    Seconds, Watts,
};

/// A sample's value, in the base unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Whole(u64),
    Real(f64),
    /// A count of nanoseconds, written in seconds to the last digit.
    Nanoseconds(u64),
    /// Microseconds since 1970, written in seconds to the last digit.
    Microseconds(i64),
}

impl Number {
    pub(super) fn is_finite(self) -> bool {
        match self {
            Self::Real(value) => value.is_finite(),
            Self::Whole(_) | Self::Nanoseconds(_) | Self::Microseconds(_) => true,
        }
    }

    pub(super) fn push_to(self, out: &mut String) {
        // Writing to a string does not fail.
        let _ = match self {
            Self::Whole(value) => write!(out, "{value}"),
            Self::Real(value) => write!(out, "{value}"),
            Self::Nanoseconds(count) => {
                let (whole, rest) = (count / 1_000_000_000, count % 1_000_000_000);
                write!(out, "{whole}.{rest:09}")
            }
            Self::Microseconds(count) => {
                let sign = if count < 0 { "-" } else { "" };
                let count = count.unsigned_abs();
                write!(out, "{sign}{}.{:06}", count / 1_000_000, count % 1_000_000)
            }
        };
    }
}

macro_rules! numbers {
    ($($from:ty => |$value:ident| $number:expr;)*) => {
        $(impl From<$from> for Number {
            fn from($value: $from) -> Self { $number }
        })*
    };
}

numbers! {
    u64 => |value| Self::Whole(value);
    u32 => |value| Self::Whole(u64::from(value));
    usize => |value| Self::Whole(u64::try_from(value).unwrap_or(u64::MAX));
    bool => |value| Self::Whole(u64::from(value));
    f64 => |value| Self::Real(value);
    Timestamp => |time| Self::Microseconds(time.microseconds());
    Bytes => |bytes| Self::Whole(bytes.get());
    Celsius => |celsius| Self::Real(celsius.get());
    Watts => |watts| Self::Real(watts.get());
    Joules => |joules| Self::Real(joules.get());
    Seconds => |seconds| Self::Real(seconds.get());
    Hours => |hours| Self::Whole(hours.get().saturating_mul(3600));
    Megahertz => |clock| Self::Whole(u64::from(clock.get()) * 1_000_000);
    Percent => |percent| Self::Real(percent.get() / 100.0);
    GigabitsPerSecond => |rate| Self::Real(rate.get() * 1e9 / 8.0);
    GigatransfersPerSecond => |speed| Self::Real(speed.get() * 1e9);
}
