//! Asks the controller, one request after the other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cupel_model::Reading;
use cupel_model::snapshot::{Bmc, BmcSensor, Problem, SelRecord};

use super::identity::parse_device_id;
use super::sdr::{Record, SensorRecord, parse_reading, parse_record};
use super::sel::{parse_record as parse_sel_record, parse_sel_info};
use super::transport::{IpmiError, Request, Transport};
use super::words;
use crate::root::Root;

const SENSOR: u8 = 0x04;
const APPLICATION: u8 = 0x06;
const STORAGE: u8 = 0x0a;

/// Address of the controller at this machine's own interface.
const OWN: u8 = 0x20;

/// Id of the last record of a repository or log; also what "there is no next one" looks like.
const LAST: u16 = 0xffff;

/// Events that are kept: the newest.
const EVENTS: u16 = 512;

/// Most sensor data records: a controller that chains its records in a ring ends here.
const RECORDS: usize = 4096;

/// The controller; sensors and events only with `details`. What was read when `limit` passed is
/// kept, and the rest told as a problem.
pub fn collect(root: &Root, details: bool, limit: Duration) -> (Reading<Bmc>, Vec<Problem>) {
    let mut transport = match Transport::open(root, Instant::now() + limit) {
        Ok(transport) => transport,
        Err(error) if error.is_missing() => {
            return (
                Reading::absent(format!("no IPMI device ({error})")),
                Vec::new(),
            );
        }
        Err(error) => return (error.into_reading(), Vec::new()),
    };
    let device_id = Request {
        function: APPLICATION,
        unit: 0,
        command: 0x01,
        data: &[],
    };
    let mut bmc = match transport.ask("Get Device ID", device_id, 11) {
        Ok(data) => match parse_device_id(&data) {
            Some(bmc) => bmc,
            None => {
                return (
                    Reading::failed("Get Device ID: reply cut short"),
                    Vec::new(),
                );
            }
        },
        Err(error) => return (refused(&error), Vec::new()),
    };
    let mut problems = Vec::new();
    if details {
        let sensors = sensors(&mut transport, &mut problems);
        let names = match &sensors {
            Ok(sensors) => names(sensors),
            Err(_) => BTreeMap::new(),
        };
        bmc.sensors = sensors.map_or_else(
            |error| refused(&error),
            |sensors| Reading::Value(read_all(&mut transport, &sensors, &mut problems)),
        );
        match events(&mut transport, &names, &mut problems) {
            Ok((events, overflow)) => {
                bmc.sel = Reading::Value(events);
                bmc.sel_overflow = Reading::Value(overflow);
            }
            Err(error) => {
                bmc.sel = refused(&error);
                bmc.sel_overflow = refused(&error);
            }
        }
    } else {
        let why = "not asked for: reading sensors and events takes seconds";
        bmc.sensors = Reading::unsupported(why);
        bmc.sel = Reading::unsupported(why);
        bmc.sel_overflow = Reading::unsupported(why);
    }
    (Reading::Value(bmc), problems)
}

fn refused<T>(error: &IpmiError) -> Reading<T> {
    const UNKNOWN_COMMAND: u8 = 0xc1;
    match error {
        IpmiError::Refused {
            code: UNKNOWN_COMMAND,
            ..
        } => Reading::unsupported(error.to_string()),
        IpmiError::NotRecorded { .. } => Reading::absent(error.to_string()),
        IpmiError::Read(read) => read.clone().into_reading(),
        IpmiError::Refused { .. } | IpmiError::Short { .. } | IpmiError::OutOfTime => {
            Reading::failed(error.to_string())
        }
    }
}

fn problem(error: &impl std::fmt::Display, what: &str) -> Problem {
    Problem {
        source: "bmc".to_owned(),
        why: format!("{what}: {error}"),
    }
}

/// Owner and number of each sensor, with its name.
fn names(sensors: &[SensorRecord]) -> BTreeMap<(u8, u8), String> {
    sensors
        .iter()
        .map(|s| ((s.owner, s.number), s.name.clone()))
        .collect()
}

