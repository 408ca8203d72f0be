//! Sensor data records and sensor readings (IPMI 2.0, chapters 35, 36 and 43).

use super::words;

/// Bytes that are no sensor data record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdrError {
    /// The record ends too early.
    #[error("sensor data record has {size} bytes, not {want}")]
    Short {
        /// How long it is.
        size: usize,
        /// How long it should be at least.
        want: usize,
    },
}

/// A sensor data record.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A full or compact sensor record.
    Sensor(SensorRecord),
    /// Any other kind of record: locators, event-only sensors, what a vendor keeps there.
    Other,
}

/// A sensor, as far as reading it needs.
#[derive(Clone, Debug, PartialEq)]
pub struct SensorRecord {
    /// Address of the controller that owns it.
    pub owner: u8,
    /// Logical unit that it answers on.
    pub unit: u8,
    /// Sensor number.
    pub number: u8,
    /// Sensor type code.
    pub kind: u8,
    /// Event and reading type code: 1 is threshold.
    pub reading_type: u8,
    /// Name.
    pub name: String,
    /// How a raw reading becomes a value; `None` for sensors without one.
    pub scale: Option<Scale>,
    /// Unit of the value, in the specification's words.
    pub unit_name: Option<String>,
}

/// How a raw reading becomes a value: `L((M·x + B·10^b)·10^r)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    signed: Signed,
    m: i16,
    b: i16,
    b_exponent: i8,
    r_exponent: i8,
    linearization: u8,
}

/// How a raw byte is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signed {
    No,
    OnesComplement,
    TwosComplement,
}

/// Parses a whole record, with its header of five bytes.
///
/// # Errors
/// [`SdrError`].
pub fn parse_record(bytes: &[u8]) -> Result<Record, SdrError> {
    const FULL: u8 = 0x01;
    const COMPACT: u8 = 0x02;
    let at = |offset: usize| {
        bytes.get(offset).copied().ok_or(SdrError::Short {
            size: bytes.len(),
            want: offset + 1,
        })
    };
    let (full, name_at) = match at(3)? {
        FULL => (true, 47),
        COMPACT => (false, 31),
        _ => return Ok(Record::Other),
    };
    let name = name(at(name_at)?, bytes.get(name_at + 1..).unwrap_or_default());
    let number = at(7)?;
    let units = at(20)?;
    let signed = match units >> 6 {
        0 => Some(Signed::No),
        1 => Some(Signed::OnesComplement),
        2 => Some(Signed::TwosComplement),
        _ => None,
    };
    let scale = match signed {
        Some(signed) if full => Some(Scale {
            signed,
            m: ten_bits(at(24)?, at(25)?),
            b: ten_bits(at(26)?, at(27)?),
            r_exponent: four_bits(at(29)? >> 4),
            b_exponent: four_bits(at(29)? & 0x0f),
            linearization: at(23)? & 0x7f,
        }),
        Some(_) | None => None,
    };
    Ok(Record::Sensor(SensorRecord {
        owner: at(5)?,
        unit: at(6)? & 0x03,
        number,
        kind: at(12)?,
        reading_type: at(13)? & 0x7f,
        name: name.unwrap_or_else(|| format!("sensor {number:#04x}")),
        scale,
        unit_name: unit_name(units, at(21)?, at(22)?),
    }))
}

/// Ten bits, two's complement: the low eight, and the high two in bits 7:6 of the next byte.
fn ten_bits(low: u8, high: u8) -> i16 {
    let raw = i16::from(low) | (i16::from(high >> 6) << 8);
    if raw & 0x200 != 0 { raw - 0x400 } else { raw }
}

/// Four bits, two's complement.
fn four_bits(nibble: u8) -> i8 {
    let raw = i8::try_from(nibble & 0x0f).unwrap_or_default();
    if raw & 0x08 != 0 { raw - 16 } else { raw }
}

