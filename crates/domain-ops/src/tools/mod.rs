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
use astradesk_runtime::port::Fault;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A thing of a system that is no cluster.
fn external(system: &str, kind: &str, name: ExternalName) -> Result<Target> {
    Ok(Target::External { system: SystemName::parse(system)?, kind: SystemName::parse(kind)?, name })
}

/// What a tool writes down, its intent or its receipt, cannot be written or read again. Before `perform` nothing was done
/// yet; from there on what became of the effect is not known, and whatever asks with `?` says so.
#[derive(Debug)]
struct NotKept(Error);

impl From<NotKept> for Error {
    fn from(NotKept(error): NotKept) -> Self {
        error
    }
}

impl From<NotKept> for Fault {
    fn from(NotKept(error): NotKept) -> Self {
        Self::Unknown(error)
    }
}

/// What a tool has written down, read again.
fn kept<T: DeserializeOwned>(what: &str, value: &Value) -> Result<T, NotKept> {
    serde_json::from_value(value.clone())
        .map_err(|error| NotKept(Error::internal(format!("the {what} cannot be read: {error}"))))
}

/// What a tool writes down.
fn keep(value: &impl Serialize) -> Result<Value, NotKept> {
    serde_json::to_value(value).map_err(|error| NotKept(Error::internal(error.to_string())))
}
