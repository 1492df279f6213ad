//! Phrases, and what each means.

use super::words::{Word, keys};
use std::collections::HashMap;
use std::ops::Range;

/// Phrases of one or more words, each with its meanings. Looking one up walks word after word, so its time does not
/// depend on how many there are.
#[derive(Debug)]
pub(super) struct Lexicon<M> {
    nodes: Vec<Node<M>>,
}

#[derive(Debug)]
struct Node<M> {
    next: HashMap<String, usize>,
    meanings: Vec<M>,
}

impl<M> Default for Node<M> {
    fn default() -> Self {
        Self { next: HashMap::new(), meanings: Vec::new() }
    }
}

impl<M> Default for Lexicon<M> {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl<M: PartialEq> Lexicon<M> {
    /// Adds a meaning of a phrase.
    pub(super) fn add(&mut self, phrase: &str, meaning: M) {
        let mut at = 0;
        for key in keys(phrase) {
            let new = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else { return };
            at = *node.next.entry(key).or_insert(new);
            if at == new {
                self.nodes.push(Node::default());
            }
        }
        if let Some(node) = self.nodes.get_mut(at).filter(|_| at > 0)
            && !node.meanings.contains(&meaning)
        {
            node.meanings.push(meaning);
        }
    }

    /// The longest phrase that begins where `range` does and ends within it, as its length and its meanings. No phrase
    /// goes across the end of a clause.
    pub(super) fn longest(&self, words: &[Word], range: Range<usize>) -> Option<(usize, &[M])> {
        let mut node = self.nodes.first()?;
        let mut found = None;
        for (length, word) in (1..).zip(words.get(range)?) {
            let Some(next) = node.next.get(word.key()).and_then(|&next| self.nodes.get(next)) else { break };
            node = next;
            if !node.meanings.is_empty() {
                found = Some((length, node.meanings.as_slice()));
            }
            if word.ends_clause {
                break;
            }
        }
        found
    }
}
