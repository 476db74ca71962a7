//! What an email wants, and whether a response is due.
//!
//! Phrases of English and German in subject and text, and the form of the sentences, each speak for a category
//! with a weight; the heaviest category wins, and the margin to the second is the confidence. Every signal that
//! counted is named in the reasons.
//!
//! Invariants: a response is due for questions, requests, complaints, wishes to meet and plain notes, for a bill
//! only when it asks for something, and never for newsletters, machines and spam or where the mail itself says
//! that no machine may answer. Only the beginning and the end of a long text are read, so a mail of any size
//! costs about the same. What fills the template is data: short, on one line, without links or addresses.
//!
//! Deliberately absent: the recipient, who is never chosen here; and anything that the text tells the assistant
//! to do.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    dates::mentions,
    figures::references,
    lists::{List, list},
    phrases::{CATEGORIES, Phrase, URGENCIES},
    text::{beginning, ending, harmless_line, language, one_line, sentences},
};
use crate::domain::{
    Failure,
    definition::Definition,
    email::{Category, Draft, Email, EmailAnalysis, Urgency},
};
use crate::templates;

/// A mail says what it wants in its first page or two.
const READ_FROM_BEGINNING: usize = 20_000;
/// A mailing says at its end that one can unsubscribe.
const READ_FROM_END: usize = 3_000;
const LONGEST_INTENT: usize = 300;
const LONGEST_SUBJECT: usize = 200;
/// With less than this no category is claimed.
const LEAST_SCORE: f64 = 1.5;
/// One word can be innocent; spam is claimed only on several, or on a phrase that no customer writes.
const LEAST_SPAM_SCORE: f64 = 4.0;
/// The template for what has no template of its own.
const FALLBACK_TEMPLATE: &str = "acknowledgement";

/// Tells what an email wants.
///
/// # Errors
/// This returns an error of kind `Validation` when a response is due and the definition has no template for it.
pub(super) fn analyze(definition: &Definition, email: &Email) -> Result<EmailAnalysis, Failure> {
    let words = Words::of(email);
    let scores = Scores::of(email, &words);
    let (category, confidence, mut reasons) = match &email.no_reply_because {
        Some(reason) => {
            let reason = one_line(reason, 200);
            (scores.unanswerable(&reason), 0.9, vec![format!("no machine may answer it: {reason}")])
        }
        None => scores.winner(),
    };
    reasons.extend(scores.reasons(category));
    reasons.truncate(10);
    let (urgency, urgent_because) = urgency(&words, category);
    reasons.extend(urgent_because);
    let requires_response = email.no_reply_because.is_none()
        && match category {
            Category::Newsletter | Category::Machine | Category::Spam => false,
            Category::Invoice => words.asks(),
            Category::Question | Category::Request | Category::Complaint | Category::Scheduling | Category::Other => {
                true
            }
        };
    let template = if requires_response { template_for(definition, category)? } else { String::new() };
    let intent = words.intent(category);
    let language = language(&words.body).map(str::to_owned);
    let context = context(email, &words, category, urgency, &intent, language.as_deref());
    Ok(EmailAnalysis {
        category,
        intent: one_line(&intent, LONGEST_INTENT),
        urgency,
        requires_response,
        template,
        context,
        language,
        confidence,
        reasons,
    })
}

/// Fills a response template. The definition's variables win over the context: nothing that came with a mail
/// takes the place of the organization's name.
///
/// # Errors
/// This returns an error of kind `Validation` that names the template when it does not exist, cannot be rendered,
/// or renders to an empty text.
pub(super) fn respond(
    definition: &Definition,
    name: &str,
    context: &BTreeMap<String, Value>,
) -> Result<Draft, Failure> {
    let shown = one_line(name, 64);
    let template = definition
        .templates
        .get(name)
        .ok_or_else(|| Failure::validation(format!("no template `{shown}` in the definition")))?;
    let mut values = context.clone();
    values.extend(definition.variables.iter().map(|(key, value)| (key.clone(), value.clone())));
    let subject = templates::render(&format!("{shown}.subject"), &template.subject, &values)?;
    let text = templates::render(&format!("{shown}.text"), &template.text, &values)?;
    let text = text.trim();
    if text.is_empty() {
        return Err(Failure::validation(format!("template `{shown}` renders to an empty text")));
    }
    Ok(Draft { subject: reply_subject(&subject), text: format!("{text}\n") })
}

/// The name in records of a category.
fn name_of(category: Category) -> &'static str {
    match category {
        Category::Question => "question",
        Category::Request => "request",
        Category::Complaint => "complaint",
        Category::Scheduling => "scheduling",
        Category::Invoice => "invoice",
        Category::Newsletter => "newsletter",
        Category::Machine => "machine",
        Category::Spam => "spam",
        Category::Other => "other",
    }
}

