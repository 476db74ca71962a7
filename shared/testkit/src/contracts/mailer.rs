//! What must be true of every [`Mailer`].

use ihelper_workflow::{domain::email::OutgoingMail, ports::Mailer};

use super::run_id;

/// Makes a test of every case of the mailer's contract, each on a mailer that the expression makes anew.
#[macro_export]
macro_rules! mailer_contract {
    ($port:expr) => {
        $crate::contract_tests! { $port, mailer:
            a_mail_gets_an_id,
            every_mail_gets_an_id_of_its_own,
            any_text_can_be_sent,
        }
    };
}

fn mail() -> OutgoingMail {
    OutgoingMail {
        to: "ann@example.com".to_owned(),
        subject: "Re: Question".to_owned(),
        text: "Good day,\n\nyes.\n".to_owned(),
        in_reply_to: Some("<q1@example.com>".to_owned()),
        references: vec!["<q0@example.com>".to_owned(), "<q1@example.com>".to_owned()],
        is_reply: true,
    }
}

/// A mail that is taken gets an id.
pub async fn a_mail_gets_an_id(mailer: &dyn Mailer) {
    let receipt = mailer.send(run_id(0, 1), "send_response", &mail()).await.unwrap();
    assert!(!receipt.message_id.is_empty());
}

/// The same mail twice is two mails: nothing is deduplicated here, so callers must not send twice.
pub async fn every_mail_gets_an_id_of_its_own(mailer: &dyn Mailer) {
    let first = mailer.send(run_id(0, 1), "send_response", &mail()).await.unwrap();
    let second = mailer.send(run_id(0, 1), "send_response", &mail()).await.unwrap();
    assert_ne!(first, second);
}

/// Subjects and bodies in any language, empty, or with lines of any length are sent.
pub async fn any_text_can_be_sent(mailer: &dyn Mailer) {
    for text in ["", ".", "\n.\n", "漢字 🦀 é", &"long ".repeat(4000), "bare\rcarriage\r\nand\nfeed"] {
        let subject: String = text.chars().filter(|character| !character.is_control()).take(500).collect();
        let mail = OutgoingMail { subject, text: text.to_owned(), ..mail() };
        mailer.send(run_id(0, 1), "send_response", &mail).await.unwrap();
    }
}

#[cfg(test)]
mod memory {
    use crate::memory::MemoryMailer;

    mailer_contract!(async { MemoryMailer::new() });
}
