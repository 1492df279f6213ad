//! English and Polish.

use super::language::Language;

/// The languages that are built in.
pub(super) fn languages() -> [Language; 2] {
    [english(), polish()]
}

fn list(phrases: &str) -> Vec<String> {
    phrases.split(',').map(|phrase| phrase.trim().to_owned()).collect()
}

fn english() -> Language {
    Language {
        name: "en".to_owned(),
        negations: list(
            "not, never, no, none, neither, nor, nobody, no one, nothing, cannot, without, except, excluding, besides, \
             instead, rather than, don't, dont, doesn't, doesnt, didn't, didnt, isn't, isnt, aren't, wasn't, won't, wont, \
             wouldn't, shouldn't, shouldnt, mustn't, can't, cant, couldn't, needn't, haven't, hasn't, avoid, refrain, leave \
             alone, anything but",
        ),
        conditions: list(
            "if, unless, when, whenever, while, until, till, after, before, once, as soon as, as long as, in case, \
             provided, otherwise, else, or, either, whether, maybe, perhaps, possibly, might, could be, assuming, assume, \
             suppose, supposing, imagine, pretend, hypothetically, theoretically, in theory, say we, let's say, lets say, \
             what if, would be, for example, for instance, e.g, eg, example, thanks for, thank you for, thx for",
        ),
        questions: list(
            "should i, should we, shall i, shall we, can i, can we, can you, could i, could we, could you, would you, \
             will you, do i, do we, may i, may we, do you, is it, any idea, i wonder, wondering",
        ),
        openings: list(
            "should, would, could, can, may, shall, will, do you, do we, do i, does, did, is, are, was, were, has, have, \
             had, why, what, what's, whats, who, whose, how, where, which, am, isn't, aren't",
        ),
        conjunctions: list("and, as well as, &"),
        sequences: list("then, also, next, after that, afterwards, followed by"),
        firsts: list("first, firstly, first of all"),
        lasts: list("finally, lastly"),
        courtesies: list(
            "please, pls, plz, kindly, thanks, thank you, thx, thanks a lot, thank you in advance, thanks in advance, \
             now, right now, immediately, asap, the, a, an, of, in, for, on, me, us, for me, for us, too, both",
        ),
        greetings: list(
            "hi, hi there, hey, hello, good morning, good afternoon, ok, okay, yes, astradesk, just, go ahead and",
        ),
        determiners: list("the, a, an, of, on, in, for, at, by, from, during, another, my, our, your, their"),
        genitives: list("of"),
        requests: list("do, do a, do an, do the, perform, give, run a, make a"),
        pronouns: list("it, that one, this one"),
        possessives: list("its"),
        looks: list(
            "check, show, show me, get, get me, give me, fetch, display, print, see, look at, let me see, view, tell me",
        ),
        quantities: list(
            "all, everything, anything, every, each, any, some, others, the rest, everyone, everybody, them, these, those, \
             this, that, another, other, same, the same, nodes, pods",
        ),
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
             ewentualnie, może, być może, jakby, o ile, w razie, inaczej, przed, zanim, nim, po tym jak, aż, załóżmy, \
             zakładając, przypuśćmy, wyobraź sobie, wyobraźmy sobie, udawaj, udawajmy, pod warunkiem, hipotetycznie, \
             teoretycznie, na przykład, przykładowo, np, przykład, powiedzmy, w przypadku, jak tylko, dzięki za, dziękuję za",
        ),
        questions: list(
            "czy, możesz, mógłbyś, mogłabyś, moglibyście, możecie, możemy, mogę, warto, dlaczego, czemu, po co, kto, \
             gdzie, który, która, które, ile",
        ),
        openings: list("jak, co, czego, skąd"),
        conjunctions: list("i, oraz"),
        sequences: list(
            "potem, następnie, też, także, również, później, po czym, a potem, a następnie, a później, a także, po tym",
        ),
        firsts: list("najpierw, wpierw"),
        lasts: list("na koniec, na końcu"),
        courtesies: list(
            "proszę, uprzejmie, bardzo, dzięki, dziękuję, dzięki wielkie, z góry dzięki, z góry dziękuję, teraz, \
             natychmiast, od razu, mi, nam, w, na, dla, pilnie",
        ),
        greetings: list("hej, cześć, dzień dobry, witam, dobra, no dobra, tak, ok"),
        determiners: list("w, we, na, dla, po, przy, podczas, ten, tego, o"),
        genitives: Vec::new(),
        requests: list(
            "poproszę, poproszę o, proszę o, uprzejmie proszę o, bardzo proszę o, zrób, wykonaj, przeprowadź, dokonaj",
        ),
        pronouns: list("go, ją, je"),
        possessives: list("jego, jej"),
        looks: list(
            "sprawdź, sprawdźcie, sprawdzić, pokaż, pokażcie, pokazać, wyświetl, podaj, daj, zobacz, podejrzyj, wypisz, \
             pobierz, rzuć okiem na",
        ),
        quantities: list(
            "wszystko, wszystkie, wszystkich, wszystkim, każdy, każdą, każde, każdego, cokolwiek, którykolwiek, jakikolwiek, \
             jakąś, jakiś, resztę, pozostałe, inne, to, te, tamte, pody",
        ),
        speaker: Vec::new(),
        tools: Vec::new(),
    }
}
