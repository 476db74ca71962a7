//! The phrases by which mails are sorted, English and German, each with what it speaks for and how much.
//!
//! Deliberately absent: learning. What counts can be read here.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::lists::{List, list, stands_alone};
use crate::domain::email::Category;

/// Phrases that are looked for all at once.
pub(super) struct Phrases {
    automaton: AhoCorasick,
    phrases: Vec<Phrase>,
}

/// A phrase in lower case that speaks for a category.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phrase {
    /// The words.
    pub(super) text: &'static str,
    /// What they speak for.
    pub(super) category: Category,
    /// How much, 0.8 to 5; below zero they speak against.
    pub(super) weight: f64,
}

impl Phrases {
    /// Each phrase that stands in a text in lower case, once. Of two at one place only the longer counts: in
    /// "not urgent" there is no "urgent".
    pub(super) fn found_in(&self, text: &str) -> Vec<Phrase> {
        let mut is_found = vec![false; self.phrases.len()];
        let mut found = Vec::new();
        for matched in self.automaton.find_iter(text) {
            let index = matched.pattern().as_usize();
            if !is_found[index] && stands_alone(text, matched.start(), matched.end()) {
                is_found[index] = true;
                found.push(self.phrases[index]);
            }
        }
        found
    }

    fn new(groups: &[(Category, f64, List)]) -> Self {
        let phrases: Vec<Phrase> = groups
            .iter()
            .flat_map(|(category, weight, list)| {
                list.iter().map(|text| Phrase { text, category: *category, weight: *weight })
            })
            .collect();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            // The other kinds are built on top of this one. They pay with books, and a mail is none.
            .kind(Some(AhoCorasickKind::NoncontiguousNFA))
            .build(phrases.iter().map(|phrase| phrase.text))
            .expect("some hundred short phrases are far below the automaton's limits");
        Self { automaton, phrases }
    }
}

