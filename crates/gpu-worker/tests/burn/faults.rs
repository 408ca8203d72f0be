//! Every fault comes out at its place, and is what it is.

use cupel_fake_driver::state::{CudaAct, CudaPlace, State};
use cupel_model::worker_burnin::{
    BurnEnd, BurnMismatch, BurnOutcome, BurnPlace, BurnWork, Element, Operands, Staying,
};

use crate::worker::{PIECE, healthy, memory, product, run};

/// Done and proven, and this is all that was found.
fn one(outcome: &BurnOutcome, what: &str) -> BurnMismatch {
    assert_eq!(outcome.end, BurnEnd::Done, "{what}: {outcome:?}");
    assert_eq!(outcome.found, outcome.planted, "{what}");
    assert!(outcome.proof_complete, "{what}");
    assert_eq!(
        outcome.mismatches.len(),
        1,
        "{what}: {:?}",
        outcome.mismatches
    );
    outcome.mismatches[0].clone()
}

fn cell(word: u64) -> CudaPlace {
    CudaPlace::Memory { bytes: PIECE, word }
}

/// The same faults on the first GPU alone.
fn on_first(mut state: State) -> State {
    for fault in &mut state.cuda.faults {
        fault.gpu = Some(0);
    }
    state
}

fn xor(mismatch: &BurnMismatch) -> u64 {
    mismatch.expected.expect("expected") ^ mismatch.got.expect("got")
}

#[test]
fn a_bit_that_flips_once_is_found_at_its_word_and_bit() {
    let flip = CudaAct::Flip {
        place: cell(77_777),
        bit: 41,
    };
    // Before the pattern is verified: it is stored wrong, and still there at a second look.
    let state = healthy(1).with_cuda_fault("memory_write", Some(90), flip.clone());
    let found = one(&run(&state, memory()), "stored");
    assert_eq!((found.place, found.word), (BurnPlace::Memory, 77_777));
    assert_eq!(xor(&found), 1 << 41);
    assert_eq!((found.staying, found.repeats), (Staying::Stored, 1));
    assert_eq!(found.step, "verify, upwards");
    // Before it is turned: whether it was stored nobody can tell, it is written again at once.
    let pieces = 90;
    let state = healthy(1).with_cuda_fault("memory_turn", Some(pieces), flip);
    let found = one(&run(&state, memory()), "turned");
    assert_eq!((found.word, xor(&found)), (77_777, 1 << 41));
    assert_eq!(found.staying, Staying::NotTold);
}

#[test]
fn a_stuck_bit_is_stuck() {
    for high in [false, true] {
        let stuck = CudaAct::Stuck {
            place: cell(123_456),
            bit: 3,
            high,
        };
        let state = healthy(1).with_cuda_fault("", None, stuck);
        let found = one(&run(&state, memory()), "stuck");
        assert_eq!((found.word, xor(&found)), (123_456, 8));
        assert_eq!(found.staying, Staying::Stuck, "{high}");
        // In three of the five readings the bit should have had the other value, or in two.
        assert!((2..=3).contains(&found.repeats), "{found:?}");
    }
}

#[test]
fn an_address_that_leads_to_another_word_names_that_word() {
    let alias = CudaAct::Alias {
        place: cell(200_001),
        of: cell(5_000),
    };
    let state = healthy(1).with_cuda_fault("", None, alias);
    let found = one(&run(&state, memory()), "alias");
    assert_eq!((found.word, found.holds_word), (200_001, Some(5_000)));
    assert_eq!(found.staying, Staying::Stuck);
    assert_eq!(found.repeats, 5, "in every reading");
}

#[test]
fn a_write_that_is_dropped_leaves_what_was_there_before() {
    let dropped = CudaAct::Dropped { place: cell(99) };
    // The first piece is turned in the first launch of turning; word 99 lies in it.
    let state = healthy(1).with_cuda_fault("memory_turn", Some(0), dropped);
    let found = one(&run(&state, memory()), "dropped");
    assert_eq!((found.word, found.holds_word), (99, Some(99)));
    assert_eq!(found.step, "verify and write, downwards");
    assert_eq!(xor(&found), u64::MAX);
}

/// Elements of the first product: which launch of which kernel it is.
const KERNELS: [(Element, &str); 4] = [
    (Element::Bf16, "gemm_hopper_bf16"),
    (Element::Fp8, "gemm_hopper_e4m3"),
    (Element::Fp32, "gemm_f32"),
    (Element::Fp64, "gemm_f64"),
];

