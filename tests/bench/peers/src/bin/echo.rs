//! The least that a function behind API Gateway can be: it answers with what it was sent.
//!
//! With `ECHO_TELLS` in its environment it logs a line for each call: the local AWS waits 50 ms for the first line of a
//! call that logs nothing.

use std::io::{Write, stdout};

use axum::Router;
use lambda_http::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let tells = std::env::var_os("ECHO_TELLS").is_some();
    let echo = async move |body: String| {
        if tells {
            // An echo that nobody hears of is one all the same.
            let _ = writeln!(stdout(), "an echo");
        }
        body
    };
    lambda_http::run(Router::new().fallback(echo)).await
}
