//! `cupel decode`: a kernel log in any form becomes events.
//!
//! # Invariants
//! - Memory is constant, however long the log is; with `--fold` it is bounded.
//! - What was decoded is written before more is read: a log may be followed.
//! - What means nothing is counted on standard error.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cupel_hardware::{clock, kernel, kmsg};
use cupel_kernel_log::{Counts, Decoder, DriverVersion, Folder, Options};
use cupel_model::Event;

use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Format, note, stdin_is_terminal};
use crate::render::event;
use crate::render::table::Layout;

/// Options of `cupel decode`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads raw /dev/kmsg records, dmesg (plain, -T, --decode, iso), journalctl -k (short, short-iso,
json) and syslog files, mixed if need be. Without FILE it reads standard input, or the kernel log
of this boot when standard input is a terminal.

Examples:
  cupel decode                           the kernel log of this boot
  cupel decode /var/log/kern.log --fold  repeats folded into one, with first and last time
  journalctl -k -b -1 -o json | cupel decode --output jsonl
  cupel decode old.log --driver 570.86.15

Exit codes: 0 the log was read, 2 it could not be read")]
pub struct Args {
    /// Log to read; - is standard input
    file: Option<PathBuf>,
    /// NVIDIA driver that wrote the log: selects how NVLink errors (XID 144 to 150) are read
    #[arg(long, value_name = "VERSION")]
    driver: Option<DriverVersion>,
    /// Give each message once, with how often, first and last time
    #[arg(long)]
    fold: bool,
}

/// Where the log is.
enum Source {
    Stream(Box<dyn Read>, String),
    KernelLog,
}

fn source(file: Option<&Path>) -> anyhow::Result<Source> {
    let stdin = || Source::Stream(Box::new(io::stdin().lock()), "standard input".to_owned());
    match file {
        Some(path) if path == Path::new("-") => Ok(stdin()),
        Some(path) => {
            let name = path.display().to_string();
            let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
            Ok(Source::Stream(Box::new(file), name))
        }
        None if stdin_is_terminal() => Ok(Source::KernelLog),
        None => Ok(stdin()),
    }
}

/// Decodes the log and writes its events.
pub fn run(args: &Args, context: &mut Context) -> anyhow::Result<Exit> {
    let options = Options {
        driver: args.driver,
        ..Options::default()
    };
    let source = source(args.file.as_deref())?;
    let root = context.root.clone();
    let mut writer = Writer::new(context, args.fold);
    writer.begin()?;
    let counts = match source {
        Source::Stream(from, name) => {
            stream(from, options, &mut writer).with_context(|| format!("cannot read {name}"))?
        }
        Source::KernelLog => {
            let running = || kernel::nvidia_driver(&root).0.value()?.parse().ok();
            let mut decoder = Decoder::new(Options {
                driver: options.driver.or_else(running),
                boot_time: clock::boot_time(&root).ok(),
                ..options
            });
            let mut result = Ok(());
            kmsg::for_each(&root, |record| {
                decoder.feed(record, |event| writer.keep_first_error(&mut result, event));
                decoder.feed(b"\n", |event| writer.keep_first_error(&mut result, event));
            })
            .context("cannot read the kernel log (root may be needed; FILE reads one)")?;
            let counts = decoder.finish(|event| writer.keep_first_error(&mut result, event));
            result?;
            counts
        }
    };
    writer.end(counts)?;
    note(&format!(
        "{} lines: {} events, {} lines mean nothing",
        counts.lines,
        counts.events,
        counts.meaningless()
    ));
    Ok(Exit::Fine)
}

fn stream(mut from: Box<dyn Read>, options: Options, to: &mut Writer<'_>) -> io::Result<Counts> {
    let mut decoder = Decoder::new(options);
    let mut chunk = vec![0; 256 * 1024];
    let mut result = Ok(());
    loop {
        let got = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        decoder.feed(&chunk[..got], |event| {
            to.keep_first_error(&mut result, event)
        });
        result = result.and_then(|()| to.context.out.flush());
        if to.context.out.is_closed() || result.is_err() {
            break;
        }
    }
    let counts = decoder.finish(|event| to.keep_first_error(&mut result, event));
    result.map(|()| counts)
}

/// Writes events in the format that was asked for.
struct Writer<'a> {
    context: &'a mut Context,
    layout: Layout,
    folder: Option<Folder>,
    written: u64,
}

impl<'a> Writer<'a> {
    fn new(context: &'a mut Context, fold: bool) -> Self {
        Self {
            layout: context.layout(),
            context,
            folder: fold.then(Folder::new),
            written: 0,
        }
    }

    fn begin(&mut self) -> io::Result<()> {
        if self.context.format == Format::Json {
            let version = cupel_model::SCHEMA_VERSION;
            self.context
                .out
                .text(&format!("{{\"schema_version\":{version},\"events\":["))?;
        }
        Ok(())
    }

    /// Takes an event unless writing failed before.
    fn keep_first_error(&mut self, result: &mut io::Result<()>, event: Event) {
        if result.is_ok() {
            *result = match &mut self.folder {
                Some(folder) => {
                    folder.push(event);
                    Ok(())
                }
                None => self.write(&event),
            };
        }
    }

    fn write(&mut self, event: &Event) -> io::Result<()> {
        self.written += 1;
        let out = &mut self.context.out;
        match self.context.format {
            Format::Jsonl => out.json(event, Format::Jsonl),
            Format::Json => {
                out.text(if self.written == 1 { "\n" } else { "," })?;
                out.json(event, Format::Jsonl)
            }
            Format::Text => {
                let text = event::text(event, self.layout);
                out.text(&text)
            }
        }
    }

    fn end(&mut self, counts: Counts) -> io::Result<()> {
        for event in self
            .folder
            .take()
            .map(Folder::into_events)
            .unwrap_or_default()
        {
            self.write(&event)?;
        }
        if self.context.format == Format::Json {
            self.context.out.line(&format!(
                "],\"lines\":{},\"meaningless_lines\":{}}}",
                counts.lines,
                counts.meaningless()
            ))?;
        }
        self.context.out.flush()
    }
}