// Built once for a process: some hundred microseconds.
pub(super) static CATEGORIES: LazyLock<Phrases> = LazyLock::new(|| {
    Phrases::new(&[
        (
            Category::Question,
            2.0,
            list!(
                "i have a question | a quick question | quick question | question about | question regarding | \
                i was wondering | i am wondering | i'm wondering | we were wondering | would like to know | \
                do you know | how do i | how can i | is it possible | can you tell me | could you tell me | \
                can you explain | what is the difference | inquiry | enquiry | habe eine frage | eine frage zu | \
                frage zu | frage bezüglich | fragen zu | anfrage zu | wie kann ich | ich wüsste gern | \
                ich würde gerne wissen | möchte wissen | ist es möglich | können sie mir sagen",
            ),
        ),
        (Category::Question, 1.0, list!("question | questions | wondering | curious | frage | fragen")),
        (
            Category::Request,
            2.0,
            list!(
                "please send | please provide | please update | please change | please cancel | please reset | \
                please add | please remove | please delete | please create | please arrange | please forward | \
                please ship | please confirm | please approve | please grant | please book | could you please | \
                can you please | would you please | i would like to order | i'd like to order | i want to cancel | \
                i would like to cancel | i'd like to cancel | request for | i am requesting | bitte senden | \
                bitte schicken | bitte ändern | bitte stornieren | bitte kündigen | bitte löschen | bitte stellen | \
                bitte bestätigen | bitte richten | ich möchte bestellen | ich kündige | hiermit kündige ich | \
                hiermit beantrage | um zusendung | um übersendung",
            ),
        ),
        (Category::Request, 0.8, list!("please | kindly | request | bitte | bitten")),
        (
            Category::Complaint,
            3.0,
            list!(
                "complaint | i want to complain | i am complaining | very disappointed | extremely disappointed | \
                deeply disappointed | unacceptable | not acceptable | very unhappy | not happy | not satisfied | \
                dissatisfied | worst | never again | ridiculous | fed up | beschwerde | beschweren | reklamation | \
                reklamieren | sehr enttäuscht | unzufrieden | inakzeptabel | nicht akzeptabel | unverschämtheit | \
                frechheit | unmöglich von ihnen | nie wieder",
            ),
        ),
        (
            Category::Complaint,
            2.0,
            list!(
                "disappointed | disappointing | unhappy | frustrated | frustrating | angry | terrible | awful | \
                horrible | does not work | doesn't work | not working | stopped working | is broken | broken | \
                damaged | defective | faulty | never arrived | has not arrived | hasn't arrived | not received | \
                still waiting | still no | wrong item | wrong product | refund | money back | overcharged | \
                charged twice | nobody answers | no one answers | no response | outage | is down | keeps crashing | \
                crashes | poor service | poor quality | enttäuscht | verärgert | ärgerlich | funktioniert nicht | \
                geht nicht | defekt | kaputt | beschädigt | mangelhaft | falsche ware | falscher artikel | \
                nicht angekommen | nicht erhalten | warte immer noch | immer noch nicht | geld zurück | \
                rückerstattung | erstattung | doppelt abgebucht | ausfall | keine antwort | schlechter service",
            ),
        ),
        (Category::Complaint, 1.0, list!("problem | problems | issue | error | fails | failed | mangel | fehler")),
        (
            Category::Scheduling,
            3.0,
            list!(
                "schedule a meeting | schedule a call | set up a meeting | set up a call | arrange a meeting | \
                book an appointment | make an appointment | reschedule | postpone our meeting | move our meeting | \
                meeting request | are you available | are you free | does that work for you | would tuesday work | \
                what time works | find a time | time slot | save the date | invitation: | accepted: | declined: | \
                termin vereinbaren | einen termin | termin verschieben | terminvorschlag | terminanfrage | \
                passt es ihnen | passt ihnen | hätten sie zeit | haben sie zeit | hast du zeit | zeit für ein",
            ),
        ),
        (
            Category::Scheduling,
            1.5,
            list!(
                "meeting | appointment | calendar | availability | meet up | meet next | to meet | let's meet | \
                catch up | coffee | conference call | video call | zoom call | termin | termine | besprechung | \
                treffen | kalender | telefonat",
            ),
        ),
        (
            Category::Invoice,
            3.0,
            list!(
                "invoice attached | attached invoice | invoice number | invoice no | your invoice | our invoice | \
                the invoice | unpaid invoice | overdue invoice | payment reminder | amount due | \
                payment is overdue | payment due | past due | remittance | proforma | credit note | bank details | \
                anbei die rechnung | unsere rechnung | ihre rechnung | die rechnung | rechnungsnummer | \
                rechnung nr | zahlungserinnerung | mahnung | offener betrag | zahlungseingang | gutschrift",
            ),
        ),
        (
            Category::Invoice,
            1.5,
            list!(
                "invoice | invoices | bill | billing | billed | payment | overdue | receipt | purchase order | \
                iban | vat | rechnung | rechnungen | zahlung | überweisung | überwiesen | fällig | betrag",
            ),
        ),
        (
            Category::Newsletter,
            4.0,
            list!(
                "unsubscribe | view in browser | view this email in your browser | view online | \
                you are receiving this email because | you are receiving this because | \
                you're receiving this email because | you received this email because | manage your preferences | \
                update your preferences | email preferences | newsletter abbestellen | vom newsletter abmelden | \
                hier abmelden | im browser ansehen | im browser anzeigen | sie erhalten diese e-mail, weil | \
                austragen",
            ),
        ),
        (
            Category::Newsletter,
            2.0,
            list!(
                "newsletter | weekly digest | monthly digest | this week in | in this issue | webinar | our latest | \
                what's new | sale ends | % off | shop now | read more | register now | angebote der woche | \
                jetzt anmelden | jetzt shoppen | neuigkeiten | rabattcode",
            ),
        ),
        (
            Category::Machine,
            5.0,
            list!(
                "out of office | out of the office | automatic reply | auto-reply | autoreply | auto reply | \
                automatic response | undeliverable | undelivered mail | mail delivery failed | delivery failure | \
                delivery status notification | returned mail | mail delivery subsystem | failure notice | \
                message could not be delivered | address not found | this is an automated message | \
                this is an automatically generated | this is an automated email | \
                this email was sent automatically | automatically generated email | do not reply to this email | \
                do not reply to this message | please do not reply | please don't reply | verification code | \
                one-time code | one-time password | reset your password | password reset | abwesenheitsnotiz | \
                automatische antwort | abwesenheitsbenachrichtigung | nicht im büro | außer haus | unzustellbar | \
                automatisch generiert | automatisch erstellt | bitte antworten sie nicht auf diese | \
                bestätigungscode | passwort zurücksetzen | read receipt | lesebestätigung",
            ),
        ),
        (
            Category::Machine,
            2.0,
            list!(
                "has been shipped | your order has shipped | your order confirmation | build failed | run failed | \
                view workflow run | build passed | pipeline failed | alert: | [alert] | monitoring | cron | \
                backup completed | job succeeded | job failed | new sign-in | new login | annual leave | \
                limited access to email | ich bin im urlaub | back in the office | wieder im büro | \
                sendungsverfolgung | ist unterwegs",
            ),
        ),
        (
            Category::Spam,
            4.0,
            list!(
                "you have won | you've won | you are the winner | lottery winner | claim your prize | next of kin | \
                inheritance fund | million dollars | million usd | million euros | viagra | cialis | casino bonus | \
                online casino | earn money from home | make money fast | work from home and earn | \
                double your bitcoin | bitcoin investment | crypto investment | guaranteed returns | hot singles | \
                enlarge your | weight loss miracle | nigerian | barrister | sie haben gewonnen | \
                kredit ohne schufa | sofortkredit | schnell reich | rank your website | first page of google | \
                rank on google | seo services | buy backlinks | backlinks",
            ),
        ),
        (
            Category::Spam,
            2.0,
            list!(
                "act now | limited time offer | 100% free | risk free | risk-free | no obligation | click here | \
                click below | click the link | congratulations | dear friend | beneficiary | wire transfer | \
                lottery | jackpot | prize | winner | casino | bitcoin | crypto | forex | cheap meds | pills | \
                guest post | web design services | increase your traffic | your account will be suspended | \
                account has been suspended | verify your account | confirm your identity | gift card | gratis | \
                gewinn | gewinnspiel | herzlichen glückwunsch | hier klicken | klicken sie hier | nur heute | \
                investment opportunity | business proposal | confidential proposal | strictly confidential",
            ),
        ),
    ])
});

