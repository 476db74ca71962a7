//! What the mail server that took a message in wrote about it.
//!
//! Anybody can write `X-SES-Spam-Verdict: PASS` into a message. What counts is what the receiving server put on top of
//! it: a server adds its fields above all that came with the message, `Received` among them, so what it wrote ends where
//! the `Received` of the server before begins; Amazon SES moreover ends it with `X-SES-RECEIPT`. Of several fields of
//! one name in there, the topmost counts: a message that its sender handed over in person has no second `Received`, and
//! then the sender's fields stand below the server's. Where a server wrote no verdict at all, a sender's own could stand
//! in its place; it can only say what no word would say too, or harm the sender.
//!
//! Deliberately absent: checking anything again. The DNS of today says nothing about a mail of yesterday.

use super::{
    address,
    fields::{self, Fields},
};
use crate::domain::email::{Verdict, Verdicts};

/// What the receiving server found.
pub(super) fn read(fields: &Fields) -> Verdicts {
    let topmost = |name: &str| of_receiver(fields).find(|(field, _)| *field == name).map(|(_, value)| value);
    let checks = topmost("authentication-results").map(results).unwrap_or_default();
    let spf = || topmost("received-spf").map(|value| verdict(&first_word(value)));
    Verdicts {
        spam: topmost("x-ses-spam-verdict").map(|value| verdict(&first_word(value))),
        virus: topmost("x-ses-virus-verdict").map(|value| verdict(&first_word(value))),
        spf: together(&checks, "spf").or_else(spf),
        dkim: best(&checks, "dkim"),
        dmarc: together(&checks, "dmarc"),
    }
}

/// The envelope's sender, where a reply must go there and not to `from`: it is another mailbox, and the domain in `From`
/// does not stand by the message. Then `From` may name somebody who never wrote, and RFC 3834, section 4, sends
/// automatic answers to the envelope's sender anyway.
pub(super) fn other_sender(fields: &Fields, from: &str, verdicts: &Verdicts) -> Option<String> {
    if verdicts.dmarc == Some(Verdict::Pass) {
        return None;
    }
    let path = of_receiver(fields).find(|(name, _)| *name == "return-path").map(|(_, value)| value)?;
    let (sender, _) = fields::first_mailbox(path)?;
    (address::is_valid(&sender) && !address::same_mailbox(&sender, from)).then_some(sender)
}

/// What the receiving server wrote, from the top.
fn of_receiver(fields: &Fields) -> impl Iterator<Item = (&str, &str)> {
    let (mut hops, mut has_ended) = (0, false);
    fields.iter().take_while(move |(name, _)| {
        hops += usize::from(*name == "received");
        let is_ours = hops < 2 && !has_ended;
        has_ended |= *name == "x-ses-receipt";
        is_ours
    })
}

/// The methods and results of `Authentication-Results` (RFC 8601), in order.
fn results(value: &str) -> Vec<(String, Verdict)> {
    let plain = without_comments(value);
    // The first part names the server.
    let parts = plain.split(';').skip(1);
    parts
        .filter_map(|part| {
            let (method, rest) = part.trim().split_once('=')?;
            // A version may follow the method.
            let method = method.split('/').next()?.trim().to_ascii_lowercase();
            let is_word = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            is_word.then(|| (method, verdict(&first_word(rest))))
        })
        .take(MOST_RESULTS)
        .collect()
}

/// More results than a server writes about one message.
const MOST_RESULTS: usize = 200;

// Comments and quoted texts repeat what the sender wrote, semicolons included.
fn without_comments(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let (mut depth, mut is_quoted) = (0_usize, false);
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' if depth > 0 || is_quoted => {
                characters.next();
            }
            '"' if depth == 0 => is_quoted = !is_quoted,
            _ if is_quoted => {}
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => plain.push(character),
            _ => {}
        }
    }
    plain
}

/// A check that is made once: two that contradict each other are one that failed.
fn together(checks: &[(String, Verdict)], method: &str) -> Option<Verdict> {
    let mut verdicts = checks.iter().filter(|(name, _)| name == method).map(|(_, verdict)| *verdict);
    let first = verdicts.next()?;
    Some(verdicts.fold(first, |standing, next| match (standing, next) {
        (Verdict::Fail, _) | (_, Verdict::Fail) => Verdict::Fail,
        (Verdict::Pass, Verdict::Pass) => Verdict::Pass,
        _ => Verdict::Unknown,
    }))
}

/// A check that is made for each signature: one that holds is enough (RFC 6376, section 4.2).
fn best(checks: &[(String, Verdict)], method: &str) -> Option<Verdict> {
    let verdicts: Vec<Verdict> =
        checks.iter().filter(|(name, _)| name == method).map(|(_, verdict)| *verdict).collect();
    [Verdict::Pass, Verdict::Fail, Verdict::Unknown].into_iter().find(|verdict| verdicts.contains(verdict))
}

fn verdict(word: &str) -> Verdict {
    match word {
        "pass" => Verdict::Pass,
        "fail" | "hardfail" => Verdict::Fail,
        _ => Verdict::Unknown,
    }
}

