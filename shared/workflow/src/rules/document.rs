//! Holds a document against one criterion.
//!
//! The criterion is read once: its telling words, the figures and dates that it asks for or limits, the phrases
//! that it quotes, and whether it wants something to be absent. Then the document's sentences are ranked by
//! these words, and the best passage decides:
//!
//! | coverage of the criterion by the passage | verdict |
//! |---|---|
//! | at least [`MET`], every figure asked for is there | met |
//! | at least [`PARTLY_MET`] | partly met |
//! | less | not met: the document is silent where it should speak |
//!
//! A passage that negates what the criterion affirms (or the other way round) and a figure beyond the
//! criterion's limit mean not met. An exception ("nothing in this agreement limits …") does not outweigh the rule that
//! it is made to: where both are there, the rule decides. Where passages of equal weight disagree, a comparison is not certain, the text
//! was cut, or criterion and document are in different languages, the verdict is unclear.
//!
//! Invariants: every quotation is a slice of a section's text; the work is linear in the document's length.
//! Deliberately absent: understanding. What the words do not say is not guessed, and confidence never goes above
//! [`HIGHEST_CONFIDENCE`].

use std::borrow::Cow;

use jiff::civil::Date;

use super::{
    dates::mentions,
    figures::{Bound, Figure, Measure, figures},
    lists::{List, list},
    relevance::{Query, Reading},
    text::{TokenKind, beginning, folded, language, one_line, tokens, words},
};
use crate::domain::document::{Content, Criterion, Review, Verdict};

/// From this coverage on a criterion is met: three of four words of equal weight, not two of three.
const MET: f64 = 0.66;
/// From this coverage on it is partly met: more than a third.
const PARTLY_MET: f64 = 0.34;
/// Words are evidence, not proof.
const HIGHEST_CONFIDENCE: f64 = 0.9;
/// How many of the best passages are looked at closely; what ranks below has too little of the criterion.
const CANDIDATES: usize = 24;
/// What a term counts that stands in the heading above, or in the sentence before or after.
const IN_HEADING: f64 = 0.9;
const IN_NEIGHBOUR: f64 = 0.6;
/// From this share of the best passage's coverage on another one says as much.
const NEARLY: f64 = 0.9;
/// A figure asked for counts as much as one and a half rare words.
const WEIGHT_OF_WANT: f64 = 2.0;

/// Holds the document against the criterion.
pub(super) fn review(content: &Content, criterion: &Criterion) -> Review {
    let asked = Asked::read(&criterion.text);
    if asked.query.terms().is_empty() && asked.wants.is_empty() {
        return unclear("The criterion has no words to look for.");
    }
    let reading = Reading::new(content.sections.iter().map(|section| section.text.as_str()), &asked.query);
    if reading.passages.is_empty() {
        return unclear("The document has no text.");
    }
    let mut candidates: Vec<Candidate<'_>> = candidates(&reading, &asked)
        .into_iter()
        .map(|index| Candidate::new(content, &reading, &asked, index))
        .collect();
    // Stable, so that of equal passages the one with the higher rank stays first.
    candidates.sort_by(|left, right| right.coverage.total_cmp(&left.coverage));
    put_rule_before_exception(&mut candidates, &asked);
    match candidates.first() {
        Some(best) if best.coverage >= PARTLY_MET => judge(content, &reading, &asked, best, &candidates),
        best => silent(content, &reading, &asked, criterion, best),
    }
}