fn template_for(definition: &Definition, category: Category) -> Result<String, Failure> {
    let own = match category {
        Category::Question => "acknowledge_question",
        Category::Request => "acknowledge_request",
        Category::Complaint => "complaint",
        Category::Scheduling => "scheduling",
        Category::Invoice => "invoice",
        Category::Newsletter | Category::Machine | Category::Spam | Category::Other => FALLBACK_TEMPLATE,
    };
    [own, FALLBACK_TEMPLATE]
        .into_iter()
        .find(|name| definition.templates.contains_key(*name))
        .map(str::to_owned)
        .ok_or_else(|| {
            Failure::validation(format!(
                "the definition has no template `{own}` and no template `{FALLBACK_TEMPLATE}` in its place"
            ))
        })
}

// One line, and one "Re:", however often mail programs have put theirs before it.
fn reply_subject(rendered: &str) -> String {
    let line = one_line(rendered, LONGEST_SUBJECT);
    let bare = without_reply_marks(&line);
    if bare.len() == line.len() { line } else { format!("Re: {bare}").trim_end().to_owned() }
}

fn without_reply_marks(subject: &str) -> &str {
    let mut rest = subject.trim();
    while let Some((mark, after)) = rest.split_once(':') {
        let mark = mark.trim_end_matches(|end: char| end.is_ascii_digit() || matches!(end, '[' | ']' | '(' | ')'));
        if !matches!(mark.trim().to_lowercase().as_str(), "re" | "aw" | "antw" | "antwort" | "sv" | "vs" | "rif") {
            break;
        }
        rest = after.trim_start();
    }
    rest
}

fn context(
    email: &Email,
    words: &Words<'_>,
    category: Category,
    urgency: Urgency,
    intent: &str,
    language: Option<&str>,
) -> BTreeMap<String, Value> {
    let subject = harmless_line(without_reply_marks(&one_line(&email.subject, LONGEST_SUBJECT)), LONGEST_SUBJECT);
    let everything = format!("{}\n{}", email.subject, words.body);
    let questions: Vec<String> = words
        .sentences
        .iter()
        .filter(|sentence| sentence.form == Form::Question)
        .take(5)
        .map(|sentence| harmless_line(sentence.text, LONGEST_INTENT))
        .collect();
    let mut dates: Vec<String> = Vec::new();
    for mention in mentions(&everything) {
        let date = mention.date.map_or_else(|| one_line(mention.text, 40), |date| date.to_string());
        if dates.len() < 10 && !dates.contains(&date) {
            dates.push(date);
        }
    }
    let attachments: Vec<String> = email
        .attachments
        .iter()
        .filter_map(|attachment| attachment.name.as_deref())
        .map(|name| harmless_line(name, 100))
        .filter(|name| !name.is_empty())
        .take(20)
        .collect();
    let urgency = match urgency {
        Urgency::Low => "low",
        Urgency::Normal => "normal",
        Urgency::High => "high",
    };
    let sender_name = email.from_name.as_deref().map(|name| harmless_line(name, 100)).unwrap_or_default();
    [
        ("subject", json!(subject)),
        ("sender_name", json!(sender_name)),
        ("intent", json!(harmless_line(intent, LONGEST_INTENT))),
        ("urgency", json!(urgency)),
        ("category", json!(name_of(category))),
        ("language", json!(language.unwrap_or_default())),
        ("attachments", json!(attachments)),
        ("reference_numbers", json!(references(&everything, 10))),
        ("dates", json!(dates)),
        ("questions", json!(questions)),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// What is read of an email.
struct Words<'email> {
    subject: String,
    body: String,
    lower: String,
    phrases: Vec<Phrase>,
    sentences: Vec<Sentence<'email>>,
}

struct Sentence<'email> {
    text: &'email str,
    lower: String,
    form: Form,
}

/// What a sentence does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Greeting,
    Question,
    Request,
    Statement,
}

impl<'email> Words<'email> {
    fn of(email: &'email Email) -> Self {
        let start = beginning(&email.text, READ_FROM_BEGINNING);
        let end = ending(&email.text[start.len()..], READ_FROM_END);
        let body = format!("{start}\n{end}");
        let sentences = sentences(start)
            .into_iter()
            .map(|text| {
                let lower = plain(text);
                let form = form(&lower);
                Sentence { text, lower, form }
            })
            .collect();
        let lower = plain(&body);
        let phrases = CATEGORIES.found_in(&lower);
        Self { subject: plain(&one_line(&email.subject, 2000)), body, lower, phrases, sentences }
    }

