//! `cupel upgrade --wished`: begins what the inventory wishes, as the service has it.
//!
//! # Invariants
//! - What comes of it is in the journal: here that it was refused, or could not be fetched for now,
//!   and by the unit that carries it out how it ended.
//! - What another attempt may mend is no refusal: when that is made is the service's to see.

use std::time::Duration;

use anyhow::Context as _;
use cupel_installer::wish::{Came, LONGEST_PAUSE, SHORTEST_PAUSE, Wished};
use cupel_installer::{Journal, System as _, Terms};
use cupel_model::wire::{UpgradeOutcome, UpgradeWish};
use cupel_reporting::{Backoff, FetchError};

use super::{Begun, Order, begin, patient_lock};
use crate::context::Context;
use crate::exit::{Exit, Refused};
use crate::install::Machine;
use crate::output::note;
use crate::service::client;
use crate::service::protocol::Ask;
use crate::status::Status;

/// Longest reason in a report, in characters.
const LINE: usize = 500;

/// Begins what is wished, if something is.
pub(super) fn run(
    probation: Duration,
    machine: &Machine,
    context: &Context,
) -> anyhow::Result<Exit> {
    let status: Status = client::document(&client::path(&context.root), &Ask::Status {})
        .context("cannot ask the service which version is wished")?;
    let Some(wish) = status.wanted.upgrade else {
        note("no version is wished");
        return Ok(Exit::Fine);
    };
    // It is waited for: the service asks again.
    let busy = machine.system.busy().context("cannot ask systemd")?;
    if !busy.is_empty() {
        return Err(Refused(format!("{} is at work", busy.join(", "))).into());
    }
    attempt(&wish, machine, || {
        let order = Order {
            file: &wish.url,
            signature: None,
            probation,
            yes: true,
            terms: Terms {
                version: Some(wish.version.clone()),
                downgrade: wish.downgrade,
            },
            wished: true,
        };
        begin(order, machine, context)
    })
}

/// One attempt, with what came of it written down.
fn attempt(
    wish: &UpgradeWish,
    machine: &Machine,
    begin: impl FnOnce() -> anyhow::Result<Begun>,
) -> anyhow::Result<Exit> {
    written_down(machine, |journal| {
        journal.wish = Some(Wished::begin(journal.wish.take(), wish.clone()));
    })?;
    match begin() {
        Ok(Begun::UnderWay(version, _)) => {
            note(&format!("{version} is exchanged for the one that runs"));
            Ok(Exit::Fine)
        }
        Ok(Begun::Runs(version)) => {
            note(&format!("{version} runs already"));
            came(wish, machine, UpgradeOutcome::Done, None)?;
            Ok(Exit::Fine)
        }
        Err(error) => {
            let passing = error.downcast_ref::<FetchError>();
            if let Some(passing) = passing.filter(|error| error.may_pass()) {
                later(wish, machine, passing)?;
            } else {
                let why = in_a_line(&format!("{error:#}"));
                note(&format!("version {} is refused: {why}", wish.version));
                came(wish, machine, UpgradeOutcome::Refused, Some(why))?;
            }
            Ok(Exit::Refused)
        }
    }
}

/// Writes down what came of it, for good.
fn came(
    wish: &UpgradeWish,
    machine: &Machine,
    outcome: UpgradeOutcome,
    why: Option<String>,
) -> anyhow::Result<()> {
    let at = machine.system.now();
    of_the_wish(wish, machine, |wished| {
        wished.came.get_or_insert(Came { outcome, why, at });
    })
}

/// Writes down that it could not be fetched, and when it is tried again.
fn later(wish: &UpgradeWish, machine: &Machine, error: &FetchError) -> anyhow::Result<()> {
    let why = in_a_line(&error.to_string());
    note(&format!(
        "version {} cannot be fetched now, and is tried again later: {why}",
        wish.version
    ));
    let at = machine.system.now();
    of_the_wish(wish, machine, |wished| {
        let failed = wished.failed_attempts();
        let pause = Backoff::between(SHORTEST_PAUSE, LONGEST_PAUSE, failed).after(None);
        wished.later(why, at, pause);
    })
}

/// Changes what the journal has of this wish, unless it has another one by now.
fn of_the_wish(
    wish: &UpgradeWish,
    machine: &Machine,
    change: impl FnOnce(&mut Wished),
) -> anyhow::Result<()> {
    written_down(machine, |journal| {
        if let Some(wished) = journal.wish.as_mut().filter(|wished| wished.wish == *wish) {
            change(wished);
        }
    })
}

/// Changes the journal, under its lock.
fn written_down(machine: &Machine, change: impl FnOnce(&mut Journal)) -> anyhow::Result<()> {
    let _lock = patient_lock(machine)?;
    let mut journal = machine.journal()?.context("nothing is installed here")?;
    change(&mut journal);
    Ok(journal.save(&machine.disk)?)
}