// Where the best passage is an exception, the passage that says what the criterion asks for comes before it.
fn put_rule_before_exception(candidates: &mut [Candidate<'_>], asked: &Asked) {
    let Some(best) = candidates.first().filter(|best| best.exception && best.negative != asked.negative) else {
        return;
    };
    let enough = MET.max(best.coverage * NEARLY);
    let rule = candidates.iter().position(|other| {
        !other.exception && other.negative == asked.negative && other.coverage >= enough && other.own >= MET
    });
    if let Some(rule) = rule {
        candidates[..=rule].rotate_right(1);
    }
}

fn judge(
    content: &Content,
    reading: &Reading<'_>,
    asked: &Asked,
    best: &Candidate<'_>,
    candidates: &[Candidate<'_>],
) -> Review {
    let mut quoted = best.quotations(reading);
    let found = best.description(content, asked);
    for want in &asked.wants {
        let Want::Limit(limit) = want else { continue };
        match best.comparison(reading, asked, limit) {
            Comparison::Missing | Comparison::Within => {}
            Comparison::Beyond(figure) => {
                let explanation = format!("{found}; `{figure}` is not {}.", limit.shown);
                return Review { verdict: Verdict::NotMet, confidence: 0.75, explanation, quotations: quoted };
            }
            Comparison::Uncertain(figure) => {
                let explanation = format!("{found}; whether `{figure}` is {} cannot be told for certain.", limit.shown);
                return Review { verdict: Verdict::Unclear, confidence: 0.4, explanation, quotations: quoted };
            }
        }
    }
    // A limit is full of "not more than" and "no later than": there the comparison decides alone.
    let has_limit = asked.wants.iter().any(|want| matches!(want, Want::Limit(_)));
    if !has_limit && !asked.query.terms().is_empty() {
        if best.negative != asked.negative {
            let says =
                if best.negative { "denies what the criterion asks for" } else { "affirms what it wants absent" };
            if best.coverage >= MET {
                let explanation = format!("{found}; it {says}.");
                return Review { verdict: Verdict::NotMet, confidence: 0.65, explanation, quotations: quoted };
            }
            // With half of the words it may be another matter that is merely denied nearby.
            let missing = best.missing(asked);
            let lacking = if missing.is_empty() { String::new() } else { format!(", but not {missing}") };
            let explanation = format!("{found}{lacking}; whether it {says} cannot be told for certain.");
            return Review { verdict: Verdict::Unclear, confidence: 0.4, explanation, quotations: quoted };
        }
        let opposite = candidates.iter().skip(1).find(|other| {
            // What has the words only from around it, or as an exception, speaks of another matter.
            other.negative != best.negative
                && !other.exception
                && other.own >= MET
                && other.coverage >= best.coverage * 0.95
        });
        if let Some(opposite) = opposite.filter(|_| best.coverage >= MET) {
            quoted.truncate(2);
            quoted.push(reading.passages[opposite.index].text.to_owned());
            let explanation = format!("{found}; another passage with the same words says the opposite.");
            return Review { verdict: Verdict::Unclear, confidence: 0.4, explanation, quotations: quoted };
        }
    }
    // What has only part of the criterion has mostly another part of it: only where all is there, more of it helps.
    let others =
        candidates.iter().skip(1).filter(|other| best.coverage >= MET && other.coverage >= best.coverage * NEARLY);
    for other in others {
        let text = reading.passages[other.index].text;
        if quoted.len() < 3 && !is_heading(text) && !quoted.iter().any(|known| known == text) {
            quoted.push(text.to_owned());
        }
    }
    let has_all = best.wants.iter().all(Option::is_some);
    let (verdict, confidence) = if best.coverage >= MET && has_all {
        (Verdict::Met, 0.55 + 0.35 * (best.coverage - MET) / (1.0 - MET))
    } else {
        (Verdict::PartlyMet, 0.5)
    };
    let missing = best.missing(asked);
    let explanation = if missing.is_empty() { format!("{found}.") } else { format!("{found}, but not {missing}.") };
    Review { verdict, confidence: confidence.min(HIGHEST_CONFIDENCE), explanation, quotations: quoted }
}

// No passage has enough of the criterion.
fn silent(
    content: &Content,
    reading: &Reading<'_>,
    asked: &Asked,
    criterion: &Criterion,
    best: Option<&Candidate<'_>>,
) -> Review {
    let absent = or_list(
        asked
            .query
            .terms()
            .iter()
            .enumerate()
            .filter(|(term, _)| !reading.has(*term))
            .map(|(_, word)| format!("`{word}`"))
            .chain(asked.wants.iter().filter(|_| asked.query.terms().is_empty()).map(Want::name)),
    );
    let nothing = if absent.is_empty() {
        "The text has the criterion's words only far apart".to_owned()
    } else {
        format!("The text has nothing of {absent}")
    };
    if content.truncated {
        return unclear(&format!("{nothing}, as far as it was read: it was cut at the limit."));
    }
    if !content.is_whole() {
        return unclear(&format!("{nothing}, as far as it was read: some pages have no text."));
    }
    let sample = content.sections.iter().max_by_key(|section| section.text.len()).map_or("", |section| &section.text);
    if let (Some(theirs), Some(ours)) = (language(sample), language(&criterion.text))
        && theirs != ours
    {
        return unclear(&format!(
            "{nothing}, but it is in another language (`{theirs}`) than the criterion (`{ours}`)."
        ));
    }
    let coverage = best.map_or(0.0, |best| best.coverage);
    if asked.negative {
        let explanation = format!("{nothing}, which the criterion wants absent.");
        return Review { verdict: Verdict::Met, confidence: 0.5, explanation, quotations: Vec::new() };
    }
    Review {
        verdict: Verdict::NotMet,
        confidence: 0.5 + 0.3 * (PARTLY_MET - coverage) / PARTLY_MET,
        explanation: format!("{nothing}."),
        quotations: Vec::new(),
    }
}

fn unclear(explanation: &str) -> Review {
    Review { verdict: Verdict::Unclear, confidence: 0.3, explanation: explanation.to_owned(), quotations: Vec::new() }
}

/// A criterion, read.
struct Asked {
    query: Query,
    wants: Vec<Want>,
    /// Whether it wants something to be absent or denied.
    negative: bool,
}

/// What a criterion asks for besides words.
#[derive(Debug)]
enum Want {
    /// Any date.
    Date,
    /// This date.
    ThatDate(Date, String),
    /// Any amount of money.
    Amount,
    /// Any span of time.
    Duration,
    /// A date or a span of time.
    Deadline,
    /// A percentage or an amount.
    Rate,
    /// Any percentage.
    Percentage,
    /// A figure that keeps a limit.
    Limit(Limit),
    /// These words exactly, in lower case.
    Phrase(String),
}

#[derive(Debug)]
struct Limit {
    measure: Measure,
    low: f64,
    high: f64,
    bound: Bound,
    shown: String,
}

impl Want {
    fn name(&self) -> String {
        match self {
            Self::Date => "a date".to_owned(),
            Self::ThatDate(_, words) | Self::Phrase(words) => format!("`{words}`"),
            Self::Amount => "an amount of money".to_owned(),
            Self::Duration => "a span of time".to_owned(),
            Self::Deadline => "a date or a span of time".to_owned(),
            Self::Rate => "a rate".to_owned(),
            Self::Percentage => "a percentage".to_owned(),
            Self::Limit(limit) => match limit.measure {
                Measure::Duration => "a span of time".to_owned(),
                Measure::Money(_) => "an amount of money".to_owned(),
                Measure::Percentage => "a percentage".to_owned(),
            },
        }
    }

    // The words in the sentence that are what is wanted.
    fn found_in(&self, sentence: &str, query: &Query) -> Option<String> {
        let first = |accepts: &dyn Fn(&Measure) -> bool| {
            let all = figures(sentence);
            let accepted: Vec<&Figure<'_>> = all.iter().filter(|figure| accepts(&figure.measure)).collect();
            let figure = match accepted.as_slice() {
                [] => return None,
                [only] => only,
                several => several[nearest(sentence, several, query).unwrap_or(0)],
            };
            Some(figure.text.to_owned())
        };
        let date = || mentions(sentence).into_iter().find(|mention| !mention.relative);
        match self {
            Self::Date => date().map(|mention| mention.text.to_owned()),
            Self::ThatDate(date, _) => mentions(sentence)
                .into_iter()
                .find(|mention| mention.date == Some(*date))
                .map(|mention| mention.text.to_owned()),
            Self::Amount => first(&|measure| matches!(measure, Measure::Money(_))),
            Self::Duration => first(&|measure| *measure == Measure::Duration),
            Self::Deadline => first(&|measure| *measure == Measure::Duration)
                .or_else(|| date().map(|mention| mention.text.to_owned())),
            Self::Rate => first(&|measure| *measure != Measure::Duration),
            Self::Percentage => first(&|measure| *measure == Measure::Percentage),
            Self::Limit(limit) => first(&|measure| is_comparable(measure, &limit.measure)),
            Self::Phrase(phrase) => {
                one_line(&sentence.to_lowercase(), usize::MAX).contains(phrase.as_str()).then(|| phrase.clone())
            }
        }
    }
}

// An amount in another currency is an amount all the same; that it cannot be compared is said later.
fn is_comparable(measure: &Measure, wanted: &Measure) -> bool {
    std::mem::discriminant(measure) == std::mem::discriminant(wanted)
}

impl Asked {
    fn read(criterion: &str) -> Self {
        let mut wants = Vec::new();
        let mut taken: Vec<(usize, usize)> = Vec::new();
        for figure in figures(criterion).into_iter().take(3) {
            taken.push((figure.start, figure.start + figure.text.len()));
            wants.push(Want::Limit(Limit::of(&figure)));
        }
        for mention in mentions(criterion).into_iter().take(3) {
            if let Some(date) = mention.date {
                taken.push((mention.start, mention.end()));
                wants.push(Want::ThatDate(date, one_line(mention.text, 40)));
            }
        }
        for phrase in quoted_phrases(criterion) {
            wants.push(Want::Phrase(phrase));
        }
        let all: Vec<Word<'_>> = words_in(criterion);
        let free: Vec<&Word<'_>> =
            all.iter().filter(|word| !taken.iter().any(|(from, to)| (*from..*to).contains(&word.start))).collect();
        let mut telling: Vec<&str> = Vec::new();
        for (index, word) in free.iter().enumerate() {
            let before = |distance: usize| {
                index.checked_sub(distance).and_then(|at| free.get(at)).map_or("", |word| word.folded.as_ref())
            };
            let after = |distance: usize| free.get(index + distance).map_or("", |word| word.folded.as_ref());
            match want_of(&word.folded, before, after) {
                Some((want, is_term)) => {
                    // A limit on the same kind of figure says more than that there must be one.
                    let is_known = wants.iter().any(|known| known.name() == want.name() || covers(known, &want));
                    if !is_known {
                        wants.push(want);
                    }
                    if is_term {
                        telling.push(word.text);
                    }
                }
                None if FRAME.has(&word.folded) || is_negation_word(&word.folded) => {}
                None if BOUND_WORDS.has(&word.folded) && !taken.is_empty() => {}
                None => telling.push(word.text),
            }
        }
        let mut query = Query::new(telling);
        if query.terms().is_empty() && wants.is_empty() {
            // "It is a contract": then the frame is all there is.
            query = Query::new(all.iter().map(|word| word.text));
        }
        let negative = all.iter().enumerate().any(|(index, _)| negates(&all, index));
        Self { query, wants, negative }
    }
}

fn covers(known: &Want, want: &Want) -> bool {
    match (known, want) {
        (Want::Limit(limit), Want::Duration | Want::Deadline) => limit.measure == Measure::Duration,
        (Want::Limit(limit), Want::Amount) => matches!(limit.measure, Measure::Money(_)),
        (Want::Limit(limit), Want::Rate) => limit.measure != Measure::Duration,
        (Want::Limit(limit), Want::Percentage) => limit.measure == Measure::Percentage,
        (Want::ThatDate(..), Want::Date | Want::Deadline) => true,
        _ => false,
    }
}

impl Limit {
    fn of(figure: &Figure<'_>) -> Self {
        let words = one_line(figure.text, 60);
        let shown = match figure.bound {
            Bound::Exact => format!("`{words}`"),
            Bound::AtMost => format!("at most `{words}`"),
            Bound::Below => format!("less than `{words}`"),
            Bound::AtLeast => format!("at least `{words}`"),
            Bound::Above => format!("more than `{words}`"),
        };
        Self { measure: figure.measure.clone(), low: figure.low, high: figure.high, bound: figure.bound, shown }
    }

    // Whether a figure of the document keeps it; `None` where that cannot be told.
    fn keeps(&self, figure: &Figure<'_>) -> Option<bool> {
        if figure.measure != self.measure {
            return None;
        }
        let (low, high) = (figure.low, figure.high);
        // "At least 14 days" may be any number of days above: it has no upper end, and the other way round.
        let open_above = matches!(figure.bound, Bound::AtLeast | Bound::Above);
        let open_below = matches!(figure.bound, Bound::AtMost | Bound::Below);
        match self.bound {
            Bound::AtMost if low > self.high => Some(false),
            Bound::AtMost => (!open_above && high <= self.low.max(self.high)).then_some(true),
            Bound::Below if low >= self.high => Some(false),
            Bound::Below => (!open_above && high < self.low).then_some(true),
            Bound::AtLeast if high < self.low => Some(false),
            Bound::AtLeast => (!open_below && low >= self.low).then_some(true),
            Bound::Above if high <= self.low => Some(false),
            Bound::Above => (!open_below && low > self.high).then_some(true),
            Bound::Exact if high < self.low || low > self.high => Some(false),
            Bound::Exact => Some(true).filter(|_| low >= self.low && high <= self.high),
        }
    }
}

// Words that say that the document must say something, and so say nothing about what.
const FRAME: List = list!(
    "document | documents | contract | agreement | text | file | paper | clause | clauses | section | provision | \
    provisions | article | terms | state | states | stated | stating | contain | contains | contained | include | \
    includes | included | including | specify | specifies | specified | mention | mentions | mentioned | name | \
    names | named | say | says | said | describe | describes | described | define | defines | defined | explain | \
    explains | explained | identify | identifies | identified | clear | clearly | explicit | explicitly | set | \
    sets | give | gives | given | provide | provides | list | lists | listed | present | exist | exists | \
    regulate | regulates | regulated | agreed | least | ensure | ensures | need | needs | required | dokument | \
    vertrag | klausel | enthalt | enthalten | nennt | genannt | regelt | geregelt | angegeben | festgelegt | \
    vereinbart | beschreibt | beschrieben | obligation | obligations | definiert | vorhanden | gibt | hohe",
);

// Words of a bound ("no later than", "at most"), which the comparison has already taken.
const BOUND_WORDS: List = list!(
    "most | least | more | less | than | later | longer | shorter | fewer | exceed | exceeds | exceeding | \
    maximum | max | minimum | min | within | up | under | over | below | above | capped | exactly | hochstens | \
    mindestens | maximal | minimal | mehr | weniger | langer | kurzer | innerhalb | binnen",
);

// What a word of the criterion asks for, and whether it is a word to look for as well.
fn want_of<'words>(
    word: &str,
    before: impl Fn(usize) -> &'words str,
    after: impl Fn(usize) -> &'words str,
) -> Option<(Want, bool)> {
    match word {
        "date" | "dates" | "dated" | "when" | "wann" | "datum" | "stichtag" => Some((Want::Date, false)),
        "deadline" | "deadlines" => Some((Want::Deadline, false)),
        "amount" | "amounts" | "sum" | "betrag" | "summe" => Some((Want::Amount, false)),
        "price" | "prices" | "preis" | "preise" => Some((Want::Amount, true)),
        "much" if before(1) == "how" => Some((Want::Amount, false)),
        "days" | "weeks" | "months" | "years" | "tage" | "wochen" | "monate" | "jahre"
            if matches!(before(1), "of" | "many" | "viele") =>
        {
            Some((Want::Duration, false))
        }
        // Eaten with the days it counts.
        "number" if after(1) == "of" => Some((Want::Duration, false))
            .filter(|_| matches!(after(2), "days" | "weeks" | "months" | "years" | "hours")),
        "long" if before(1) == "how" => Some((Want::Duration, false)),
        "period" | "frist" | "dauer" | "duration" | "laufzeit"
            if !(1..=3)
                .any(|distance| matches!(before(distance), "during" | "in" | "after" | "within" | "wahrend")) =>
        {
            Some((Want::Duration, false))
        }
        other if other.len() > 6 && other.ends_with("frist") => Some((Want::Duration, true)),
        "percentage" | "percent" | "prozentsatz" => Some((Want::Percentage, false)),
        "rate" | "rates" => Some((Want::Rate, false)),
        "zinssatz" => Some((Want::Rate, true)),
        _ => None,
    }
}

fn quoted_phrases(criterion: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = criterion;
    while let Some(open) = rest.find(['"', '“', '„', '«']) {
        let inner_start = open + rest[open..].chars().next().map_or(1, char::len_utf8);
        let inner = &rest[inner_start..];
        let Some(close) = inner.find(['"', '”', '“', '»']) else { break };
        let phrase = one_line(&inner[..close].to_lowercase(), 200);
        if phrase.chars().any(char::is_alphanumeric) && found.len() < 5 {
            found.push(phrase);
        }
        rest = &inner[close + inner[close..].chars().next().map_or(1, char::len_utf8)..];
    }
    found
}

// The passages to look at: the best by words, and those that have a quoted phrase; without words, those that
// have what is asked for.
fn candidates(reading: &Reading<'_>, asked: &Asked) -> Vec<usize> {
    let mut found: Vec<usize> = reading.best(CANDIDATES).into_iter().map(|(index, _)| index).collect();
    let has_terms = !asked.query.terms().is_empty();
    for want in &asked.wants {
        if has_terms && !matches!(want, Want::Phrase(_)) {
            continue;
        }
        let with = reading
            .passages
            .iter()
            .enumerate()
            .filter(|(_, passage)| want.found_in(passage.text, &asked.query).is_some());
        for (index, _) in with.take(8) {
            if !found.contains(&index) {
                found.push(index);
            }
        }
    }
    found
}

/// A passage held against the criterion.
struct Candidate<'text> {
    index: usize,
    label: &'text str,
    /// For each term, how much of it counts: 1 in the sentence, less around it, 0 nowhere.
    credits: Vec<f64>,
    /// For each want, the passage and words that fulfil it.
    wants: Vec<Option<(usize, String)>>,
    coverage: f64,
    /// The coverage by the sentence alone, without heading and neighbours.
    own: f64,
    negative: bool,
    /// Whether it only says what a rule that stands elsewhere does not cover.
    exception: bool,
}