/// The repository's sensor records.
fn sensors(
    transport: &mut Transport,
    problems: &mut Vec<Problem>,
) -> Result<Vec<SensorRecord>, IpmiError> {
    let info = Request {
        function: STORAGE,
        unit: 0,
        command: 0x20,
        data: &[],
    };
    let info = transport.ask("Get SDR Repository Info", info, 3)?;
    if info[1..3] == [0, 0] {
        return Ok(Vec::new());
    }
    let mut reservation = reserve(transport)?;
    let mut sensors = Vec::new();
    let mut id = 0;
    for _ in 0..RECORDS {
        let (next, bytes) = match record(transport, &mut reservation, id) {
            Ok(read) => read,
            Err(error) if sensors.is_empty() => return Err(error),
            Err(error) => {
                problems.push(problem(&error, "sensor data records were read in part"));
                break;
            }
        };
        match parse_record(&bytes) {
            Ok(Record::Sensor(sensor)) => sensors.push(sensor),
            Ok(Record::Other) => {}
            Err(error) => problems.push(problem(&error, &format!("record {id:#06x}"))),
        }
        if next == LAST {
            break;
        }
        id = next;
    }
    Ok(sensors)
}

fn reserve(transport: &mut Transport) -> Result<[u8; 2], IpmiError> {
    let request = Request {
        function: STORAGE,
        unit: 0,
        command: 0x22,
        data: &[],
    };
    let data = transport.ask("Reserve SDR Repository", request, 2)?;
    Ok([data[0], data[1]])
}

/// One whole record and the id of the next: at once where the controller can, else in pieces.
fn record(
    transport: &mut Transport,
    reservation: &mut [u8; 2],
    id: u16,
) -> Result<(u16, Vec<u8>), IpmiError> {
    const WHOLE: u8 = 0xff;
    const LOST: u8 = 0xc5;
    for _ in 0..3 {
        let read = match piece(transport, *reservation, id, 0, WHOLE) {
            Err(IpmiError::Refused {
                code: 0xc6..=0xca | 0xff,
                ..
            }) => in_pieces(transport, *reservation, id),
            other => other,
        };
        match read {
            Err(IpmiError::Refused { code: LOST, .. }) => *reservation = reserve(transport)?,
            other => return other,
        }
    }
    let meaning = "reservation lost three times";
    Err(IpmiError::Refused {
        function: STORAGE,
        command: 0x23,
        code: LOST,
        meaning,
    })
}

fn in_pieces(
    transport: &mut Transport,
    reservation: [u8; 2],
    id: u16,
) -> Result<(u16, Vec<u8>), IpmiError> {
    const HEADER: u8 = 5;
    const PIECE: u8 = 16;
    let (next, mut bytes) = piece(transport, reservation, id, 0, HEADER)?;
    let size = match bytes.get(4) {
        Some(length) => HEADER.saturating_add(*length),
        None => {
            let (what, want) = ("Get SDR", usize::from(HEADER));
            return Err(IpmiError::Short {
                what,
                size: bytes.len(),
                want,
            });
        }
    };
    let mut offset = HEADER;
    while offset < size {
        let count = PIECE.min(size - offset);
        let (_, more) = piece(transport, reservation, id, offset, count)?;
        if more.is_empty() {
            let (what, want) = ("Get SDR", usize::from(count));
            return Err(IpmiError::Short {
                what,
                size: 0,
                want,
            });
        }
        bytes.extend_from_slice(&more[..more.len().min(usize::from(count))]);
        offset = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    }
    Ok((next, bytes))
}

fn piece(
    transport: &mut Transport,
    reservation: [u8; 2],
    id: u16,
    offset: u8,
    count: u8,
) -> Result<(u16, Vec<u8>), IpmiError> {
    let [low, high] = id.to_le_bytes();
    let data = [reservation[0], reservation[1], low, high, offset, count];
    let request = Request {
        function: STORAGE,
        unit: 0,
        command: 0x23,
        data: &data,
    };
    let reply = transport.ask("Get SDR", request, 2)?;
    Ok((
        u16::from_le_bytes([reply[0], reply[1]]),
        reply[2..].to_vec(),
    ))
}

/// Readings of all sensors, by name.
fn read_all(
    transport: &mut Transport,
    sensors: &[SensorRecord],
    problems: &mut Vec<Problem>,
) -> Vec<BmcSensor> {
    let mut read = Vec::new();
    for sensor in sensors {
        let (value, states) = match read_one(transport, sensor) {
            Ok(reading) => reading,
            Err(IpmiError::OutOfTime) => {
                let what = format!("{} of {} sensors were read", read.len(), sensors.len());
                problems.push(problem(&IpmiError::OutOfTime, &what));
                break;
            }
            Err(error) => (refused(&error), Vec::new()),
        };
        read.push(BmcSensor {
            name: sensor.name.clone(),
            kind: words::sensor_type(sensor.kind),
            value,
            unit: sensor.unit_name.clone(),
            states,
        });
    }
    read.sort_by(|a, b| a.name.cmp(&b.name));
    read
}

