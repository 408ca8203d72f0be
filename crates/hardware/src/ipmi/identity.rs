//! Get Device ID (IPMI 2.0, 20.1).

use cupel_model::Reading;
use cupel_model::snapshot::Bmc;

/// Reads the reply's data into a controller without sensors and events; `None` when it is shorter
/// than every version of the specification allows.
pub fn parse_device_id(data: &[u8]) -> Option<Bmc> {
    let &[
        _,
        _,
        major,
        minor,
        version,
        _,
        m0,
        m1,
        m2,
        p0,
        p1,
        ref auxiliary @ ..,
    ] = data
    else {
        return None;
    };
    // Bit 7 of the major revision says that the firmware is being updated.
    let major = major & 0x7f;
    let mut firmware = match decimal(minor) {
        Some(minor) => format!("{major}.{minor:02}"),
        None => format!("{major}.{minor:02x}"),
    };
    if auxiliary.len() >= 4 && auxiliary[..4].iter().any(|byte| *byte != 0) {
        let bytes: String = auxiliary[..4]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        firmware.push_str(&format!(" ({bytes})"));
    }
    let manufacturer = u32::from_le_bytes([m0, m1, m2 & 0x0f, 0]);
    Some(Bmc {
        firmware: Reading::Value(firmware),
        ipmi_version: Reading::Value(format!("{}.{}", version & 0x0f, version >> 4)),
        manufacturer_id: if manufacturer == 0 {
            Reading::absent("the controller does not say")
        } else {
            Reading::Value(manufacturer)
        },
        product_id: Reading::Value(u32::from(u16::from_le_bytes([p0, p1]))),
        ..Bmc::default()
    })
}

/// Two decimal digits, four bits each.
fn decimal(byte: u8) -> Option<u8> {
    let (tens, ones) = (byte >> 4, byte & 0x0f);
    (tens < 10 && ones < 10).then_some(tens * 10 + ones)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_id() {
        let data = [
            0x20, 0x81, 0x07, 0x10, 0x02, 0xbf, 0xa2, 0x02, 0, 0, 1, 0, 0x1c, 0, 0x37,
        ];
        let bmc = parse_device_id(&data).expect("whole");
        assert_eq!(bmc.firmware, Reading::Value("7.10 (001c0037)".to_owned()));
        assert_eq!(bmc.ipmi_version, Reading::Value("2.0".to_owned()));
        assert_eq!(bmc.manufacturer_id, Reading::Value(674));
        assert_eq!(bmc.product_id, Reading::Value(256));
        let short = parse_device_id(&data[..11]).expect("without auxiliary bytes");
        assert_eq!(short.firmware, Reading::Value("7.10".to_owned()));
        assert_eq!(parse_device_id(&data[..10]), None);
    }
}