impl<'text> Candidate<'text> {
    fn new(content: &'text Content, reading: &Reading<'_>, asked: &Asked, index: usize) -> Self {
        let passage = &reading.passages[index];
        let label = content.sections.get(passage.part).map_or("", |section| section.label.as_str());
        let mut credits = vec![0.0_f64; asked.query.terms().len()];
        let mut credit = |terms: &[(usize, u32)], worth: f64| {
            for (term, _) in terms {
                credits[*term] = credits[*term].max(worth);
            }
        };
        credit(&passage.hits, 1.0);
        let around = neighbours(reading, index);
        for neighbour in &around {
            credit(&reading.passages[*neighbour].hits, IN_NEIGHBOUR);
        }
        if let Some(heading) = heading_above(reading, index) {
            credit(&reading.passages[heading].hits, IN_HEADING);
        }
        for word in words(beginning(label, 200)) {
            for term in asked.query.matches(word) {
                credit(&[(*term, 1)], IN_HEADING);
            }
        }
        let wants: Vec<Option<(usize, String)>> = asked
            .wants
            .iter()
            .map(|want| {
                std::iter::once(&index)
                    .chain(&around)
                    .find_map(|at| Some((*at, want.found_in(reading.passages[*at].text, &asked.query)?)))
            })
            .collect();
        let (mut reached, mut own, mut possible) = (0.0, 0.0, 0.0);
        for (term, credit) in credits.iter().enumerate() {
            let weight = reading.weight(term);
            reached += weight * credit;
            own += if passage.hits.iter().any(|(hit, _)| *hit == term) { weight } else { 0.0 };
            possible += weight;
        }
        for want in &wants {
            possible += WEIGHT_OF_WANT;
            reached += if want.is_some() { WEIGHT_OF_WANT } else { 0.0 };
            own += if want.as_ref().is_some_and(|(at, _)| *at == index) { WEIGHT_OF_WANT } else { 0.0 };
        }
        // A heading names a matter and says nothing about it; what stands below it comes first.
        let saying = if is_heading(passage.text) { 0.95 } else { 1.0 };
        let coverage = if possible > 0.0 { saying * reached / possible } else { 0.0 };
        let own = if possible > 0.0 { own / possible } else { 0.0 };
        let negative = is_negative(passage.text, &asked.query);
        let exception = is_exception(passage.text);
        Self { index, label, credits, wants, coverage, own, negative, exception }
    }

