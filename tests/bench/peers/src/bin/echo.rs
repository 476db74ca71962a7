//! The least that a function behind API Gateway can be: it answers with what it was sent.

use axum::Router;
use lambda_http::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_http::run(Router::new().fallback(async |body: String| body)).await
}
