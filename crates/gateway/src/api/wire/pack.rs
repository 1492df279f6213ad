//! Packs.

use super::Error;
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
    /// Why the pack as it is now is not in force, if it is not.
    problem: Option<Error>,
    /// What is valid and hardly meant, such as a tool that no policy permits.
    doubts: Option<Vec<String>>,
}
