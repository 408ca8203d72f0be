//! How a GPU misbehaves: what is done to its memory around a launch or a copy.

use super::gpus::{self, Gpu};
use crate::state::{CudaAct, CudaFault, CudaPlace, State};

/// Where a fault acts.
#[derive(Clone, Copy)]
enum At {
    Word(u64),
    Half(u64),
}

impl At {
    fn read(self) -> u64 {
        // SAFETY: `place` gives addresses of live allocations, or the output of a running launch.
        unsafe {
            match self {
                Self::Word(address) => gpus::read(address),
                Self::Half(address) => u64::from(gpus::read_half(address)),
            }
        }
    }

    fn write(self, value: u64) {
        // SAFETY: as in `read`.
        unsafe {
            match self {
                Self::Word(address) => gpus::write(address, value),
                Self::Half(address) => {
                    let half = u32::try_from(value & u64::from(u32::MAX)).unwrap_or(0);
                    gpus::write_half(address, half);
                }
            }
        }
    }
}

fn place(gpu: &Gpu, place: &CudaPlace, output: u64) -> Option<At> {
    match place {
        CudaPlace::Memory { bytes, word } => gpu.word(*bytes, *word).map(At::Word),
        CudaPlace::Output { word } => Some(At::Half(output + word * 4)),
    }
}

fn stick(is: u64, bit: u32, high: bool) -> u64 {
    let mask = 1 << (bit % 64);
    if high { is | mask } else { is & !mask }
}

/// What is done before the launch, to be undone or done after it.
pub struct Around<'s> {
    acting: Vec<(&'s CudaFault, Option<u64>)>,
    always: Vec<&'s CudaFault>,
    output: u64,
}

/// Before a launch or a copy of this name on GPU `index`, which writes to `output`.
pub fn before<'s>(
    state: &'s State,
    gpu: &mut Gpu,
    index: u32,
    name: &str,
    output: u64,
) -> Around<'s> {
    let mut around = Around {
        acting: Vec::new(),
        always: Vec::new(),
        output,
    };
    let of_gpu = |fault: &&CudaFault| fault.gpu.is_none_or(|of| of == index);
    for fault in state.cuda.faults.iter().filter(of_gpu) {
        let cell = matches!(fault.act, CudaAct::Stuck { .. } | CudaAct::Alias { .. });
        if cell && fault.launch.is_none() {
            around.always.push(fault);
        }
        if !name.starts_with(&fault.kernel) {
            continue;
        }
        let key = format!("{}/{:?}", fault.kernel, fault.act);
        let count = gpu.launches.entry(key).or_default();
        let number = *count;
        *count += 1;
        match (&fault.act, fault.launch) {
            (CudaAct::Hang, when) if when.is_none_or(|when| number >= when) => gpu.hung = true,
            (CudaAct::Lost { code }, when) if when.is_none_or(|when| number >= when) => {
                gpu.lost = Some(*code);
            }
            (_, when) if when.is_none_or(|when| number == when) => {
                let kept = if let CudaAct::Dropped { place: at } = &fault.act {
                    place(gpu, at, output).map(At::read)
                } else {
                    None
                };
                around.acting.push((fault, kept));
            }
            _ => {}
        }
    }
    around
}

/// After it; how much longer it took, nanoseconds.
pub fn after(gpu: &Gpu, around: &Around<'_>) -> u64 {
    let mut longer = 0;
    for (fault, kept) in &around.acting {
        act(gpu, &fault.act, around.output, *kept);
        if let CudaAct::Slow { milliseconds } = fault.act {
            longer += milliseconds * 1_000_000;
        }
    }
    for fault in &around.always {
        act(gpu, &fault.act, around.output, None);
    }
    longer
}

/// What is broken stays so, whoever writes.
pub fn settle(state: &State, gpu: &Gpu, index: u32) {
    for fault in &state.cuda.faults {
        let cell = matches!(fault.act, CudaAct::Stuck { .. } | CudaAct::Alias { .. });
        if cell && fault.launch.is_none() && fault.gpu.is_none_or(|of| of == index) {
            act(gpu, &fault.act, 0, None);
        }
    }
}

fn act(gpu: &Gpu, act: &CudaAct, output: u64, kept: Option<u64>) {
    let at = |place_of: &CudaPlace| place(gpu, place_of, output);
    match act {
        CudaAct::Flip { place, bit } => {
            if let Some(at) = at(place) {
                at.write(at.read() ^ 1 << (bit % 64));
            }
        }
        CudaAct::Stuck { place, bit, high } => {
            if let Some(at) = at(place) {
                at.write(stick(at.read(), *bit, *high));
            }
        }
        CudaAct::Alias { place, of } => {
            if let (Some(at), Some(of)) = (at(place), at(of)) {
                at.write(of.read());
            }
        }
        CudaAct::Dropped { place } => {
            if let (Some(at), Some(kept)) = (at(place), kept) {
                at.write(kept);
            }
        }
        CudaAct::Replace { place, value } => {
            if let Some(at) = at(place) {
                at.write(*value);
            }
        }
        CudaAct::Row { row, columns } => {
            for column in 0..*columns {
                let at = At::Half(output + (row * columns + column) * 4);
                let next = At::Half(output + ((row + 1) * columns + column) * 4);
                at.write(next.read());
            }
        }
        CudaAct::Slow { .. } | CudaAct::Hang | CudaAct::Lost { .. } => {}
    }
}
