//! Bandwidth and latency between RDMA devices of this node, by the programs of perftest.
//!
//! # Invariants
//! - Both ends run on this node and speak over its own devices; they find each other over a TCP
//!   port of the loopback interface.
//! - Neither outlives its deadline: the runner kills what does not end.
//!
//! # What is absent
//! perftest compares no data: what arrives damaged and is not noticed by the adapter is not found.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cupel_model::Reading;

use crate::command::{self, CommandError, Limits};
use crate::root::Root;

/// Where perftest is installed.
const PLACES: [&str; 2] = ["/usr/bin", "/usr/local/bin"];

/// Until the server listens.
const SERVER_STARTS: Duration = Duration::from_millis(700);

/// What a run may take beyond its own time.
const SLACK: Duration = Duration::from_secs(15);

/// The programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Perftest {
    /// `ib_write_bw`.
    pub bandwidth: PathBuf,
    /// `ib_write_lat`.
    pub latency: PathBuf,
}

impl Perftest {
    /// The programs, where they are installed.
    pub fn find(root: &Root) -> Reading<Self> {
        if !root.is_live() {
            return Reading::unsupported("no command is run under a root other than /");
        }
        PLACES
            .iter()
            .map(Path::new)
            .find(|place| place.join("ib_write_bw").exists())
            .map_or_else(
                || {
                    Reading::unsupported(
                        "perftest is not installed (ib_write_bw; the package is called perftest)",
                    )
                },
                |place| Reading::Value(Self::within(place)),
            )
    }

    /// The programs in a directory.
    pub fn within(directory: &Path) -> Self {
        Self {
            bandwidth: directory.join("ib_write_bw"),
            latency: directory.join("ib_write_lat"),
        }
    }
}

/// One end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Kernel's name of the device, e.g. `mlx5_0`.
    pub device: String,
    /// Its port, 1-based.
    pub port: u32,
}

/// Why there is no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PerftestError {
    /// A program could not be run.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// It ended with an error; its last words.
    #[error("{program} ended with status {status}: {words}")]
    Failed {
        /// The program.
        program: String,
        /// Its exit status.
        status: i32,
        /// The end of what it said.
        words: String,
    },
    /// What it said has no value.
    #[error("{program} gave no value: {words}")]
    NoValue {
        /// The program.
        program: String,
        /// The end of what it said.
        words: String,
    },
}

/// Latency, in µs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    /// The typical one.
    pub typical: f64,
    /// What 99 % do not exceed.
    pub most: f64,
}

/// Bandwidth from one end to another, in Gb/s. `tcp` is a free port for the two to find each other.
///
/// # Errors
/// [`PerftestError`].
pub fn bandwidth(
    programs: &Perftest,
    from: &End,
    to: &End,
    tcp: u16,
    time: Duration,
) -> Result<f64, PerftestError> {
    let seconds = time.as_secs().max(1).to_string();
    let extra = ["-D", &seconds, "--report_gbits", "-F"];
    let said = both(&programs.bandwidth, from, to, tcp, time, &extra)?;
    // #bytes #iterations peak average rate
    row(&said)
        .and_then(|row| row.get(3).copied())
        .filter(|value| *value > 0.0)
        .ok_or_else(|| no_value(&programs.bandwidth, &said))
}

/// Latency of small messages from one end to another.
///
/// # Errors
/// [`PerftestError`].
pub fn latency(
    programs: &Perftest,
    from: &End,
    to: &End,
    tcp: u16,
) -> Result<Latency, PerftestError> {
    let time = Duration::from_secs(5);
    let said = both(
        &programs.latency,
        from,
        to,
        tcp,
        time,
        &["-n", "5000", "-F"],
    )?;
    // #bytes #iterations t_min t_max t_typical t_avg t_stdev 99 % 99.9 %
    row(&said)
        .and_then(|row| {
            Some(Latency {
                typical: *row.get(4)?,
                most: *row.get(7)?,
            })
        })
        .ok_or_else(|| no_value(&programs.latency, &said))
}

fn no_value(program: &Path, said: &str) -> PerftestError {
    PerftestError::NoValue {
        program: program.display().to_string(),
        words: last_words(said),
    }
}