fn read_one(
    transport: &mut Transport,
    sensor: &SensorRecord,
) -> Result<(Reading<f64>, Vec<String>), IpmiError> {
    const NO_SUCH_SENSOR: u8 = 0xcb;
    if sensor.owner != OWN {
        let why = format!("owned by the controller at {:#04x}", sensor.owner);
        return Ok((Reading::unsupported(why), Vec::new()));
    }
    let data = [sensor.number];
    let request = Request {
        function: SENSOR,
        unit: sensor.unit,
        command: 0x2d,
        data: &data,
    };
    let data = match transport.ask("Get Sensor Reading", request, 2) {
        Err(
            error @ IpmiError::Refused {
                code: NO_SUCH_SENSOR,
                ..
            },
        ) => {
            return Ok((Reading::absent(error.to_string()), Vec::new()));
        }
        other => other?,
    };
    match parse_reading(sensor, &data) {
        Ok(reading) => {
            let value = match (reading.value, reading.unavailable) {
                (_, Some(why)) => Reading::absent(why),
                (Some(value), None) => Reading::Value(value),
                (None, None) => Reading::unsupported("a sensor of states, without a value"),
            };
            Ok((value, reading.states))
        }
        Err(error) => Ok((Reading::failed(error.to_string()), Vec::new())),
    }
}

/// The newest events, oldest first, and whether the log has lost some.
fn events(
    transport: &mut Transport,
    names: &BTreeMap<(u8, u8), String>,
    problems: &mut Vec<Problem>,
) -> Result<(Vec<SelRecord>, bool), IpmiError> {
    let request = Request {
        function: STORAGE,
        unit: 0,
        command: 0x40,
        data: &[],
    };
    let data = transport.ask("Get SEL Info", request, 14)?;
    let info = parse_sel_info(&data).ok_or(IpmiError::Short {
        what: "Get SEL Info",
        size: data.len(),
        want: 14,
    })?;
    let mut events = std::collections::VecDeque::new();
    if info.entries == 0 {
        return Ok((Vec::new(), info.overflow));
    }
    let mut id = first_event(transport, info.entries)?;
    for _ in 0..=info.entries {
        let (next, bytes) = match event(transport, id) {
            Ok(read) => read,
            Err(error) if events.is_empty() => return Err(error),
            Err(error) => {
                problems.push(problem(&error, "the event log was read in part"));
                break;
            }
        };
        let name_of = |owner: u8, number: u8| names.get(&(owner, number)).cloned();
        match parse_sel_record(&bytes, name_of) {
            Some(event) => events.push_back(event),
            None => problems.push(problem(&"cut short", &format!("event {id:#06x}"))),
        }
        if events.len() > usize::from(EVENTS) {
            events.pop_front();
        }
        if next == LAST || next == id {
            break;
        }
        id = next;
    }
    Ok((events.into(), info.overflow))
}

/// Where reading begins: the first event; in a long log whose ids are in sequence, far enough
/// before the last one.
fn first_event(transport: &mut Transport, entries: u16) -> Result<u16, IpmiError> {
    if entries <= EVENTS {
        return Ok(0);
    }
    let (_, last) = event(transport, LAST)?;
    let last = match last[..] {
        [low, high, ..] => u16::from_le_bytes([low, high]),
        _ => return Ok(0),
    };
    let wanted = last.saturating_sub(EVENTS - 1);
    match event(transport, wanted) {
        Ok(_) if wanted > 0 => Ok(wanted),
        Ok(_) | Err(IpmiError::Refused { .. } | IpmiError::NotRecorded { .. }) => Ok(0),
        Err(error) => Err(error),
    }
}

