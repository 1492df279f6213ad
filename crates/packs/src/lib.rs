//! Packs that are not compiled in: folders with a `pack.toml`, whose tools send HTTP requests, run commands,
//! patch one object of a cluster, or are those of an MCP server.
//!
//! | module | what it holds |
//! |---|---|
//! | `manifest` | `pack.toml`, read strictly: an error names the file, the tool, and what to do |
//! | `parameters` | the arguments of a tool, as its templates may use them |
//! | [`template`] | `{argument}` in a text: what a value may become, and what it never can |
//! | `secret` | `env:NAME` and `file:PATH`, looked up when they are used, and never shown |
//! | `expectation` | what an answer must have, by JSON pointer |
//! | `source` | the files of a pack |
//! | `declared` | a tool of a pack, behind the Tool port |
//! | `resource`, `prompt` | what a pack gives agents to read |
//! | `http` | tools that send a request: the URL, the sending, the verification |
//! | `command` | tools that run a program: its arguments, its process |
//! | [`kubernetes`] | tools that patch one object, and the port to the cluster |
//! | `mcp` | tools of an MCP server: its session, the definitions that were [accepted](accept) |
//! | [`folder`] | the packs of a folder, registered, replaced and removed while AstraDesk runs |
//! | [`case`] | the cases of a pack, tried offline |
//! | [`scaffold`] | a pack to begin with |
//!
//! # Invariants
//!
//! * There is no shell, and no template engine: a value takes the place of its braces and is nothing but text there.
//! * No argument changes the host of a URL, the number of its segments, or the number of a program's arguments.
//! * A secret is in the configuration as a reference only, and in no argument, preview, error, log or evidence.
//! * No tool of a server is called whose definition, as it was last seen, is not the one that a person has accepted.
//! * An effect that may have happened is never repeated, unless its pack says that repeating it changes nothing.

pub mod case;
mod command;
mod declared;
mod expectation;
pub mod folder;
mod http;
pub mod kubernetes;
mod manifest;
mod mcp;
mod pack;
mod parameters;
mod prompt;
mod resource;
pub mod scaffold;
mod secret;
mod source;
pub mod template;
#[cfg(test)]
mod testing;

pub use folder::Folder;
pub use mcp::accept;
pub use pack::DeclaredPack;