    fn asks(&self) -> bool {
        matches!(form(&self.subject), Form::Question | Form::Request)
            || self.sentences.iter().any(|sentence| matches!(sentence.form, Form::Question | Form::Request))
    }

    // The most telling sentence: the one with the weightiest signals of the category, the first of equals. One is searched
    // only where it holds a phrase that the whole text was found to hold.
    fn intent(&self, category: Category) -> String {
        let telling: Vec<&str> =
            self.phrases.iter().filter(|phrase| phrase.category == category).map(|phrase| phrase.text).collect();
        let worth = |sentence: &Sentence<'_>| {
            let is_telling = telling.iter().any(|phrase| sentence.lower.contains(phrase));
            let phrases = if is_telling { CATEGORIES.found_in(&sentence.lower) } else { Vec::new() };
            let signals: f64 =
                phrases.into_iter().filter(|phrase| phrase.category == category).map(|phrase| phrase.weight).sum();
            let form = match (sentence.form, category) {
                (Form::Question, Category::Question) | (Form::Request, Category::Request) => 3.0,
                (Form::Question | Form::Request, _) => 1.5,
                (Form::Statement, _) => 0.0,
                (Form::Greeting, _) => -5.0,
            };
            signals + form
        };
        let mut best: Option<(&Sentence<'_>, f64)> = None;
        for sentence in self.sentences.iter().take(200) {
            let worth = worth(sentence);
            if best.is_none_or(|(_, highest)| worth > highest) {
                best = Some((sentence, worth));
            }
        }
        best.map_or_else(|| self.subject.clone(), |(sentence, _)| sentence.text.to_owned())
    }
}

// Lower case with plain apostrophes, so that one spelling of a phrase is enough.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    // The table of what is lower case is asked for the words that are not ASCII alone.
    while let Some(at) = rest.bytes().position(|byte| !byte.is_ascii()) {
        let from = rest[..at].rfind(' ').unwrap_or_default();
        let to = rest[at..].find(' ').map_or(rest.len(), |length| at + length);
        plain.push_str(&rest[..from]);
        plain.push_str(&rest[from..to].to_lowercase().replace(['’', 'ʼ'], "'"));
        rest = &rest[to..];
    }
    plain.push_str(rest);
    plain.make_ascii_lowercase();
    if plain.contains('`') { plain.replace('`', "'") } else { plain }
}

// The form of a sentence in lower case.
fn form(sentence: &str) -> Form {
    const GREETINGS: List = list!(
        "hi | hello | hey | dear | good morning | good afternoon | good evening | greetings | hallo | guten tag | \
        guten morgen | guten abend | liebe | lieber | sehr geehrte | sehr geehrter | moin | best regards | \
        kind regards | regards | best | cheers | thanks | thank you | many thanks | sincerely | mit freundlichen | \
        viele grüße | beste grüße | vielen dank | danke | mfg | lg",
    );
    // Said politely with "please", and asking for nothing.
    const NO_REQUEST: List = list!(
        "please find | please note | please see | please do not reply | please don't reply | \
        please do not hesitate | please don't hesitate | please feel free | please be advised | please be aware | \
        please ignore | please accept our | would you be | would you like | will you be | bitte beachten | \
        bitte antworten sie nicht | bitte zögern sie nicht | bitte entschuldigen",
    );
    const REQUESTS: List = list!(
        "please | kindly | could you | can you | would you | will you | could someone | \
        can someone | can anyone | could we | can we get | can i get | \
        may i request | i need | we need | i'd like to | i would like to | we would like to | we'd like to | \
        i want to | we want to | i am requesting | i request | i'd like a | i would like a | requesting | bitte | \
        könnten sie | können sie | kannst du | könntest du | würden sie | würdest du | ich möchte | wir möchten | \
        ich hätte gern | ich hätte gerne | wir benötigen | ich benötige | ich brauche | wir brauchen | ich bitte | \
        wir bitten | hiermit kündige ich | hiermit beantrage ich",
    );
    // Asking to be told something is a question, however it is put.
    const ASKS_TO_KNOW: List = list!(
        "tell me | tell us | let me know | let us know | explain | clarify | advise whether | advise if | \
        confirm whether | confirm if | like to know | want to know | need to know | like to ask | sagen | \
        mitteilen | erklären | erläutern | wissen | informieren, ob | verraten | bescheid",
    );
    const QUESTION_WORDS: List = list!(
        "what | when | where | who | why | how | which | whose | is there | are there | do you | does | did | \
        is it | is the | are you | can i | may i | should i | have you | was | wann | wo | wer | warum | wieso | \
        weshalb | wie | welche | welcher | welches | gibt es | kann ich | kann man | ist es | haben sie | \
        habt ihr | was ist | was kostet",
    );
    const OPEN_QUESTIONS: List = list!(
        "what | when | where | who | why | how | which | whose | wann | wo | wer | warum | wieso | weshalb | wie | \
        welche | welcher | welches | was",
    );
    let bare = without_greeting(sentence.trim_start_matches(|first: char| !first.is_alphanumeric()), &GREETINGS);
    if bare.is_empty() {
        return Form::Greeting;
    }
    let is_asked = bare.trim_end_matches([')', '"', '\'', '!', ' ', '”', '*', '_']).ends_with(['?', '？', '؟']);
    // "When will you pay?" asks to know, although "will you" would ask to do.
    let asks_when = is_asked && OPEN_QUESTIONS.begins(bare);
    let requests = REQUESTS.is_in(bare) && !NO_REQUEST.is_in(bare) && !asks_when;
    if requests && ASKS_TO_KNOW.is_in(bare) || is_asked && !requests {
        Form::Question
    } else if requests {
        Form::Request
    } else if QUESTION_WORDS.begins(bare) && bare.split(' ').nth(2).is_some() && !bare.ends_with(['.', '!', ',', ':']) {
        // A question without its mark, as people write on telephones.
        Form::Question
    } else if GREETINGS.begins(bare) && bare.split(' ').nth(5).is_none() {
        Form::Greeting
    } else {
        Form::Statement
    }
}

