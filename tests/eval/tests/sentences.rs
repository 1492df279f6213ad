//! The evaluation set, and what holds of every sentence.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails in a test is a failed test"
)]

use astradesk_core::Code;
use astradesk_eval::case::{Case, Expected, read};
use astradesk_eval::score::{halves, score};
use astradesk_eval::world::{ALIASES, NODES, PLAYBOOKS, PODS, SERVICES, World};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;
use std::sync::LazyLock;
use tokio::runtime::Runtime;

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| read(include_str!("../sentences.txt")).unwrap());
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let _entered = RUNTIME.enter();
    World::new().unwrap()
});

fn plan(sentence: &str) -> Result<Vec<(String, Value)>, Code> {
    let plan = RUNTIME.block_on(WORLD.plan(sentence)).map_err(|error| error.code)?;
    Ok(plan.calls.into_iter().map(|call| (call.tool.to_string(), Value::Object(call.arguments))).collect())
}

fn those_that_act() -> impl Iterator<Item = &'static Case> {
    CASES.iter().filter(|case| !case.must_not_act())
}

#[test]
fn sentences_become_what_they_mean() {
    let (act, not) = halves(&RUNTIME.block_on(score(&WORLD, &CASES)));
    assert!(act.cases >= 300 && not.cases >= 500, "{} and {}", act.cases, not.cases);
    assert_eq!(not.acted, 0, "planned and must not be: {:#?}", not.wrong);
    assert_eq!(not.wrong, Vec::<String>::new(), "refused for another reason");
    assert!(act.is_good(), "{} of {}: {:#?}", act.right, act.cases, act.wrong);
}

/// Sentences that say the same.
fn variations(sentence: &str) -> Vec<String> {
    let spaced = sentence.replace(' ', "  \t ");
    let title: Vec<String> = sentence
        .split(' ')
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
        })
        .collect();
    let plain: String = sentence
        .chars()
        .map(|letter| {
            "ąćęłńóśźżĄĆĘŁŃÓŚŹŻ"
                .chars()
                .zip("acelnoszzACELNOSZZ".chars())
                .find(|(l, _)| *l == letter)
                .map_or(letter, |(_, p)| p)
        })
        .collect();
    let decomposed = sentence
        .replace('ą', "a\u{328}")
        .replace('ó', "o\u{301}")
        .replace('ż', "z\u{307}")
        .replace('ę', "e\u{328}");
    let bare = sentence.trim_end_matches(['.', '!']);
    let (period, exclamation) = (format!("{bare}."), format!("{bare} !!"));
    vec![
        sentence.to_uppercase(),
        sentence.to_lowercase(),
        spaced,
        title.join(" "),
        plain,
        decomposed,
        period,
        exclamation,
    ]
}

#[test]
fn case_spacing_punctuation_and_diacritics_change_nothing() {
    for Case { sentence, expected, .. } in CASES.iter() {
        let said = plan(sentence);
        for other in variations(sentence) {
            // `I restart` and `i restart` are the same word; `.` behind `np` is not.
            let heard = plan(&other);
            match expected {
                Expected::Plan(_) => assert_eq!(said, heard, "{sentence:?} and {other:?}"),
                Expected::Refusal(_) => assert!(heard.is_err(), "{sentence:?} and {other:?}: {heard:?}"),
            }
        }
    }
}

#[test]
fn one_word_more_that_says_not_or_if_undoes_a_plan() {
    for case in those_that_act() {
        let words: Vec<&str> = case.sentence.split(' ').collect();
        for (extra, expected) in [
            ("not", Code::PlanNegated),
            ("nie", Code::PlanNegated),
            ("without", Code::PlanNegated),
            ("if", Code::PlanNotInstruction),
            ("jeśli", Code::PlanNotInstruction),
            ("or", Code::PlanNotInstruction),
            ("czy", Code::PlanNotInstruction),
        ] {
            for at in 0..=words.len() {
                let mut words = words.clone();
                words.insert(at, extra);
                let sentence = words.join(" ");
                // Within `no dobra` it leaves a `no`.
                let refused = plan(&sentence);
                assert!(
                    refused == Err(expected) || refused == Err(Code::PlanNegated),
                    "{sentence:?}: {refused:?}"
                );
            }
        }
    }
}

#[test]
fn one_word_more_that_nobody_knows_undoes_a_plan() {
    for case in those_that_act() {
        let words: Vec<&str> = case.sentence.split(' ').collect();
        for at in 0..=words.len() {
            let mut words = words.clone();
            words.insert(at, "xyzzy");
            let sentence = words.join(" ");
            assert!(plan(&sentence).is_err(), "{sentence:?}: {:?}", plan(&sentence));
        }
    }
}

