//! The keeper of the identity: opens it, says where reports go and what is shown there, and renews
//! it in time.
//!
//! # Invariants
//! - It has a thread of its own: a TPM or an inventory that hangs delays nothing else.
//! - Reports are sent with the identity where it can be used; else with the token, where an inventory
//!   is configured.
//! - An identity is renewed with its own key, and replaced on disk before the new one is used; one
//!   that is not in use is not renewed.
//! - Whatever the clocks say: an answer that does not put the next renewal off counts as a failed
//!   attempt.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::Context as _;
use cupel_hardware::{Root, clock};
use cupel_model::Timestamp;
use cupel_reporting::{
    Backoff, Credential, DeliverySettings, IdentityDirectory, IdentityDocument, renew,
};
use tokio::sync::watch;

use super::deliver::News;
use super::input::{Input, Inputs};
use crate::config::{Origin, Settings};
use crate::context::Context;
use crate::identity::{Found, Usable, Who, open, rival, token_file};
use crate::status::Identity;

/// How often what is told is looked at again: the clock may be set, time may be over.
const LOOK: Duration = Duration::from_secs(60);

/// Configurations that wait for the keeper.
const WAITING: usize = 16;

/// Where the keeper is told of a new configuration.
pub struct Handle(SyncSender<Settings>);

impl Handle {
    /// Opens the identity again, and goes by this configuration.
    pub fn reload(&self, settings: &Settings) {
        // Full: it hangs, and reads the identity again after what is before this one.
        let _ = self.0.try_send(settings.clone());
    }
}

/// Where reports go, as it changes.
pub type Way = watch::Receiver<Option<DeliverySettings>>;

/// Starts it.
///
/// # Errors
/// The system gives no thread.
pub fn start(
    context: &Context,
    settings: &Settings,
    inputs: &Inputs,
) -> std::io::Result<(Handle, Way)> {
    let (handle, messages) = sync_channel(WAITING);
    let (way, told) = watch::channel(None);
    let keeper = Keeper {
        root: context.root.clone(),
        state_directory: context.state_dir(),
        settings: settings.clone(),
        inputs: inputs.clone(),
        way,
        said: None,
        renewal_error: None,
    };
    std::thread::Builder::new()
        .name("identity".to_owned())
        .spawn(move || keeper.keep(&messages))?;
    Ok((Handle(handle), told))
}

struct Keeper {
    root: Root,
    state_directory: PathBuf,
    settings: Settings,
    inputs: Inputs,
    way: watch::Sender<Option<DeliverySettings>>,
    /// What was told last.
    said: Option<Identity>,
    renewal_error: Option<String>,
}