    fn quotations(&self, reading: &Reading<'_>) -> Vec<String> {
        let mut places = vec![self.index];
        for (place, _) in self.wants.iter().flatten() {
            if !places.contains(place) && places.len() < 3 {
                places.push(*place);
            }
        }
        places.sort_unstable();
        places.into_iter().map(|place| reading.passages[place].text.to_owned()).collect()
    }

    // "The passage in `Termination` has `notice` and a span of time (`30 days`)"
    fn description(&self, content: &Content, asked: &Asked) -> String {
        let words = asked.query.terms().iter().zip(&self.credits).filter(|(_, credit)| **credit > 0.0);
        let figures = asked.wants.iter().zip(&self.wants).filter_map(|(want, found)| {
            let (_, words) = found.as_ref()?;
            let words = one_line(words, 60);
            Some(match want {
                Want::ThatDate(..) | Want::Phrase(_) => format!("`{words}`"),
                other => format!("{} (`{words}`)", other.name()),
            })
        });
        let found = and_list(words.map(|(word, _)| format!("`{word}`")).chain(figures));
        // A document of one section has nothing to be told apart by its label.
        let place = if content.sections.len() > 1 && !self.label.is_empty() {
            format!(" in `{}`", one_line(&self.label.replace('`', "'"), 80))
        } else {
            String::new()
        };
        format!("The passage{place} has {found}")
    }