fn first_word(value: &str) -> String {
    let word =
        value.trim_start().split(|character: char| !character.is_ascii_alphanumeric() && character != '_').next();
    word.unwrap_or_default().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_SES: &str = "Return-Path: <ann@b.example>\r\n\
        Received: from mail.b.example by inbound-smtp.eu-west-1.amazonaws.com with SMTP id x\r\n\
        X-SES-Spam-Verdict: PASS\r\n\
        X-SES-Virus-Verdict: PASS\r\n\
        Received-SPF: pass (spfCheck: domain of b.example designates 192.0.2.1) client-ip=192.0.2.1;\r\n\
        Authentication-Results: amazonses.com;\r\n spf=pass (spfCheck: 192.0.2.1; ok) envelope-from=ann@b.example;\r\n\
        \tdkim=fail header.i=@list.example; dkim=pass header.i=@b.example;\r\n dmarc=pass header.from=b.example;\r\n\
        X-SES-RECEIPT: AEFBQ\r\n\
        X-SES-DKIM-SIGNATURE: a=rsa-sha256\r\n";

    fn fields(section: &str) -> Fields {
        Fields::read(format!("{section}\r\n").as_bytes(), 100_000).unwrap().0
    }

    fn verdicts(section: &str) -> Verdicts {
        read(&fields(section))
    }

    #[test]
    fn what_the_receiving_server_wrote_counts() {
        use Verdict::{Fail, Pass, Unknown};
        let all = |verdict| Verdicts { spam: verdict, virus: verdict, spf: verdict, dkim: verdict, dmarc: verdict };
        assert_eq!(verdicts(OF_SES), all(Some(Pass)));
        assert_eq!(verdicts("From: a@b.example\r\n"), all(None));
        let failed = OF_SES.replace("PASS", "FAIL").replace("=pass", "=fail");
        assert_eq!(verdicts(&failed), all(Some(Fail)));
        let gray = OF_SES.replace("PASS", "GRAY").replace("=pass", "=none").replace("dkim=fail", "dkim=temperror");
        assert_eq!(verdicts(&gray), all(Some(Unknown)));
    }

    #[test]
    fn what_the_sender_wrote_does_not() {
        let forged = "X-SES-Spam-Verdict: PASS\r\nX-SES-Virus-Verdict: PASS\r\n\
            Authentication-Results: amazonses.com; spf=pass; dkim=pass; dmarc=pass\r\nReturn-Path: <victim@c.example>\r\n";
        let failed = OF_SES.replace("PASS", "FAIL").replace("=pass", "=fail");
        let by_server = verdicts(&failed);
        // Handed over in person, or through another server.
        for between in ["", "Received: from laptop by mail.b.example\r\n"] {
            assert_eq!(verdicts(&format!("{failed}{between}{forged}From: a@b.example\r\n")), by_server);
        }
        // A server that scans nothing leaves no verdict, and none is taken from below.
        let unscanned = "Received: from mail.b.example by inbound\r\nX-SES-RECEIPT: A\r\n";
        assert_eq!(verdicts(&format!("{unscanned}{forged}")), Verdicts::default());
        // A forged failure harms nobody either.
        let harm = forged.replace("PASS", "FAIL").replace("=pass", "=fail");
        assert_eq!(verdicts(&format!("{OF_SES}{harm}")), verdicts(OF_SES));
        let path = |section: &str| other_sender(&fields(section), "ceo@b.example", &verdicts(section));
        assert_eq!(path(&format!("{failed}{forged}")).as_deref(), Some("ann@b.example"));
    }

    #[test]
    fn what_a_server_repeats_of_the_sender_is_no_result() {
        let cases = [
            "x; spf=fail (the sender says ; dmarc=pass); dmarc=fail",
            "x; spf=fail smtp.mailfrom=\"a; dmarc=pass; \"@b.example; dmarc=fail",
            "x; spf=fail (nested (; dmarc=pass) and \\) ; dmarc=pass); dmarc=fail",
            "x; dmarc=pass; dmarc=fail",
            "x; dmarc=fail; dmarc=pass",
            "x; DMARC / 1 = Fail",
            "dmarc=pass; dmarc=fail",
        ];
        for value in cases {
            assert_eq!(verdicts(&format!("Authentication-Results: {value}\r\n")).dmarc, Some(Verdict::Fail), "{value}");
        }
        assert_eq!(verdicts("Authentication-Results: dmarc=pass\r\n").dmarc, None);
    }

    #[test]
    fn a_reply_goes_to_the_envelopes_sender_unless_the_domain_in_from_stands_by_it() {
        let of = |section: &str, from: &str| other_sender(&fields(section), from, &verdicts(section));
        let unsigned = OF_SES.replace("dmarc=pass", "dmarc=none");
        assert_eq!(of(OF_SES, "victim@c.example"), None);
        assert_eq!(of(&unsigned, "victim@c.example").as_deref(), Some("ann@b.example"));
        assert_eq!(of(&unsigned, "Ann+news@B.example"), None);
        assert_eq!(of("From: a@b.example\r\n", "a@b.example"), None);
        for path in ["<>", "", "<@relay.example:ann@b.example>", "<a b>", "nobody"] {
            assert_eq!(of(&format!("Return-Path: {path}\r\n"), "victim@c.example"), None, "{path}");
        }
    }
}
