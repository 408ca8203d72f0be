//! Healthy GPUs: nothing is found but what was planted, and all of that.

use cupel_fake_driver::models::Model;
use cupel_fake_driver::state::State;
use cupel_model::worker_burnin::{
    BurnAnswer, BurnAsk, BurnEnd, BurnOutcome, BurnWork, Element, Operands, Pulse,
};

use crate::worker::{MEMORY, Worker, healthy, memory, product, run};

/// Done, proven, and nothing found.
fn is_clean(outcome: &BurnOutcome, what: &str) {
    assert_eq!(outcome.end, BurnEnd::Done, "{what}: {outcome:?}");
    assert_eq!(
        outcome.mismatch_count, 0,
        "{what}: {:?}",
        outcome.mismatches
    );
    assert!(outcome.planted >= 8, "{what}: {}", outcome.planted);
    assert_eq!(outcome.found, outcome.planted, "{what}");
    assert!(outcome.proof_complete, "{what}");
    assert!(
        outcome.covered > 0 && outcome.covered <= outcome.asked,
        "{what}"
    );
}

fn measured(outcome: &BurnOutcome, name: &str) -> f64 {
    outcome
        .measured
        .iter()
        .find(|sample| sample.name == name)
        .unwrap_or_else(|| panic!("no {name}: {:?}", outcome.measured))
        .value
}

#[test]
fn memory_is_covered_and_clean() {
    let outcome = run(&healthy(1), memory());
    is_clean(&outcome, "memory");
    assert_eq!(outcome.planted, 48, "three times");
    assert!(outcome.covered * 100 >= outcome.asked * 97, "{outcome:?}");
    for name in [
        "write, upwards",
        "verify, upwards",
        "verify and write, random order",
    ] {
        assert!(measured(&outcome, name) > 0.0);
    }
    let gpu = &outcome.gpus[0];
    assert_eq!(
        (gpu.capability.as_str(), gpu.image.as_str()),
        ("9.0", "sm_90a")
    );
    assert!(gpu.free_bytes <= MEMORY);
}

#[test]
fn products_of_every_type_and_kind_are_clean() {
    for element in Element::ALL {
        for operands in [Operands::Exact, Operands::Random] {
            let what = format!("{element:?} {operands:?}");
            let outcome = run(&healthy(1), product(element, operands));
            is_clean(&outcome, &what);
            let hashed = operands == Operands::Random && element != Element::Fp64;
            assert_eq!(outcome.hashes.is_some(), hashed, "{what}");
            assert!(measured(&outcome, "peak compute rate") > 0.0);
        }
    }
}

#[test]
fn the_kernels_of_other_architectures_are_clean() {
    for (model, capability, elements) in [
        (Model::H100, (8, 0), &[Element::Bf16][..]),
        (Model::L40s, (8, 9), &[Element::Bf16, Element::Fp8][..]),
        (Model::B200, (10, 0), &[Element::Bf16][..]),
        (Model::B200, (10, 3), &[Element::Bf16][..]),
    ] {
        for element in elements {
            let mut state = healthy(1);
            state.gpus = State::healthy(model, &["0000:01:00.0"]).gpus;
            state.cuda.capability = Some(capability);
            let outcome = run(&state, product(*element, Operands::Exact));
            is_clean(&outcome, &format!("{capability:?} {element:?}"));
            let not_peak = outcome
                .notes
                .iter()
                .any(|note| note.starts_with("not peak"));
            assert_eq!(not_peak, capability.0 == 10, "{capability:?}");
        }
    }
    let mut state = healthy(1);
    state.cuda.capability = Some((8, 0));
    let outcome = run(&state, product(Element::Fp8, Operands::Exact));
    assert!(
        matches!(outcome.end, BurnEnd::Unsupported(_)),
        "{outcome:?}"
    );
    state.cuda.capability = Some((7, 5));
    let outcome = run(&state, memory());
    assert!(matches!(outcome.end, BurnEnd::Failed(_)), "{outcome:?}");
}

#[test]
fn two_gpus_give_the_same_hashes_and_another_seed_gives_others() {
    let hashes = || {
        run(&healthy(1), product(Element::Bf16, Operands::Random))
            .hashes
            .expect("hashes")
    };
    let (one, other) = (hashes(), hashes());
    assert_eq!(one, other);
    assert_eq!(one.hashes.len(), 2);
}

#[test]
fn power_is_loaded_and_verified_with_memory_beside() {
    for capability in [None, Some((8, 0))] {
        let mut state = healthy(1);
        state.cuda.capability = capability;
        let work = BurnWork::Power {
            element: Element::Bf16,
            size: 256,
            seconds: 0.6,
            pulse: None,
        };
        let outcome = run(&state, work);
        is_clean(&outcome, "power");
        assert!(measured(&outcome, "mean power") > 0.0);
        assert!(measured(&outcome, "power limit") > 0.0);
    }
}

#[test]
fn pulses_come_and_go() {
    let work = BurnWork::Power {
        element: Element::Bf16,
        size: 256,
        seconds: 0.5,
        pulse: Some(Pulse {
            on_ms: 60,
            off_ms: 30,
            stagger_ms: 20,
            ramp: 3,
        }),
    };
    let outcome = run(&healthy(1), work);
    is_clean(&outcome, "pulse");
    assert!(outcome.verified >= 2, "{}", outcome.verified);
}

#[test]
fn copies_between_host_and_gpu_are_clean() {
    let work = BurnWork::HostLink {
        bytes: 1 << 20,
        seconds: 0.0,
    };
    let outcome = run(&healthy(1), work);
    is_clean(&outcome, "host link");
    assert_eq!(outcome.links.len(), 3);
    assert!(measured(&outcome, "host to GPU") > 0.0);
}

#[test]
fn copies_between_gpus_and_all_reduce_are_clean() {
    let work = BurnWork::PeerLink {
        bytes: 64 << 10,
        seconds: 0.0,
    };
    let outcome = run(&healthy(4), work);
    is_clean(&outcome, "peer link");
    // Six pairs, two kinds of copies, three ways; three rounds of all at once.
    assert_eq!(outcome.links.len(), 6 * 2 * 3 + 3);
    assert_eq!((outcome.covered, outcome.asked), (6, 6));
    let work = BurnWork::AllReduce {
        bytes: 256 << 10,
        seconds: 0.0,
    };
    let outcome = run(&healthy(4), work);
    is_clean(&outcome, "all-reduce");
    assert!(measured(&outcome, "all-reduce bus rate") > 0.0);
    let mut alone = healthy(2);
    alone.cuda.peers = false;
    let work = BurnWork::AllReduce {
        bytes: 256 << 10,
        seconds: 0.0,
    };
    let outcome = run(&alone, work);
    assert!(
        matches!(outcome.end, BurnEnd::Unsupported(_)),
        "{outcome:?}"
    );
}

#[test]
fn a_job_ends_when_it_is_asked_to_and_another_can_begin() {
    let mut worker = Worker::new(&healthy(1));
    assert_eq!(worker.ask(BurnAsk::Poll), BurnAnswer::Idle);
    worker.start(BurnWork::Product {
        element: Element::Fp32,
        operands: Operands::Exact,
        size: 256,
        seconds: 3600.0,
    });
    while worker.progress().phase != "fp32 product 1" {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let beat = worker.progress().beat;
    worker.ask(BurnAsk::Stop);
    let outcome = worker.outcome();
    assert_eq!(outcome.end, BurnEnd::Stopped);
    assert!(worker.progress().beat > beat);
    worker.start(BurnWork::Describe);
    assert_eq!(worker.outcome().end, BurnEnd::Done);
}
