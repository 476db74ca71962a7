//! Which sentences of a text speak of what is asked for: BM25 over stems, with synonyms.
//!
//! The text is read once, in linear time; only sentences with a hit are scored. Deliberately absent: an index
//! that outlives the call, and any notion of meaning beyond the synonyms below.

use std::collections::HashMap;

use super::text::{folded, is_stopword, sentences, stem, words};

// The usual constants of BM25: how fast repetition stops counting, and how much length weighs.
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// What is looked for.
#[derive(Debug, Default)]
pub(super) struct Query {
    terms: Vec<String>,
    by_stem: HashMap<String, Vec<usize>>,
}

impl Query {
    /// A query for these words: stopwords and repetitions left out, synonyms added.
    pub(super) fn new<'text>(words: impl IntoIterator<Item = &'text str>) -> Self {
        let mut query = Self::default();
        let mut own_stems: Vec<String> = Vec::new();
        let groups: Vec<Vec<String>> = SYNONYMS.iter().map(|group| group.split(' ').map(stem).collect()).collect();
        for word in words {
            let folded = folded(word);
            if is_stopword(&folded) || folded.is_empty() || query.terms.len() >= MOST_TERMS {
                continue;
            }
            let own = stem(word);
            // A synonym of an earlier term is a term of its own: "terminate" and "cancel" may both be asked for.
            if own_stems.contains(&own) {
                continue;
            }
            let term = query.terms.len();
            query.terms.push(word.chars().take(40).collect());
            for synonym in groups.iter().filter(|group| group.contains(&own)).flatten() {
                query.add(synonym.clone(), term);
            }
            query.add(own.clone(), term);
            own_stems.push(own);
        }
        query
    }

    /// The words looked for, as they were given.
    pub(super) fn terms(&self) -> &[String] {
        &self.terms
    }

    /// Which terms a word stands for.
    pub(super) fn matches(&self, word: &str) -> &[usize] {
        self.by_stem.get(&stem(word)).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, stem: String, term: usize) {
        let terms = self.by_stem.entry(stem).or_default();
        if !terms.contains(&term) {
            terms.push(term);
        }
    }
}

// A criterion has at most 2000 characters; beyond some hundred words it says nothing more precise.
const MOST_TERMS: usize = 128;

/// A sentence of the text, with what it speaks of.
#[derive(Debug)]
pub(super) struct Passage<'text> {
    /// Its words, a slice of the part's text.
    pub(super) text: &'text str,
    /// In which part of the text it stands.
    pub(super) part: usize,
    /// Term and number of times, for each term that it has.
    pub(super) hits: Vec<(usize, u32)>,
    words: u32,
}

/// A text read for a query.
#[derive(Debug)]
pub(super) struct Reading<'text> {
    /// Its sentences in order.
    pub(super) passages: Vec<Passage<'text>>,
    frequencies: Vec<u32>,
}

impl<'text> Reading<'text> {
    /// Reads the parts of a text in order.
    pub(super) fn new(parts: impl IntoIterator<Item = &'text str>, query: &Query) -> Self {
        let mut passages = Vec::new();
        let mut frequencies = vec![0; query.terms.len()];
        // Few words make most of a text, and a stem costs more than a look-up.
        let mut known: HashMap<&'text str, Option<usize>> = HashMap::new();
        let mut meanings: Vec<Vec<usize>> = Vec::new();
        for (part, text) in parts.into_iter().enumerate() {
            for sentence in sentences(text) {
                let mut hits: Vec<(usize, u32)> = Vec::new();
                let mut count = 0;
                for word in words(sentence) {
                    count += 1;
                    let meaning = *known.entry(word).or_insert_with(|| {
                        let terms = query.matches(word);
                        (!terms.is_empty()).then(|| {
                            meanings.push(terms.to_vec());
                            meanings.len() - 1
                        })
                    });
                    for term in meaning.map_or(&[][..], |index| &meanings[index]) {
                        match hits.iter_mut().find(|(known, _)| known == term) {
                            Some((_, times)) => *times += 1,
                            None => hits.push((*term, 1)),
                        }
                    }
                }
                for (term, _) in &hits {
                    frequencies[*term] += 1;
                }
                passages.push(Passage { text: sentence, part, hits, words: count });
            }
        }
        Self { passages, frequencies }
    }

    /// Whether a term stands anywhere.
    pub(super) fn has(&self, term: usize) -> bool {
        self.frequencies.get(term).is_some_and(|count| *count > 0)
    }

    /// How much a term tells, from 1 (it is everywhere) to 1.5 (it is rare).
    pub(super) fn weight(&self, term: usize) -> f64 {
        let highest = self.rarity_of(0);
        let rarity = self.rarity_of(self.frequencies.get(term).copied().unwrap_or(0));
        1.0 + 0.5 * rarity / highest
    }

    /// The passages that speak of anything asked for, best first, at most `limit`: their index and score.
    pub(super) fn best(&self, limit: usize) -> Vec<(usize, f64)> {
        let total: u64 = self.passages.iter().map(|passage| u64::from(passage.words)).sum();
        let average = (total as f64 / self.passages.len().max(1) as f64).max(1.0);
        let mut scored: Vec<(usize, f64)> = self
            .passages
            .iter()
            .enumerate()
            .filter(|(_, passage)| !passage.hits.is_empty())
            .map(|(index, passage)| (index, self.score(passage, average)))
            .collect();
        scored.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
        scored.truncate(limit);
        scored
    }

    fn score(&self, passage: &Passage<'_>, average: f64) -> f64 {
        let length = K1 * (1.0 - B + B * f64::from(passage.words) / average);
        passage
            .hits
            .iter()
            .map(|(term, times)| {
                let times = f64::from(*times);
                self.rarity_of(self.frequencies[*term]) * times * (K1 + 1.0) / (times + length)
            })
            .sum()
    }

