//! The planner: the question, the answer, one repair round, and all of it on record.

use crate::answer::{self, Answer, Asked, Fault, Proposal};
use crate::budget::{Ledger, reckoned};
use crate::exchange::{Exchanged, Server};
use crate::offer::{Known, Offer};
use crate::question::{self, Question};
use crate::said::Said;
use crate::settings::Settings;
use astradesk_core::canonical::Digest;
use astradesk_core::consultation::{LLM, Offered, Usage};
use astradesk_core::text::is_hidden;
use astradesk_core::{Code, Consultation, Error, Plan, Result, ToolSpec, redact};
use astradesk_runtime::planner::Aliases;
use astradesk_runtime::port::{Clock, Names, Planner};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// The most questions at the same time; others wait for their turn, within their own time limit.
const CONCURRENT: usize = 8;
/// A question, and once more with what was wrong with the answer.
const ROUNDS: u8 = 2;

/// Plans by asking a language model.
pub struct LlmPlanner {
    settings: Settings,
    server: Server,
    ledger: Ledger,
    turns: Semaphore,
    aliases: Arc<Aliases>,
    clock: Arc<dyn Clock>,
}

impl LlmPlanner {
    /// The planner, with what people call services; nothing is asked yet.
    ///
    /// # Errors
    /// [`Code::ConfigInvalid`].
    pub fn new(settings: Settings, aliases: Arc<Aliases>, clock: Arc<dyn Clock>) -> Result<Self> {
        let server = Server::new(&settings)?;
        let ledger = Ledger::new(settings.budget);
        Ok(Self { settings, server, ledger, turns: Semaphore::new(CONCURRENT), aliases, clock })
    }

    /// The models that the server has, as it says.
    ///
    /// # Errors
    /// `llm.*`.
    pub async fn models(&self) -> Result<Vec<String>> {
        self.server.models(&self.settings, Instant::now() + self.settings.timeout).await
    }

    /// The tools that the principal may use, with the names that the sentence says.
    async fn offers(&self, tools: &[Arc<ToolSpec>], names: &dyn Names, said: &Said) -> Result<Vec<Offer>> {
        let mut offers = Vec::new();
        for tool in tools.iter().filter(|tool| names.may_use(tool)) {
            let mut known = BTreeMap::new();
            for argument in Offer::texts(tool) {
                let Some(all) = names.candidates(&tool.name, &argument).await? else { continue };
                if all.is_empty() {
                    continue;
                }
                let here: Vec<String> = all.into_iter().filter(|name| said.names(name)).collect();
                let permitted = names.permitted(&tool.name, &argument, &here).await;
                known.insert(argument, Known { all_permitted: permitted.len() == here.len(), said: here });
            }
            offers.extend(Offer::new(tool.clone(), known));
        }
        Ok(offers)
    }

    /// Asks once, and reads what came.
    async fn exchange(&self, question: &Question, asked: &Asked, deadline: Instant) -> Result<Exchange> {
        let late = || Error::new(Code::LlmUnreachable, "the language model is asked by too many at once");
        let _turn = timeout_at(deadline, self.turns.acquire()).await.map_err(|_| late())?;
        let taken = self.ledger.take(self.clock.elapsed(), question.body.len(), self.settings.max_tokens)?;
        let begun = Instant::now();
        let Exchanged { attempts, answer } = self.server.ask(&self.settings, &question.body, deadline).await;
        let took = begun.elapsed();
        let bytes = answer.as_ref().map_or(0, Vec::len);
        let digest = answer.as_ref().ok().map(Digest::of);
        let read = answer.map(|bytes| answer::read(&bytes, asked));
        let counted = read.as_ref().ok().and_then(|answer| answer.usage);
        let usage = counted.unwrap_or_else(|| reckon(question, bytes, attempts));
        self.ledger.settle(taken, usage);
        Ok(Exchange { attempts, took, bytes, digest, usage, read })
    }
}

/// A question was asked.
struct Exchange {
    attempts: u32,
    took: Duration,
    bytes: usize,
    digest: Option<Digest>,
    usage: Usage,
    read: Result<Answer>,
}

