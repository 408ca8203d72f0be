//! How a node hangs together: which GPU is near which adapter and processor, what NVLink joins, and
//! where it is broken.

mod draw;
mod gpu;
mod io;
mod links;
mod map;
mod marks;

use cupel_model::Snapshot;
use cupel_model::snapshot::Gpu;
use cupel_model::wire::Tracked;
use maud::{Markup, html};

use super::text::{count, cut, short_time};
use super::view::Context;
use gpu::past;
use map::Map;

/// Where a GPU sits, or sat when it still said so.
pub(super) fn slot_of(snapshot: &Snapshot, gpu: &Gpu) -> Option<String> {
    let known = past(snapshot, gpu).and_then(|part| part.slot.as_ref());
    let slot = known.or_else(|| gpu.slot.value())?;
    Some(cut(slot, 20).into_owned())
}

/// The drawing with its summary in words.
pub(super) fn topology(snapshot: &Snapshot, findings: &[Tracked], context: &Context) -> Markup {
    let map = Map::of(snapshot, findings);
    if map.is_empty() {
        return html! { p.nil { "The snapshot shows no GPU, no adapter and no drive on the PCI bus." } };
    }
    html! {
        p.soft {
            (map.summary())
            " Boxes joined by a line share a PCIe root port. As of the snapshot of "
            (short_time(context.now, snapshot.taken_at)) "."
        }
        div.scroll tabindex="0" role="group" aria-label="Drawing of the topology" { (draw::draw(&map)) }
        @if map.left_out > 0 {
            p.soft { "Not drawn: " (count(u64::try_from(map.left_out).unwrap_or(u64::MAX), "more device")) "." }
        }
    }
}