    fn rarity_of(&self, frequency: u32) -> f64 {
        let all = self.passages.len() as f64;
        let with = f64::from(frequency);
        (1.0 + (all - with + 0.5).max(0.0) / (with + 0.5)).ln().max(0.01)
    }
}

// Words that contracts, reports and the people who review them use for the same thing, English and German. A
// word may stand in several groups.
const SYNONYMS: &[&str] = &[
    "terminate cancel end rescind kündigen Kündigung beenden Beendigung",
    "notice notify notification Kündigungsfrist Mitteilung mitteilen",
    "pay payment paid payable remit settle zahlen Zahlung zahlbar bezahlen",
    "fee price cost charge remuneration compensation Preis Gebühr Kosten Vergütung",
    "invoice bill Rechnung",
    "liability liable responsible responsibility Haftung haften haftet",
    "indemnity indemnify indemnification freistellen Freistellung",
    "limit cap restrict ceiling begrenzen begrenzt beschränken Höchstbetrag",
    "confidential secret secrecy nondisclosure proprietary vertraulich Geheimhaltung",
    "warranty guarantee warrant Gewährleistung Garantie",
    "renew extend extension prolong rollover verlängern verlängert Verlängerung",
    "automatic tacit stillschweigend automatisch",
    "start begin commence commencement effective Beginn beginnt inkrafttreten",
    "expire expiry expiration lapse ablaufen Ablauf",
    "term duration Laufzeit Dauer Vertragsdauer",
    "deliver delivery ship shipment supply liefern Lieferung",
    "accept acceptance approve approval Abnahme annehmen genehmigen",
    "breach violate violation default infringe verletzen Verletzung Verstoß",
    "penalty damages fine Vertragsstrafe Strafe Schadensersatz",
    "damage loss harm Schaden Schäden Verlust",
    "law jurisdiction governing Recht Gerichtsstand",
    "court venue tribunal Gericht Gerichtsstand",
    "arbitrate arbitration mediation Schiedsgericht Schiedsverfahren",
    "dispute disagreement controversy Streit Streitigkeit",
    "assign transfer abtreten Abtretung übertragen",
    "subcontract subcontractor Unterauftragnehmer Subunternehmer",
    "party parties Partei Parteien Vertragspartei",
    "customer client buyer purchaser Kunde Auftraggeber Käufer",
    "supplier vendor provider seller contractor Lieferant Anbieter Auftragnehmer",
    "employee staff personnel worker Mitarbeiter Arbeitnehmer",
    "employer Arbeitgeber",
    "data information Daten Informationen",
    "privacy gdpr protection Datenschutz DSGVO",
    "personal personenbezogen personenbezogene",
    "process processing handle verarbeiten Verarbeitung",
    "delete erase destroy deletion löschen Löschung",
    "retain retention store keep aufbewahren Aufbewahrung",
    "intellectual copyright patent Urheberrecht geistig",
    "license licence Lizenz Nutzungsrecht",
    "own ownership title Eigentum",
    "insure insurance insured Versicherung versichert",
    "audit inspect inspection Prüfung prüfen",
    "report reporting Bericht berichten",
    "security secure Sicherheit sicher",
    "encrypt encryption verschlüsseln Verschlüsselung",
    "backup recovery restore Sicherung Wiederherstellung",
    "availability uptime available Verfügbarkeit",
    "support maintenance Wartung Unterstützung",
    "risk hazard Risiko Gefahr",
    "budget funding Haushalt",
    "goal objective aim purpose target Ziel Zweck",
    "scope extent Umfang",
    "schedule timeline milestone plan Zeitplan Meilenstein",
    "sign signature signed Unterschrift unterzeichnet",
    "amend amendment modify modification change ändern Änderung",
    "written writing schriftlich Schriftform",
    "late overdue delay delayed Verzug verspätet Verspätung",
    "interest Zinsen Verzugszinsen Zinssatz",
    "discount rebate reduction Rabatt Skonto Nachlass",
    "refund reimburse reimbursement repay erstatten Erstattung",
    "tax vat Steuer Umsatzsteuer Mehrwertsteuer",
    "force majeure höhere",
    "contact Ansprechpartner Kontakt",
    "conclude conclusion summary Fazit Zusammenfassung",
    "recommend recommendation advise empfehlen Empfehlung",
    "holiday vacation leave Urlaub",
    "salary wage pay Gehalt Lohn",
    "probation trial Probezeit",
    "rent lease Miete mieten",
    "deposit Kaution Anzahlung",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_that_speaks_of_everything_comes_first() {
        let text = "The weather is fine. Payment is due in May. The customer pays each invoice within 30 days. Bye.";
        let query = Query::new(words("invoice payment by the customer"));
        assert_eq!(query.terms(), ["invoice", "payment", "customer"]);
        let reading = Reading::new([text], &query);
        let best: Vec<&str> = reading.best(2).iter().map(|(index, _)| reading.passages[*index].text).collect();
        assert_eq!(best, ["The customer pays each invoice within 30 days.", "Payment is due in May."]);
    }

    #[test]
    fn a_synonym_in_the_other_language_counts() {
        let query = Query::new(["termination"]);
        let reading = Reading::new(["Die Kündigung bedarf der Schriftform."], &query);
        assert!(reading.has(0) && reading.best(1).len() == 1);
    }

    #[test]
    fn nothing_asked_or_nothing_written_gives_nothing() {
        let nothing = Query::new(["the", "of", ""]);
        assert!(nothing.terms().is_empty() && Reading::new(["Some text."], &nothing).best(5).is_empty());
        assert!(Reading::new([""], &Query::new(["contract"])).best(5).is_empty());
    }
}
