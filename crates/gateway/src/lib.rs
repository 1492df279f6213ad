//! The api-gateway: authentication and the HTTP API.