#[test]
fn a_wrong_element_of_the_first_exact_product_is_found_by_the_hosts_sums() {
    for (element, kernel) in KERNELS {
        for (value, what) in [
            (0x7fc0_0000, "NaN"),
            (0x7f80_0000, "infinity"),
            (0x3f80_0001, "bits"),
        ] {
            // A double's upper half.
            let (word, half) = if element == Element::Fp64 {
                (20_001, 20_001 / 2)
            } else {
                (20_001, 20_001)
            };
            let value = CudaAct::Replace {
                place: CudaPlace::Output { word },
                value,
            };
            let state = healthy(1).with_cuda_fault(kernel, Some(0), value);
            let outcome = run(&state, product(element, Operands::Exact));
            let what = format!("{element:?}, {what}");
            assert_eq!(outcome.end, BurnEnd::Done, "{what}");
            let found = &outcome.mismatches[0];
            assert_eq!(found.word, half, "{what}: {outcome:?}");
            assert_eq!(
                (found.row, found.column),
                (
                    Some(u32::try_from(half / 256).expect("row")),
                    Some(u32::try_from(half % 256).expect("column"))
                )
            );
            assert!(found.sm.is_some() && found.tile.is_some(), "{what}");
            assert_eq!(found.place, BurnPlace::Product);
            assert_ne!(xor(found), 0);
        }
    }
}

#[test]
fn a_row_that_is_wrong_is_a_row() {
    let row = CudaAct::Row {
        row: 100,
        columns: 256,
    };
    let state = healthy(1).with_cuda_fault("gemm_hopper_bf16", Some(0), row);
    let outcome = run(&state, product(Element::Bf16, Operands::Exact));
    assert!(outcome.mismatch_count > 200, "{}", outcome.mismatch_count);
    assert!(
        outcome
            .mismatches
            .iter()
            .all(|found| found.row == Some(100))
    );
}

#[test]
fn a_later_product_that_differs_is_found_at_its_element() {
    for (element, kernel) in KERNELS {
        let flip = CudaAct::Flip {
            place: CudaPlace::Output { word: 4_242 },
            bit: 0,
        };
        // First product, the one with planted faults, ten that are timed: the next one is looked at.
        let state = healthy(1).with_cuda_fault(kernel, Some(12), flip);
        let found = one(&run(&state, product(element, Operands::Exact)), kernel);
        let word = if element == Element::Fp64 {
            2_121
        } else {
            4_242
        };
        assert_eq!((found.word, xor(&found)), (word, 1), "{element:?}");
        assert_eq!(found.step, "product 1");
        assert!(found.sm.is_some());
    }
}

#[test]
fn random_products_that_disagree_are_found_and_do_not_become_the_reference() {
    let flip = |at| {
        let act = CudaAct::Flip {
            place: CudaPlace::Output { word: 999 },
            bit: 31,
        };
        healthy(1).with_cuda_fault("gemm_hopper_bf16", Some(at), act)
    };
    for at in [0, 1] {
        let outcome = run(&flip(at), product(Element::Bf16, Operands::Random));
        let found = one(&outcome, "first products");
        assert_eq!((found.word, found.repeats), (999, 1), "launch {at}");
    }
    let clean = run(&healthy(1), product(Element::Bf16, Operands::Random));
    let outcome = run(&flip(0), product(Element::Bf16, Operands::Random));
    assert_eq!(outcome.hashes, clean.hashes);
}

#[test]
fn a_deterministic_fault_of_one_gpu_shows_in_its_hashes() {
    let flip = CudaAct::Flip {
        place: CudaPlace::Output { word: 999 },
        bit: 31,
    };
    let state = healthy(1).with_cuda_fault("gemm_hopper_bf16", None, flip);
    let outcome = run(&state, product(Element::Bf16, Operands::Random));
    assert_eq!(
        outcome.mismatch_count, 0,
        "compared with itself it is right"
    );
    let clean = run(&healthy(1), product(Element::Bf16, Operands::Random));
    let (one, other) = (
        outcome.hashes.expect("hashes"),
        clean.hashes.expect("hashes"),
    );
    let differing: Vec<_> = (0..one.hashes.len())
        .filter(|at| one.hashes[*at] != other.hashes[*at])
        .collect();
    assert_eq!(differing, [0], "row 3 is in the first tile");
    // The same fault against the oracle.
    let flip = CudaAct::Flip {
        place: CudaPlace::Output { word: 999 },
        bit: 31,
    };
    let state = healthy(1).with_cuda_fault("gemm_hopper_bf16", None, flip);
    let outcome = run(&state, product(Element::Bf16, Operands::Exact));
    assert!(
        outcome.mismatches.iter().any(|found| found.word == 999),
        "{outcome:?}"
    );
}

