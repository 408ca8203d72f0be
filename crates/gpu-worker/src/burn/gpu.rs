//! A GPU that a job works on: its stream, its kernels, and waiting with an end.

use std::rc::Rc;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use cupel_model::worker_burnin::{BurnError, BurnErrorKind};

use super::board::Board;
use super::report::Stop;
use crate::cuda::args::{KernelArgs, StreamArgs};
use crate::cuda::{Context, CudaError, DeviceMemory, Event, Function, Stream};

/// What a GPU may take for what it was given at once. Nothing here takes a second.
pub const LIMIT: Duration = Duration::from_secs(20);

/// A GPU.
pub struct Gpu {
    /// Its context.
    pub context: Rc<Context>,
    /// Its number in the job.
    pub index: u32,
    /// The job's board.
    pub board: Arc<Board>,
    /// What it is asked for, one after the other.
    pub stream: Stream,
    read: Kernel,
}

/// A kernel and how many blocks fill the GPU.
pub struct Kernel {
    /// The kernel.
    pub function: Function,
    /// Blocks.
    pub blocks: u32,
}

/// All GPUs of a job.
///
/// # Errors
/// The driver's.
pub fn all(contexts: &[Rc<Context>], board: &Arc<Board>) -> Result<Vec<Gpu>, Stop> {
    (0_u32..)
        .zip(contexts)
        .map(|(index, context)| Gpu::new(context, index, board))
        .collect()
}

impl Gpu {
    /// A GPU with a stream of its own.
    ///
    /// # Errors
    /// The driver's.
    pub fn new(context: &Rc<Context>, index: u32, board: &Arc<Board>) -> Result<Self, Stop> {
        let on = |error| Stop::on(error, index);
        let function = context.kernel("stream_read", 256, 0).map_err(on)?;
        let blocks = context.filling(&function).map_err(on)?;
        Ok(Self {
            stream: Stream::new(context).map_err(on)?,
            context: Rc::clone(context),
            index,
            board: Arc::clone(board),
            read: Kernel { function, blocks },
        })
    }

    /// An error of this GPU.
    pub fn stop(&self, error: CudaError) -> Stop {
        Stop::on(error, self.index)
    }

    /// A kernel by its name.
    ///
    /// # Errors
    /// The driver's.
    pub fn kernel(&self, name: &'static str, threads: u32, shared: u32) -> Result<Kernel, Stop> {
        let function = self
            .context
            .kernel(name, threads, shared)
            .map_err(|error| self.stop(error))?;
        let blocks = self
            .context
            .filling(&function)
            .map_err(|error| self.stop(error))?;
        Ok(Kernel { function, blocks })
    }

    /// Memory.
    ///
    /// # Errors
    /// The driver's.
    pub fn memory(&self, bytes: u64) -> Result<DeviceMemory, Stop> {
        DeviceMemory::new(&self.context, bytes).map_err(|error| self.stop(error))
    }

    /// Starts a kernel on as many blocks as fill the GPU, but no more than there is work for.
    ///
    /// # Errors
    /// The driver's.
    pub fn launch<A: KernelArgs>(&self, kernel: &Kernel, most: u64, args: &A) -> Result<(), Stop> {
        let most = u32::try_from(most).unwrap_or(u32::MAX).max(1);
        self.launch_blocks(&kernel.function, [kernel.blocks.min(most), 1], args)
    }

    /// Starts a kernel on these blocks.
    ///
    /// # Errors
    /// The driver's.
    pub fn launch_blocks<A: KernelArgs>(
        &self,
        function: &Function,
        blocks: [u32; 2],
        args: &A,
    ) -> Result<(), Stop> {
        self.context
            .launch(function, blocks, args, &self.stream)
            .map_err(|error| self.stop(error))
    }

    /// A mark behind what the GPU was asked for.
    ///
    /// # Errors
    /// The driver's.
    pub fn mark(&self) -> Result<Event, Stop> {
        self.mark_on(&self.stream)
    }

    /// A mark in another stream.
    ///
    /// # Errors
    /// The driver's.
    pub fn mark_on(&self, stream: &Stream) -> Result<Event, Stop> {
        let mark = || {
            let event = Event::new(&self.context)?;
            event.record(stream)?;
            Ok(event)
        };
        mark().map_err(|error| self.stop(error))
    }

    /// Waits until the GPU has come to the mark.
    ///
    /// # Errors
    /// The driver's; it did not come there in time.
    pub fn wait(&self, event: &Event) -> Result<(), Stop> {
        let began = Instant::now();
        let mut pause = Duration::from_micros(20);
        while !event.happened().map_err(|error| self.stop(error))? {
            if began.elapsed() > LIMIT {
                return Err(Stop::Failed(BurnError {
                    kind: BurnErrorKind::Hung,
                    call: "cuEventQuery".to_owned(),
                    code: None,
                    what: format!(
                        "a kernel did not end within {} s: {}",
                        LIMIT.as_secs(),
                        self.board.progress().phase
                    ),
                    gpu: Some(self.index),
                }));
            }
            sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(1));
        }
        self.board.step();
        Ok(())
    }

    /// Waits until everything that the GPU was asked for is done.
    ///
    /// # Errors
    /// As [`Gpu::wait`].
    pub fn finish(&self) -> Result<(), Stop> {
        let mark = self.mark()?;
        self.wait(&mark)
    }

    /// Seconds between two marks that have happened.
    ///
    /// # Errors
    /// The driver's.
    pub fn seconds(&self, from: &Event, to: &Event) -> Result<f64, Stop> {
        to.seconds_since(from).map_err(|error| self.stop(error))
    }

    /// Whether the job was asked to end.
    ///
    /// # Errors
    /// It was.
    pub fn go_on(&self) -> Result<(), Stop> {
        if self.board.is_asked_to_stop() {
            return Err(Stop::Stopped);
        }
        Ok(())
    }

    /// Memory for the sums of [`Gpu::read_through`].
    ///
    /// # Errors
    /// The driver's.
    pub fn sink(&self) -> Result<DeviceMemory, Stop> {
        self.memory(u64::from(self.read.blocks) * 256 * 8)
    }

    /// Reads memory, so that a cache holds it and not what it held before.
    ///
    /// # Errors
    /// The driver's.
    pub fn read_through(&self, sink: &DeviceMemory, from: u64, bytes: u64) -> Result<(), Stop> {
        let args = StreamArgs {
            to: sink.address(),
            from,
            vectors: bytes / 16,
        };
        self.launch(&self.read, u64::MAX, &args)
    }
}

/// Marks of what was begun and not waited for: a few, so that the GPU never waits for the host, and
/// not many, so that a stop is quick.
pub struct Flow<'g> {
    gpu: &'g Gpu,
    marks: std::collections::VecDeque<Event>,
}

impl<'g> Flow<'g> {
    /// Nothing was begun.
    pub fn new(gpu: &'g Gpu) -> Self {
        Self {
            gpu,
            marks: std::collections::VecDeque::new(),
        }
    }

    /// Something was begun; waits while there is more than enough.
    ///
    /// # Errors
    /// As [`Gpu::wait`].
    pub fn begun(&mut self) -> Result<(), Stop> {
        self.marks.push_back(self.gpu.mark()?);
        while self.marks.len() > 3 {
            if let Some(mark) = self.marks.pop_front() {
                self.gpu.wait(&mark)?;
            }
        }
        Ok(())
    }
}
