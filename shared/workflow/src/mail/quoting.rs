//! What the sender wrote this time: without the mail that is answered or forwarded, without signatures.
//!
//! Mail programs mark what is not new in a handful of ways, each in the user's language; nothing else is
//! guessed. Two invariants keep words from being lost: an end mark counts only when something new stands
//! before it, and where nothing would be left, the whole text is.

use super::plain::tidy;

/// The longest signature, in lines with something on them. What is longer is more than a signature.
const SIGNATURE_LINES: usize = 15;

/// The longest footer of a mailing list, in lines with something on them.
const FOOTER_LINES: usize = 6;

/// How many lines after a mark are looked at to see what it introduces.
const LOOK_AHEAD: usize = 8;

/// The longest introduction of a quotation, in bytes, and how many lines programs break it into.
const INTRODUCTION_BYTES: usize = 400;
const INTRODUCTION_LINES: usize = 4;

/// The new words in a text with `\n` between its lines.
pub(super) fn own_words(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let own = tidy(&without_device_line(new_lines(&lines)).join("\n"));
    // A text of marks alone (`>`) is no text; then there is nothing to keep.
    if own.is_empty() { tidy(text) } else { own }
}

fn new_lines<'text>(lines: &[&'text str]) -> Vec<&'text str> {
    let mut kept: Vec<&str> = Vec::new();
    let mut says_something = false;
    let mut at = 0;
    while let Some(line) = lines.get(at).copied() {
        if is_quoted(line) {
            at += 1;
            continue;
        }
        let mark = Mark::at(lines, at);
        if let Some(mark) = &mark {
            // What follows is told by its own marks.
            if is_followed_by_quotation(lines, at + mark.lines) {
                at += mark.lines;
                continue;
            }
            if mark.is_certain && says_something {
                break;
            }
        }
        if says_something
            && is_delimiter(line)
            && let Some(length) = signature_length(&lines[at + 1..])
        {
            at += 1 + length;
            continue;
        }
        says_something |= mark.is_none() && !line.trim().is_empty();
        kept.push(line);
        at += 1;
    }
    kept
}

/// Something that introduces what is not new.
struct Mark {
    /// How many lines it takes.
    lines: usize,
    /// Everything after it is not new, even where no line says so.
    is_certain: bool,
}

impl Mark {
    fn at(lines: &[&str], at: usize) -> Option<Self> {
        let line = lines[at].trim();
        if line.is_empty() {
            return None;
        }
        if is_separator(line) || is_header_block(&lines[at..]) {
            return Some(Self { lines: 1, is_certain: true });
        }
        if line.len() >= 20 && line.bytes().all(|byte| byte == b'_') {
            let rest = &lines[at + 1..];
            let next = rest.iter().position(|line| !line.trim().is_empty());
            let is_outlook = next.is_some_and(|next| is_header_block(&rest[next..]));
            return Some(Self { lines: 1, is_certain: is_outlook || has_at_most(rest, FOOTER_LINES) });
        }
        introduction(&lines[at..])
    }
}

fn is_quoted(line: &str) -> bool {
    line.trim_start().starts_with('>')
}

// `-- ` (RFC 3676, section 4.3); many programs lose its space.
fn is_delimiter(line: &str) -> bool {
    line.trim_end() == "--"
}

// Up to the next quotation or the end; `None` when it is too long for a signature.
fn signature_length(lines: &[&str]) -> Option<usize> {
    let mut words = 0;
    for (length, line) in lines.iter().enumerate() {
        if is_quoted(line) {
            return Some(length);
        }
        words += usize::from(!line.trim().is_empty());
        if words > SIGNATURE_LINES {
            return None;
        }
    }
    Some(lines.len())
}

// Looks no further than it must: a text may be full of lines that ask.
fn has_at_most(lines: &[&str], limit: usize) -> bool {
    lines.iter().filter(|line| !line.trim().is_empty()).nth(limit).is_none()
}

fn is_followed_by_quotation(lines: &[&str], from: usize) -> bool {
    lines.iter().skip(from).filter(|line| !line.trim().is_empty()).take(LOOK_AHEAD).any(|line| is_quoted(line))
}

