//! The columns of Ingresses.

use super::{AGE, Column, NAME};
use crate::json::Value;
use crate::object::text;

use super::words::or_none;

/// The most hosts that are named.
const HOSTS: usize = 3;

pub(super) fn columns() -> Vec<Column> {
    vec![
        NAME,
        Column::text("Class", |o| or_none(text(o, "/spec/ingressClassName")).into()),
        Column::text("Hosts", hosts),
        Column::text("Address", addresses),
        Column::text("Ports", |o| {
            let tls = o.pointer("/spec/tls").and_then(Value::as_array).is_some_and(|tls| !tls.is_empty());
            if tls { "80, 443" } else { "80" }.into()
        }),
        AGE,
    ]
}

fn hosts(ingress: &Value) -> Value {
    let rules = ingress.pointer("/spec/rules").and_then(Value::as_array).into_iter().flatten();
    let hosts: Vec<&str> = rules.map(|rule| text(rule, "/host")).filter(|host| !host.is_empty()).collect();
    match hosts.split_at_checked(HOSTS) {
        _ if hosts.is_empty() => "*".into(),
        Some((first, more)) if !more.is_empty() => {
            format!("{} + {} more...", first.join(","), more.len()).into()
        }
        _ => hosts.join(",").into(),
    }
}

fn addresses(ingress: &Value) -> Value {
    let given =
        ingress.pointer("/status/loadBalancer/ingress").and_then(Value::as_array).into_iter().flatten();
    let one = |one: &Value| {
        let ip = text(one, "/ip");
        if ip.is_empty() { text(one, "/hostname") } else { ip }.to_owned()
    };
    given.map(one).collect::<Vec<_>>().join(",").into()
}
