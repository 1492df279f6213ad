//! `[server]`: the MCP server of a pack, a program that is started or a place that is spoken to over HTTP.

use crate::command;
use crate::http::url::Address;
use crate::http::{Client, filled, headers};
use crate::manifest::section::{Fault, Section};
use crate::parameters::Parameters;
use crate::secret::Secrets;
use crate::template::{For, Place, Template, Values};
use ::http::{HeaderMap, HeaderName};
use astradesk_core::{Arguments, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The keys of `[server]`.
pub(crate) const KEYS: &[&str] = &["argv", "env", "directory", "url", "headers", "ca_file", "allow_http"];

/// Where the tools are.
#[derive(Debug)]
pub(crate) struct Server {
    way: Way,
    /// What the table says, for the versions of the tools: an approval is for this server and no other.
    pub(crate) meaning: Value,
}

#[derive(Debug)]
enum Way {
    Program { argv: Vec<String>, env: Vec<(String, Template)>, directory: PathBuf },
    Http { address: Box<Address>, headers: Vec<(HeaderName, Template)>, client: Client },
}

/// How it is reached, with every secret in its place.
pub(crate) enum Reach {
    Program { argv: Vec<String>, env: Vec<(String, String)>, directory: PathBuf },
    Http { url: String, headers: HeaderMap, client: reqwest::Client },
}

impl Server {
    /// Reads the table; `None` if there is none.
    pub(crate) fn read(file: &mut Section, client: &Client) -> Result<Option<Self>, Fault> {
        let meaning = file.peek("server").cloned().unwrap_or(Value::Null);
        let Some(mut table) = file.section("server", KEYS)? else { return Ok(None) };
        let way = match (table.has("argv"), table.has("url")) {
            (true, false) => program(&mut table)?,
            (false, true) => http(&mut table, client)?,
            _ => return Err(table.fault("must have either `argv` or `url`")),
        };
        Ok(Some(Self { way, meaning }))
    }

    /// A program with its arguments, or a URL, as somebody has typed it.
    pub(crate) fn typed(target: &Typed) -> Result<Self, Fault> {
        let table = match target {
            Typed::Url(url) => json!({"server": {"url": url}}),
            Typed::Argv(argv) => json!({"server": {"argv": argv}}),
        };
        let mut file = Section::new("", table.as_object().cloned().unwrap_or_default(), &["server"])?;
        Self::read(&mut file, &Client::default())?.ok_or_else(|| file.fault("has no `server`"))
    }

    /// What it is called in messages: the program, or the host.
    pub(crate) fn name(&self) -> String {
        match &self.way {
            Way::Program { argv, .. } => {
                let program = Path::new(argv.first().map_or("", String::as_str));
                program.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
            }
            Way::Http { address, .. } => address.host().to_owned(),
        }
    }

    /// How it is reached now. The secrets that are looked up are kept in `secrets`.
    ///
    /// # Errors
    /// `secret.missing`.
    pub(crate) fn reach(&self, secrets: &mut Secrets) -> Result<Reach> {
        let (parameters, arguments) = (Parameters::default(), Arguments::new());
        let purpose = For::Connection(secrets);
        let mut values = Values { parameters: &parameters, arguments: &arguments, purpose };
        match &self.way {
            Way::Program { argv, env, directory } => {
                let fill =
                    |(name, value): &(String, Template)| Ok((name.clone(), value.fill_plain(&mut values)?));
                let env = env.iter().map(fill).collect::<Result<_>>()?;
                Ok(Reach::Program { argv: argv.clone(), env, directory: directory.clone() })
            }
            Way::Http { address, headers, client } => {
                let url = address.fill(&mut values)?.to_string();
                let headers = filled(headers, &mut values)?;
                Ok(Reach::Http { url, headers, client: client.get()?.clone() })
            }
        }
    }
}

/// A server that somebody has typed.
#[derive(Debug, Clone)]
pub enum Typed {
    /// The address of a server that is there.
    Url(String),
    /// A program with its arguments.
    Argv(Vec<String>),
}

fn program(table: &mut Section) -> Result<Way, Fault> {
    if let Some(key) = ["headers", "ca_file", "allow_http"].into_iter().find(|key| table.has(key)) {
        return Err(table.fault_of(key, "it belongs to a server with a `url`"));
    }
    let none = Parameters::default();
    let argv = command::argv(table, &none)?;
    if !argv.iter().all(Template::is_fixed) {
        return Err(
            table.fault_of("argv", "a server is started for many runs, so nothing of one can stand here")
        );
    }
    let argv = argv.iter().map(|argument| argument.prefix().to_owned()).collect();
    let directory = command::directory(table)?;
    Ok(Way::Program { argv, env: command::env(table, &none, Place::Connection)?, directory })
}

fn http(table: &mut Section, client: &Client) -> Result<Way, Fault> {
    if let Some(key) = ["env", "directory"].into_iter().find(|key| table.has(key)) {
        return Err(table.fault_of(key, "it belongs to a server with `argv`"));
    }
    let none = Parameters::default();
    let address = Box::new(Address::read(table, "url", &none)?);
    let headers = headers(table, &none, Place::Connection)?;
    let is_reserved = |name: &HeaderName| {
        name.as_str().starts_with("mcp-") || matches!(name.as_str(), "accept" | "last-event-id")
    };
    if let Some((name, _)) = headers.iter().find(|(name, _)| is_reserved(name)) {
        return Err(table.fault_of("headers", format!("`{name}` is the protocol's own")));
    }
    if address.is_open() && !table.flag("allow_http")? {
        let why = "what is asked and answered would go over the network unencrypted: use `https://`, or say \
                   `allow_http = true` if the network is yours";
        return Err(table.fault_of("url", why));
    }
    Ok(Way::Http { address, headers, client: Client::read(table, client)? })
}