impl Keeper {
    fn keep(mut self, messages: &Receiver<Settings>) {
        // A TPM may be busy: what cannot be opened is tried again.
        let mut opening = Backoff::default();
        let mut backoff = Backoff::default();
        loop {
            let who = Who::is_here(&self.root);
            let found = open(&self.root, &self.state_directory, who.as_ref());
            self.go(&found);
            let mut due = match &found {
                Found::Usable(_) => {
                    opening.reset();
                    let due = self.renewal_due(&found);
                    if due.is_none_or(|due| due > clock::now()) {
                        self.renewal_error = None;
                        backoff.reset();
                    }
                    due
                }
                Found::Unusable { .. } => Some(after(opening.after(None))),
                Found::None => None,
            };
            self.tell(&found, who.as_ref().ok());
            loop {
                let wait = due.map_or(LOOK, |due| until(due).min(LOOK));
                match messages.recv_timeout(wait) {
                    Ok(settings) => {
                        self.settings = messages.try_iter().last().unwrap_or(settings);
                        self.renewal_error = None;
                        backoff.reset();
                        break;
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {}
                }
                if due.is_some_and(|due| clock::now() >= due) {
                    let Some(usable) = self.in_use(&found) else {
                        break;
                    };
                    match self.renew(usable) {
                        Ok(()) => break,
                        Err(error) => {
                            self.failed(format!("{error:#}"));
                            due = Some(after(backoff.after(None)));
                        }
                    }
                }
                self.tell(&found, who.as_ref().ok());
            }
        }
    }

    fn url(&self) -> Option<&str> {
        self.settings.inventory.url.value.as_deref()
    }

    /// The identity, where reports are sent with it.
    fn in_use<'f>(&self, found: &'f Found) -> Option<&'f Usable> {
        found.usable_beside(rival(&self.root, &self.settings))
    }

    /// When the identity is renewed, where it is in use.
    fn renewal_due(&self, found: &Found) -> Option<Timestamp> {
        let usable = self.in_use(found)?;
        Some(usable.document.renewal_due())
    }

    /// Says where reports go from now on.
    fn go(&self, found: &Found) {
        let inventory = &self.settings.inventory;
        let way = inventory.url.value.as_ref().and_then(|url| {
            let credential = match self.in_use(found) {
                Some(usable) => Credential::Identity(Arc::clone(&usable.shown)),
                None if inventory.url.origin == Origin::Identity => return None,
                None => Credential::Token(token_file(&self.root, &self.settings)),
            };
            Some(DeliverySettings {
                ca_file: inventory.ca_file.value.clone(),
                ..DeliverySettings::with(url, credential)
            })
        });
        if way.is_none() && inventory.url.value.is_some() {
            self.inputs.put(Input::Delivery(News::Failed {
                at: clock::now(),
                why: "the identity of this node cannot be used, and no other inventory is \
                      configured"
                    .to_owned(),
            }));
        }
        // A configuration that changes nothing here breaks no connection.
        self.way.send_if_modified(|now| {
            let is_other = *now != way;
            *now = way;
            is_other
        });
    }

    /// Tells the engine and the log, where there is something new.
    fn tell(&mut self, found: &Found, who: Option<&Who>) {
        let rival = rival(&self.root, &self.settings);
        let mut status = found.status(who, rival, clock::now());
        if let Some(status) = &mut status {
            status.renewal_error.clone_from(&self.renewal_error);
        }
        if status == self.said {
            return;
        }
        let why = |identity: &Option<Identity>| identity.as_ref().and_then(|is| is.why.clone());
        match (&status, why(&status)) {
            (_, Some(new)) if why(&self.said).as_ref() != Some(&new) => {
                tracing::warn!("the identity of this node: {new}");
            }
            (
                Some(Identity {
                    not_after: Some(until),
                    ..
                }),
                None,
            ) if self.said.is_none() => {
                tracing::info!(
                    "reports are sent with the identity of this node, good until {until}"
                );
            }
            (Some(_) | None, Some(_) | None) => {}
        }
        self.said.clone_from(&status);
        self.inputs.put(Input::Identity(status.map(Box::new)));
    }

    fn failed(&mut self, why: String) {
        if self.renewal_error.as_ref() == Some(&why) {
            tracing::info!("the identity is not renewed: {why}");
        } else {
            tracing::warn!("the identity is not renewed: {why}");
        }
        self.renewal_error = Some(why);
    }

    /// Asks for the next identity and keeps it.
    fn renew(&self, usable: &Usable) -> anyhow::Result<()> {
        let directory = IdentityDirectory::in_state(&self.state_directory);
        let lock = directory.lock(Duration::ZERO)?;
        let old = &usable.document;
        // Enrolled anew meanwhile: that one is opened next.
        if directory.document()?.as_ref() != Some(old) {
            return Ok(());
        }
        let who = Who::is_here(&self.root).map_err(anyhow::Error::msg)?;
        anyhow::ensure!(who.node == old.node, "this is node {} now", who.node);
        let request = who.request(&usable.shown.key, old.key_protection)?;
        let url = self.url().unwrap_or(&old.inventory);
        let ca_file = self.settings.inventory.ca_file.value.as_deref();
        let answer = renew(url, &usable.shown, ca_file, &request)?;
        let new = IdentityDocument::new(
            answer,
            &old.inventory,
            who.hardware,
            old.key_protection,
            &old.key,
        );
        if let Some(why) = old.objection_to(&new, clock::now()) {
            anyhow::bail!(why);
        }
        directory
            .commit(&lock, &new)
            .context("the new one cannot be kept")?;
        // Kept, because the inventory's clock says how long the one before is good; and yet no
        // success, after which one would ask again at once.
        anyhow::ensure!(
            new.renewal_due() > clock::now(),
            "the inventory gave one that is good until {}, to be renewed from {} on: this clock or \
             that of the inventory is wrong",
            new.not_after,
            new.renew_after
        );
        tracing::info!(
            "the identity of this node is renewed, good until {}",
            new.not_after
        );
        Ok(())
    }
}

/// How long until a point in time, by the clock as it is now.
fn until(due: Timestamp) -> Duration {
    Duration::try_from_secs_f64(due.seconds_since(clock::now())).unwrap_or_default()
}

/// A point in time.
fn after(wait: Duration) -> Timestamp {
    let now = clock::now();
    let wait = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_microseconds(now.microseconds().saturating_add(wait)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use cupel_reporting::Key;

    use super::*;
    use crate::identity::tests::{NODE, URL, enrolled, machine, plain};

    #[test]
    fn what_is_not_in_use_is_not_renewed() {
        let directory = tempfile::tempdir().expect("directory");
        let root = machine(directory.path(), NODE, "CN1");
        let state = directory.path().join("state");
        let key = Key::generate().expect("key");
        let document = enrolled(&root, &state, &key, &plain(&key));
        let etc = directory.path().join("etc/cupel");
        std::fs::create_dir_all(&etc).expect("mkdir");
        std::fs::write(etc.join("inventory.token"), "token").expect("write");
        for (url, due) in [
            (URL, Some(document.renewal_due())),
            ("https://other.example", None),
        ] {
            let text = format!("[inventory]\nurl = {url:?}\n");
            std::fs::write(etc.join("inventory.toml"), text).expect("write");
            let keeper = Keeper {
                root: root.clone(),
                state_directory: state.clone(),
                settings: crate::config::load(&root).expect("settings"),
                inputs: super::super::input::queue().0,
                way: watch::channel(None).0,
                said: None,
                renewal_error: None,
            };
            let found = open(&root, &state, Who::is_here(&root).as_ref());
            assert!(matches!(found, Found::Usable(_)), "{found:?}");
            assert_eq!(keeper.renewal_due(&found), due, "{url}");
        }
    }
}
