//! The gateway over real connections, with a real Engine and an in-memory store.

mod api;
mod input;
mod issuers;
mod limits;
mod openapi;
mod routes;
mod support;
mod tokens;
