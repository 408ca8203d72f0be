//! What is sampled about the host while a stage loads it: heat, power, clocks, bytes moved; and
//! what its counters say before and after.

use std::time::{Duration, Instant};

use cupel_hardware::Root;
use cupel_hardware::edac;
use cupel_hardware::host_memory::{MemorySource, Topology};
use cupel_hardware::host_sensors::ProcessorSensors;
use cupel_model::Reading;
use cupel_model::snapshot::EdacCounter;

use crate::counters::memory_changes;
use crate::resource::Resource;
use crate::result::{CounterChange, CounterMeaning};
use crate::stage::Watch;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(1);

/// Looks at the host from the beginning of a stage to its end.
#[derive(Debug)]
pub(crate) struct HostWatch {
    /// `None` beneath another root: its files are not those of the machine that is loaded.
    sensors: Option<(Root, ProcessorSensors)>,
    throttled: Reading<u64>,
    errors: Vec<EdacCounter>,
    last: Instant,
    moved: u64,
}

impl HostWatch {
    pub(crate) fn begin(topology: &Topology) -> Self {
        let mut sensors = match &topology.source {
            MemorySource::Files(root) => {
                Some((root.clone(), ProcessorSensors::new(root, &topology.cpus)))
            }
            MemorySource::SystemCall | MemorySource::Fixed(_) => None,
        };
        let (throttled, errors) = match &mut sensors {
            Some((root, sensors)) => (sensors.look().throttled, edac::collect(root).0),
            None => (Reading::unsupported("not read"), Vec::new()),
        };
        Self {
            sensors,
            throttled,
            errors,
            last: Instant::now(),
            moved: 0,
        }
    }

    /// Samples, when a second has passed since the last time. `moved`: bytes since the stage began.
    pub(crate) fn tick(&mut self, watch: &Watch, moved: Option<u64>) {
        let elapsed = self.last.elapsed();
        if elapsed < EVERY {
            return;
        }
        self.last = Instant::now();
        if let Some(moved) = moved {
            let bytes = moved.saturating_sub(self.moved) as f64;
            self.moved = moved;
            let rate = bytes / elapsed.as_secs_f64() / 1e9;
            watch.sample("bandwidth", None, rate, "GB/s");
        }
        let Some((_, sensors)) = &mut self.sensors else {
            return;
        };
        let on = || Some(Resource::Processors);
        let look = sensors.look();
        if let Some(celsius) = look.hottest.get() {
            watch.sample("temperature", on(), celsius.get(), "°C");
        }
        if let Some(watts) = look.power.get() {
            watch.sample("power", on(), watts.get(), "W");
        }
        if let Some(megahertz) = look.megahertz.get() {
            watch.sample("clock", on(), megahertz, "MHz");
        }
    }

    /// What the counters say now, beside what they said at the beginning.
    pub(crate) fn end(&mut self) -> Vec<CounterChange> {
        let Some((root, sensors)) = &mut self.sensors else {
            return Vec::new();
        };
        let mut changes = memory_changes(&self.errors, &edac::collect(root).0);
        let throttled = sensors.look().throttled;
        let count = |reading: &Reading<u64>| reading.as_ref().map(|count| *count as f64);
        if self.throttled.value().is_some() || throttled.value().is_some() {
            changes.push(CounterChange {
                name: "throttled by heat".to_owned(),
                on: Some(Resource::Processors),
                place: None,
                meaning: CounterMeaning::Throttled,
                unit: "times".to_owned(),
                before: count(&self.throttled),
                after: count(&throttled),
            });
        }
        changes
    }
}
