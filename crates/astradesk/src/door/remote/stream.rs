//! Server-sent events, as the HTML standard describes them.

use super::{MAX_REPLY, foreign};
use astradesk_core::Result;
use astradesk_runtime::port::RunEvent;
use serde_json::{Map, Value};

/// One server-sent event.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Frame {
    id: String,
    pub(super) event: String,
    data: String,
}

impl Frame {
    pub(super) fn into_event(self) -> Option<RunEvent> {
        let mut event: Map<String, Value> = serde_json::from_str(&self.data).ok()?;
        Some(RunEvent {
            seq: self.id.parse().ok()?,
            at: serde_json::from_value(event.remove("at")?).ok()?,
            kind: self.event,
            data: event.remove("data")?,
        })
    }
}

/// Cuts a stream of bytes into server-sent events, as the HTML standard describes them.
#[derive(Default)]
pub(super) struct Stream {
    rest: Vec<u8>,
    frame: Frame,
}

impl Stream {
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<Vec<Frame>> {
        self.rest.extend_from_slice(chunk);
        if self.rest.len() > MAX_REPLY {
            return Err(foreign("an event is larger than 16 MiB"));
        }
        let mut frames = Vec::new();
        while let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                if !self.frame.data.is_empty() || self.frame.event == "end" {
                    frames.push(std::mem::take(&mut self.frame));
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => value.clone_into(&mut self.frame.id),
                "event" => value.clone_into(&mut self.frame.event),
                "data" => self.frame.data.push_str(value),
                _ => {}
            }
        }
        Ok(frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_cut_wherever_the_bytes_break() {
        let text =
            ": hello\n\nid: 7\nevent: progress\ndata: {\"x\":\"ż\"}\n\nevent: end\ndata: {}\n\n".as_bytes();
        for at in 0..text.len() {
            let mut stream = Stream::default();
            let mut frames = stream.push(&text[..at]).unwrap();
            frames.extend(stream.push(&text[at..]).unwrap());
            let seen: Vec<_> =
                frames.iter().map(|f| (f.id.as_str(), f.event.as_str(), f.data.as_str())).collect();
            assert_eq!(seen, [("7", "progress", "{\"x\":\"ż\"}"), ("", "end", "{}")], "cut at {at}");
        }
    }
}
