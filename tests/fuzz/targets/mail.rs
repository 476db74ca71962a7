//! Messages as a mail server hands them over, and the replies to them.

#![no_main]

use ihelper_workflow::{domain::email::Draft, mail};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| {
    let limits = mail::Limits::default();
    let Ok(email) = mail::read_message("m1", raw, "assistant@ihelper.example", &limits) else { return };
    assert!(email.text.chars().count() <= limits.text_characters);
    let draft = Draft { subject: email.subject.clone(), text: email.text.clone() };
    let reply = mail::reply_to(&email, &draft);
    assert!(!reply.to.contains(['\r', '\n']) && !reply.subject.contains(['\r', '\n']));
    let mut ids = reply.references.iter().chain(&reply.in_reply_to);
    assert!(ids.all(|id| id.bytes().all(|byte| byte.is_ascii_graphic())));
});