/// An error for a line of a report.
fn in_a_line(text: &str) -> String {
    let text = text.strip_prefix("refused: ").unwrap_or(text);
    text.split(char::is_control)
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(LINE)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;
    use crate::cli::GlobalArgs;
    use crate::cli::upgrade::bytes_of;
    use crate::output::Format;
    use cupel_installer::Version;
    use cupel_installer::journal::State;
    use cupel_installer::wish::{Known, Next, decide};
    use cupel_model::Timestamp;

    const FILE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfile";

    /// Gives these answers, one a connection; gives the address.
    fn server(answers: &'static [&'static str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let address = listener.local_addr().expect("address");
        std::thread::spawn(move || {
            for answer in answers {
                let (mut client, _) = listener.accept().expect("client");
                let mut question = [0; 1024];
                let _ = client.read(&mut question);
                let _ = client.write_all(answer.as_bytes());
            }
        });
        format!("http://{address}/cupel")
    }

    /// A server with an installation, and a wish.
    struct Site {
        directory: tempfile::TempDir,
        context: Context,
        machine: Machine,
        wish: UpgradeWish,
    }

    impl Site {
        fn new(url: String) -> Self {
            let directory = tempfile::tempdir().expect("directory");
            let context = Context::new(&GlobalArgs {
                root: Some(directory.path().to_owned()),
                state_dir: None,
                output: Format::Text,
                verbose: 0,
            })
            .expect("context");
            let machine = Machine::of(&context);
            let version = running();
            Journal::new(State::Settled { version })
                .save(&machine.disk)
                .expect("a journal");
            let wish = UpgradeWish {
                version: "0.2.0".to_owned(),
                url,
                downgrade: false,
            };
            Self {
                directory,
                context,
                machine,
                wish,
            }
        }

        /// Fetches, and is well content with whatever comes.
        fn attempt(&self) -> Exit {
            attempt(&self.wish, &self.machine, || {
                let bytes = bytes_of(&self.wish.url, 9, &self.context)?;
                assert_eq!(bytes, b"file");
                Ok(Begun::Runs(running()))
            })
            .expect("written down")
        }

        fn wished(&self) -> Wished {
            let journal = self.machine.journal().expect("readable");
            journal.and_then(|journal| journal.wish).expect("a wish")
        }

        fn next(&self, at: Timestamp) -> Next {
            let journal = self.machine.journal();
            let known = Known {
                journal: journal.as_ref().map(Option::as_ref),
                package: None,
                busy: Ok(&[]),
                fetching: false,
                at,
            };
            decide(&self.wish, &known)
        }
    }

    fn running() -> Version {
        "0.1.0-aaaaaaaaaaaa".parse().expect("a version")
    }

    fn told(next: Next) -> (UpgradeOutcome, String) {
        match next {
            Next::Over(state) | Next::Wait(state) => (state.outcome, state.why.unwrap_or_default()),
            Next::Begin => panic!("it is begun"),
        }
    }

    #[test]
    fn the_first_fetch_fails_and_the_second_brings_it() {
        let away = "HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n";
        let site = Site::new(server(Box::leak(Box::new([away, FILE]))));
        assert_eq!(site.attempt(), Exit::Refused);
        let wished = site.wished();
        assert_eq!((wished.begun, wished.failed_attempts()), (0, 1));
        assert_eq!(wished.came, None);
        let now = site.machine.system.now();
        let (outcome, why) = told(site.next(now));
        assert_eq!(outcome, UpgradeOutcome::Waits);
        assert!(
            why.starts_with("fetching failed once (the server answered 503); tried again in about"),
            "{why}"
        );
        let due = wished.unfetched.expect("a pause").not_before;
        let pause = due.seconds_since(now);
        assert!((55.0..=120.0).contains(&pause), "{pause}");

        assert_eq!(site.next(due), Next::Begin);
        assert_eq!(site.attempt(), Exit::Fine);
        let came = site.wished().came.expect("an end");
        assert_eq!((came.outcome, came.why), (UpgradeOutcome::Done, None));
        drop(site.directory);
    }

    #[test]
    fn a_network_that_is_away_is_outlived_and_a_file_that_is_not_there_is_refused() {
        let nobody = TcpListener::bind("127.0.0.1:0").expect("listens");
        let url = format!("http://{}/cupel", nobody.local_addr().expect("address"));
        drop(nobody);
        let mut site = Site::new(url);
        for attempts in 1..=12 {
            assert_eq!(site.attempt(), Exit::Refused);
            let wished = site.wished();
            assert_eq!((wished.begun, wished.failed_attempts()), (0, attempts));
            let (outcome, why) = told(site.next(site.machine.system.now()));
            assert_eq!(outcome, UpgradeOutcome::Waits);
            assert!(why.contains("(cannot connect to 127.0.0.1: "), "{why}");
        }
        let none = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        site.wish.url = server(Box::leak(Box::new([none])));
        assert_eq!(site.attempt(), Exit::Refused);
        let (outcome, why) = told(site.next(site.machine.system.now()));
        assert_eq!(outcome, UpgradeOutcome::Refused);
        assert!(why.ends_with("the server answered 404"), "{why}");
        assert_eq!(site.wished().unfetched, None, "another wish begins anew");
    }

    #[test]
    fn what_is_wrong_with_the_file_itself_is_refused() {
        let site = Site::new("http://192.0.2.1/cupel".to_owned());
        assert_eq!(site.attempt(), Exit::Refused);
        let (outcome, why) = told(site.next(Timestamp::EPOCH));
        assert_eq!(outcome, UpgradeOutcome::Refused, "{why}");
        let mut site = site;
        site.wish.version = "0.3.0".to_owned();
        let refused = || Err(Refused("no trusted key signed it".to_owned()).into());
        attempt(&site.wish, &site.machine, refused).expect("written down");
        assert_eq!(
            told(site.next(Timestamp::EPOCH)),
            (
                UpgradeOutcome::Refused,
                "no trusted key signed it".to_owned()
            )
        );
    }
}