// What follows "hi anna," in the same sentence.
fn without_greeting<'text>(sentence: &'text str, greetings: &List) -> &'text str {
    let Some((head, rest)) = sentence.split_once([',', '!']) else { return sentence };
    let is_greeting = greetings.begins(head) && head.split(' ').nth(5).is_none();
    if is_greeting { rest.trim_start_matches(|first: char| !first.is_alphanumeric()) } else { sentence }
}

/// What speaks for each category.
struct Scores {
    scores: BTreeMap<Category, f64>,
    reasons: BTreeMap<Category, Vec<String>>,
}

impl Scores {
    fn of(email: &Email, words: &Words<'_>) -> Self {
        let mut scores = Self { scores: BTreeMap::new(), reasons: BTreeMap::new() };
        let in_subject = CATEGORIES.found_in(&words.subject);
        for phrase in &in_subject {
            // Who chooses a word for the subject means it.
            scores.add(phrase.category, phrase.weight * 1.5, format!("subject says `{}`", phrase.text));
        }
        for phrase in &words.phrases {
            if !in_subject.iter().any(|known| known.text == phrase.text) {
                scores.add(phrase.category, phrase.weight, format!("text says `{}`", phrase.text));
            }
        }
        scores.add_forms(words);
        let sender = email.from.to_lowercase();
        let local = sender.split('@').next().unwrap_or_default();
        if ["noreply", "no-reply", "donotreply", "do-not-reply", "mailer-daemon", "postmaster", "no_reply"]
            .iter()
            .any(|machine| local.contains(machine))
        {
            scores.add(Category::Machine, 3.0, "sender is a machine's address".to_owned());
        }
        if ["newsletter", "news", "marketing", "mailings"].contains(&local) {
            scores.add(Category::Newsletter, 3.0, "sender is a mailing's address".to_owned());
        }
        scores.add_shouting(email);
        scores
    }

    fn add(&mut self, category: Category, weight: f64, reason: String) {
        *self.scores.entry(category).or_default() += weight;
        self.reasons.entry(category).or_default().push(reason);
    }

    fn add_forms(&mut self, words: &Words<'_>) {
        let subject = form(&words.subject);
        for (wanted, category, first, reason) in [
            (Form::Question, Category::Question, 2.2, "asks something"),
            (Form::Request, Category::Request, 2.4, "asks for something to be done"),
        ] {
            let sentences = words.sentences.iter().filter(|sentence| sentence.form == wanted).count();
            let times = sentences + usize::from(subject == wanted && !words.subject.is_empty());
            if times > 0 {
                // Three questions are not three times as much a question.
                let more = 0.4 * (times - 1).min(3) as f64;
                self.add(category, first + more, reason.to_owned());
            }
        }
    }

    // Capitals and exclamation marks with money or links in them are how spam looks; alone they are only loud.
    fn add_shouting(&mut self, email: &Email) {
        let start = beginning(&email.text, 2000);
        let letters = start.chars().filter(|letter| letter.is_alphabetic()).count();
        let capitals = start.chars().filter(|letter| letter.is_uppercase()).count();
        let is_loud = letters > 20 && capitals * 10 > letters * 7 || start.contains("!!!");
        if is_loud && self.of_category(Category::Spam) > 0.0 {
            self.add(Category::Spam, 1.0, "text shouts".to_owned());
        }
    }

