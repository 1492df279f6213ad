//! What the same scripts come to on the sandbox and on the real control plane. See the library for how.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed unwrap in a test is a failed test"
)]
#![allow(
    clippy::needless_pass_by_value,
    clippy::similar_names,
    clippy::too_many_lines,
    clippy::type_complexity,
    reason = "scripts are long tables of values"
)]

mod daemon_sets;
mod deletion;
mod deployments;
mod lists;
mod objects;
mod patches;
mod random;
mod refusals;
mod stateful_sets;
mod strategies;
mod watches;

/// A test of each family of scripts.
macro_rules! families {
    ($($family:ident),+ $(,)?) => {
        mod real_cluster {$(
            #[test]
            fn $family() {
                astradesk_differential::check(stringify!($family), super::$family::scripts());
            }
        )+}
    };
}

families![
    objects,
    lists,
    watches,
    refusals,
    patches,
    random,
    deletion,
    deployments,
    strategies,
    stateful_sets,
    daemon_sets
];
