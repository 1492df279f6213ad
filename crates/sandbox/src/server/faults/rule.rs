//! A fault as it is written: which requests it happens to, and what happens.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use crate::server::access::{Attributes, Identity};
use crate::yaml::{self, Many, Span};

/// How many rules there may be.
pub(super) const RULES: usize = 100;
/// How long a request may be held up.
const LATENCY: Duration = Duration::from_mins(1);
/// How long a client may be told to wait, in seconds.
const RETRY_AFTER: u32 = 3_600;
/// How long a text of a rule may be, in bytes.
const TEXT: usize = 1_024;

/// A fault, and which requests it happens to. Of several that fit a request, the first happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// By which it can be removed.
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default, rename = "match")]
    fits: Fits,
    /// The share of the requests that fit; all, where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) share: Option<f64>,
    /// How often it happens; without end, where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) latency: Option<Latency>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<Refusal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cut: Option<When>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) watch: Option<Ending>,
    /// How often it has happened. What is given is not counted.
    #[serde(default)]
    pub(super) fired: u64,
}

/// Which requests; what says nothing fits all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Fits {
    #[serde(skip_serializing_if = "Many::is_empty")]
    verb: Many<Verb>,
    /// `deployments`, `deployments.apps`, `pods/log`.
    #[serde(skip_serializing_if = "Many::is_empty")]
    resource: Many<String>,
    #[serde(skip_serializing_if = "Many::is_empty")]
    namespace: Many<String>,
    /// The object's name.
    #[serde(skip_serializing_if = "Many::is_empty")]
    name: Many<String>,
    #[serde(skip_serializing_if = "Many::is_empty")]
    user: Many<String>,
    /// What the user agent begins with.
    #[serde(skip_serializing_if = "Many::is_empty")]
    agent: Many<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    fn is(self, verb: &str) -> bool {
        let name = match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
        };
        name == verb
    }
}

/// How long a request is held up: one time, or the least and the most.
type Latency = Many<Span>;

/// Whether the request has had its effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum When {
    #[default]
    Before,
    After,
}

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Refusal {
    pub(super) code: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
    /// In seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) retry_after: Option<u32>,
    #[serde(default)]
    pub(super) when: When,
}

/// How a watch ends, and when: at once, where nothing is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ending {
    /// After so many events, of which the state at the beginning is a part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) events: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<Span>,
    pub(super) end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum End {
    /// The connection is cut.
    Cut,
    /// The version is too old.
    Gone,
}

impl Rule {
    /// Says what makes no sense about it.
    pub(crate) fn check(&self) -> Result<(), String> {
        let effects = [self.error.is_some(), self.cut.is_some(), self.watch.is_some()];
        let effects = effects.into_iter().filter(|set| *set).count();
        let latency = self.latency.as_ref().map_or(&[][..], |latency| &latency.0);
        let least_first = !matches!(latency, [least, most] if least > most);
        let in_range = latency.iter().all(|span| span.0 <= LATENCY);
        let code = self.error.as_ref().map_or(500, |error| error.code);
        let retry_after = self.error.as_ref().and_then(|error| error.retry_after).unwrap_or(0);
        let texts = self.error.iter().flat_map(|error| error.reason.iter().chain(&error.message));
        let problems = [
            (effects > 1, "has more than one of `error`, `cut` and `watch`: write a rule for each"),
            (effects == 0 && latency.is_empty(), "does nothing: give `latency`, `error`, `cut` or `watch`"),
            (
                self.share.is_some_and(|share| !(0.0..=1.0).contains(&share)),
                "has a `share` that is not from 0 to 1",
            ),
            (self.count == Some(0), "has a `count` of 0: leave the rule out"),
            (
                latency.len() > 2 || !least_first,
                "has a `latency` that is neither a time nor the least and the most",
            ),
            (!in_range, "has a `latency` of more than 60s"),
            (!(400..600).contains(&code), "has a `code` that is not from 400 to 599"),
            (retry_after > RETRY_AFTER, "has a `retry_after` of more than 3600 seconds"),
            (
                self.name.len() > TEXT || texts.into_iter().any(|text| text.len() > TEXT),
                "has a text of more than 1024 bytes",
            ),
        ];
        match problems.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, what)) => Err(format!("the fault `{}` {what}", self.name)),
            None => Ok(()),
        }
    }

    pub(super) fn fits(&self, who: &Identity, about: &Attributes, agent: &str) -> bool {
        let Fits { verb, resource, namespace, name, user, agent: agents } = &self.fits;
        let among =
            |wanted: &Many<String>, is: &str| wanted.is_empty() || wanted.0.iter().any(|one| one == is);
        let combined = about.combined();
        let qualified = match combined.split_once('/') {
            Some((plural, subresource)) => format!("{plural}.{}/{subresource}", about.group),
            None => format!("{combined}.{}", about.group),
        };
        self.count.is_none_or(|count| self.fired < count)
            && (self.watch.is_none() || about.verb == "watch")
            && (verb.is_empty() || verb.0.iter().any(|verb| verb.is(&about.verb)))
            && (among(resource, &combined) || among(resource, &qualified))
            && among(namespace, &about.namespace)
            && among(name, &about.name)
            && among(user, &who.name)
            && (agents.is_empty() || agents.0.iter().any(|start| agent.starts_with(start.as_str())))
    }
}

/// Gives every rule a name of its own, and refuses what makes no sense, with its line.
pub(crate) fn settle(rules: Vec<Spanned<Rule>>) -> Result<Vec<Rule>, yaml::Error> {
    let mut settled: Vec<Rule> = Vec::new();
    for (number, mut rule) in (1..).zip(rules) {
        if rule.value.name.is_empty() {
            rule.value.name = format!("fault-{number}");
        }
        rule.value.fired = 0;
        rule.value.check().map_err(|what| yaml::at(&rule, what))?;
        if settled.iter().any(|other| other.name == rule.value.name) {
            return Err(yaml::at(&rule, format!("two faults have the name `{}`", rule.value.name)));
        }
        if number > RULES {
            return Err(yaml::at(&rule, format!("more than {RULES} faults")));
        }
        settled.push(rule.value);
    }
    Ok(settled)
}