/// `-----Original Message-----` and its like, in the languages of the programs that write it.
fn is_separator(line: &str) -> bool {
    const RULED: [&str; 20] = [
        "original message",
        "original appointment",
        "forwarded message",
        "ursprüngliche nachricht",
        "original-nachricht",
        "originalnachricht",
        "weitergeleitete nachricht",
        "message d'origine",
        "message d’origine",
        "message original",
        "message transféré",
        "mensaje original",
        "mensaje reenviado",
        "messaggio originale",
        "messaggio inoltrato",
        "messaggio forwardato",
        "mensagem original",
        "oorspronkelijk bericht",
        "doorgestuurd bericht",
        "ursprungligt meddelande",
    ];
    const WHOLE: [&str; 7] = [
        "begin forwarded message:",
        "anfang der weitergeleiteten nachricht:",
        "début du message transféré :",
        "début du message réexpédié :",
        "inicio del mensaje reenviado:",
        "inizio messaggio inoltrato:",
        "begin doorgestuurd bericht:",
    ];
    if line.len() > 100 {
        return false;
    }
    if line.starts_with("--") || line.starts_with("__") || line.starts_with("==") {
        let inner = line.trim_matches(['-', '_', '=', '*', '~', ' ']).to_lowercase();
        return RULED.contains(&inner.as_str()) || inner.starts_with("forwarded by ");
    }
    line.ends_with(':') && WHOLE.contains(&line.to_lowercase().as_str())
}

/// The fields of the former mail as Outlook and Apple Mail print them: sender first, subject and another soon
/// after. The subject is what tells them from a timetable or a booking.
fn is_header_block(lines: &[&str]) -> bool {
    const FROM: [&str; 9] = ["from", "von", "de", "da", "van", "från", "fra", "od", "发件人"];
    const SUBJECT: [&str; 11] =
        ["subject", "betreff", "objet", "asunto", "oggetto", "assunto", "onderwerp", "ämne", "emne", "temat", "主题"];
    const OTHER: [&str; 29] = [
        "sent",
        "date",
        "to",
        "gesendet",
        "datum",
        "an",
        "envoyé",
        "à",
        "enviado",
        "enviado el",
        "fecha",
        "para",
        "inviato",
        "data",
        "a",
        "verzonden",
        "aan",
        "skickat",
        "till",
        "sendt",
        "til",
        "dato",
        "wysłano",
        "do",
        "发送时间",
        "收件人",
        "reply-to",
        "cc",
        "kopie",
    ];
    let mut labels =
        lines.iter().take(LOOK_AHEAD + 1).take_while(|line| !line.trim().is_empty()).map(|line| label(line));
    let starts = labels.next().flatten().is_some_and(|label| FROM.contains(&label.as_str()));
    if !starts {
        return false;
    }
    let labels: Vec<String> = labels.flatten().collect();
    let has = |known: &[&str]| labels.iter().any(|label| known.contains(&label.as_str()));
    has(&SUBJECT) && has(&OTHER)
}

// `*From:* Ann`, `Objet : …`
fn label(line: &str) -> Option<String> {
    let end = [line.find(':'), line.find('：')].into_iter().flatten().min()?;
    let label = line[..end].trim_matches(|character: char| character.is_whitespace() || character == '*');
    (!label.is_empty() && label.len() <= 20).then(|| label.to_lowercase())
}

/// `On Monday Ann Lee <ann@b.example> wrote:` and its like, on up to four lines.
fn introduction(lines: &[&str]) -> Option<Mark> {
    const OPENINGS: [&str; 14] =
        ["on ", "am ", "le ", "el ", "il ", "em ", "op ", "den ", "dnia ", "w dniu ", "dne ", "på ", "vào ", "于 "];
    const VERBS: [&str; 17] = [
        "wrote",
        "writes",
        "schrieb",
        "a écrit",
        "escribió",
        "ha scritto",
        "escreveu",
        "schreef",
        "skrev",
        "napisał",
        "pisze",
        "napsal",
        "kirjoitti",
        "написал",
        "пишет",
        "写道",
        "のメール",
    ];
    let mut length = 0;
    for (index, line) in lines.iter().take(INTRODUCTION_LINES).enumerate() {
        let line = line.trim();
        if line.is_empty() || is_quoted(line) || length + line.len() > INTRODUCTION_BYTES {
            return None;
        }
        length += line.len() + 1;
        if !line.ends_with([':', '：']) {
            continue;
        }
        let joined = lines[..=index].iter().flat_map(|line| [line.trim(), " "]).collect::<String>().to_lowercase();
        let has_address = joined.contains('@');
        let digits = joined.bytes().filter(u8::is_ascii_digit).count();
        let has_verb = VERBS.iter().any(|verb| joined.contains(verb));
        // `2024-01-02 10:00 GMT+01:00 Ann Lee <ann@b.example>:`
        let is_bare = has_address && joined.starts_with(|character: char| character.is_ascii_digit());
        if (has_verb && (has_address || digits > 0)) || (is_bare && joined.trim_end().ends_with(">:")) {
            let opens = is_bare || OPENINGS.iter().any(|opening| joined.starts_with(opening));
            // Of several lines, the first must open it and no later one may: that would be the beginning.
            if index > 0 && (!opens || (1..=index).any(|later| introduction(&lines[later..]).is_some())) {
                return None;
            }
            // "In 2019 you wrote:" is nobody's mail program.
            return Some(Mark { lines: index + 1, is_certain: has_address || (opens && digits >= 3) });
        }
    }
    None
}

