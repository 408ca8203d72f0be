//! Pages of NVMe controllers, replies of management controllers and vital product data: whatever
//! the bytes, nothing panics and every number is finite.

use cupel_hardware::ipmi::{
    Record, parse_device_id, parse_reading, parse_record, parse_sel_info, parse_sel_record,
};
use cupel_hardware::nvme::{
    FIRMWARE_SLOTS_BYTES, HEALTH_BYTES, IDENTIFY_BYTES, parse_firmware_slots, parse_health,
    parse_identify,
};
use cupel_hardware::pci::parse_vpd;

/// The same bytes as each reply, cut or padded to the size of a page where one has a size.
pub fn ioctl_replies(data: &[u8]) {
    nvme(data);
    ipmi(data);
    if let Ok(vpd) = parse_vpd(data) {
        let length: usize = vpd.keywords.iter().map(|(_, value)| value.len()).sum();
        assert!(length <= data.len());
    }
}

fn nvme(data: &[u8]) {
    let page = |size: usize| {
        let mut bytes = data.to_vec();
        bytes.resize(size, 0);
        bytes
    };
    let _ = (
        parse_identify(data),
        parse_health(data),
        parse_firmware_slots(data),
    );
    let _ = parse_identify(&page(IDENTIFY_BYTES));
    if let Ok(health) = parse_health(&page(HEALTH_BYTES)) {
        assert!(health.critical_warnings.len() <= 8);
    }
    if let Ok(slots) = parse_firmware_slots(&page(FIRMWARE_SLOTS_BYTES)) {
        assert!(slots.iter().filter(|slot| slot.active).count() <= 1);
        assert!(slots.iter().filter(|slot| slot.next).count() <= 1);
        assert!(slots.iter().all(|slot| (1..=7).contains(&slot.index)));
    }
}

fn ipmi(data: &[u8]) {
    let _ = (parse_device_id(data), parse_sel_info(data));
    if let Some(record) = parse_sel_record(data, |_, _| None) {
        assert_eq!(record.raw.len(), 32);
    }
    let (reply, record) = data.split_at(data.len().min(4));
    if let Ok(Record::Sensor(sensor)) = parse_record(record) {
        assert!(!sensor.name.is_empty());
        if let Ok(reading) = parse_reading(&sensor, reply) {
            assert!(reading.value.is_none_or(f64::is_finite));
            assert!(reading.states.len() <= 15);
        }
    }
}
