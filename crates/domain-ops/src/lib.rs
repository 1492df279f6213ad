//! The Operations pack: OpsAgent and its tools.
