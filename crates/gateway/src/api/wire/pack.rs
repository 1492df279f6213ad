//! Packs.

use super::Error;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What is known of a pack.
#[derive(ToSchema)]
pub(crate) struct Pack {
    /// The name.
    name: String,
    /// The version in force; absent if none is.
    version: Option<String>,
    /// The digest of the definition in force; absent for packs that are compiled in.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    digest: Option<String>,
    /// Since when it is in force; absent for packs that are compiled in.
    #[schema(format = DateTime)]
    since: Option<String>,
    /// The tools in force.
    tools: Vec<String>,
    /// The URIs, and templates of URIs, of what agents can read of it.
    resources: Option<Vec<String>>,
    /// The names of its prompts.
    prompts: Option<Vec<String>>,
    /// Its MCP server; absent if it has none.
    server: Option<Server>,
    /// The tools in force that are disabled, by their names, each with why: every call of them is refused.
    disabled: Option<BTreeMap<String, Error>>,
    /// Why the pack as it is now is not in force, if it is not.
    problem: Option<Error>,
    /// What is valid and hardly meant, such as a tool that no policy permits.
    doubts: Option<Vec<String>>,
}

/// What is known of the MCP server of a pack.
#[derive(ToSchema)]
pub(crate) struct Server {
    /// Its host, or the name of its program.
    address: String,
    /// What it calls itself; absent before it was spoken to.
    name: Option<String>,
    /// The version that it says it has.
    version: Option<String>,
    /// What it called itself when its definitions were accepted, if that was something else.
    accepted: Option<String>,
    /// Why it cannot be spoken to, if it cannot.
    problem: Option<Error>,
}
