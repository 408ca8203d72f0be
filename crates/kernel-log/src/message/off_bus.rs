//! A GPU that no longer answers on the bus, reported without an XID.
//!
//! One line (`NVRM: GPU 0000:91:00.0: GPU has fallen off the bus.`), or three: the GPU, its ids,
//! and `NVRM: fallen off the bus and is not responding to commands.`

use cupel_model::{Event, EventKind, RemedyAction, Severity};

use super::{Accept, Opened, Thread, address, event};

const SAYS: &str = "fallen off the bus";

/// The form of several lines after its first, which only names a GPU.
#[derive(Debug)]
pub(crate) struct OffBus {
    said: bool,
}

impl OffBus {
    pub fn offer(&mut self, event: &mut Event, message: &str) -> Accept {
        let Some(text) = message.trim_start().strip_prefix("NVRM: ") else {
            return Accept::No;
        };
        if text.contains(SAYS) && !text.starts_with("Xid (") && !text.starts_with("GPU ") {
            self.said = true;
            Accept::Last
        } else if text.contains("is not supported") {
            // The other complaint that begins alike.
            self.said = true;
            event.kind = EventKind::Driver;
            event.code = "driver.unsupported-gpu".to_owned();
            (event.severity, event.action) = (Severity::Warning, RemedyAction::UpdateDriver);
            Accept::Last
        } else if ["(PCI ID: ", "installed in this", "has"]
            .iter()
            .any(|start| text.starts_with(start))
        {
            Accept::More
        } else {
            Accept::No
        }
    }

    /// A GPU was named; something must have been said of it.
    pub fn complete(&self) -> bool {
        self.said
    }
}

pub(super) fn decode(message: &str) -> Option<Opened> {
    let text = message.strip_prefix("NVRM: ")?;
    let said = text.contains(SAYS);
    let announced = text.strip_prefix("The NVIDIA GPU ");
    if !said && announced.is_none() {
        return None;
    }
    let mut event = event(
        EventKind::OffBus,
        "gpu.off-bus",
        Severity::Critical,
        RemedyAction::RebootNode,
    );
    let after = announced
        .or_else(|| text.strip_prefix("GPU at "))
        .or_else(|| text.strip_prefix("GPU "));
    event.pci = after
        .and_then(|rest| rest.split_ascii_whitespace().next())
        .and_then(address);
    let thread = (!said).then_some(Thread::OffBus(OffBus { said }));
    Some(Opened { event, thread })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_forms() {
        for (message, pci) in [
            (
                "NVRM: GPU 0000:91:00.0: GPU has fallen off the bus.",
                Some("0000:91:00.0"),
            ),
            (
                "NVRM: GPU 18:00.0: GPU has fallen off the bus.",
                Some("0000:18:00.0"),
            ),
            (
                "NVRM: The NVIDIA GPU 0000:b3:00.0 fallen off the bus and is not responding to commands.",
                Some("0000:b3:00.0"),
            ),
            ("NVRM: GPU has fallen off the bus.", None),
        ] {
            let opened = decode(message).expect(message);
            assert!(opened.thread.is_none(), "{message}");
            assert_eq!(opened.event.pci.map(|p| p.to_string()).as_deref(), pci);
            assert_eq!(opened.event.xid, None);
        }
        assert!(decode("somebody said fallen off the bus").is_none());
    }

    #[test]
    fn another_complaint_that_begins_alike() {
        let Opened { mut event, thread } =
            decode("NVRM: The NVIDIA GPU 0000:b3:00.0 (PCI ID: 10de:26b5)").expect("announced");
        let mut thread = thread.expect("goes on");
        let second = "NVRM: installed in this system is not supported by the";
        assert_eq!(thread.offer(&mut event, second), Accept::Last);
        assert_eq!(event.code, "driver.unsupported-gpu");
        assert_eq!(event.pci.expect("address").to_string(), "0000:b3:00.0");
    }

    #[test]
    fn three_lines() {
        let Opened { mut event, thread } =
            decode("NVRM: The NVIDIA GPU 0000:b3:00.0").expect("announced");
        let mut thread = thread.expect("goes on");
        assert!(!thread.complete());
        assert_eq!(thread.offer(&mut event, "usb 1-1: new device"), Accept::No);
        assert_eq!(
            thread.offer(
                &mut event,
                "NVRM: (PCI ID: 10de:26b5) installed in this system has"
            ),
            Accept::More
        );
        assert_eq!(
            thread.offer(
                &mut event,
                "NVRM: fallen off the bus and is not responding to commands."
            ),
            Accept::Last
        );
        assert!(thread.complete());
    }
}
