//! The NVLinks of one GPU, as they are drawn.

use cupel_model::snapshot::{Gpu, NvlinkRemote, Nvswitch};
use cupel_model::{PciAddress, Reading};

use super::marks::Marks;

/// Most links of a GPU that are drawn.
const MOST_LINKS: usize = 36;

/// Whether a link is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Up,
    Down,
    Unread,
}

/// One link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub index: u32,
    pub state: State,
    /// A finding names it.
    pub named: bool,
    /// Which of the node's switches it leads to.
    pub switch: Option<usize>,
}

/// All links of one GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// The GPU has none.
    None,
    /// They could not be read.
    Unread(String),
    /// As read; `direct` counts those to other GPUs.
    Read { links: Vec<Link>, direct: usize },
}

impl Links {
    pub(super) fn of(
        gpu: &Gpu,
        pci: Option<PciAddress>,
        switches: &[Nvswitch],
        marks: &Marks<'_>,
    ) -> Self {
        let nvlinks = match &gpu.nvlink {
            Reading::Value(nvlinks) if nvlinks.links.is_empty() => return Self::None,
            Reading::Value(nvlinks) => nvlinks,
            Reading::Absent(_) | Reading::Unsupported(_) => return Self::None,
            Reading::Failed(why) => return Self::Unread(why.clone()),
        };
        let direct = nvlinks.links.iter();
        let direct = direct.filter(|link| link.remote.get() == Some(NvlinkRemote::Gpu));
        Self::Read {
            direct: direct.count(),
            links: nvlinks
                .links
                .iter()
                .take(MOST_LINKS)
                .map(|link| Link {
                    index: link.index,
                    state: match link.active.get() {
                        Some(true) => State::Up,
                        Some(false) => State::Down,
                        None => State::Unread,
                    },
                    named: marks.nvlink(pci, link.index),
                    switch: link
                        .remote_pci
                        .get()
                        .and_then(|remote| switches.iter().position(|switch| switch.pci == remote)),
                })
                .collect(),
        }
    }

    /// The links that were read.
    pub(super) fn read(&self) -> &[Link] {
        match self {
            Self::None | Self::Unread(_) => &[],
            Self::Read { links, .. } => links,
        }
    }

    /// `17 of 18 up, 7 down`
    pub(super) fn text(&self) -> String {
        let (links, direct) = match self {
            Self::None => return "no NVLink".to_owned(),
            Self::Unread(_) => return "? NVLinks unreadable".to_owned(),
            Self::Read { links, direct } => (links, *direct),
        };
        let which = |state: State| {
            let found: Vec<_> = links.iter().filter(|link| link.state == state).collect();
            match found.as_slice() {
                [] => String::new(),
                [one] => format!("link {}", one.index),
                many => format!("{} links", many.len()),
            }
        };
        let up = links.iter().filter(|link| link.state == State::Up).count();
        let mut text = format!("{up} of {} up", links.len());
        match which(State::Down) {
            down if down.is_empty() => {}
            down => text.push_str(&format!(", ✕ {down} down")),
        }
        match which(State::Unread) {
            unread if unread.is_empty() => {}
            unread => text.push_str(&format!(", ? {unread}")),
        }
        if direct > 0 {
            text.push_str(", to GPUs");
        }
        text
    }
}
