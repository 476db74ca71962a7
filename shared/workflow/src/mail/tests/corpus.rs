//! Messages that others wrote: the test messages of the crate `mail-parser`, which its package brings, and those of
//! CPython's `email`, where the Python of this machine has its own tests; as they are, cut off anywhere, and mutated.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::*;

/// More than a hundred times what the slowest of them takes.
const LONG: Duration = Duration::from_secs(5);

/// Where CPython keeps its messages, as it says itself.
static CPYTHON_FOLDER: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let ask = "import os, test; print(os.path.join(os.path.dirname(test.__file__), 'test_email', 'data'))";
    let said = Command::new("python3").args(["-c", ask]).output().ok().filter(|said| said.status.success())?;
    let folder = PathBuf::from(String::from_utf8(said.stdout).ok()?.trim());
    folder.join("msg_01.txt").exists().then_some(folder)
});

static MESSAGES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let registries = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    let packages =
        registries.into_iter().flatten().flatten().map(|registry| registry.path().join("mail-parser-0.11.9"));
    let folders = packages.map(|package| package.join("resources/eml")).chain(CPYTHON_FOLDER.clone());
    folders.flat_map(|folder| messages(&folder)).collect()
});

fn messages(folder: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let is_message = |path: &Path| path.extension().is_some_and(|ending| ending == "txt" || ending == "eml");
    paths
        .into_iter()
        .flat_map(|path| match path.is_dir() {
            true => messages(&path),
            false if is_message(&path) => vec![fs::read(&path).unwrap()],
            false => Vec::new(),
        })
        .collect()
}

/// Every message, and once more under a sender, for those that have none.
fn all() -> impl Iterator<Item = Vec<u8>> {
    MESSAGES.iter().flat_map(|message| [message.clone(), [b"From: a@b.example\n", &message[..]].concat()])
}

/// Reads it within the time, holds what comes of it against the invariants, and its attachments against their sizes.
fn hold(raw: &[u8]) -> Option<Email> {
    let begun = Instant::now();
    let outcome = read(raw);
    let email = match outcome {
        Ok(email) => email,
        Err(failure) => {
            assert_eq!(failure.kind, Kind::Validation);
            return None;
        }
    };
    check(&email);
    for (index, attached) in email.attachments.iter().enumerate().take(20) {
        let bytes = attachment(raw, index, &Limits::default()).unwrap().unwrap();
        assert_eq!(bytes.len() as u64, attached.bytes);
    }
    assert_eq!(attachment(raw, email.attachments.len(), &Limits::default()).unwrap(), None);
    assert!(begun.elapsed() < LONG, "it took {:?}", begun.elapsed());
    Some(email)
}

#[test]
fn messages_that_others_wrote_are_read() {
    assert!(MESSAGES.len() >= 100, "only {} messages were found", MESSAGES.len());
    let read: Vec<Email> = all().filter_map(|raw| hold(&raw)).collect();
    // Under a sender, nothing but a limit keeps a message from being read.
    assert!(read.len() >= MESSAGES.len(), "{} were read", read.len());
    assert!(read.iter().filter(|email| !email.text.is_empty()).count() > read.len() / 2);
    assert!(read.iter().any(|email| email.attachments.len() > 1));
    assert!(
        read.iter().any(|email| email.attachments.iter().any(|attached| attached.content_type == "message/rfc822"))
    );
}

#[test]
fn what_they_say_is_what_is_read() {
    // A Python without its tests has no messages either; those of the crate have been read all the same.
    let Some(folder) = &*CPYTHON_FOLDER else { return };
    let of = |name: &str| read(fs::read(folder.join(name)).unwrap()).unwrap();
    let plain = of("msg_01.txt");
    assert_eq!((plain.from.as_str(), plain.subject.as_str()), ("bbb@ddd.com", "This is a test message"));
    assert_eq!(plain.recipient(), "bbb@zzz.org", "nobody vouches for `From`, so the envelope counts");
    assert!(plain.text.starts_with("Hi,\n\nDo you like this message?"), "{}", plain.text);
    // A picture beside a text.
    let mixed = of("msg_07.txt");
    assert_eq!(mixed.from, "barry@digicool.com");
    assert_eq!(mixed.text, "Hi there,\n\nThis is the dingus fish.");
    assert_eq!(mixed.attachments[0].name.as_deref(), Some("dingusfish.gif"));
    assert_eq!(mixed.attachments[0].content_type, "image/gif");
    // A bounce.
    let bounce = of("msg_16.txt");
    assert!(bounce.no_reply_because.is_some());
}

#[test]
fn a_message_that_was_cut_off_is_read_as_far_as_it_goes() {
    for raw in all() {
        for part in 1..24 {
            hold(&raw[..raw.len() * part / 24]);
        }
    }
}

/// What happens to a message on a bad way.
#[derive(Clone, Debug)]
enum Mutation {
    Set(prop::sample::Index, u8),
    Remove(prop::sample::Index, u8),
    Repeat(prop::sample::Index, u8, u8),
    Insert(prop::sample::Index, Vec<u8>),
    SwapLines(prop::sample::Index, prop::sample::Index),
}

impl Mutation {
    fn apply(&self, raw: &mut Vec<u8>) {
        if raw.is_empty() {
            return;
        }
        let end = |at: usize, length: u8, raw: &[u8]| (at + usize::from(length)).min(raw.len());
        match self {
            Self::Set(at, byte) => {
                let at = at.index(raw.len());
                raw[at] = *byte;
            }
            Self::Remove(at, length) => {
                let at = at.index(raw.len());
                raw.drain(at..end(at, *length, raw));
            }
            Self::Repeat(at, length, times) => {
                let at = at.index(raw.len());
                let piece = raw[at..end(at, *length, raw)].repeat(usize::from(*times));
                raw.splice(at..at, piece);
            }
            Self::Insert(at, piece) => {
                let at = at.index(raw.len());
                raw.splice(at..at, piece.iter().copied());
            }
            Self::SwapLines(one, other) => {
                let mut lines: Vec<&[u8]> = raw.split_inclusive(|byte| *byte == b'\n').collect();
                let (one, other) = (one.index(lines.len()), other.index(lines.len()));
                lines.swap(one, other);
                *raw = lines.concat();
            }
        }
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, length)| Mutation::Remove(at, length)),
        (any::<prop::sample::Index>(), any::<u8>(), 1..20_u8)
            .prop_map(|(at, length, times)| Mutation::Repeat(at, length, times)),
        (any::<prop::sample::Index>(), piece()).prop_map(|(at, piece)| Mutation::Insert(at, piece)),
        (any::<prop::sample::Index>(), any::<prop::sample::Index>())
            .prop_map(|(one, other)| Mutation::SwapLines(one, other)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn mutated_messages_of_others_are_an_email_or_an_error(
        which in any::<prop::sample::Index>(),
        mutations in proptest::collection::vec(mutation(), 1..30),
    ) {
        let mut raw = which.get(&MESSAGES).clone();
        for mutation in &mutations {
            mutation.apply(&mut raw);
        }
        hold(&raw);
    }

    #[test]
    fn two_messages_that_were_mixed_up_are_an_email_or_an_error(
        one in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
    ) {
        let (one, other) = (one.get(&MESSAGES), other.get(&MESSAGES));
        let at = at.index(one.len().min(other.len()).max(1));
        hold(&[&one[..at.min(one.len())], &other[at.min(other.len())..]].concat());
    }
}