/// Without the line that a telephone puts below what is written on it.
fn without_device_line(mut lines: Vec<&str>) -> Vec<&str> {
    let last: Vec<usize> = (0..lines.len()).rev().filter(|at| !lines[*at].trim().is_empty()).take(3).collect();
    for at in last {
        if is_device_line(lines[at]) {
            lines.remove(at);
        }
    }
    lines
}

fn is_device_line(line: &str) -> bool {
    const OPENINGS: [&str; 17] = [
        "sent from ",
        "get outlook for ",
        "von meinem ",
        "gesendet von ",
        "gesendet mit ",
        "diese nachricht wurde von ",
        "envoyé de mon ",
        "envoyé depuis ",
        "envoyé à partir de ",
        "enviado desde ",
        "enviado do meu ",
        "inviato da ",
        "verzonden vanaf ",
        "verstuurd vanaf ",
        "skickat från ",
        "sendt fra ",
        "wysłane z ",
    ];
    const DEVICES: [&str; 18] = [
        "iphone",
        "ipad",
        "android",
        "samsung",
        "galaxy",
        "huawei",
        "xiaomi",
        "pixel",
        "blackberry",
        "phone",
        "telefon",
        "téléphone",
        "handy",
        "mobil",
        "outlook",
        "mail",
        "yahoo",
        "app",
    ];
    if line.len() > 120 {
        return false;
    }
    let line = line.trim().to_lowercase();
    line.starts_with("sent from my ")
        || (OPENINGS.iter().any(|opening| line.starts_with(opening))
            && DEVICES.iter().any(|device| line.contains(device)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mail_programs_mark_is_left_out() {
        let cases = [
            // Gmail, and broken into lines.
            "Yes.\n\nOn Mon, Jan 6, 2025 at 9:00 AM Ann Lee <ann@b.example> wrote:\n\n> Shall we?\n> Ann",
            "Yes.\n\nOn Mon, Jan 6, 2025 at 9:00 AM Ann Lee\n<ann@b.example>\nwrote:\n> Shall we?",
            "Yes.\n\n2025-01-06 9:00 GMT+01:00 Ann Lee <ann@b.example>:\n> Shall we?",
            // The quotation lost its marks.
            "Yes.\n\nOn Mon, Jan 6, 2025 at 9:00 AM Ann Lee wrote:\nShall we?",
            // Other languages.
            "Yes.\n\nAm 06.01.2025 um 09:00 schrieb Ann Lee:\n> Sollen wir?",
            "Yes.\n\nLe lun. 6 janv. 2025 à 09:00, Ann Lee <ann@b.example> a écrit :\n> On y va ?",
            "Yes.\n\nEl lun, 6 ene 2025 a las 9:00, Ann (<ann@b.example>) escribió:\n> ¿Vamos?",
            "Yes.\n\nOp ma 6 jan 2025 om 09:00 schreef Ann Lee <ann@b.example>:\n> Gaan we?",
            "Yes.\n\nIl giorno lun 6 gen 2025 Ann <ann@b.example> ha scritto:\n> Andiamo?",
            "Yes.\n\nW dniu 6.01.2025 o 09:00, Ann Lee pisze:\n> Idziemy?",
            // Outlook.
            "Yes.\n\n-----Original Message-----\nFrom: Ann Lee\nSent: Monday\nTo: Bo\nSubject: Walk\n\nShall we?",
            "Yes.\n\n________________________________\nFrom: Ann Lee\nSent: Monday, January 6\nTo: Bo\nSubject: Walk\n\nShall we?",
            "Yes.\n\n*From:* Ann Lee\n*Sent:* Monday\n*To:* Bo\n*Subject:* Walk\n\nShall we?",
            "Yes.\n\nVon: Ann Lee\nGesendet: Montag\nAn: Bo\nBetreff: Weg\n\nSollen wir?",
            "Yes.\n\nDe : Ann Lee\nEnvoyé : lundi\nÀ : Bo\nObjet : Marche\n\nOn y va ?",
            "Yes.\n\n-------- Ursprüngliche Nachricht --------\nShall we?",
            // Forwarded below an own word.
            "Yes.\n\n---------- Forwarded message ---------\nFrom: Ann\nDate: Mon\nSubject: Walk\nTo: Bo\n\nOld",
            "Yes.\n\nBegin forwarded message:\n\n> From: Ann Lee\n> Subject: Walk\n>\n> Shall we?",
            // Signatures and what programs put below.
            "Yes.\n-- \nAnn Lee\n+43 1 234",
            "Yes.\n--\nAnn Lee",
            "Yes.\n\nSent from my iPhone",
            "Yes.\n\nVon meinem iPhone gesendet",
            "Yes.\n\nGet Outlook for Android",
            "Yes.\n\nSent from my iPhone\n\n> On 6 Jan 2025, at 09:00, Ann wrote:\n> Shall we?",
            "Yes.\n-- \nAnn Lee\n\nOn Mon, Jan 6, 2025 Bo <bo@b.example> wrote:\n> Shall we?",
            "Yes.\n_______________________________________________\nGarden mailing list\ngarden@lists.example",
            // Answered below.
            "On Mon, Jan 6, 2025 at 9:00 AM Ann Lee <ann@b.example> wrote:\n> Shall we?\n\nYes.",
            "> Shall we?\nYes.",
        ];
        for text in cases {
            assert_eq!(own_words(text), "Yes.", "{text:?}");
        }
    }

    #[test]
    fn answers_between_quotations_are_kept() {
        let text =
            "Hi Ann,\n\nOn 6 Jan 2025 Ann <ann@b.example> wrote:\n> Shall we?\nYes.\n> When?\nAt nine.\n\n-- \nBo";
        assert_eq!(own_words(text), "Hi Ann,\n\nYes.\nAt nine.");
        let text = "See below.\n\n-----Original Message-----\n> Shall we?\nYes.\n> When?\nAt nine.";
        assert_eq!(own_words(text), "See below.\n\nYes.\nAt nine.");
    }

    #[test]
    fn where_nothing_would_be_left_everything_is() {
        let cases = [
            "> Shall we?\n> Ann",
            "---------- Forwarded message ---------\nFrom: Ann Lee\nSubject: Walk\nTo: Bo\n\nShall we?",
            "-- \nAnn Lee",
            "Sent from my iPhone",
            "On Mon, Jan 6, 2025 at 9:00 AM Ann Lee wrote:\nShall we?",
            "From: Ann\nSent: Monday\nTo: Bo\nSubject: Walk\n\nShall we?",
        ];
        for text in cases {
            assert!(own_words(text).lines().count() >= text.lines().count() - 1, "{text:?}");
        }
        assert_eq!(own_words(""), "");
        assert_eq!(own_words(" \n\n"), "");
    }

    #[test]
    fn words_that_only_look_like_marks_are_kept() {
        let cases = [
            "As Kant wrote:\nThink for yourself.",
            "In 2019 you wrote:\nWe shall see.",
            "My flight:\nFrom: Vienna\nTo: Graz\nDate: 3 May\nIs that right?",
            "First\n--\nSecond\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16",
            "Sent from the office yesterday, it should be there.",
            "On Monday at 9:30 we meet, agenda:\n- walk",
            "Original message was lost, please send it again.",
            "a > b and b > c",
            "Part one\n____________________________\nPart two\n1\n2\n3\n4\n5\n6\n7",
        ];
        for text in cases {
            assert_eq!(own_words(text), text, "{text:?}");
        }
    }
}
