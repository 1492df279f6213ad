//! The `astradesk` binary.
fn main() {}
