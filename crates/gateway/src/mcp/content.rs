//! What packs give to read, in the protocol's form.

use astradesk_runtime::port::{Block, Content, Document, Message, Speaker};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::{ContentBlock, PromptMessage, ResourceContents, Role};

/// A document as the contents of a resource.
pub(super) fn contents(document: Document) -> ResourceContents {
    let Document { uri, mime_type, content } = document;
    let contents = match content {
        Content::Text(text) => ResourceContents::text(text, uri),
        Content::Bytes(bytes) => ResourceContents::blob(STANDARD.encode(bytes), uri),
    };
    contents.with_mime_type(mime_type)
}

/// A message of a prompt.
pub(super) fn message(message: Message) -> PromptMessage {
    let by = match message.by {
        Speaker::User => Role::User,
        Speaker::Assistant => Role::Assistant,
    };
    let block = match message.block {
        Block::Text(text) => ContentBlock::text(text),
        Block::Image(bytes, mime_type) => ContentBlock::image(STANDARD.encode(bytes), mime_type),
        Block::Document(document) => ContentBlock::resource(contents(document)),
    };
    PromptMessage::new(by, block)
}
