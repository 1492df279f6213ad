//! A scenario's file: what a cluster begins with, who may use it, what goes wrong, and what happens when.

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::action::Rehearsal;
use super::entry::Entry;
use super::timeline::Timeline;
use crate::server::faults;
use crate::yaml::{self, Error};
use crate::{Config, User};

/// What the first document has. Further documents are objects.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    nodes: u32,
    pace: f64,
    seed: u64,
    /// With the demo's workloads.
    demo: bool,
    objects: Vec<Spanned<Value>>,
    users: Vec<Spanned<Account>>,
    faults: Vec<Spanned<faults::Rule>>,
    timeline: Vec<Spanned<Entry>>,
}

impl Default for File {
    fn default() -> File {
        let Config { nodes, pace, seed, .. } = Config::default();
        let (objects, users, faults, timeline) = Default::default();
        File { nodes, pace, seed, demo: false, objects, users, faults, timeline }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Account {
    name: String,
    #[serde(default)]
    groups: Vec<String>,
}

/// How many users a scenario may have, and how long a name of theirs may be, in bytes.
const USERS: (usize, usize) = (100, 253);

/// Reads a scenario. Everything is checked, what happens later too: on a cluster without a life, in the order of the
/// file, so that an entry may name what an entry above it has made.
pub fn read(text: &str) -> Result<Config, Error> {
    let (first, rest) = split(text);
    let file = yaml::read::<File>(first)?.pop().unwrap_or_default();
    let faults = faults::settle(file.faults)?;
    let anywhere = |what| Error { line: 1, what };
    let rehearsal = Rehearsal::new(file.nodes.min(crate::NODES), faults.clone()).map_err(anywhere)?;
    let File { nodes, pace, seed, .. } = file;
    let mut config = Config { seed, pace, nodes, faults, ..Config::default() };
    if file.demo {
        config.objects = super::demo();
    }
    for object in &config.objects {
        rehearsal.create(object.clone().into()).map_err(anywhere)?;
    }
    for object in file.objects.into_iter().chain(yaml::read(&rest)?) {
        rehearsal.create(object.value.clone().into()).map_err(|what| yaml::at(&object, what))?;
        config.objects.push(object.value);
    }
    config.users = users(file.users)?;
    config.timeline = Timeline::read(file.timeline, &rehearsal)?;
    Ok(config)
}

/// The first document, and all others after so many empty lines that theirs are counted right.
fn split(text: &str) -> (&str, String) {
    let mut begun = false;
    let mut place = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if begun && line.trim_end() == "---" {
            let (first, rest) = text.split_at(place);
            return (first, "\n".repeat(number) + rest);
        }
        begun |= !matches!(line.trim(), "" | "---") && !line.starts_with('#');
        place += line.len();
    }
    (text, String::new())
}

fn users(accounts: Vec<Spanned<Account>>) -> Result<Vec<User>, Error> {
    let mut users: Vec<User> = Vec::new();
    for account in accounts {
        let Account { name, groups } = &account.value;
        let names = || std::iter::once(name).chain(groups);
        let bad =
            |name: &String| name.is_empty() || name.len() > USERS.1 || name.chars().any(char::is_control);
        if let Some(bad) = names().find(|name| bad(name)) {
            return Err(yaml::at(&account, format!("`{}` is no name", bad.escape_debug())));
        }
        if name == crate::ADMINISTRATOR || users.iter().any(|user| user.name == *name) {
            return Err(yaml::at(&account, format!("there is a user `{name}` already")));
        }
        if users.len() == USERS.0 || groups.len() > USERS.0 {
            return Err(yaml::at(&account, format!("more than {} users, or groups of one", USERS.0)));
        }
        users.push(User { name: name.clone(), groups: groups.clone() });
    }
    Ok(users)
}