// The category says nothing here; a weight below zero speaks against hurry.
pub(super) static URGENCIES: LazyLock<Phrases> = LazyLock::new(|| {
    let any = Category::Other;
    Phrases::new(&[
        (
            any,
            2.0,
            list!(
                "urgent | urgently | asap | as soon as possible | immediately | emergency | right away | eod | \
                end of day | by end of today | critical | time-sensitive | time sensitive | outage | system down | \
                is down | production down | cannot work | can't work | security incident | data loss | by today | \
                until today | due today | deadline today | dringend | eilt | sofort | umgehend | unverzüglich | \
                so schnell wie möglich | schnellstmöglich | notfall | ausfall | eilig | bis heute | noch heute",
            ),
        ),
        (
            any,
            1.0,
            list!(
                "today | tomorrow | tonight | this afternoon | this morning | deadline | final notice | \
                last reminder | overdue | quickly | heute | frist | letzte mahnung | schnell",
            ),
        ),
        (
            any,
            -1.0,
            list!(
                "not urgent | no rush | no hurry | when you get a chance | whenever you have time | \
                whenever it suits | whenever you can | at your convenience | nicht dringend | eilt nicht | \
                keine eile | hat zeit | wenn sie zeit haben | fyi | for your information | zur information | \
                zur kenntnis",
            ),
        ),
    ])
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_in_the_form_in_which_they_are_looked_for() {
        for phrases in [&*CATEGORIES, &*URGENCIES] {
            for phrase in &phrases.phrases {
                assert!(!phrase.text.is_empty() && !phrase.text.contains('’'));
                assert_eq!(phrase.text, phrase.text.to_lowercase(), "can never be found");
            }
        }
    }

    #[test]
    fn of_two_phrases_at_one_place_the_longer_counts() {
        let found: Vec<&str> =
            URGENCIES.found_in("this is not urgent, not urgent").iter().map(|phrase| phrase.text).collect();
        assert_eq!(found, ["not urgent"]);
    }
}