fn event(transport: &mut Transport, id: u16) -> Result<(u16, Vec<u8>), IpmiError> {
    const WHOLE: u8 = 0xff;
    let [low, high] = id.to_le_bytes();
    let data = [0, 0, low, high, 0, WHOLE];
    let request = Request {
        function: STORAGE,
        unit: 0,
        command: 0x43,
        data: &data,
    };
    let reply = transport.ask("Get SEL Entry", request, 2)?;
    Ok((
        u16::from_le_bytes([reply[0], reply[1]]),
        reply[2..].to_vec(),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::sdr::tests::full;
    use super::super::transport::hexadecimal;
    use super::*;
    use crate::testing::Tree;

    const LIMIT: Duration = Duration::from_secs(5);

    fn replies(tree: &Tree, replies: &[(u8, u8, String, String)]) {
        let replies: Vec<_> = replies
            .iter()
            .map(|(netfn, cmd, data, reply)| {
                serde_json::json!({"netfn": netfn, "cmd": cmd, "data": data, "reply": reply})
            })
            .collect();
        tree.file("/dev/ipmi0.replies", serde_json::json!(replies).to_string());
    }

    fn controller() -> Vec<(u8, u8, String, String)> {
        let text = |bytes: &str| bytes.to_owned();
        let record = hexadecimal(&full(0x30, "CPU1 Temp"));
        let event = "2a0002 00f15365 2000 04 01 30 01 59 3c 3a".replace(' ', "");
        vec![
            (
                6,
                1,
                text(""),
                text("00208107100202a2020000010000000000").replace("0202a2", "02bfa2"),
            ),
            (10, 0x20, text(""), text("0051010000")),
            (10, 0x22, text(""), text("003412")),
            (10, 0x23, text("3412000000ff"), format!("00ffff{record}")),
            (4, 0x2d, text("30"), text("002dc000")),
            (
                10,
                0x40,
                text(""),
                text("0051010000400000000000000000 82").replace(' ', ""),
            ),
            (10, 0x43, text("0000000000ff"), format!("00ffff{event}")),
        ]
    }

    #[test]
    fn a_controller_with_a_sensor_and_an_event() {
        let tree = Tree::new();
        replies(&tree, &controller());
        let (bmc, problems) = collect(&tree.root(), true, LIMIT);
        assert_eq!(problems, []);
        let bmc = bmc.value().expect("a controller").clone();
        assert_eq!(bmc.firmware, Reading::Value("7.10".to_owned()));
        let sensors = bmc.sensors.value().expect("sensors");
        assert_eq!(sensors.len(), 1);
        assert_eq!(sensors[0].value, Reading::Value(45.0));
        assert_eq!(sensors[0].kind, "temperature");
        let events = bmc.sel.value().expect("events");
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].sensor, "CPU1 Temp");
        assert_eq!(events[0].event, "at or above upper critical threshold");
        assert_eq!(bmc.sel_overflow, Reading::Value(true));
    }

    #[test]
    fn a_record_in_pieces_where_it_cannot_be_had_at_once() {
        let tree = Tree::new();
        let mut all = controller();
        all.retain(|(_, cmd, _, _)| *cmd != 0x23);
        let record = full(0x30, "CPU1 Temp");
        all.push((10, 0x23, "3412000000ff".to_owned(), "ca".to_owned()));
        let mut offset = 0;
        for count in [5, 16, 16, 16, 4] {
            let data = hexadecimal(&[
                0x34,
                0x12,
                0,
                0,
                u8::try_from(offset).expect("small"),
                u8::try_from(count).expect("small"),
            ]);
            let bytes = hexadecimal(&record[offset..offset + count]);
            all.push((10, 0x23, data, format!("00ffff{bytes}")));
            offset += count;
        }
        assert_eq!(offset, record.len());
        replies(&tree, &all);
        let (bmc, problems) = collect(&tree.root(), true, LIMIT);
        assert_eq!(problems, []);
        let sensors = bmc
            .value()
            .and_then(|bmc| bmc.sensors.value())
            .expect("sensors")
            .clone();
        assert_eq!(sensors[0].name, "CPU1 Temp");
    }

    #[test]
    fn without_details_only_the_device_id_is_asked() {
        let tree = Tree::new();
        replies(&tree, &controller()[..1]);
        let (bmc, problems) = collect(&tree.root(), false, LIMIT);
        assert_eq!(problems, []);
        let bmc = bmc.value().expect("a controller").clone();
        assert!(matches!(bmc.sensors, Reading::Unsupported(_)));
    }

    #[test]
    fn no_device_garbage_and_refusal_are_told_apart() {
        let tree = Tree::new();
        let (bmc, _) = collect(&tree.root(), true, LIMIT);
        assert!(matches!(bmc, Reading::Absent(_)), "{bmc:?}");
        tree.file("/dev/ipmi0.replies", "[{\"netfn\": 6}]");
        let (bmc, _) = collect(&tree.root(), true, LIMIT);
        assert!(
            bmc.why().is_some_and(|why| why.contains("line 1")),
            "{bmc:?}"
        );
        replies(&tree, &[(6, 1, String::new(), "c3".to_owned())]);
        let (bmc, _) = collect(&tree.root(), true, LIMIT);
        assert_eq!(
            bmc.why(),
            Some("command 0x06/0x01: completion code 0xc3 (timed out)")
        );
    }

    #[test]
    fn time_that_is_over_is_told() {
        let tree = Tree::new();
        replies(&tree, &controller());
        let (bmc, _) = collect(&tree.root(), true, Duration::ZERO);
        assert_eq!(
            bmc.why(),
            Some("the time for asking the controller is over")
        );
    }
}
