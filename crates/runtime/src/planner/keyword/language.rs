//! The words of a language that belong to no tool: what makes a sentence no instruction, what joins its parts, and what
//! says nothing. English and Polish are built in; packs add others.

use astradesk_core::ToolName;
use astradesk_core::tool::Grammar;

/// A language, as far as the planner must know it. Every entry is a phrase of one or more words, in any case and with or
/// without diacritics.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Language {
    /// Its name, such as `en`.
    pub name: String,
    /// What says that something is not to be done: `not`, `bez`.
    pub negations: Vec<String>,
    /// What makes a condition, a choice, an example or a report of a sentence: `if`, `or`, `na przykład`, `thanks for`.
    pub conditions: Vec<String>,
    /// What makes a question of a sentence, wherever it stands: `should i`, `czy`.
    pub questions: Vec<String>,
    /// What makes a question of a clause that begins with it: `is`, `can`.
    pub openings: Vec<String>,
    /// What joins clauses: `and`, `oraz`.
    pub conjunctions: Vec<String>,
    /// What joins clauses and says that the next comes later, or besides: `then`, `also`, `potem`.
    pub sequences: Vec<String>,
    /// What may stand in the first clause only: `first`.
    pub firsts: Vec<String>,
    /// What may stand in the last clause only: `finally`.
    pub lasts: Vec<String>,
    /// What says nothing: `please`, `teraz`.
    pub courtesies: Vec<String>,
    /// What says nothing before anything else is said: `hello`, `ok`.
    pub greetings: Vec<String>,
    /// What makes a noun of what follows, which then asks for nothing: `the`, `on`, `po`.
    pub determiners: Vec<String>,
    /// What makes a noun of what stands before it: `of`.
    pub genitives: Vec<String>,
    /// What makes an instruction of a noun: `do` in `do a restart`.
    pub requests: Vec<String>,
    /// What stands for the one name before it: `it`, `go`. One with diacritics is not understood without.
    pub pronouns: Vec<String>,
    /// What stands for the one name before it where something of it is to be read: `its`, `jego`.
    pub possessives: Vec<String>,
    /// What asks to see something, and says nothing beside what says of whom what: `show` in `show the status of`.
    pub looks: Vec<String>,
    /// What stands for any number of things, and so names none: `everything`, `those`.
    pub quantities: Vec<String>,
    /// Who speaks, in a word that may be taken for another one: the English `I`, a conjunction in Polish.
    pub speaker: Vec<String>,
    /// More words for tools: phrases and fillers, and words beside the values of their slots.
    pub tools: Vec<(ToolName, Grammar)>,
}