/// A name, of which only 8-bit ASCII is in use; the other encodings give none.
fn name(kind_and_length: u8, bytes: &[u8]) -> Option<String> {
    let length = usize::from(kind_and_length & 0x1f);
    let bytes = bytes.get(..length.min(bytes.len()))?;
    let text: String = match kind_and_length >> 6 {
        3 | 0 => bytes
            .iter()
            .map(|b| char::from(*b))
            .filter(|c| !c.is_control())
            .collect(),
        2 => six_bit(bytes),
        _ => return None,
    };
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Packed 6-bit ASCII: four letters in three bytes.
fn six_bit(bytes: &[u8]) -> String {
    bytes
        .chunks_exact(3)
        .flat_map(|three| {
            let word = u32::from_le_bytes([three[0], three[1], three[2], 0]);
            (0..4).map(move |index| (word >> (6 * index)) & 0x3f)
        })
        .filter_map(|code| char::from_u32(code + 0x20))
        .collect()
}

/// `volts`, `percent`, `watts per minute`, …; `None` for "unspecified".
fn unit_name(units: u8, base: u8, modifier: u8) -> Option<String> {
    if units & 0x01 != 0 {
        return Some("percent".to_owned());
    }
    let mut name = words::unit(base)?.to_owned();
    let modifier = words::unit(modifier);
    match ((units >> 1) & 0x03, modifier) {
        (1, Some(modifier)) => name.push_str(&format!(" per {modifier}")),
        (2, Some(modifier)) => name.push_str(&format!(" × {modifier}")),
        (_, _) => {}
    }
    const RATES: [Option<&str>; 8] = [
        None,
        Some("µs"),
        Some("ms"),
        Some("s"),
        Some("minute"),
        Some("hour"),
        Some("day"),
        None,
    ];
    if let Some(rate) = RATES[usize::from((units >> 3) & 0x07)] {
        name.push_str(&format!(" per {rate}"));
    }
    Some(name)
}

impl Scale {
    /// The value of a raw reading; `None` for a non-linear sensor, whose factors are elsewhere, or
    /// where the result is no number.
    fn value(self, raw: u8) -> Option<f64> {
        let x = match self.signed {
            Signed::No => f64::from(raw),
            Signed::TwosComplement => f64::from(i8::from_ne_bytes([raw])),
            Signed::OnesComplement if raw & 0x80 != 0 => -f64::from(!raw),
            Signed::OnesComplement => f64::from(raw),
        };
        let ten = |exponent: i8| 10_f64.powi(i32::from(exponent));
        let y = (f64::from(self.m) * x + f64::from(self.b) * ten(self.b_exponent))
            * ten(self.r_exponent);
        let value = match self.linearization {
            0x00 => y,
            0x01 => y.ln(),
            0x02 => y.log10(),
            0x03 => y.log2(),
            0x04 => y.exp(),
            0x05 => 10_f64.powf(y),
            0x06 => y.exp2(),
            0x07 => 1.0 / y,
            0x08 => y * y,
            0x09 => y * y * y,
            0x0a => y.sqrt(),
            0x0b => y.cbrt(),
            _ => return None,
        };
        // The sums above leave dust such as 3.3000000000000003.
        let rounded = (value * 1e6).round() / 1e6;
        rounded.is_finite().then_some(rounded)
    }
}

/// What a sensor says now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SensorReading {
    /// Value in the sensor's unit.
    pub value: Option<f64>,
    /// Asserted states or crossed thresholds.
    pub states: Vec<String>,
    /// Why there is nothing: `None` when there is.
    pub unavailable: Option<&'static str>,
}

