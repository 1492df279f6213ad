//! What packs give, in the protocol's form: what there is to read, and the blocks that tools of MCP servers answer with.

use astradesk_runtime::port::{Block, Content, Document, Message, Speaker};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::{ContentBlock, PromptMessage, ResourceContents, Role};
use serde::Deserialize as _;
use serde_json::Value;

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

/// Takes the blocks out of the output of a tool of an MCP server, if it has nothing else there: they are given as they
/// are, and not again among the facts.
pub(super) fn take_blocks(output: &mut Value) -> Vec<ContentBlock> {
    let Some(content) = output.get("content").and_then(Value::as_array) else { return Vec::new() };
    let blocks = content.iter().map(ContentBlock::deserialize).collect::<Result<Vec<_>, _>>();
    let Ok(blocks) = blocks else { return Vec::new() };
    if let Some(fields) = output.as_object_mut() {
        fields.remove("content");
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn blocks_are_taken_whole_or_left_where_they_are() {
        let text = json!({"type": "text", "text": "hello"});
        let image = json!({"type": "image", "data": "AQL/", "mimeType": "image/png"});
        let mut output = json!({"summary": "done", "content": [text, image], "structured": {"a": 1}});
        let blocks = take_blocks(&mut output);
        assert_eq!(blocks, [ContentBlock::text("hello"), ContentBlock::image("AQL/", "image/png")]);
        assert_eq!(output, json!({"summary": "done", "structured": {"a": 1}}));
        for other in [
            json!({"summary": "done"}),
            json!({"content": "a text"}),
            json!({"content": [{"type": "text", "text": "x"}, {"type": "nothing"}]}),
            json!({"content": [{"type": "tool_use", "id": "1", "name": "x", "input": {}}]}),
            json!({"content": [7]}),
            json!(7),
        ] {
            let mut output = other.clone();
            assert_eq!(take_blocks(&mut output), []);
            assert_eq!(output, other);
        }
    }
}
