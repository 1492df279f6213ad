//! The tools of the pack: one module a system, one file a tool.

pub mod alertmanager;
pub mod ansible;
#[cfg(feature = "aws")]
pub mod aws;
pub mod kubernetes;
pub mod prometheus;
mod words;

use astradesk_core::name::{ExternalName, SystemName};
use astradesk_core::{Error, Result, Target};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A thing of a system that is no cluster.
fn external(system: &str, kind: &str, name: ExternalName) -> Result<Target> {
    Ok(Target::External { system: SystemName::parse(system)?, kind: SystemName::parse(kind)?, name })
}

/// What a tool has written down, its intent or its receipt, read again. If that fails after `intend`, what became of the
/// effect is not known.
fn kept<T: DeserializeOwned>(what: &str, value: &Value) -> Result<T> {
    serde_json::from_value(value.clone())
        .map_err(|error| Error::internal(format!("the {what} cannot be read: {error}")))
}

/// What a tool writes down.
fn keep(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::internal(error.to_string()))
}
