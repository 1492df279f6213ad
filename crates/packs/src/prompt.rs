//! A prompt of a pack: a procedure that a person can start with an agent.

use crate::parameters::Parameters;
use crate::resource::DeclaredResource;
use crate::template::{For, Template, Values};
use astradesk_core::text::shown;
use astradesk_core::{Arguments, Code, Error, Result};
use astradesk_runtime::port::{About, Block, Message, Prompt, PromptArgument, Resource as _, Speaker};
use astradesk_runtime::schema::Schema;
use std::sync::Arc;

/// A prompt as its pack declares it.
pub(crate) struct DeclaredPrompt {
    pub(crate) about: About,
    pub(crate) parameters: Parameters,
    pub(crate) schema: Schema,
    pub(crate) arguments: Vec<PromptArgument>,
    pub(crate) messages: Vec<(Speaker, Said)>,
    /// The resources of the pack, which a message can have within it.
    pub(crate) resources: Vec<Arc<DeclaredResource>>,
}

/// What a message says.
pub(crate) enum Said {
    /// A text.
    Text(Template),
    /// An image, as it is.
    Image(Arc<[u8]>, String),
    /// The resource at a URI.
    Resource(Template),
}

impl DeclaredPrompt {
    fn block(&self, said: &Said, arguments: &Arguments) -> Result<Block> {
        let mut values = Values { parameters: &self.parameters, arguments, purpose: For::Preview };
        Ok(match said {
            Said::Text(text) => Block::Text(text.fill_plain(&mut values)?),
            Said::Image(bytes, mime_type) => Block::Image(bytes.clone(), mime_type.clone()),
            Said::Resource(uri) => {
                let uri = uri.fill_plain(&mut values)?;
                let found = self.resources.iter().find_map(|resource| resource.read(&uri));
                Block::Document(
                    found.ok_or_else(|| {
                        malformed(format!("its pack has no resource `{}`", shown(&uri, 200)))
                    })?,
                )
            }
        })
    }
}

impl Prompt for DeclaredPrompt {
    fn about(&self) -> &About {
        &self.about
    }

    fn arguments(&self) -> &[PromptArgument] {
        &self.arguments
    }

    fn messages(&self, arguments: &Arguments) -> Result<Vec<Message>> {
        if let Some(fault) = self.schema.faults(arguments).first() {
            return Err(malformed(format!("the prompt `{}`: {fault}", self.about.name)));
        }
        // A line is a line: what a value says cannot begin another one.
        let has_lines =
            |value: &serde_json::Value| value.as_str().is_some_and(|text| text.contains(char::is_control));
        if let Some((name, _)) = arguments.iter().find(|(_, value)| has_lines(value)) {
            return Err(malformed(format!("`{}` has a control character", shown(name, 64))));
        }
        let messages = self.messages.iter();
        messages.map(|(by, said)| Ok(Message { by: *by, block: self.block(said, arguments)? })).collect()
    }
}

fn malformed(message: String) -> Error {
    Error::new(Code::RequestMalformed, message).with_remedy("give the arguments that `prompts/list` shows")
}
