use async_trait::async_trait;

use crate::domain::{
    Failure,
    http::{HttpRequest, HttpResponse},
};

/// Sends requests to hosts that the configuration names, and to no other.
#[async_trait]
pub trait HttpClient: Send + Sync {
    /// Refuses a request that would not be sent, without looking at the network.
    ///
    /// # Errors
    /// This returns an error of kind `Validation` or `Authorization` when the address is none, or its host is not
    /// named.
    fn check(&self, request: &HttpRequest) -> Result<(), Failure>;

    /// Sends a request with its `Idempotency-Key`, follows redirects, and gives the answer when it is a good one.
    ///
    /// # Errors
    /// This returns an error of kind `Authorization` when it would have to leave the hosts that are named or enter a
    /// private network, `Throttled`, `Connection` or `Timeout` when another try may help, and another kind when the
    /// other side refused it or answered what cannot be taken.
    async fn send(&self, key: &str, request: &HttpRequest) -> Result<HttpResponse, Failure>;
}
