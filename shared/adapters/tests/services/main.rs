//! The adapters over the wire, with the real clients: contracts against services in memory where there are any, and
//! against an endpoint of the test's own where what counts is the request, the answer, or its loss.

mod bedrock;
mod dynamodb;
mod eventbridge;
mod letters;
mod local;
mod models;
mod openai;
mod s3;
mod scheduler;
mod ses;
mod sqs;
mod table;
mod versions;
mod wire;