/// Runs the server at `to` and the client at `from`; returns what the client said.
fn both(
    program: &Path,
    from: &End,
    to: &End,
    tcp: u16,
    time: Duration,
    extra: &[&str],
) -> Result<String, PerftestError> {
    let root = Root::live();
    let limits = Limits {
        time: time + SLACK,
        output_bytes: 256 << 10,
    };
    let tcp = tcp.to_string();
    let run = |end: &End, host: Option<&str>| {
        let port = end.port.to_string();
        let mut arguments = vec!["-d", &end.device, "-i", &port, "-p", &tcp];
        arguments.extend(extra);
        arguments.extend(host);
        command::run(&root, program, &arguments, limits)
    };
    let (server, client) = std::thread::scope(|scope| {
        let server = scope.spawn(|| run(to, None));
        std::thread::sleep(SERVER_STARTS);
        // A server that could not even start is what the client would wait for in vain.
        let client = if server.is_finished() {
            None
        } else {
            Some(run(from, Some("127.0.0.1")))
        };
        (server.join(), client)
    });
    let output = match (client, server) {
        (Some(client), _) => client?,
        (None, Ok(server)) => server?,
        (None, Err(_)) => {
            return Err(CommandError::System {
                program: program.display().to_string(),
                errno: nix::errno::Errno::ECHILD,
            }
            .into());
        }
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status == 0 {
        return Ok(text);
    }
    let words = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    Err(PerftestError::Failed {
        program: program.display().to_string(),
        status: output.status,
        words: last_words(&words),
    })
}

/// The numbers of the row below the heading.
fn row(said: &str) -> Option<Vec<f64>> {
    let mut lines = said
        .lines()
        .skip_while(|line| !line.trim_start().starts_with("#bytes"));
    lines.next()?;
    lines.find_map(|line| {
        let row: Option<Vec<f64>> = line
            .split_whitespace()
            .map(|word| word.parse().ok().filter(|value: &f64| value.is_finite()))
            .collect();
        row.filter(|row| row.len() >= 4)
    })
}

/// The end of what was said, in one line.
fn last_words(said: &str) -> String {
    let lines: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.chars().all(|c| c == '-'))
        .collect();
    let first = lines.len().saturating_sub(3);
    lines[first..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `ib_write_bw` and `ib_write_lat` of perftest 24 print, shortened. Synthetic numbers.
    const BANDWIDTH: &str = "\
---------------------------------------------------------------------------------------
                    RDMA_Write BW Test
 Dual-port       : OFF\t\tDevice         : mlx5_0
---------------------------------------------------------------------------------------
 #bytes     #iterations    BW peak[Gb/sec]    BW average[Gb/sec]   MsgRate[Mpps]
 65536      1885800          0.00               395.47\t\t   0.754300
---------------------------------------------------------------------------------------
";
    const LATENCY: &str = "\
 #bytes #iterations    t_min[usec]    t_max[usec]  t_typical[usec]    t_avg[usec]    \
t_stdev[usec]   99% percentile[usec]   99.9% percentile[usec]
 2       5000          0.98           5.20         1.02     \t       1.03        \t0.04\t\t1.21    \t\t3.40
";

    fn programs(directory: &Path, output: &str, status: u8) -> Perftest {
        use std::os::unix::fs::PermissionsExt;
        let programs = Perftest::within(directory);
        for program in [&programs.bandwidth, &programs.latency] {
            // The server waits for its client; the client speaks.
            let script = format!(
                "#!/bin/sh\nfor last; do :; done\n\
                 [ \"$last\" = 127.0.0.1 ] || exec sleep 2\n\
                 cat <<'END'\n{output}END\nexit {status}\n"
            );
            std::fs::write(program, script).expect("script");
            std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755))
                .expect("mode");
        }
        programs
    }

    fn end(device: &str) -> End {
        End {
            device: device.to_owned(),
            port: 1,
        }
    }

    #[test]
    fn values_of_both_programs() {
        let directory = tempfile::tempdir().expect("directory");
        let bw = programs(directory.path(), BANDWIDTH, 0);
        let time = Duration::from_secs(1);
        let rate = bandwidth(&bw, &end("mlx5_0"), &end("mlx5_1"), 18515, time);
        assert_eq!(rate, Ok(395.47));
        let lat = programs(directory.path(), LATENCY, 0);
        let told = latency(&lat, &end("mlx5_0"), &end("mlx5_0"), 18515);
        assert_eq!(
            told,
            Ok(Latency {
                typical: 1.02,
                most: 1.21
            })
        );
    }

    #[test]
    fn errors_carry_the_last_words() {
        let directory = tempfile::tempdir().expect("directory");
        let broken = programs(
            directory.path(),
            " Unable to init the socket connection\n",
            1,
        );
        let error = latency(&broken, &end("a"), &end("b"), 18515).expect_err("status 1");
        assert!(
            error
                .to_string()
                .ends_with("status 1: Unable to init the socket connection"),
            "{error}"
        );
        let mute = programs(directory.path(), "nothing\n", 0);
        let error = latency(&mute, &end("a"), &end("b"), 18515).expect_err("no value");
        assert!(matches!(error, PerftestError::NoValue { .. }), "{error}");
        let none = Perftest::within(&directory.path().join("none"));
        let error = latency(&none, &end("a"), &end("b"), 18515).expect_err("not there");
        assert!(
            matches!(error, PerftestError::Command(CommandError::Missing { .. })),
            "{error}"
        );
    }
}
