use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::{Failure, Kind},
    ports::{Clock, Handout, Offer, Uploads},
};
use jiff::Timestamp;

use super::lock;
use crate::contracts::uploads::Outside;

/// How long an address is good.
const GOOD_FOR: Duration = Duration::from_mins(15);

/// Uploads and answers in memory, behind addresses that only [`Outside`] knows how to follow.
#[derive(Clone)]
pub struct MemoryUploads {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    uploads: BTreeMap<Place, Vec<u8>>,
    offers: BTreeMap<String, (Offer, Place)>,
    answers: BTreeMap<String, (Handout, Vec<u8>)>,
}

/// A caller and an id.
type Place = (String, String);

impl MemoryUploads {
    /// Nothing yet; addresses expire on this clock.
    pub fn new(clock: impl Clock + 'static) -> Self {
        Self { clock: Arc::new(clock), state: Arc::default() }
    }

    fn expiry(&self) -> Timestamp {
        self.clock.now().checked_add(GOOD_FOR).unwrap_or(Timestamp::MAX)
    }
}

impl fmt::Debug for MemoryUploads {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        formatter
            .debug_struct("MemoryUploads")
            .field("uploads", &state.uploads.len())
            .field("answers", &state.answers.len())
            .finish()
    }
}

#[async_trait]
impl Uploads for MemoryUploads {
    async fn offer(&self, caller: &str, id: &str, bytes: u64) -> Result<Offer, Failure> {
        let place = place(caller, id)?;
        let mut state = lock(&self.state);
        let url = format!("memory://uploads/{}", state.offers.len());
        let headers = [("content-length", bytes.to_string()), ("content-type", "application/json".to_owned())];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).into();
        let offer = Offer { url: url.clone(), headers, expires_at: self.expiry() };
        state.offers.insert(url, (offer.clone(), place));
        Ok(offer)
    }

    async fn take(&self, caller: &str, id: &str, limit: u64) -> Result<Vec<u8>, Failure> {
        let found = lock(&self.state).uploads.get(&place(caller, id)?).cloned();
        let found = found.ok_or_else(|| Failure::new(Kind::NotFound, "there is no such object"))?;
        if found.len() as u64 > limit {
            return Err(Failure::validation(format!("the object has more than {limit} bytes")));
        }
        Ok(found)
    }

    async fn lay_down(&self, caller: &str, id: &str, bytes: Vec<u8>) -> Result<Handout, Failure> {
        place(caller, id)?;
        let mut state = lock(&self.state);
        let url = format!("memory://answers/{}", state.answers.len());
        let handout = Handout { url: url.clone(), expires_at: self.expiry() };
        state.answers.insert(url, (handout.clone(), bytes));
        Ok(handout)
    }
}

#[async_trait]
impl Outside for MemoryUploads {
    async fn put(&self, offer: &Offer, body: Vec<u8>) -> bool {
        let mut state = lock(&self.state);
        let made = state.offers.get(&offer.url).cloned();
        let Some((made, place)) = made.filter(|(made, _)| self.clock.now() < made.expires_at) else { return false };
        let fits = made.headers == offer.headers && made.headers["content-length"] == body.len().to_string();
        if fits {
            state.uploads.insert(place, body);
        }
        fits
    }

    async fn get(&self, handout: &Handout) -> Option<Vec<u8>> {
        let state = lock(&self.state);
        let (made, answer) = state.answers.get(&handout.url)?;
        (self.clock.now() < made.expires_at).then(|| answer.clone())
    }
}

fn place(caller: &str, id: &str) -> Result<Place, Failure> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    if !(1..=64).contains(&id.len()) || !id.chars().all(is_plain) {
        return Err(Failure::validation("an upload's id has 1 to 64 letters, digits, `_` and `-`"));
    }
    Ok((caller.to_owned(), id.to_owned()))
}