/// The tokens, about, where the server does not say.
fn reckon(question: &Question, answer_bytes: usize, attempts: u32) -> Usage {
    Usage {
        prompt_tokens: reckoned(question.body.len()).saturating_mul(u64::from(attempts)),
        completion_tokens: reckoned(answer_bytes),
    }
}

impl Exchange {
    /// The plan, or why there is none; what may be mended is told apart.
    fn outcome(&self) -> Result<Vec<astradesk_core::Call>, (Error, Option<String>)> {
        let answer = self.read.as_ref().map_err(|error| (error.clone(), None))?;
        match &answer.proposal {
            Ok(Proposal::Calls(calls)) => Ok(calls.clone()),
            Ok(Proposal::Refusal(reason)) => {
                let message = format!("the language model takes it for no instruction: \"{reason}\"");
                Err((Error::new(Code::PlanNotInstruction, message), None))
            }
            Err(Fault::Protocol(what)) => {
                let message =
                    format!("the language model's server does not answer as its protocol says: {what}");
                Err((Error::new(Code::LlmAnswerInvalid, message), None))
            }
            Err(Fault::Plan(what)) => {
                let message = format!("the language model's answer is no plan: {what}");
                Err((Error::new(Code::PlanInvalid, message), Some(what.clone())))
            }
        }
    }
}

#[async_trait]
impl Planner for LlmPlanner {
    fn name(&self) -> &'static str {
        LLM
    }

    async fn plan(&self, input: &str, tools: &[Arc<ToolSpec>], names: &dyn Names) -> Result<Plan> {
        let deadline = Instant::now() + self.settings.timeout;
        let sentence = sayable(input);
        let said = Said::of(&sentence).with_aliases(self.aliases.all());
        let offers = self.offers(tools, names, &said).await?;
        if offers.is_empty() {
            let message = "there is no tool that you may use, so no language model was asked";
            return Err(Error::new(Code::PlanNoAction, message));
        }
        let (mode, max_steps) = (self.settings.mode, self.settings.max_steps);
        let asked = Asked { mode, said, offers, max_steps };
        let mut fault = None;
        let mut round = 1;
        loop {
            let question = question::ask(&self.settings, &asked, &sentence, fault.as_deref())?;
            let exchange = self.exchange(&question, &asked, deadline).await?;
            let outcome = exchange.outcome();
            let error = outcome.as_ref().err().map(|(error, _)| error);
            names.consulted(self.consultation(question, &asked, round, &exchange, error)).await?;
            match outcome {
                Ok(calls) => return Ok(Plan { planner: LLM.to_owned(), calls, understood: Vec::new() }),
                Err((_, Some(what))) if round < ROUNDS => fault = Some(what),
                Err((error, _)) => return Err(error),
            }
            round += 1;
        }
    }
}

impl LlmPlanner {
    fn consultation(
        &self,
        question: Question,
        asked: &Asked,
        round: u8,
        exchange: &Exchange,
        error: Option<&Error>,
    ) -> Consultation {
        let answered_by = exchange.read.as_ref().ok().and_then(|answer| answer.model.clone());
        let offered =
            |offer: &Offer| Offered { tool: offer.spec.name.clone(), version: offer.spec.version.clone() };
        Consultation {
            endpoint: self.settings.base_url.to_string(),
            model: self.settings.model.clone(),
            answered_by,
            round,
            attempts: exchange.attempts,
            instructions: question::VERSION.to_owned(),
            question_digest: Digest::of(&question.body),
            prompt: question.prompt,
            tools: asked.offers.iter().map(offered).collect(),
            answer_digest: exchange.digest,
            answer_bytes: exchange.bytes,
            usage: exchange.usage,
            milliseconds: u64::try_from(exchange.took.as_millis()).unwrap_or(u64::MAX),
            outcome: error.map_or_else(|| "plan".to_owned(), |error| error.code.to_string()),
            fault: error.map(|error| error.message.clone()),
        }
    }
}

/// What was said as it may leave: without what nobody sees, and without what looks like a secret.
fn sayable(input: &str) -> String {
    let seen: String = input.chars().filter(|c| matches!(c, '\n' | '\t') || !is_hidden(*c)).collect();
    redact::text(&seen)
}