#[test]
fn a_copy_that_changes_or_leaves_out_a_word_is_found() {
    let work = || BurnWork::HostLink {
        bytes: 1 << 20,
        seconds: 0.0,
    };
    for (call, launch, step) in [
        ("cuMemcpyHtoDAsync_v2", 1, "host to GPU"),
        ("cuMemcpyDtoHAsync_v2", 1, "GPU to host"),
    ] {
        let flip = CudaAct::Flip {
            place: CudaPlace::Output { word: 2_000 },
            bit: 5,
        };
        let found = one(
            &run(
                &healthy(1).with_cuda_fault(call, Some(launch), flip),
                work(),
            ),
            call,
        );
        assert_eq!(
            (found.place, found.word, xor(&found)),
            (BurnPlace::Link, 1_000, 32)
        );
        assert_eq!(found.step, step);
        let dropped = CudaAct::Dropped {
            place: CudaPlace::Output { word: 2_000 },
        };
        let found = one(
            &run(
                &healthy(1).with_cuda_fault(call, Some(launch), dropped),
                work(),
            ),
            call,
        );
        assert_eq!(
            (found.word, xor(&found) >> 32),
            (1_000, 0),
            "half a word was left out"
        );
    }
}

#[test]
fn a_copy_between_gpus_that_goes_wrong_names_the_receiver_and_the_sender() {
    let flip = CudaAct::Flip {
        place: CudaPlace::Output { word: 64 },
        bit: 7,
    };
    // The first copy proves the checks.
    let state = on_first(healthy(2).with_cuda_fault("cuMemcpyPeerAsync", Some(1), flip));
    let work = BurnWork::PeerLink {
        bytes: 64 << 10,
        seconds: 0.0,
    };
    let found = one(&run(&state, work), "peer copy");
    assert_eq!((found.gpu, found.word, xor(&found)), (1, 32, 128));
    assert_eq!(found.step, "copy engine, from 0000:01:00.0");
}

#[test]
fn an_all_reduce_that_adds_up_wrong_is_found_where_it_came_to() {
    let flip = CudaAct::Flip {
        place: CudaPlace::Output { word: 10 },
        bit: 1,
    };
    let state = on_first(healthy(2).with_cuda_fault("reduce_all", Some(1), flip));
    let work = BurnWork::AllReduce {
        bytes: 64 << 10,
        seconds: 0.0,
    };
    let found = one(&run(&state, work), "all-reduce");
    assert_eq!((found.word, xor(&found)), (5, 2));
}

#[test]
fn memory_beside_products_is_verified_while_power_is_loaded() {
    let state = healthy(1).with_cuda_fault(
        "",
        None,
        CudaAct::Stuck {
            place: cell(0),
            bit: 9,
            high: true,
        },
    );
    let work = BurnWork::Power {
        element: Element::Bf16,
        size: 256,
        seconds: 0.3,
        pulse: None,
    };
    let outcome = run(&state, work);
    // Only where the pattern has the bit at zero; the seed was chosen so.
    assert!(
        outcome
            .mismatches
            .iter()
            .all(|found| found.place == BurnPlace::Memory && found.word == 0),
        "{outcome:?}"
    );
}

#[test]
fn a_slow_gpu_is_measured_as_slow() {
    let rate = |state| {
        let outcome = run(&state, product(Element::Fp32, Operands::Exact));
        outcome
            .measured
            .into_iter()
            .find(|sample| sample.name == "peak compute rate")
            .expect("rate")
            .value
    };
    let slow = CudaAct::Slow { milliseconds: 300 };
    let ratio = rate(healthy(1)) / rate(healthy(1).with_cuda_fault("gemm_f32", None, slow));
    assert!((300.0..302.0).contains(&ratio), "{ratio}");
}