    fn missing(&self, asked: &Asked) -> String {
        let words = asked.query.terms().iter().zip(&self.credits).filter(|(_, credit)| **credit == 0.0);
        let figures = asked.wants.iter().zip(&self.wants).filter(|(_, found)| found.is_none());
        or_list(words.map(|(word, _)| format!("`{word}`")).chain(figures.map(|(want, _)| want.name())))
    }

    fn comparison(&self, reading: &Reading<'_>, asked: &Asked, limit: &Limit) -> Comparison {
        let around = neighbours(reading, self.index);
        for place in std::iter::once(&self.index).chain(&around) {
            let sentence = reading.passages[*place].text;
            let all = figures(sentence);
            let comparable: Vec<&Figure<'_>> =
                all.iter().filter(|figure| is_comparable(&figure.measure, &limit.measure)).collect();
            let Some(first) = comparable.first() else { continue };
            let verdicts: Vec<Option<bool>> = comparable.iter().map(|figure| limit.keeps(figure)).collect();
            let (figure, verdict) = if verdicts.windows(2).all(|pair| pair[0] == pair[1]) {
                (*first, verdicts[0])
            } else {
                // Several figures that disagree: the one nearest to the criterion's words is meant.
                match nearest(sentence, &comparable, &asked.query) {
                    Some(index) => (comparable[index], verdicts[index]),
                    None => (*first, None),
                }
            };
            let words = one_line(figure.text, 60);
            return match verdict {
                Some(true) => Comparison::Within,
                Some(false) => Comparison::Beyond(words),
                None => Comparison::Uncertain(words),
            };
        }
        Comparison::Missing
    }
}

/// How a figure of the document stands to a limit of the criterion.
enum Comparison {
    Missing,
    Within,
    Beyond(String),
    Uncertain(String),
}

// The sentences before and after, in the same section.
fn neighbours(reading: &Reading<'_>, index: usize) -> Vec<usize> {
    let part = reading.passages[index].part;
    [index + 1, index.wrapping_sub(1)]
        .into_iter()
        .filter(|at| reading.passages.get(*at).is_some_and(|passage| passage.part == part))
        .collect()
}

// The nearest short line without a full stop above: looking no further than a paragraph or two.
fn heading_above(reading: &Reading<'_>, index: usize) -> Option<usize> {
    let part = reading.passages[index].part;
    (index.saturating_sub(12)..index)
        .rev()
        .take_while(|at| reading.passages[*at].part == part)
        .find(|at| is_heading(reading.passages[*at].text))
}

fn is_heading(sentence: &str) -> bool {
    sentence.len() <= 80 && !sentence.ends_with(['.', '!', '?', ';', ','])
}

// Which figure stands nearest to a word of the criterion; `None` when two are equally near.
fn nearest(sentence: &str, figures: &[&Figure<'_>], query: &Query) -> Option<usize> {
    let hits: Vec<usize> = words_in(sentence)
        .into_iter()
        .filter(|word| !query.matches(word.text).is_empty())
        .map(|word| word.start)
        .collect();
    let mut distances: Vec<(usize, usize)> = figures
        .iter()
        .enumerate()
        .filter_map(|(index, figure)| {
            hits.iter().map(|hit| hit.abs_diff(figure.start)).min().map(|distance| (distance, index))
        })
        .collect();
    distances.sort_unstable();
    match distances.as_slice() {
        [(first, _), (second, _), ..] if first == second => None,
        [(_, index), ..] => Some(*index),
        [] => None,
    }
}

/// A word with where it stands and in which clause.
struct Word<'text> {
    text: &'text str,
    folded: Cow<'text, str>,
    start: usize,
    clause: usize,
}

fn words_in(text: &str) -> Vec<Word<'_>> {
    let mut clause = 0;
    let mut found: Vec<Word<'_>> = Vec::new();
    let mut joined_to = None;
    for token in tokens(text) {
        match token.kind {
            TokenKind::Word | TokenKind::Number => {
                match found.last_mut() {
                    // "doesn't" and "co-operation" are one word.
                    Some(last) if joined_to == Some(token.start) && last.start + last.text.len() + 3 >= token.start => {
                        last.text = &text[last.start..token.end()];
                        last.folded = folded(last.text);
                    }
                    _ => found.push(Word { text: token.text, folded: folded(token.text), start: token.start, clause }),
                }
                joined_to = None;
            }
            TokenKind::Mark => {
                let follows = found.last().is_some_and(|last| last.start + last.text.len() == token.start);
                joined_to = (follows && matches!(token.text, "'" | "’")).then_some(token.end());
                if matches!(token.text, "," | ";" | ":" | "(" | ")" | "–" | "—") {
                    clause += 1;
                }
            }
        }
    }
    found
}

