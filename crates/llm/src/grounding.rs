//! Whether a call says nothing that was not said: no target, namespace, number or consent is invented, and what is
//! named is not left out.

use crate::offer::Offer;
use crate::said::Said;
use astradesk_core::text::shown;
use astradesk_core::tool::Form;
use astradesk_core::{Arguments, Call};
use serde_json::Value;

/// The argument that says in which namespace names are looked up; in one that is said, only the tool itself knows
/// which there are.
const NAMESPACE: &str = "namespace";

/// Checks one call.
///
/// # Errors
/// What was not said.
pub fn check(arguments: &Arguments, offer: &Offer, said: &Said) -> Result<(), String> {
    for (argument, value) in arguments {
        let names = offer.names.get(argument).filter(|_| !arguments.contains_key(NAMESPACE));
        if let (Some(names), Some(name)) = (names, value.as_str()) {
            if names.said.iter().any(|known| known == name) {
                continue;
            }
            return Err(format!(
                "the request names no `{argument}` that exists and is `{}`",
                shown(name, 64)
            ));
        }
        if !stands(value, argument, offer, said) {
            let value = shown(&value.to_string(), 64);
            return Err(format!(
                "the request does not say `{argument}` = {value}: leave out what it does not say, and spell what it says as it does"
            ));
        }
    }
    Ok(())
}

/// Checks that everything that the sentence names is in some call.
///
/// # Errors
/// The name for which nothing is planned.
pub fn complete(calls: &[Call], offers: &[Offer]) -> Result<(), String> {
    let named = offers.iter().flat_map(|offer| offer.names.values()).flat_map(|names| &names.said);
    let planned =
        |name: &str| calls.iter().any(|call| call.arguments.values().any(|value| holds(value, name)));
    for name in named {
        if !planned(name) {
            return Err(format!("the request names `{}`, and nothing is planned for it", shown(name, 64)));
        }
    }
    Ok(())
}

fn holds(value: &Value, name: &str) -> bool {
    match value {
        Value::String(text) => text == name,
        Value::Array(items) => items.iter().any(|item| holds(item, name)),
        Value::Object(members) => members.values().any(|member| holds(member, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn stands(value: &Value, argument: &str, offer: &Offer, said: &Said) -> bool {
    let by_word = || {
        offer.slots(argument).any(|form| match form {
            Form::OneOf(words) => words.iter().any(|(word, means)| means == value && said.says_phrase(word)),
            Form::Flag(phrases) => match value {
                Value::Bool(true) => phrases.iter().any(|phrase| said.says_phrase(phrase)),
                // Not to say it means the same.
                Value::Bool(false) => true,
                _ => false,
            },
            _ => false,
        })
    };
    match value {
        Value::Null => false,
        Value::Bool(true) => by_word() || said.says_phrase(&argument.replace(['_', '-', '.'], " ")),
        Value::Bool(false) => by_word(),
        Value::Number(number) => said.says_number(number) || by_word(),
        Value::String(text) => said.says(text) || said.says_duration(text) || by_word(),
        Value::Array(items) => items.iter().all(|item| stands(item, argument, offer, said)),
        Value::Object(members) => members.values().all(|member| stands(member, argument, offer, said)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::tests::{offer, spec};
    use crate::offer::Known;
    use serde_json::json;
    use std::sync::Arc;

    fn judged(sentence: &str, arguments: &Value) -> Result<(), String> {
        let said = Said::of(sentence).with_aliases([("the shop", "webapp")].into_iter());
        let known = ["webapp", "payments"].map(str::to_owned);
        let names = known.into_iter().filter(|name| said.names(name)).collect();
        let offer = offer("restart_service", names);
        check(arguments.as_object().unwrap(), &offer, &said)
    }

    #[test]
    fn nothing_is_invented() {
        for (sentence, arguments, sound) in [
            ("give webapp a kick", json!({"service": "webapp"}), true),
            ("give WebApp a kick", json!({"service": "webapp"}), true),
            ("give webapp a kick", json!({"service": "payments"}), false),
            ("give webapp a kick", json!({"service": "Webapp"}), false),
            ("give billing a kick", json!({"service": "billing"}), false),
            ("give billing a kick in shop", json!({"service": "billing", "namespace": "shop"}), true),
            ("give webapp a kick", json!({"service": "webapp", "namespace": "default"}), false),
            ("kick webapp in default", json!({"service": "webapp", "namespace": "default"}), true),
            ("kick webapp", json!({"service": "webapp", "accept_downtime": true}), false),
            ("kick webapp", json!({"service": "webapp", "accept_downtime": false}), true),
            ("kick webapp and accept downtime", json!({"service": "webapp", "accept_downtime": true}), true),
            ("kick webapp with downtime", json!({"service": "webapp", "accept_downtime": true}), true),
            ("kick webapp, the sts", json!({"service": "webapp", "kind": "statefulset"}), true),
            ("kick webapp", json!({"service": "webapp", "kind": "statefulset"}), false),
            ("kick webapp within 5 minutes", json!({"service": "webapp", "timeout": "5m"}), true),
            ("kick webapp", json!({"service": "webapp", "timeout": "5m"}), false),
            ("kick the shop", json!({"service": "webapp"}), true),
            ("kick the shop in prod", json!({"service": "webapp", "namespace": "prod"}), false),
            ("kick the shopping", json!({"service": "webapp"}), false),
            ("kick webapp", json!({"service": null}), false),
            ("kick webapp", json!({"service": ["webapp"]}), true),
            ("kick webapp", json!({"service": {"is": "payments"}}), false),
            ("kick webapp to 3", json!({"service": "webapp", "replicas": 3}), true),
            ("kick webapp to three", json!({"service": "webapp", "replicas": 3}), false),
        ] {
            assert_eq!(judged(sentence, &arguments).is_ok(), sound, "{sentence} {arguments}");
        }
    }

    #[test]
    fn nothing_that_is_named_is_left_out() {
        let names = Known { said: vec!["webapp".to_owned(), "payments".to_owned()], all_permitted: true };
        let names = [("service".to_owned(), names)].into_iter().collect();
        let offers = [Offer::new(Arc::new(spec("restart_service")), names).unwrap()];
        let call = |name: &str| Call {
            tool: offers[0].spec.name.clone(),
            arguments: json!({"service": name}).as_object().unwrap().clone(),
        };
        assert!(complete(&[call("webapp"), call("payments")], &offers).is_ok());
        assert!(complete(&[call("webapp")], &offers).unwrap_err().contains("`payments`"));
    }
}