/// Words of the whole set, in any order.
fn word_salad() -> impl Strategy<Value = String> {
    let words: Vec<&str> = CASES.iter().flat_map(|case| case.sentence.split_whitespace()).collect();
    prop::collection::vec(select(words), 1..14).prop_map(|words| words.join(" "))
}

/// Two sentences that act, cut and put together.
fn crossing() -> impl Strategy<Value = String> {
    let acting: Vec<&str> = those_that_act().map(|case| case.sentence.as_str()).collect();
    (select(acting.clone()), select(acting), any::<Index>(), any::<Index>()).prop_map(
        |(one, two, cut, other)| {
            let (one, two): (Vec<&str>, Vec<&str>) = (one.split(' ').collect(), two.split(' ').collect());
            [&one[..=cut.index(one.len())], &two[other.index(two.len())..]].concat().join(" ")
        },
    )
}

/// A sentence that acts, with one letter left out, another one, or one more.
fn mistyped() -> impl Strategy<Value = String> {
    let acting: Vec<&str> = those_that_act().map(|case| case.sentence.as_str()).collect();
    (select(acting), any::<Index>(), 0..3, "[a-zł0-9-]").prop_map(|(sentence, at, what, letter)| {
        let mut letters: Vec<char> = sentence.chars().collect();
        let at = at.index(letters.len());
        let with = letter.chars().filter(|_| what > 0);
        letters.splice(at..at + usize::from(what < 2), with);
        letters.into_iter().collect()
    })
}

/// Every name and number of a plan stands in the sentence, or is there by an alias.
fn assert_nothing_is_invented(sentence: &str) {
    let Ok(calls) = plan(sentence) else { return };
    let said = sentence.to_lowercase();
    for (tool, arguments) in calls {
        for (name, value) in arguments.as_object().unwrap() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let fits = match name.as_str() {
                _ if tool == "restart_ecs_service" && name == "service" => said.contains(&value),
                "service" => {
                    let is_alias = |alias: &str| said.contains(alias) || said.contains("bramka p");
                    let by_alias = ALIASES.iter().any(|(alias, of)| *of == value && is_alias(alias));
                    let elsewhere = arguments.get("namespace").is_some();
                    (said.contains(&value) || by_alias) && (elsewhere || SERVICES.contains(&value.as_str()))
                }
                // A kind has short names, and is understood with a letter that has a stroke too many.
                "kind" => {
                    let said = said.replace('ł', "l");
                    said.contains(&value) || said.contains("sts") || said.contains("ds")
                }
                "playbook" => said.contains(&value) && PLAYBOOKS.contains(&value.as_str()),
                "check" => said.contains("check") || said.contains("sprawdz") || said.contains("próbn"),
                "namespace" | "replicas" | "revision" | "tail" | "limit" | "id" | "promql" | "cluster"
                | "group" | "min_healthy" | "instance" | "region" => said.contains(&value),
                "type" => ["warning", "ostrze", "type", "typ"].iter().any(|word| said.contains(word)),
                "timeout" | "since" | "window" | "duration" | "step" | "watch" => {
                    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
                    said.contains(digits) || said.contains("hour") || said.contains("godzin")
                }
                "node" => NODES.contains(&value.as_str()) && said.contains(&value),
                "pod" => {
                    said.contains(&value)
                        && (PODS.contains(&value.as_str()) || arguments.get("namespace").is_some())
                }
                "force" => {
                    said.contains("force")
                        || said.contains("sił")
                        || said.contains("sil")
                        || said.contains("wymu")
                }
                "delete_emptydir_data" => said.contains("emptydir"),
                "accept_downtime" => said.contains("downtime") || said.contains("przest"),
                "autoscaler_minimum" => {
                    ["minim", "minrep", "least", "najmniej"].iter().any(|word| said.contains(word))
                }
                "on_failure" => true,
                other => panic!("{tool} has the argument {other} in {sentence:?}"),
            };
            assert!(fits, "{sentence:?}: {tool} {name}={value}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_said_nothing_is_invented(sentence in prop_oneof![word_salad(), crossing(), mistyped()]) {
        assert_nothing_is_invented(&sentence);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_planned_or_refused(text in "(\\PC|\\s){0,200}") {
        assert_nothing_is_invented(&text);
    }
}