    fn of_category(&self, category: Category) -> f64 {
        self.scores.get(&category).copied().unwrap_or_default()
    }

    // Of a mail that no machine may answer: spam or a mailing where anything says so, otherwise a machine's.
    fn unanswerable(&self, reason: &str) -> Category {
        let reason = reason.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
        let (mailing, machine) = (self.of_category(Category::Newsletter), self.of_category(Category::Machine));
        if says(&["spam", "virus"]) {
            Category::Spam
        } else if says(&["list", "bulk", "newsletter", "mailing", "unsubscribe"]) || mailing > machine {
            Category::Newsletter
        } else {
            Category::Machine
        }
    }

    fn winner(&self) -> (Category, f64, Vec<String>) {
        // Of equal scores the one that is worse to miss comes first.
        const ORDER: [Category; 8] = [
            Category::Spam,
            Category::Machine,
            Category::Newsletter,
            Category::Complaint,
            Category::Invoice,
            Category::Scheduling,
            Category::Request,
            Category::Question,
        ];
        let mut ranked: Vec<(Category, f64)> = ORDER
            .into_iter()
            .map(|category| (category, self.of_category(category)))
            .filter(|(category, score)| {
                *score >= if *category == Category::Spam { LEAST_SPAM_SCORE } else { LEAST_SCORE }
            })
            .collect();
        ranked.sort_by(|left, right| right.1.total_cmp(&left.1));
        match ranked.as_slice() {
            [] => (Category::Other, 0.5, vec!["nothing speaks for a category".to_owned()]),
            [(category, score), rest @ ..] => {
                let second = rest.first().map_or(0.0, |(_, score)| *score);
                (*category, (0.5 + 0.5 * (score - second) / (score + 1.0)).min(0.95), Vec::new())
            }
        }
    }

    fn reasons(&self, category: Category) -> impl Iterator<Item = String> {
        self.reasons.get(&category).into_iter().flatten().cloned()
    }
}

