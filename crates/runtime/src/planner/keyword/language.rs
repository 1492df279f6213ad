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
    /// What makes a condition, a choice or an example of a sentence: `if`, `or`, `na przykład`.
    pub conditions: Vec<String>,
    /// What makes a question of a sentence, wherever it stands: `should i`, `czy`.
    pub questions: Vec<String>,
    /// What makes a question of a clause that begins with it: `is`, `can`.
    pub openings: Vec<String>,
    /// What joins clauses: `and`, `potem`.
    pub conjunctions: Vec<String>,
    /// What says nothing: `please`, `teraz`.
    pub courtesies: Vec<String>,
    /// What stands for the one name before it: `it`, `jego`.
    pub pronouns: Vec<String>,
    /// What asks to see something, and says nothing beside what says of whom what: `show` in `show the status of`.
    pub looks: Vec<String>,
    /// What stands for any number of things, and so names none: `everything`.
    pub quantities: Vec<String>,
    /// Who speaks, in a word that may be taken for another one: the English `I`, a conjunction in Polish.
    pub speaker: Vec<String>,
    /// More words for tools: phrases and fillers, and words beside the values of their slots.
    pub tools: Vec<(ToolName, Grammar)>,
}

/// The languages that are built in.
pub(super) fn built_in() -> [Language; 2] {
    [english(), polish()]
}

fn list(phrases: &str) -> Vec<String> {
    phrases.split(',').map(|phrase| phrase.trim().to_owned()).collect()
}

fn english() -> Language {
    Language {
        name: "en".to_owned(),
        negations: list(
            "not, never, no, none, neither, nor, nobody, no one, nothing, cannot, without, except, excluding, besides, instead, rather than, \
             don't, dont, doesn't, doesnt, didn't, didnt, isn't, isnt, aren't, wasn't, won't, wont, wouldn't, shouldn't, \
             shouldnt, mustn't, can't, cant, couldn't, needn't, haven't, hasn't, avoid, refrain, leave alone, anything but",
        ),
        conditions: list(
            "if, unless, when, whenever, while, until, till, after, before, once, as soon as, as long as, in case, provided, \
             otherwise, else, or, either, whether, maybe, perhaps, possibly, might, could be, assuming, assume, suppose, \
             supposing, imagine, pretend, hypothetically, theoretically, in theory, say we, let's say, lets say, \
             what if, would be, for example, for instance, e.g, eg, example",
        ),
        questions: list(
            "should i, should we, shall i, shall we, can i, can we, can you, could i, could we, could you, would you, \
             will you, do i, do we, may i, may we, do you, is it, any idea, i wonder, wondering",
        ),
        openings: list(
            "should, would, could, can, may, shall, will, do you, do we, do i, does, did, is, are, was, were, has, have, \
             had, why, what, what's, whats, who, whose, how, where, which, am, isn't, aren't",
        ),
        conjunctions: list(
            "and, then, also, next, after that, afterwards, and then, plus, followed by, as well as, &, +",
        ),
        courtesies: list(
            "please, pls, plz, kindly, thanks, thank you, thx, now, right now, immediately, asap, hi, hey, hello, ok, okay, \
             astradesk, the, a, an, of, in, for, on, first, firstly, finally, lastly, me, us, for me, for us, go ahead and, \
             just, quickly please, too, both",
        ),
        pronouns: list("it, its, it's, that one, this one, the same, same"),
        looks: list(
            "check, show, show me, get, get me, give me, fetch, display, print, see, look at, let me see, view, tell me",
        ),
        quantities: list("all, everything, anything, every, each, any, some, others, the rest, everyone"),
        speaker: list("i"),
        tools: Vec::new(),
    }
}

fn polish() -> Language {
    Language {
        name: "pl".to_owned(),
        negations: list(
            "nie, nigdy, bez, oprócz, prócz, zamiast, ani, żaden, żadnego, żadnej, żadnych, poza, z wyjątkiem, wyjątkiem, \
             pod żadnym pozorem, nie wolno, niech nikt, wstrzymaj się, zostaw w spokoju",
        ),
        conditions: list(
            "jeśli, jeżeli, gdy, gdyby, gdybym, gdybyś, gdybyśmy, kiedy, dopóki, póki, chyba, chyba że, albo, lub, bądź, \
             ewentualnie, może, być może, jakby, o ile, w razie, inaczej, przed, zanim, po tym jak, aż, załóżmy, \
             zakładając, przypuśćmy, wyobraź sobie, wyobraźmy sobie, udawaj, udawajmy, pod warunkiem, hipotetycznie, teoretycznie, na przykład, przykładowo, np, \
             przykład, powiedzmy, w przypadku, jak tylko",
        ),
        questions: list(
            "czy, możesz, mógłbyś, mogłabyś, moglibyście, możecie, możemy, mogę, warto, dlaczego, czemu, po co, kto, \
             gdzie, który, która, które, ile",
        ),
        openings: list("jak, co, czego, skąd"),
        conjunctions: list(
            "i, oraz, potem, następnie, też, także, również, później, po czym, a potem, a następnie, a później, a także, \
             i potem, dalej, po tym",
        ),
        courtesies: list(
            "proszę, poproszę, uprzejmie, uprzejmie proszę o, prosze o, proszę o, poproszę o, dzięki, dziękuję, teraz, natychmiast, od razu, już, \
             hej, cześć, ok, dobra, najpierw, wpierw, na koniec, na końcu, mi, nam, w, we, na, dla, pilnie, z góry dzięki",
        ),
        pronouns: list("go, ją, je, jego, jej, jemu, nim, tę samą, tego samego, ten sam"),
        looks: list(
            "sprawdź, sprawdźcie, sprawdzić, pokaż, pokażcie, pokazać, wyświetl, podaj, daj, zobacz, podejrzyj, wypisz, pobierz, rzuć okiem na",
        ),
        quantities: list(
            "wszystko, wszystkie, wszystkich, wszystkim, każdy, każdą, każde, każdego, cokolwiek, którykolwiek, jakikolwiek, jakąś, \
             jakiś, resztę, pozostałe, inne",
        ),
        speaker: Vec::new(),
        tools: Vec::new(),
    }
}
