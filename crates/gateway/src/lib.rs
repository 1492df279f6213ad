//! The api-gateway: authentication and the HTTP API.
//!
//! | module | part |
//! |---|---|
//! | [`auth`] | who asks: JSON Web Tokens of configured issuers |
//! | [`config`] | where to listen, and every limit |
//! | `server` | connections: accepted, bounded, drained at the end |
//! | `http` | what every request passes: limits, ids, metrics, problems |
//! | `api` | the resources, one file each, and their OpenAPI document |
//! | [`mcp`] | the MCP server: agents, over HTTP and over standard input |
//! | `webhook` | who is told that a run awaits approval |
//!
//! A request passes, in this order: the connection's limits → `http::edge` (request id, span, concurrency,
//! time-out, panics) → the route → `http::caller` (authentication, for every route under `/v1`) → the
//! handler → the Engine, which is the only one to decide and to act. On the way back `http::edge` turns
//! every [`Error`](astradesk_core::Error) into an RFC 9457 problem.
//!
//! **Invariants.** A handler decides nothing: it reads a request, asks the Engine, and writes the answer.
//! No token, header or body is ever logged. A status is derived from an error's
//! [`Class`](astradesk_core::Class) in `http::problem` and nowhere else.

mod address;
mod api;
pub mod auth;
pub mod config;
mod http;
pub mod mcp;
mod server;
mod webhook;

pub use api::document as openapi;
pub use auth::{Auth, DevIssuer, Issuer};
pub use config::{Config, Limits};
pub use server::Gateway;
pub use webhook::Webhook;