fn is_negation_word(folded: &str) -> bool {
    const NEGATIONS: List = list!(
        "no | not | never | none | neither | nor | nothing | without | cannot | exclude | excludes | excluded | \
        excluding | prohibit | prohibits | prohibited | forbid | forbids | forbidden | disclaim | disclaims | \
        disclaimed | waive | waives | waived | lacks | absent | nicht | kein | keine | keinen | keinem | keiner | \
        keines | nie | niemals | ohne | weder | ausgeschlossen | verboten | untersagt | unzulassig | entfallt",
    );
    NEGATIONS.has(folded) || folded.ends_with("n't")
}

// Whether the word at `index` denies something, and is not part of a bound or a set phrase.
fn negates(words: &[Word<'_>], index: usize) -> bool {
    const NOT_AFTER: List = list!(
        "later | more | less | longer | exceed | exceeding | fewer | shorter | only | mehr | weniger | \
        langer | spater | nur | prejudice | limitation | limiting | undue | greater | before | otherwise",
    );
    if !is_negation_word(&words[index].folded) {
        return false;
    }
    let after = |distance: usize| words.get(index + distance).map_or("", |word| word.folded.as_ref());
    let is_numbering = words[index].folded == "no" && after(1).starts_with(|first: char| first.is_ascii_digit());
    let is_choice = index > 0 && words[index - 1].folded == "or";
    // "Including but not limited to" denies nothing; "liability is not limited" does.
    let is_list_open = index > 0
        && matches!(words[index - 1].folded.as_ref(), "but" | "including" | "includes" | "include" | "and")
        && (after(1) == "limited" || (after(1) == "be" && after(2) == "limited"));
    let is_bound = NOT_AFTER.has(after(1)) || (after(1) == "be" && NOT_AFTER.has(after(2)));
    !(is_numbering || is_choice || is_bound || is_list_open)
}

// Whether the sentence denies what the query's words say: a negation up to six words before one of them, or up to
// two after, in the same clause.
fn is_negative(sentence: &str, query: &Query) -> bool {
    let all = words_in(sentence);
    let hits: Vec<bool> = all.iter().map(|word| !query.matches(word.text).is_empty()).collect();
    (0..all.len()).any(|index| {
        negates(&all, index) && {
            let near = index.saturating_sub(2)..(index + 7).min(all.len());
            near.into_iter().any(|at| hits[at] && all[at].clause == all[index].clause)
        }
    })
}

// Whether the sentence takes something out of a rule that stands elsewhere: "nothing in this agreement limits
// liability for death", "this does not apply to …".
fn is_exception(sentence: &str) -> bool {
    const BEGINS: List = list!(
        "nothing in | nothing herein | nothing contained | no provision of | neither clause | except | notwithstanding | \
        the limitation | the limitations | the exclusion | the exclusions | the foregoing | ausgenommen | \
        mit ausnahme",
    );
    const HAS: List = list!(
        "does not apply | do not apply | shall not apply | will not apply | not limit or exclude | \
        not exclude or limit | cannot be limited | cannot be excluded | may not be limited | may not be excluded | \
        gilt nicht | gelten nicht | bleibt unberührt | bleiben unberührt",
    );
    let lower = one_line(&sentence.to_lowercase(), usize::MAX);
    // After the number of the clause.
    BEGINS.begins(lower.trim_start_matches(|mark: char| !mark.is_alphabetic())) || HAS.is_in(&lower)
}

fn and_list(parts: impl Iterator<Item = String>) -> String {
    listed(parts, "and")
}

fn or_list(parts: impl Iterator<Item = String>) -> String {
    listed(parts, "or")
}

// A reader takes in a handful; the rest is counted.
fn listed(parts: impl Iterator<Item = String>, conjunction: &str) -> String {
    let mut parts: Vec<String> = parts.collect();
    if parts.len() > 8 {
        let rest = parts.len() - 7;
        parts.truncate(7);
        parts.push(format!("{rest} more"));
    }
    match parts.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} {conjunction} {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::document::Section;

    const AGREEMENT: &[(&str, &str)] = &[
        (
            "page 1",
            "MASTER SERVICES AGREEMENT\n\n\
            This Master Services Agreement is entered into as of 1 March 2025 (the \"Effective Date\") between\n\
            Northwind Analytics Ltd (\"Supplier\") and Harbour Retail GmbH (\"Customer\").\n\n\
            1. Services\n\
            Supplier shall provide the data analysis services described in Annex A. Supplier shall perform\n\
            the services with reasonable skill and care.\n\n\
            2. Fees and payment\n\
            The monthly fee is EUR 4,500.00 excluding VAT. Customer shall pay each invoice within thirty (30)\n\
            days of receipt. Late payments bear interest at a rate of 5 % per year.",
        ),
        (
            "page 2",
            "3. Confidentiality\n\
            Each party shall keep the confidential information of the other party secret and shall not disclose\n\
            it to third parties. This obligation survives termination for a period of three years.\n\n\
            4. Liability\n\
            Neither party shall be liable for indirect or consequential damages. The total liability of Supplier\n\
            is limited to EUR 100,000 per year.\n\n\
            5. Term and termination\n\
            This Agreement has an initial term of 24 months. It does not renew automatically. Either party may\n\
            terminate this Agreement with ninety (90) days' written notice.\n\n\
            6. Assignment\n\
            Customer may not assign this Agreement without the prior written consent of Supplier.",
        ),
        (
            "page 3",
            "7. Data protection\n\
            Supplier processes personal data only on documented instructions of Customer and deletes it within\n\
            60 days after the end of the Agreement.\n\n\
            8. Governing law\n\
            This Agreement is governed by the laws of Germany. The courts of Hamburg have exclusive jurisdiction.",
        ),
    ];

    fn content(sections: &[(&str, &str)]) -> Content {
        Content {
            format: "text".to_owned(),
            sections: sections.iter().map(|(label, text)| section(label, text)).collect(),
            ..Content::default()
        }
    }

    fn section(label: &str, text: &str) -> Section {
        Section { label: label.to_owned(), text: text.to_owned(), ..Section::default() }
    }

    fn criterion(text: &str) -> Criterion {
        Criterion { id: "c1".to_owned(), text: text.to_owned(), weight: 1.0, required: false }
    }

    fn quotes_stand_in(content: &Content, review: &Review) -> bool {
        review.quotations.len() <= 3
            && review.quotations.iter().all(|quoted| {
                !quoted.is_empty() && content.sections.iter().any(|section| section.text.contains(quoted))
            })
    }

    #[test]
    fn a_document_without_end_is_reviewed_in_linear_time() {
        let sentence = "The supplier shall deliver goods in 30 days, and the customer pays EUR 12 for each of them. ";
        let long = content(&[("all", &sentence.repeat(2_000_000 / sentence.len()))]);
        let one_word = content(&[("all", &"a".repeat(2_000_000))]);
        let stops = content(&[("all", &".".repeat(2_000_000))]);
        let started = std::time::Instant::now();
        for content in [&long, &one_word, &stops] {
            let review = review(content, &criterion("The customer pays within at most 30 days an amount of money"));
            assert!(quotes_stand_in(content, &review));
        }
        assert!(started.elapsed().as_secs() < 20, "took {:?}", started.elapsed());
    }

    #[test]
    fn an_empty_document_or_criterion_is_unclear() {
        for (sections, asked) in [
            (&[][..], "The fee is stated"),
            (&[("page 1", "")][..], "The fee is stated"),
            (&[("page 1", " \n ... 🎉")][..], "The fee is stated"),
            (AGREEMENT, "?!"),
            (AGREEMENT, "🎉"),
        ] {
            let review = review(&content(sections), &criterion(asked));
            assert_eq!((review.verdict, review.quotations.len()), (Verdict::Unclear, 0), "{}", review.explanation);
        }
    }

    #[test]
    fn a_contract_is_held_against_criteria_as_a_careful_reader_would() {
        use Verdict::*;
        let content = content(AGREEMENT);
        for (asked, verdict, quoted) in [
            ("The agreement states an effective date", Met, "1 March 2025"),
            ("The effective date is 1 March 2025", Met, "1 March 2025"),
            ("The monthly fee is stated as an amount", Met, "EUR 4,500.00"),
            ("Invoices are paid within at most 30 days", Met, "within thirty (30)"),
            ("Payment is due within at most 14 days of the invoice", NotMet, "within thirty (30)"),
            ("Interest on late payments is at most 9 percent", Met, "5 %"),
            ("Interest on late payments is less than 5 %", NotMet, "5 %"),
            ("Liability is limited to at most EUR 250,000", Met, "EUR 100,000"),
            ("Liability is limited to at most EUR 50,000", NotMet, "EUR 100,000"),
            ("Liability is limited to at most USD 250,000", Unclear, "EUR 100,000"),
            ("Liability for indirect damages is excluded", Met, "Neither party"),
            ("The parties are liable for indirect damages", NotMet, "Neither party"),
            ("The agreement does not renew automatically", Met, "does not renew"),
            ("The agreement renews automatically", NotMet, "does not renew"),
            ("Either party may terminate with a notice of at most 90 days", Met, "ninety (90) days"),
            ("Either party may terminate with a notice of at least 180 days", NotMet, "ninety (90) days"),
            ("A notice period for termination is stated", Met, "ninety (90) days"),
            ("Confidential information is kept secret", Met, "confidential information"),
            ("The customer may assign the agreement", NotMet, "may not assign"),
            ("The governing law is named", Met, "governed by the laws of Germany"),
            ("Personal data is deleted within a number of days", Met, "60 days"),
            ("The agreement contains the words \"exclusive jurisdiction\"", Met, "exclusive jurisdiction"),
            ("Insurance cover of the supplier for cyber attacks", NotMet, ""),
            ("The supplier offers a discount for early payment of subscriptions", NotMet, ""),
            ("There is no arbitration clause", Met, ""),
            ("Customer shall pay each invoice in gold coins", PartlyMet, "pay each invoice"),
            ("Customer may assign this Agreement by telegram to singers", Unclear, "may not assign"),
            ("The agreement must not contain a renewal obligation", Met, "does not renew"),
            ("The initial term is at least 12 months", Met, "24 months"),
            ("The initial term is at most 1 year", NotMet, "24 months"),
            ("The confidentiality obligation survives termination for at least 2 years", Met, "three years"),
        ] {
            let review = review(&content, &criterion(asked));
            assert_eq!(review.verdict, verdict, "for {asked:?}: {} {:?}", review.explanation, review.quotations);
            assert!(quotes_stand_in(&content, &review), "for {asked:?}");
            assert!(
                quoted.is_empty() || review.quotations.iter().any(|text| text.contains(quoted)),
                "for {asked:?}: {:?}",
                review.quotations
            );
            assert!((0.0..=HIGHEST_CONFIDENCE).contains(&review.confidence));
            assert!(review.explanation.ends_with('.'), "{}", review.explanation);
        }
    }

    #[test]
    fn a_german_contract_is_read_too() {
        let content = content(&[(
            "Seite 1",
            "Mietvertrag\n\nDie monatliche Miete beträgt 900 EUR. Die Kündigungsfrist beträgt \
            drei Monate zum Monatsende. Die Untervermietung ist nicht gestattet. Der Mieter zahlt eine Kaution.",
        )]);
        for (asked, verdict) in [
            ("Die Höhe der Miete ist als Betrag angegeben", Verdict::Met),
            ("Die Kündigungsfrist beträgt höchstens 3 Monate", Verdict::Met),
            ("Die Kündigungsfrist beträgt höchstens 4 Wochen", Verdict::NotMet),
            ("Die Untervermietung ist gestattet", Verdict::NotMet),
            ("Eine Kaution ist vereinbart", Verdict::Met),
        ] {
            let review = review(&content, &criterion(asked));
            assert_eq!(review.verdict, verdict, "for {asked:?}: {} {:?}", review.explanation, review.quotations);
        }
    }

    #[test]
    fn passages_that_disagree_and_texts_that_were_cut_are_unclear() {
        let disagreeing =
            content(&[("a", "Smoking is allowed on the balcony."), ("b", "Smoking is not allowed on the balcony.")]);
        let review_of = |content: &Content, asked| review(content, &criterion(asked));
        let found = review_of(&disagreeing, "Smoking is allowed on the balcony");
        assert_eq!((found.verdict, found.quotations.len()), (Verdict::Unclear, 2), "{}", found.explanation);
        let mut cut = content(AGREEMENT);
        cut.truncated = true;
        assert_eq!(review_of(&cut, "Insurance against earthquakes").verdict, Verdict::Unclear);
        let foreign = content(&[(
            "a",
            "Dieser Vertrag wird zwischen den unten genannten Parteien geschlossen und beginnt sofort danach.",
        )]);
        let found = review_of(&foreign, "The document describes how broken machines are brought back to the workshop");
        assert_eq!(found.verdict, Verdict::Unclear, "{}", found.explanation);
    }

    // The text of the sample agreement as its extraction gives it: from the page one section for each heading, or
    // from print one section for each page, with lines as wide as the paper.
    fn sample_agreement(printed: bool) -> Content {
        let html = include_str!("../../../../infra/local/samples/services-agreement.html");
        let body = html.split_once("<body>").map_or(html, |(_, body)| body);
        let mut sections: Vec<Section> = vec![section("page 1", "")];
        for line in body.lines() {
            let mut text = String::new();
            for piece in line.split('<') {
                text.push_str(piece.split_once('>').map_or(piece, |(_, shown)| shown));
            }
            let text = text.trim().replace("&amp;", "&");
            if line.trim().starts_with("<h2") && !printed {
                sections.push(section(&text, ""));
            }
            let Some(section) = sections.last_mut() else { continue };
            let mut width = 0;
            for word in text.split(' ') {
                width += word.len() + 1;
                section.text.push_str(word);
                let wraps = printed && width > 80;
                section.text.push(if wraps { '\n' } else { ' ' });
                width = if wraps { 0 } else { width };
            }
            section.text.push_str("\n\n");
        }
        Content { format: "sample".to_owned(), sections, ..Content::default() }
    }

    #[test]
    fn the_sample_agreement_meets_all_criteria_but_the_insurance() {
        use Verdict::*;
        let samples = include_str!("../../../../infra/local/samples/criteria.json");
        let criteria: Vec<String> = serde_json::from_str(samples).unwrap();
        for printed in [false, true] {
            let content = sample_agreement(printed);
            let expected = [(Met, "4.2"), (Met, "8.2"), (Met, "6.1"), (Met, "Invoices are payable"), (NotMet, "")];
            assert_eq!(criteria.len(), expected.len());
            for (asked, (verdict, first)) in criteria.iter().zip(expected) {
                let review = review(&content, &criterion(asked));
                let shown = format!("for {asked:?}: {} {:?}", review.explanation, review.quotations);
                assert_eq!(review.verdict, verdict, "{shown}");
                assert!(quotes_stand_in(&content, &review), "{shown}");
                assert!(review.quotations.first().map_or("", String::as_str).starts_with(first), "{shown}");
            }
        }
    }

    #[test]
    fn an_exception_does_not_outweigh_the_rule_that_it_is_made_to() {
        use Verdict::*;
        const RULE: &str = "The total liability of each party is limited to EUR 100,000.";
        const EXCEPTION: &str = "Nothing in this contract limits liability for death or fraud.";
        for (text, asked, verdict, first) in [
            (format!("{EXCEPTION} {RULE}"), "Liability is limited to a stated amount", Met, "The total"),
            (format!("{RULE} {EXCEPTION}"), "Liability is limited to a stated amount", Met, "The total"),
            (EXCEPTION.to_owned(), "Liability is limited", NotMet, "Nothing"),
            ("The liability of the supplier is not limited.".to_owned(), "Liability is limited", NotMet, "The"),
            (
                "Liability for damages, including but not limited to lost profit, is accepted.".to_owned(),
                "Liability for damages is accepted",
                Met,
                "Liability",
            ),
            (
                "Smoking on the balcony is allowed. This does not apply to smoking on the balcony of the hall."
                    .to_owned(),
                "Smoking is allowed on the balcony",
                Met,
                "Smoking",
            ),
            (
                "Liability is limited to EUR 5. Liability is not limited to EUR 5.".to_owned(),
                "Liability is limited to a stated amount",
                Unclear,
                "Liability",
            ),
        ] {
            let content = content(&[("all", &text)]);
            let review = review(&content, &criterion(asked));
            let shown = format!("for {asked:?} of {text:?}: {} {:?}", review.explanation, review.quotations);
            assert_eq!(review.verdict, verdict, "{shown}");
            assert!(review.quotations[0].starts_with(first), "{shown}");
        }
    }

    #[test]
    fn the_explanation_says_what_was_found_and_what_not() {
        let review = review(&content(AGREEMENT), &criterion("Customer shall pay each invoice in gold coins"));
        assert_eq!(
            review.explanation,
            "The passage in `page 1` has `Customer`, `pay` and `invoice`, but not `gold` or `coins`."
        );
    }

    proptest! {
        #[test]
        fn quotations_are_always_verbatim(
            text in "([A-Z][a-z]{2,8} |pays? |invoice |not |30 days |EUR 5 |\\. |\\n|: |\\PC{0,6}){0,60}",
            asked in "(pay|invoice|within at most 30 days|not|an amount|a date|\"[a-z]{1,3}\"|\\PC{0,8}| ){0,8}",
        ) {
            let content = content(&[("one", &text), ("two", &text.to_uppercase())]);
            let review = review(&content, &criterion(&asked));
            prop_assert!(quotes_stand_in(&content, &review), "{:?} of {:?}", review.quotations, text);
            prop_assert!((0.0..=1.0).contains(&review.confidence));
        }
    }
}