fn urgency(words: &Words<'_>, category: Category) -> (Urgency, Vec<String>) {
    if matches!(category, Category::Newsletter | Category::Spam) {
        return (Urgency::Low, Vec::new());
    }
    let mut score = 0.0;
    let mut reasons = Vec::new();
    let mut is_patient = false;
    for text in [&words.subject, &words.lower] {
        for phrase in URGENCIES.found_in(text) {
            if phrase.weight < 0.0 {
                is_patient = true;
            } else if !reasons.contains(&phrase.text) {
                score += phrase.weight;
                reasons.push(phrase.text);
            }
        }
        // One is friendly, three are not.
        if text.contains("!!") {
            score += 1.0;
        }
    }
    let shown = reasons.into_iter().map(|phrase| format!("urgent: `{phrase}`")).take(3).collect();
    if is_patient && score < 3.0 {
        (Urgency::Low, Vec::new())
    } else if score >= 2.0 {
        (Urgency::High, shown)
    } else {
        (Urgency::Normal, Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Kind, email::Attachment};

    fn definition() -> Definition {
        Definition::parse(include_str!("../../../../infra/definitions/email_processing.yaml")).unwrap()
    }

    fn email(subject: &str, text: &str) -> Email {
        Email {
            id: "e1".to_owned(),
            from: "user@example.com".to_owned(),
            subject: subject.to_owned(),
            text: text.to_owned(),
            ..Email::default()
        }
    }

    fn analyzed(subject: &str, text: &str) -> EmailAnalysis {
        analyze(&definition(), &email(subject, text)).unwrap()
    }

    #[test]
    fn a_mail_of_any_size_and_script_is_analyzed() {
        let large = "Please send me the report. ".repeat(40_000);
        assert!(large.len() > 1_000_000);
        let analysis = analyzed("Report", &large);
        assert_eq!(analysis.category, Category::Request);
        assert!(analysis.intent.chars().count() <= LONGEST_INTENT);
        for text in
            ["", " \n\t ", "🎉🎉🎉", "\u{202e}\u{0}\u{feff}", "مرحبا، متى يصل طلبي؟", "שלום, מתי תגיע ההזמנה שלי?"]
        {
            assert!(analyzed("", text).requires_response, "for {text:?}");
        }
        let endless_word = "a".repeat(1_000_000);
        assert_eq!(analyzed("", &endless_word).category, Category::Other);
    }

    #[test]
    fn the_guides_own_email_is_answered() {
        let analysis = analyzed("", "Test email content");
        assert!(analysis.requires_response);
        assert_eq!((analysis.category, analysis.template.as_str()), (Category::Other, "acknowledgement"));
    }

    #[test]
    fn mails_are_sorted_as_a_person_would_sort_them() {
        use Category::*;
        for (subject, text, category) in [
            ("", "Test email content", Other),
            ("", "", Other),
            ("", "🎉", Other),
            ("Thanks", "Thank you, all arrived safely.", Other),
            ("Minutes of Monday", "Here are the minutes. We talked about the budget and the new office.", Other),
            ("Fotos vom Sommerfest", "Anbei die Fotos vom Sommerfest.", Other),
            // Questions
            ("Opening hours", "Hello, when are you open on Saturdays?", Question),
            ("", "what does the large one cost", Question),
            ("", "DO YOU SHIP TO NORWAY?", Question),
            ("Question about the warranty", "I was wondering how long the warranty lasts.", Question),
            ("", "Could you tell me which size fits a 20 litre pot?", Question),
            ("", "Please let me know whether the blue one is in stock.", Question),
            ("Frage zur Lieferung", "Guten Tag, wann kommt meine Bestellung an?", Question),
            ("", "Hallo, ich wüsste gern, ob Sie auch nach Österreich liefern.", Question),
            ("", "متى يصل طلبي؟", Question),
            ("", "When will you open the new branch?", Question),
            ("Partnership", "Would you be interested in a partnership?", Question),
            ("", "Is it possible to pay in instalments?", Question),
            // Requests
            ("Address", "Please change my delivery address to 12 Mill Lane.", Request),
            ("", "Could you please send me the price list?", Request),
            ("Order", "I would like to order ten chairs.", Request),
            ("Cancellation", "I want to cancel my subscription as of next month.", Request),
            ("", "can you add ben to the mailing group", Request),
            ("Kündigung", "Hiermit kündige ich meinen Vertrag zum nächstmöglichen Zeitpunkt.", Request),
            ("Unterlagen", "Bitte senden Sie mir die Unterlagen zu.", Request),
            ("", "Könnten Sie mir bitte einen Katalog schicken?", Request),
            ("", "We need 200 brochures for the fair.", Request),
            // Complaints
            ("Complaint", "The chair is broken and nobody answers the phone.", Complaint),
            ("", "THIS IS UNACCEPTABLE!!! I AM STILL WAITING FOR MY PARCEL", Complaint),
            ("Order 4711", "The vase arrived damaged. I want a refund, please.", Complaint),
            ("", "Your app keeps crashing since the update, very frustrating.", Complaint),
            ("Reklamation", "Das Gerät ist defekt, ich bin sehr enttäuscht.", Complaint),
            ("", "Ich warte immer noch auf meine Erstattung. Das ist inakzeptabel.", Complaint),
            ("Service outage", "Our shop is down since 9 am, the checkout is not working.", Complaint),
            // Scheduling
            ("Meeting next week", "Are you available on Tuesday at 10?", Scheduling),
            ("", "Can we reschedule our meeting to Thursday?", Scheduling),
            ("Termin verschieben", "Können wir den Termin auf Freitag legen?", Scheduling),
            ("Call", "I'd like to schedule a call about the project. What time works for you?", Scheduling),
            ("Besprechung", "Hätten Sie Zeit für ein Treffen am Montag?", Scheduling),
            // Invoices
            ("Invoice INV-2025-017", "Please find attached invoice INV-2025-017. Payment due within 14 days.", Invoice),
            ("Payment reminder", "Our invoice 88 over EUR 120 is still unpaid. When will you pay?", Invoice),
            ("Rechnung 2025-12", "Anbei die Rechnung. Bitte überweisen Sie den Betrag bis 14.03.2025.", Invoice),
            ("Mahnung", "Ihre Rechnung ist seit 30 Tagen fällig.", Invoice),
            // Newsletters
            ("This week in gardening", "Ten tips for spring. Read more... Unsubscribe here", Newsletter),
            ("20% off everything", "Shop now! You are receiving this email because you signed up.", Newsletter),
            ("Neuigkeiten aus dem Verein", "Unser Newsletter im Mai. Im Browser ansehen | Hier abmelden", Newsletter),
            // Machines
            ("Automatic reply: Order", "I am out of the office until Monday.", Machine),
            ("Undelivered Mail Returned to Sender", "Your message could not be delivered. Address not found.", Machine),
            ("Your verification code", "Your verification code is 123456. Please do not reply to this email.", Machine),
            ("Abwesenheitsnotiz", "Ich bin im Urlaub und ab dem 3. Juni wieder im Büro.", Machine),
            ("[ALERT] cpu high", "Alert: monitoring reports cpu at 97 percent. This is an automated message.", Machine),
            // Spam
            ("YOU HAVE WON!!!", "Congratulations, claim your prize of 1 million dollars. Click here.", Spam),
            ("SEO", "We offer SEO services and get you on the first page of Google.", Spam),
            ("Dear friend", "I am a barrister with a confidential proposal about an inheritance fund.", Spam),
            ("Sie haben gewonnen", "Herzlichen Glückwunsch! Klicken Sie hier für Ihren Gewinn.", Spam),
            ("Your account", "Your account has been suspended. Click here and verify your account.", Spam),
        ] {
            let analysis = analyzed(subject, text);
            assert_eq!(analysis.category, category, "for {subject:?} {text:?}: {:?}", analysis.reasons);
            assert!((0.0..=1.0).contains(&analysis.confidence));
            let due = !matches!(category, Newsletter | Machine | Spam | Invoice);
            assert!(analysis.requires_response == due || category == Invoice, "for {subject:?}");
        }
    }

    #[test]
    fn a_bill_is_answered_only_when_it_asks() {
        assert!(analyzed("Rechnung 12", "Anbei die Rechnung. Bitte überweisen Sie den Betrag.").requires_response);
        assert!(analyzed("Invoice 12", "The invoice is unpaid. When can we expect the payment?").requires_response);
        let silent = analyzed("Invoice 12", "Please find attached invoice 12. It is collected by direct debit.");
        assert_eq!((silent.requires_response, silent.template.as_str()), (false, ""));
    }

    #[test]
    fn what_forbids_an_answer_is_quoted_and_obeyed() {
        let mut email = email("Question", "Can you help me? When are you open?");
        email.no_reply_because = Some("Auto-Submitted says auto-replied".to_owned());
        let analysis = analyze(&definition(), &email).unwrap();
        assert_eq!((analysis.category, analysis.requires_response), (Category::Machine, false));
        assert!(analysis.reasons[0].contains("Auto-Submitted says auto-replied"));
        email.no_reply_because = Some("it came through a mailing list (List-Id)".to_owned());
        assert_eq!(analyze(&definition(), &email).unwrap().category, Category::Newsletter);
        email.no_reply_because = Some("the mail service takes it for spam".to_owned());
        assert_eq!(analyze(&definition(), &email).unwrap().category, Category::Spam);
    }

    #[test]
    fn urgency_follows_the_words() {
        for (subject, text, expected) in [
            ("URGENT", "Please call me back.", Urgency::High),
            ("", "Our production is down, we cannot work.", Urgency::High),
            ("", "Bitte dringend um Rückruf.", Urgency::High),
            ("", "Please answer today, the deadline is tomorrow.", Urgency::High),
            ("", "Please send me a catalogue.", Urgency::Normal),
            ("", "No rush, whenever you have time.", Urgency::Low),
            ("", "This is not urgent.", Urgency::Low),
            ("Last chance today!!!", "Shop now, sale ends today. Unsubscribe", Urgency::Low),
        ] {
            assert_eq!(analyzed(subject, text).urgency, expected, "for {subject:?} {text:?}");
        }
    }

    #[test]
    fn the_intent_is_the_most_telling_sentence() {
        for (text, expected) in [
            (
                "Hi Anna,\n\nI hope you are well. I have a question: do you ship to Norway? Best, Bo",
                "I have a question: do you ship to Norway?",
            ),
            ("Dear team,\nthe weather is fine here. Please cancel order 12.\nRegards\nBo", "Please cancel order 12."),
            ("Just a note.", "Just a note."),
        ] {
            assert_eq!(analyzed("s", text).intent, expected);
        }
    }

    #[test]
    fn the_context_holds_what_templates_need_and_no_links() {
        let mut email = email(
            "Re: AW: Order #4711 http://evil.example\nBcc: x",
            "Can you check http://evil.example/x or write to a@evil.example by 14 March 2025? My customer no. K-99.",
        );
        email.from_name = Some("Ada\r\nLee www.evil.example".to_owned());
        email.attachments = vec![Attachment {
            name: Some("a\nb.pdf".to_owned()),
            content_type: "application/pdf".to_owned(),
            bytes: 1,
        }];
        let context = analyze(&definition(), &email).unwrap().context;
        assert_eq!(context["subject"], "Order #4711 [link] Bcc: x");
        assert_eq!(context["sender_name"], "Ada Lee [link]");
        assert_eq!(context["attachments"], json!(["a b.pdf"]));
        assert_eq!(context["reference_numbers"], json!(["4711", "K-99"]));
        assert_eq!(context["dates"], json!(["2025-03-14"]));
        let shown = json!(context).to_string();
        assert!(!shown.contains("evil"), "{shown}");
    }

    #[test]
    fn a_missing_template_falls_back_and_none_at_all_is_an_error() {
        let mut definition = definition();
        definition.templates.retain(|name, _| name == "acknowledgement");
        let question = email("", "When do you open?");
        assert_eq!(analyze(&definition, &question).unwrap().template, "acknowledgement");
        definition.templates.clear();
        let error = analyze(&definition, &question).unwrap_err();
        assert_eq!(error.kind, Kind::Validation);
        assert!(error.message.contains("`acknowledge_question`"));
        // Nobody needs a template for a mail that is not answered.
        assert!(analyze(&definition, &email("", "Newsletter. Unsubscribe")).is_ok());
    }

    #[test]
    fn every_template_renders_for_a_full_and_for_an_empty_context() {
        let definition = definition();
        assert_eq!(
            definition.templates.keys().collect::<Vec<_>>(),
            ["acknowledge_question", "acknowledge_request", "acknowledgement", "complaint", "invoice", "scheduling"]
        );
        let mut full = email("Order #4711", "Urgent! Could you tell me if order 4711 ships by 2025-03-14?");
        full.from_name = Some("Ada".to_owned());
        full.attachments =
            vec![Attachment { name: Some("a.pdf".to_owned()), content_type: "application/pdf".to_owned(), bytes: 1 }];
        for email in [full, email("", "")] {
            let context = analyze(&definition, &email).unwrap().context;
            for name in definition.templates.keys() {
                let draft = respond(&definition, name, &context).unwrap();
                assert!(
                    draft.subject.starts_with("Re: ") && !draft.subject.contains('\n'),
                    "{name}: {}",
                    draft.subject
                );
                assert!(
                    draft.text.starts_with("Hello") && draft.text.contains("Example Company"),
                    "{name}: {}",
                    draft.text
                );
                assert!(!draft.text.contains("\n\n\n") && !draft.text.contains("  "), "{name}: {:?}", draft.text);
            }
        }
    }

    #[test]
    fn the_subject_says_re_once_and_is_one_line() {
        for (subject, expected) in [
            ("Re: Re: AW: x", "Re: x"),
            ("RE[2]: x", "Re: x"),
            ("Hello\nBcc: y", "Hello Bcc: y"),
            ("Re:", "Re:"),
            ("", ""),
            ("Regarding: x", "Regarding: x"),
        ] {
            assert_eq!(reply_subject(subject), expected, "of {subject:?}");
        }
    }

    #[test]
    fn a_response_that_cannot_be_written_names_its_template() {
        let mut definition = definition();
        let empty = BTreeMap::new();
        for (text, problem) in [("{{ nothing }}", "no variable `nothing`"), ("  ", "empty text")] {
            definition.templates.get_mut("complaint").unwrap().text = text.to_owned();
            definition.templates.get_mut("complaint").unwrap().subject = "x".to_owned();
            let error = respond(&definition, "complaint", &empty).unwrap_err();
            assert_eq!(error.kind, Kind::Validation);
            assert!(error.message.contains("`complaint") && error.message.contains(problem), "{}", error.message);
        }
        assert!(respond(&definition, "none", &empty).unwrap_err().message.contains("`none`"));
    }

    #[test]
    fn the_mails_own_values_do_not_displace_the_organizations() {
        let context = BTreeMap::from([
            ("organization".to_owned(), json!("Evil")),
            ("subject".to_owned(), json!("{{ organization }}")),
            ("sender_name".to_owned(), json!("")),
        ]);
        let draft = respond(&definition(), "acknowledgement", &context).unwrap();
        assert!(draft.text.contains("Example Company") && !draft.text.contains("Evil"));
        assert_eq!(draft.subject, "Re: {{ organization }}");
    }

    proptest! {
        #[test]
        fn the_plain_form_of_a_text_is_its_lower_case_with_plain_apostrophes(
            text in "([a-zA-Z]{1,4}|[ΣσİKßẞÉ’ʼ`'\u{300} \n])*",
        ) {
            prop_assert_eq!(plain(&text), text.to_lowercase().replace(['’', 'ʼ', '`'], "'"));
        }

        #[test]
        fn any_mail_is_analyzed_and_answered(
            subject in "(\\PC|[\\r\\n]){0,60}",
            text in "(please |invoice |\\? |unsubscribe |2025-03-14 |\\PC{0,10}|[\\r\\n]){0,40}",
            name in proptest::option::of("\\PC{0,40}"),
        ) {
            let definition = definition();
            let mut email = email(&subject, &text);
            email.from_name = name;
            let analysis = analyze(&definition, &email).unwrap();
            prop_assert!((0.0..=1.0).contains(&analysis.confidence));
            prop_assert!(analysis.intent.chars().count() <= LONGEST_INTENT);
            if analysis.requires_response {
                let draft = respond(&definition, &analysis.template, &analysis.context).unwrap();
                prop_assert!(!draft.subject.contains(['\n', '\r']));
            }
        }
    }
}
