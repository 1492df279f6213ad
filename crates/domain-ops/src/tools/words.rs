//! The words that tools have in common, in English and Polish. Polish letters need not be written.

use astradesk_core::tool::{Form, Measure, Slot};
use serde_json::{Value, json};

/// Phrases, as they are listed between commas.
pub(super) fn list(phrases: &str) -> Vec<String> {
    phrases.split(',').map(|phrase| phrase.trim().to_owned()).collect()
}

/// What a service is called besides its name, and what is said of it that means nothing; and `more`.
pub(super) fn fillers(more: &str) -> Vec<String> {
    let common = "service, services, app, application, workload, usługa, usługę, usługi, usługą, usłudze, serwis, serwisy, serwisu, \
                  serwisem, serwisie, aplikacja, aplikację, aplikacji";
    let more = if more.is_empty() { Vec::new() } else { list(more) };
    [list(common), more].concat()
}

pub(super) fn slot(argument: &str, form: Form) -> Slot {
    Slot { argument: argument.to_owned(), form, required: false, locates: false }
}

/// A value that is said after some words, or before others.
pub(super) fn value(of: Measure, after: &str, before: &str) -> Form {
    let before = if before.is_empty() { Vec::new() } else { list(before) };
    Form::Value { of, after: list(after), before }
}

/// How a sentence says which service.
pub(super) fn service_slot() -> Slot {
    Slot { required: true, ..slot("service", Form::Name) }
}

/// How a sentence says which namespace.
pub(super) fn namespace_slot() -> Slot {
    let after = "in namespace, in the namespace, from namespace, namespace, ns, in the * namespace, in * namespace, from the * \
                 namespace, w namespace, z namespace, w przestrzeni nazw, w przestrzeni, z przestrzeni nazw, z przestrzeni, \
                 przestrzeń nazw, przestrzeń";
    Slot { locates: true, ..slot("namespace", value(Measure::Word, after, "")) }
}

/// How a sentence says which kind.
pub(super) fn kind_slot() -> Slot {
    let words = [
        ("deployment", "deployment"),
        ("statefulset", "statefulset"),
        ("sts", "statefulset"),
        ("daemonset", "daemonset"),
        ("ds", "daemonset"),
    ];
    let choices = words.iter().map(|(word, kind)| ((*word).to_owned(), json!(kind))).collect();
    Slot { locates: true, ..slot("kind", Form::OneOf(choices)) }
}

/// How a sentence says which node.
pub(super) fn node_slot() -> Slot {
    Slot { required: true, ..slot("node", Form::Name) }
}

/// How a sentence says that pods may go that no controller brings back.
pub(super) fn force_slot() -> Slot {
    slot("force", Form::Flag(list("with force, by force, forced, force, na siłę, wymuś")))
}

/// How a sentence says how long it may take.
pub(super) fn timeout_slot() -> Slot {
    let after = "timeout, with timeout, with a timeout of, with a * timeout, timeout of, within, limit, w ciągu, limit czasu, z limitem, z limitem \
                 czasu, z timeout, z timeoutem, timeoutem";
    slot("timeout", value(Measure::Duration, after, ""))
}

/// How a sentence says of which time.
pub(super) fn since_slots() -> Vec<Slot> {
    let since = value(
        Measure::Duration,
        "since, from the last, for the last, over the last, last, the last, past, z ostatnich, za ostatnie, z ostatniej, \
         ostatnie, ostatnich",
        "",
    );
    let hour = list("from the last hour, for the last hour, last hour, z ostatniej godziny");
    let hour = Form::OneOf(hour.into_iter().map(|phrase| (phrase, json!("1h"))).collect());
    vec![slot("since", since), slot("since", hour)]
}

/// How a sentence says that downtime is acceptable.
pub(super) fn accept_downtime_slot() -> Slot {
    let accept = "accept downtime, accept the downtime, i accept downtime, i accept the downtime, we accept downtime, accepting downtime, with downtime, downtime is fine, akceptuję przestój, \
                  z przestojem, z akceptacją przestoju, dopuszczam przestój, zgadzam się na przestój";
    slot("accept_downtime", Form::Flag(list(accept)))
}

/// How a sentence says what becomes of what does not come out well.
pub(super) fn on_failure_slot() -> Slot {
    let undo = "undo on failure, undo on error, undo if it fails, on failure undo, on error undo, with undo, with undo on \
                failure, roll back on failure, rollback on failure, wycofaj przy błędzie, cofnij przy błędzie, z wycofaniem, w \
                razie błędu wycofaj, w razie błędu cofnij, w razie niepowodzenia wycofaj, w razie niepowodzenia cofnij";
    let leave = "leave on failure, leave on error, on failure leave, on error leave, zostaw przy błędzie, w razie błędu zostaw, w \
                 razie niepowodzenia zostaw";
    let meaning = |phrases: &str, value: &str| -> Vec<(String, Value)> {
        list(phrases).into_iter().map(|phrase| (phrase, json!(value))).collect()
    };
    slot("on_failure", Form::OneOf([meaning(undo, "undo"), meaning(leave, "leave")].concat()))
}