/// Parses the data of Get Sensor Reading: raw reading, flags, states.
///
/// # Errors
/// [`SdrError::Short`].
pub fn parse_reading(sensor: &SensorRecord, data: &[u8]) -> Result<SensorReading, SdrError> {
    const THRESHOLD: u8 = 0x01;
    let (&raw, &flags) = match (data.first(), data.get(1)) {
        (Some(raw), Some(flags)) => (raw, flags),
        (_, _) => {
            return Err(SdrError::Short {
                size: data.len(),
                want: 2,
            });
        }
    };
    let unavailable = if flags & 0x40 == 0 {
        Some("the controller does not scan this sensor now")
    } else if flags & 0x20 != 0 {
        Some("the controller has no reading of it now")
    } else {
        None
    };
    if unavailable.is_some() {
        return Ok(SensorReading {
            unavailable,
            ..SensorReading::default()
        });
    }
    let states = u16::from(data.get(2).copied().unwrap_or(0))
        | (u16::from(data.get(3).copied().unwrap_or(0) & 0x7f) << 8);
    // Threshold sensors have six states; the specification leaves the two bits above them open.
    let states = if sensor.reading_type == THRESHOLD {
        states & 0x3f
    } else {
        states
    };
    Ok(SensorReading {
        value: sensor.scale.and_then(|scale| scale.value(raw)),
        states: (0..15_u8)
            .filter(|bit| states & (1 << bit) != 0)
            .map(|bit| words::state(sensor.reading_type, sensor.kind, bit))
            .collect(),
        unavailable: None,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A full record of a temperature sensor: value is the raw byte.
    pub(crate) fn full(number: u8, name: &str) -> Vec<u8> {
        let mut bytes = vec![0_u8; 48];
        bytes[..13].copy_from_slice(&[7, 0, 0x51, 1, 0, 0x20, 0, number, 3, 1, 0, 0, 0x01]);
        bytes[13] = 0x01;
        bytes[21] = 1;
        bytes[24] = 1;
        bytes[47] = 0xc0 | u8::try_from(name.len()).expect("short");
        bytes.extend_from_slice(name.as_bytes());
        bytes[4] = u8::try_from(bytes.len() - 5).expect("short");
        bytes
    }

    fn sensor(bytes: &[u8]) -> SensorRecord {
        match parse_record(bytes).expect("whole") {
            Record::Sensor(sensor) => sensor,
            Record::Other => panic!("a sensor"),
        }
    }

    #[test]
    fn a_full_record() {
        let sensor = sensor(&full(0x30, "CPU1 Temp"));
        assert_eq!((sensor.number, sensor.name.as_str()), (0x30, "CPU1 Temp"));
        assert_eq!(sensor.unit_name.as_deref(), Some("degrees C"));
        let reading = parse_reading(&sensor, &[41, 0xc0, 0xc8, 0]).expect("reading");
        assert_eq!(reading.value, Some(41.0));
        assert_eq!(reading.states, ["at or above upper non-critical threshold"]);
    }

    #[test]
    fn factors_exponents_and_signs() {
        let mut bytes = full(1, "P12V");
        bytes[20] = 0;
        bytes[21] = 4;
        bytes[24] = 63;
        bytes[29] = 0xd0;
        let volts = sensor(&bytes);
        assert_eq!(volts.unit_name.as_deref(), Some("volts"));
        let reading = parse_reading(&volts, &[193, 0xc0]).expect("reading");
        assert_eq!(reading.value, Some(12.159));
        bytes[20] = 0x80;
        bytes[24] = 1;
        bytes[29] = 0;
        bytes[26] = 0xff;
        bytes[27] = 0xc0;
        let signed = sensor(&bytes);
        // M = 1, B = -1: -6 + -1.
        let reading = parse_reading(&signed, &[0xfa, 0xc0]).expect("reading");
        assert_eq!(reading.value, Some(-7.0));
    }

    #[test]
    fn a_discrete_sensor_has_states_and_no_value() {
        let mut bytes = vec![0_u8; 32];
        bytes[..13].copy_from_slice(&[8, 0, 0x51, 2, 0, 0x20, 0, 0x41, 10, 1, 0, 0, 0x08]);
        bytes[13] = 0x6f;
        bytes[20] = 0xc0;
        bytes[31] = 0xc3;
        bytes.extend_from_slice(b"PS1");
        let supply = sensor(&bytes);
        let reading = parse_reading(&supply, &[0, 0xc0, 0x09, 0x80]).expect("reading");
        assert_eq!(reading.value, None);
        assert_eq!(
            reading.states,
            ["presence detected", "power supply input lost (AC/DC)"]
        );
        let off = parse_reading(&supply, &[0, 0x80, 0, 0]).expect("reading");
        assert!(off.unavailable.is_some());
    }

    #[test]
    fn other_and_short_records() {
        assert_eq!(parse_record(&[0, 0, 0x51, 0x12, 0]), Ok(Record::Other));
        let error = parse_record(&full(1, "x")[..40]).expect_err("cut short");
        assert_eq!(error, SdrError::Short { size: 40, want: 48 });
    }

    #[test]
    fn six_bit_names() {
        assert_eq!(name(0x80 | 3, &[0x29, 0xdc, 0xa6]).as_deref(), Some("IPMI"));
    }

    proptest! {
        #[test]
        fn nothing_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
            kind in 1_u8..3,
            data in proptest::collection::vec(any::<u8>(), 0..6),
        ) {
            let mut bytes = bytes;
            if bytes.len() > 3 { bytes[3] = kind; }
            if let Ok(Record::Sensor(sensor)) = parse_record(&bytes)
                && let Ok(reading) = parse_reading(&sensor, &data)
                && let Some(value) = reading.value
            {
                prop_assert!(value.is_finite());
            }
        }
    }
}
