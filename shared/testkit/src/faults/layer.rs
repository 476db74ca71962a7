use async_trait::async_trait;
use ihelper_workflow::{
    domain::{
        Failure, Run, RunId,
        run::{Lease, Segment, StepRecord},
    },
    ports::{Appended, Closing, Created, Journal, Opened, Page, Renewed, RunFilter},
};
use jiff::Timestamp;

/// A layer over a journal: what it does not do itself is passed on. [`Layered`] makes it a journal.
#[async_trait]
pub trait JournalLayer: Send + Sync {
    /// The journal below.
    fn below(&self) -> &dyn Journal;

    /// [`Journal::create`].
    async fn create(&self, run: &Run) -> Result<Created, Failure> {
        self.below().create(run).await
    }

    /// [`Journal::open`].
    async fn open(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<Opened, Failure> {
        self.below().open(id, lease, now).await
    }

    /// [`Journal::renew`].
    async fn renew(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<Renewed, Failure> {
        self.below().renew(id, lease, now).await
    }

    /// [`Journal::read`].
    async fn read(&self, id: RunId, from: u32) -> Result<Vec<Segment>, Failure> {
        self.below().read(id, from).await
    }

    /// [`Journal::append`].
    async fn append(&self, id: RunId, segment: &Segment) -> Result<Appended, Failure> {
        self.below().append(id, segment).await
    }

    /// [`Journal::close`].
    async fn close(&self, id: RunId, closing: &Closing, now: Timestamp) -> Result<bool, Failure> {
        self.below().close(id, closing, now).await
    }

    /// [`Journal::letter_sent`].
    async fn letter_sent(&self, id: RunId) -> Result<(), Failure> {
        self.below().letter_sent(id).await
    }

    /// [`Journal::find`].
    async fn find(&self, id: RunId) -> Result<Option<(Run, Vec<StepRecord>)>, Failure> {
        self.below().find(id).await
    }

    /// [`Journal::list`].
    async fn list(&self, filter: &RunFilter) -> Result<Page, Failure> {
        self.below().list(filter).await
    }
}

/// A layer as the journal that it makes.
pub struct Layered<L>(pub L);

#[async_trait]
impl<L: JournalLayer> Journal for Layered<L> {
    async fn create(&self, run: &Run) -> Result<Created, Failure> {
        self.0.create(run).await
    }

    async fn open(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<Opened, Failure> {
        self.0.open(id, lease, now).await
    }

    async fn renew(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<Renewed, Failure> {
        self.0.renew(id, lease, now).await
    }

    async fn read(&self, id: RunId, from: u32) -> Result<Vec<Segment>, Failure> {
        self.0.read(id, from).await
    }

    async fn append(&self, id: RunId, segment: &Segment) -> Result<Appended, Failure> {
        self.0.append(id, segment).await
    }

    async fn close(&self, id: RunId, closing: &Closing, now: Timestamp) -> Result<bool, Failure> {
        self.0.close(id, closing, now).await
    }

    async fn letter_sent(&self, id: RunId) -> Result<(), Failure> {
        self.0.letter_sent(id).await
    }

    async fn find(&self, id: RunId) -> Result<Option<(Run, Vec<StepRecord>)>, Failure> {
        self.0.find(id).await
    }

    async fn list(&self, filter: &RunFilter) -> Result<Page, Failure> {
        self.0.list(filter).await
    }
}
