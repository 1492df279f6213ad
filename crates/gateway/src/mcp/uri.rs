//! The URIs of resources, made and read.

use astradesk_core::RunId;
use astradesk_core::name::ObjectName;
use std::fmt::Display;

/// The template of a run.
pub(super) const RUN: &str = "astradesk://runs/{id}";
/// The template of a run's evidence.
pub(super) const EVIDENCE: &str = "astradesk://runs/{id}/evidence";
/// Every service.
pub(super) const SERVICES: &str = "astradesk://services";
/// The template of a service.
pub(super) const SERVICE: &str = "astradesk://services/{service}";

/// What a URI names.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Named {
    /// A run.
    Run(RunId),
    /// What is on record of a run.
    Evidence(RunId),
    /// Every service.
    Services,
    /// One service.
    Service(ObjectName),
}

/// The URI of a run.
pub(super) fn run(id: impl Display) -> String {
    format!("astradesk://runs/{id}")
}

/// What the URI names, if it is one of ours.
pub(super) fn parse(uri: &str) -> Option<Named> {
    let mut parts = uri.strip_prefix("astradesk://")?.split('/');
    let parts = (parts.next()?, parts.next(), parts.next(), parts.next());
    match parts {
        ("runs", Some(id), None, None) => RunId::parse(id).map(Named::Run),
        ("runs", Some(id), Some("evidence"), None) => RunId::parse(id).map(Named::Evidence),
        ("services", None, None, None) => Some(Named::Services),
        ("services", Some(name), None, None) => ObjectName::parse(name).ok().map(Named::Service),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_resource_is_not_read_as_one() {
        let id = "01920000-0000-7000-8000-000000000001";
        let parsed = RunId::parse(id).unwrap();
        assert_eq!(parse(&run(parsed)), Some(Named::Run(parsed)));
        assert_eq!(parse(&format!("{}/evidence", run(parsed))), Some(Named::Evidence(parsed)));
        assert_eq!(parse(SERVICES), Some(Named::Services));
        let service = Named::Service(ObjectName::parse("webapp").unwrap());
        assert_eq!(parse("astradesk://services/webapp"), Some(service));
        for wrong in [
            "",
            "astradesk://",
            "astradesk://runs",
            "astradesk://runs/x",
            "astradesk://services/",
            "astradesk://services/../runs",
            "astradesk://services/a/b",
            "astradesk://services/UPPER",
            "file:///etc/passwd",
            &format!("{}/", run(parsed)),
            &format!("{}/evidence/x", run(parsed)),
            &format!("ASTRADESK://runs/{id}"),
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
