//! What packs give agents to read: resources, such as a runbook, and prompts, such as a procedure.
//!
//! Neither does anything, and reading one is no run. Each is there for who may use certain tools.

use astradesk_core::{Arguments, Result, ToolName};
use std::sync::Arc;

/// The scheme of the product's own resources, which no pack may have.
pub const OWN_SCHEME: &str = "astradesk";
/// The product's own prompts, whose names no pack may have.
pub const OWN_PROMPTS: [&str; 3] = ["investigate_service", "restart_service_safely", "explain_run"];

/// What is told of a resource or a prompt, and for whom it is there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct About {
    /// Its name; that of a prompt is its own among all packs.
    pub name: String,
    /// Its name for people.
    pub title: Option<String>,
    /// One sentence on what it is for.
    pub description: String,
    /// It is there for who may use all of these tools; if there are none, for who may use any tool of its pack.
    pub tools: Vec<ToolName>,
}

/// A text, or bytes that are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A text.
    Text(String),
    /// Anything else, such as an image.
    Bytes(Arc<[u8]>),
}

/// What a resource says at one URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The URI.
    pub uri: String,
    /// The media type.
    pub mime_type: String,
    /// What it says.
    pub content: Content,
}

/// A document that agents can read, or all of those that a template of URIs has.
pub trait Resource: Send + Sync {
    /// What is told of it.
    fn about(&self) -> &About;

    /// Its URI, or the template of its URIs, with `{places}`.
    fn uri(&self) -> &str;

    /// The media type.
    fn mime_type(&self) -> &str;

    /// What it says at this URI; `None` if the URI is not one of its own.
    fn read(&self, uri: &str) -> Option<Document>;

    /// Whether it has many URIs.
    fn is_template(&self) -> bool {
        self.uri().contains('{')
    }
}

/// An argument of a prompt, which is a text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PromptArgument {
    /// Its name.
    pub name: String,
    /// What it stands for.
    pub description: Option<String>,
    /// Whether it must be given.
    pub required: bool,
    /// The only values that it can have; empty if there are others.
    pub values: Vec<String>,
}

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// What a message has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// A text.
    Text(String),
    /// An image with its media type.
    Image(Arc<[u8]>, String),
    /// A document.
    Document(Document),
}

/// A message of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub by: Speaker,
    /// What is said.
    pub block: Block,
}

/// A procedure that a person can start with an agent.
pub trait Prompt: Send + Sync {
    /// What is told of it.
    fn about(&self) -> &About;

    /// Its arguments.
    fn arguments(&self) -> &[PromptArgument];

    /// Its messages with these arguments.
    ///
    /// # Errors
    /// [`RequestMalformed`](astradesk_core::Code::RequestMalformed): an argument is missing, unknown or not what it must be.
    fn messages(&self, arguments: &Arguments) -> Result<Vec<Message>>;
}
