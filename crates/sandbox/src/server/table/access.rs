//! Who may do what: the columns of roles' bindings and of service accounts.

use super::{AGE, Column, NAME};
use crate::json::Value;
use crate::object::{list, text};

pub(super) fn roles() -> Vec<Column> {
    vec![NAME, Column::text("Created At", |o| text(o, "/metadata/creationTimestamp").into())]
}

pub(super) fn bindings() -> Vec<Column> {
    vec![
        NAME,
        Column::text("Role", |o| format!("{}/{}", text(o, "/roleRef/kind"), text(o, "/roleRef/name")).into()),
        AGE,
        Column::wide("Users", |o| subjects(o, "User")),
        Column::wide("Groups", |o| subjects(o, "Group")),
        Column::wide("ServiceAccounts", |o| subjects(o, "ServiceAccount")),
    ]
}

pub(super) fn service_accounts() -> Vec<Column> {
    vec![NAME, Column::text("Secrets", |o| list(o, "/secrets").len().into()), AGE]
}

fn subjects(binding: &Value, kind: &str) -> Value {
    let meant = list(binding, "/subjects").iter().filter(|subject| text(subject, "/kind") == kind);
    let shown = meant.map(|subject| match text(subject, "/namespace") {
        "" => text(subject, "/name").to_owned(),
        namespace => format!("{namespace}/{}", text(subject, "/name")),
    });
    shown.collect::<Vec<_>>().join(", ").into()
}
