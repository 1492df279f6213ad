//! Cedar behind the Policy port.
