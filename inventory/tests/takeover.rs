//! Who may not have an identity, and what is told of identities that are good no more.

#[path = "enrolment/machine.rs"]
mod machine;
mod support;

use std::sync::atomic::{AtomicU32, Ordering};

use cupel_inventory::store::{self, Asked, Bound, Enrolled, JoinRefusal};
use cupel_model::enrolment::KeyProtection;
use machine::{Machine, enrolled, join};
use support::Inventory;

#[tokio::test]
async fn nothing_is_signed_for_who_is_refused() {
    let inventory = Inventory::start().await;
    let machine = Machine::number(1);
    let token = join(
        &inventory,
        "other",
        1,
        Bound::Node("another-node".to_owned()),
    )
    .await;
    let key = inventory.store.joins().await.expect("tokens")[0].key;
    let asked = Asked {
        node: machine.node.clone(),
        hardware: machine.hardware.clone(),
        key_protection: KeyProtection::File,
        key_digest: [7; 32],
    };
    let signed = AtomicU32::new(0);
    let sign = || {
        signed.fetch_add(1, Ordering::SeqCst);
        Err(store::Error::Busy)
    };
    let answer = inventory.store.enrol(&asked, &sign, key).await;
    let other = JoinRefusal::OtherNode("another-node".to_owned());
    assert_eq!(answer.expect("answer"), Enrolled::Refused(other));
    assert_eq!(signed.load(Ordering::SeqCst), 0);
    machine::refused(
        &inventory,
        &token,
        &machine,
        403,
        "join-token-for-another-node",
    )
    .await;
    // What could not be signed costs no use.
    let token = join(&inventory, "any", 1, Bound::Any).await;
    let key = inventory.store.joins().await.expect("tokens")[1].key;
    let failed = inventory.store.enrol(&asked, &sign, key).await;
    assert!(matches!(failed, Err(store::Error::Busy)), "{failed:?}");
    assert_eq!(signed.load(Ordering::SeqCst), 1);
    enrolled(&inventory, &token, &machine).await;
}
