//! What Ansible says of hosts and tasks before anything is run, as `ansible-playbook --list-hosts --list-tasks` prints it.

use super::manifest::is_host;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The hosts and tasks of a playbook.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Listing {
    /// The hosts of each play.
    plays: Vec<BTreeSet<String>>,
    /// The tasks of all plays, as far as they are known before they are run.
    pub(crate) tasks: Vec<String>,
}

impl Listing {
    /// Reads what was printed of each playbook.
    pub(crate) fn read(text: &str) -> Vec<Self> {
        let mut listings: Vec<Self> = Vec::new();
        let (mut hosts, mut in_tasks) = (0_usize, false);
        for line in text.lines() {
            if line.starts_with("playbook: ") {
                listings.push(Self::default());
                (hosts, in_tasks) = (0, false);
                continue;
            }
            let Some(listing) = listings.last_mut() else { continue };
            if let Some(count) = line.strip_prefix("    hosts (").and_then(|rest| rest.strip_suffix("):")) {
                (hosts, in_tasks) = (count.parse().unwrap_or(0), false);
                listing.plays.push(BTreeSet::new());
            } else if line == "    tasks:" {
                (hosts, in_tasks) = (0, true);
            } else if let Some(entry) = line.strip_prefix("      ").filter(|_| hosts > 0 || in_tasks) {
                if in_tasks {
                    listing.tasks.push(entry.split('\t').next().unwrap_or(entry).to_owned());
                } else if let Some(play) = listing.plays.last_mut() {
                    hosts -= 1;
                    play.insert(entry.to_owned());
                }
            } else if !line.is_empty() {
                (hosts, in_tasks) = (0, false);
            }
        }
        listings
    }

    /// The hosts of all plays.
    pub(crate) fn hosts(&self) -> BTreeSet<String> {
        self.plays.iter().flatten().cloned().collect()
    }
}

/// Names of hosts and groups, of which the inventory is asked by a playbook with a play for each.
#[derive(Debug, Default)]
pub(crate) struct Question<'a>(Vec<&'a str>);

impl<'a> Question<'a> {
    /// These names, and `all`.
    pub(crate) fn of(names: impl IntoIterator<Item = &'a str>) -> Self {
        let names = names.into_iter().filter(|name| is_host(name));
        Self(std::iter::once("all").chain(names).collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// The playbook.
    pub(crate) fn playbook(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, name| {
            let _ = writeln!(text, "- {{hosts: '{name}', gather_facts: false}}");
            text
        })
    }

    /// The answer, by the listing of that playbook.
    pub(crate) fn answer(&self, listing: Listing) -> Inventory {
        Inventory(self.0.iter().map(|&name| name.to_owned()).zip(listing.plays).collect())
    }
}

/// The hosts of each name that was asked for.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Inventory(BTreeMap<String, BTreeSet<String>>);

impl Inventory {
    /// The hosts of these names; or the first of them that has none.
    pub(crate) fn hosts<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<BTreeSet<String>, &'a str> {
        let mut hosts = BTreeSet::new();
        for name in names {
            hosts.extend(self.0.get(name).filter(|hosts| !hosts.is_empty()).ok_or(name)?.iter().cloned());
        }
        Ok(hosts)
    }

    /// All hosts.
    pub(crate) fn all(&self) -> BTreeSet<String> {
        self.0.get("all").cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    const PRINTED: &str = "\nplaybook: /tmp/question.yml\n\n  play #1 (all): all\tTAGS: []\n    pattern: ['all']\n    hosts (3):\n      web1\n      web2\n      db1\n    tasks:\n\n  play #2 (nosuch): nosuch\tTAGS: []\n    pattern: ['nosuch']\n    hosts (0):\n    tasks:\n\n  play #3 (web): web\tTAGS: []\n    pattern: ['web']\n    hosts (2):\n      web1\n      web2\n    tasks:\n\nplaybook: site.yml\n\n  play #1 (web): say things\tTAGS: []\n    pattern: ['web']\n    hosts (2):\n      web1\n      web2\n    tasks:\n      touch\tTAGS: []\n      role : say\tTAGS: [a]\n\n  play #2 (db): db\tTAGS: []\n    pattern: ['db']\n    hosts (1):\n      db1\n    tasks:\n      other\tTAGS: []\n";

    #[test]
    fn a_listing_gives_hosts_and_tasks_of_all_plays() {
        let mut listings = Listing::read(PRINTED);
        let site = listings.pop().unwrap();
        assert_eq!(site.hosts(), set(&["db1", "web1", "web2"]));
        assert_eq!(site.tasks, ["touch", "role : say", "other"]);
        let inventory = Question::of(["web", "nosuch"]).answer(listings.pop().unwrap());
        assert_eq!(inventory.hosts(["web"]), Ok(set(&["web1", "web2"])));
        assert_eq!(inventory.hosts(["web", "nosuch"]), Err("nosuch"));
        assert_eq!(inventory.hosts(["other"]), Err("other"));
        assert_eq!(inventory.all(), set(&["db1", "web1", "web2"]));
        assert!(listings.is_empty() && Listing::read("").is_empty());
    }

    #[test]
    fn a_question_names_hosts_and_no_patterns() {
        let question = Question::of(["web", "web", "we'b", "@file", "!all"]);
        assert_eq!(
            question.playbook(),
            "- {hosts: 'all', gather_facts: false}\n- {hosts: 'web', gather_facts: false}\n"
        );
    }
}
