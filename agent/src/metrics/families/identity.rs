//! What the inventory knows this node by.

use crate::metrics::family::{Family, Group, Unit};

pub(super) const GROUP: Group = Group {
    title: "Identity of the node",
    source: "identity",
    families: &[
        Family::gauge(
            "cupel_identity_good",
            Unit::None,
            &[],
            "1 if reports are sent with the node's identity, 0 if there is one that cannot be used; no sample on a node that was never enrolled.",
            |at, out| {
                if let Some(identity) = at.view.own.identity {
                    out.put("", &[], identity.is_good);
                }
            },
        ),
        Family::gauge(
            "cupel_identity_expires_timestamp_seconds",
            Unit::Time,
            &[],
            "Until when the node's identity is good, in seconds since 1970-01-01 UTC.",
            |at, out| out.some("", at.view.own.identity.and_then(|is| is.expires)),
        ),
        Family::gauge(
            "cupel_identity_renewal_failed",
            Unit::None,
            &[],
            "1 if the last attempt to renew the node's identity failed, 0 if not.",
            |at, out| {
                if let Some(identity) = at.view.own.identity {
                    out.put("", &[], identity.renewal_failed);
                }
            },
        ),
    ],
};
