//! The assistant that asks models: the definition's prompts, rendered, and answers that are checked.
//!
//! - `fence`: what came from outside, set apart so that it is seen to be data.
//! - `schema`: what an answer must look like, made from its Rust type; and answers read as that type.
//! - `answers`: those types.
//! - `accounts`: what may be spent, taken before each call.
//!
//! Invariants: nothing that came from outside stands in a prompt without a fence; a model's answer is what its type says
//! or it is no answer; what was asked counts, whatever came of it.
//!
//! An answer that is none is shown to the model once with what is wrong about it. A second one fails the step for good,
//! and the run keeps its text.
//!
//! Deliberately absent: a method without a prompt. What the definition has no prompt for, the rules do.

mod accounts;
mod answers;
mod fence;
mod schema;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::join;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

pub use self::accounts::Accounts;
use self::{
    answers::{Answered, EmailAnswer, PlanAnswer, ReportAnswer, ResponseAnswer, ReviewAnswer},
    fence::Fence,
};
use crate::{
    domain::{
        Failure, Kind, canonical_text,
        configuration::DEFAULT_GROUP,
        definition::{Definition, Prompt},
        document::{Content, Criterion, Review},
        email::{Draft, Email, EmailAnalysis},
        run::Usage,
        task::{Plan, StepResult, TaskInput, TaskReport},
    },
    models::{Router, Unanswered},
    ports::{
        Answer, Asking, Assistant, Clock, Entropy, ModelFailure, ModelRequest, Seen, Speaker, StepCache, Turn,
        UsageLedger, day_of,
    },
    rules::RulesAssistant,
    templates::{self, Values},
};

/// Asks models by the definition's prompts.
pub struct PromptAssistant {
    /// What results say answered.
    pub name: String,
    /// The models.
    pub router: Arc<Router>,
    /// Whether the rules answer when no model can.
    pub degrades_to_rules: bool,
    /// What may be spent.
    pub accounts: Accounts,
    /// Where it is added up what models took.
    pub usage: Arc<dyn UsageLedger>,
    /// Where answers are kept that prompts let count for equal questions.
    pub cache: Arc<dyn StepCache>,
    /// Tells when.
    pub clock: Arc<dyn Clock>,
    /// What fences are made of.
    pub fence: FenceKey,
}

/// What makes the fences of one process unlike those that anybody could write.
#[derive(Clone, Copy)]
pub struct FenceKey([u8; 32]);

impl FenceKey {
    /// A key that nobody can guess.
    pub fn new(entropy: &dyn Entropy) -> Self {
        let mut key = [0; 32];
        key[..16].copy_from_slice(&entropy.random().to_le_bytes());
        key[16..].copy_from_slice(&entropy.random().to_le_bytes());
        Self(key)
    }
}

/// One question.
struct Question<'a> {
    definition: &'a Definition,
    prompt: &'a Prompt,
    /// The assistant's method.
    name: &'static str,
    /// What came from outside, by the names that templates call it.
    outside: Vec<(&'static str, String)>,
    /// What did not.
    inside: Vec<(&'static str, Value)>,
}

/// What the assistant says of an answer that is not what was asked for.
const REPAIR: &str =
    "This is not a valid answer: {problem}. Answer again with the whole corrected JSON and nothing else.";

#[async_trait]
impl Assistant for PromptAssistant {
    fn model(&self) -> &str {
        &self.name
    }

    async fn analyze_email(&self, definition: &Definition, email: &Email) -> Result<Answer<EmailAnalysis>, Failure> {
        // What can be read off the mail needs no model, and is what the answer is laid over.
        let read = RulesAssistant.analyze_email(definition, email).await;
        let Some(prompt) = definition.prompts.get("analyze_email") else { return read };
        let read = read?;
        let attachments: Vec<&str> =
            email.attachments.iter().filter_map(|attachment| attachment.name.as_deref()).collect();
        let question = Question {
            definition,
            prompt,
            name: "analyze_email",
            outside: vec![(
                "email",
                format!(
                    "From: {}\nSubject: {}\nAttachments: {}\n\n{}",
                    email.from_name.as_deref().unwrap_or_default(),
                    email.subject,
                    attachments.join(", "),
                    email.text
                ),
            )],
            inside: vec![("templates", json!(definition.templates.keys().collect::<Vec<_>>()))],
        };
        let answer = self.ask_model(question, |answer: &EmailAnswer| answer.check(definition)).await;
        self.or_rules(answer, read, |answer, read| answer.over(read.value, email)).await
    }

    async fn generate_response(
        &self,
        definition: &Definition,
        template: &str,
        context: &BTreeMap<String, Value>,
    ) -> Result<Answer<Draft>, Failure> {
        let filled = RulesAssistant.generate_response(definition, template, context).await?;
        let Some(prompt) = definition.prompts.get("generate_response") else { return Ok(filled) };
        let draft = &filled.value;
        let question = Question {
            definition,
            prompt,
            name: "generate_response",
            outside: vec![
                ("context", json!(context).to_string()),
                ("draft", format!("Subject: {}\n\n{}", draft.subject, draft.text)),
            ],
            inside: vec![("template", json!(template))],
        };
        let answer = self.ask_model(question, |answer: &ResponseAnswer| answer.check(draft)).await;
        self.or_rules(answer, filled, |answer, filled| answer.over(&filled.value)).await
    }

    async fn review_document(
        &self,
        definition: &Definition,
        content: &Content,
        criterion: &Criterion,
    ) -> Result<Answer<Review>, Failure> {
        let Some(prompt) = definition.prompts.get("review_document") else {
            return RulesAssistant.review_document(definition, content, criterion).await;
        };
        let mut document = String::new();
        for section in &content.sections {
            document.push_str(&format!("[{}]\n{}\n\n", section.label, section.text));
        }
        let question = Question {
            definition,
            prompt,
            name: "review_document",
            // A criterion may have come with the document.
            outside: vec![("document", document), ("criterion", criterion.text.clone())],
            inside: vec![("is_truncated", json!(content.truncated))],
        };
        let answer = self.ask_model(question, ReviewAnswer::check).await;
        self.else_rules(answer, Review::from, || RulesAssistant.review_document(definition, content, criterion)).await
    }

    async fn analyze_task(
        &self,
        definition: &Definition,
        task: &TaskInput,
        tools: &[(&str, &str)],
    ) -> Result<Answer<Plan>, Failure> {
        let Some(prompt) = definition.prompts.get("analyze_task") else {
            return RulesAssistant.analyze_task(definition, task, tools).await;
        };
        let described: Vec<Value> =
            tools.iter().map(|(name, purpose)| json!({ "name": name, "purpose": purpose })).collect();
        let question = Question {
            definition,
            prompt,
            name: "analyze_task",
            outside: vec![("task", json!(task).to_string())],
            inside: vec![
                ("tools", json!(described)),
                ("recipients", json!(definition.recipients.keys().collect::<Vec<_>>())),
            ],
        };
        let answer = self.ask_model(question, |answer: &PlanAnswer| answer.check(tools)).await;
        self.else_rules(answer, |plan| Plan::from(&plan), || RulesAssistant.analyze_task(definition, task, tools)).await
    }

    async fn generate_report(
        &self,
        definition: &Definition,
        task: &TaskInput,
        results: &[StepResult],
    ) -> Result<Answer<TaskReport>, Failure> {
        let Some(prompt) = definition.prompts.get("generate_report") else {
            return RulesAssistant.generate_report(definition, task, results).await;
        };
        let question = Question {
            definition,
            prompt,
            name: "generate_report",
            outside: vec![("task", json!(task).to_string()), ("results", json!(results).to_string())],
            inside: Vec::new(),
        };
        let answer = self.ask_model(question, ReportAnswer::check).await;
        self.else_rules(answer, TaskReport::from, || RulesAssistant.generate_report(definition, task, results)).await
    }

    async fn ask(&self, definition: &Definition, instruction: &str, text: &str) -> Result<Answer<String>, Failure> {
        let Some(prompt) = definition.prompts.get("ask_assistant") else {
            return RulesAssistant.ask(definition, instruction, text).await;
        };
        let question = Question {
            definition,
            prompt,
            name: "ask_assistant",
            // The instruction is a plan's, and a plan may be a task's.
            outside: vec![("instruction", instruction.to_owned()), ("text", text.to_owned())],
            inside: Vec::new(),
        };
        let answer = self.ask_model(question, Answered::check).await;
        self.else_rules(answer, |answered| answered.answer, || RulesAssistant.ask(definition, instruction, text)).await
    }
}

/// Why a question has no answer.
enum Unasked {
    /// No node could answer: the rules may.
    NobodyThere(ModelFailure, Usage),
    /// The step fails.
    Failed(Failure),
}

impl From<Failure> for Unasked {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl PromptAssistant {
    /// The model's answer; where no model can answer, what the rules say when they are asked then.
    async fn else_rules<T, U, Asked>(
        &self,
        answer: Result<Answer<T>, Unasked>,
        of: impl FnOnce(T) -> U,
        rules: impl FnOnce() -> Asked,
    ) -> Result<Answer<U>, Failure>
    where
        Asked: Future<Output = Result<Answer<U>, Failure>>,
    {
        match answer {
            Ok(Answer { value, usage }) => Ok(Answer { value: of(value), usage }),
            Err(stop) => {
                let usage = self.degraded(stop).await?;
                Ok(Answer { value: rules().await?.value, usage })
            }
        }
    }

    /// The model's answer laid over what the rules have said already; that alone, where no model can answer.
    async fn or_rules<T, U>(
        &self,
        answer: Result<Answer<T>, Unasked>,
        by_rules: Answer<U>,
        over: impl FnOnce(T, Answer<U>) -> U,
    ) -> Result<Answer<U>, Failure> {
        match answer {
            Ok(Answer { value, usage }) => Ok(Answer { value: over(value, by_rules), usage }),
            Err(stop) => Ok(Answer { value: by_rules.value, usage: self.degraded(stop).await? }),
        }
    }

    /// What a call takes that the rules answer in the models' place, if they may.
    async fn degraded(&self, stop: Unasked) -> Result<Usage, Failure> {
        match stop {
            Unasked::NobodyThere(failure, mut usage) if self.degrades_to_rules => {
                tracing::warn!(model.fault = failure.fault.name(), "no model can answer: the rules do");
                let by_rules = Usage { api_calls: 1, degraded_calls: 1, ..Usage::default() };
                self.add_up(by_rules).await;
                usage += by_rules;
                Ok(usage)
            }
            Unasked::NobodyThere(failure, usage) => Err(failure.into_failure(usage)),
            Unasked::Failed(failure) => Err(failure),
        }
    }

    async fn ask_model<T>(
        &self,
        question: Question<'_>,
        check: impl Fn(&T) -> Result<(), String> + Send,
    ) -> Result<Answer<T>, Unasked>
    where
        T: Serialize + DeserializeOwned + JsonSchema + Send,
    {
        let place = self.place_in_cache(&question);
        if let Some((key, _)) = &place
            && let Some(value) = self.kept(key).await
            && let Ok(value) = serde_json::from_value::<T>(value)
            && check(&value).is_ok()
        {
            if let Some((_, asking)) = &place {
                self.router.monitor().note(&Seen::AnswerReused { workflow: asking.workflow });
            }
            return Ok(Answer { value, usage: Usage::default() });
        }
        let group = question.prompt.nodes.as_deref().unwrap_or(DEFAULT_GROUP);
        let mut request = self.request::<T>(&question)?;
        let mut usage = Usage::default();
        for is_last in [false, true] {
            let text = self.completed(group, &request, &mut usage).await?;
            let problem = match schema::read::<T>(&text) {
                Ok(value) => match check(&value) {
                    Ok(()) => {
                        if let Some((key, asking)) = place {
                            self.keep(&key, &asking, question.prompt.cache, &value).await;
                        }
                        return Ok(Answer { value, usage });
                    }
                    Err(problem) => problem,
                },
                Err(problem) => problem,
            };
            if is_last {
                let message = format!("the model's answer to `{}` is not valid, nor is its repair", question.name);
                return Err(Failure::validation(message).after_asking(usage, Some(&text)).into());
            }
            request.turns.push(Turn { speaker: Speaker::Model, stable: String::new(), text });
            let repair = REPAIR.replace("{problem}", &problem);
            request.turns.push(Turn { speaker: Speaker::User, stable: String::new(), text: repair });
        }
        Err(Failure::new(Kind::Unknown, "a question was asked twice without an end").into())
    }

    /// One call, with what it may cost taken before and what it did not cost given back after it.
    async fn completed(&self, group: &str, request: &ModelRequest, usage: &mut Usage) -> Result<String, Unasked> {
        let most = self.router.most(group, request);
        let hold = self.accounts.reserve(most).await.map_err(|failure| failure.after_asking(*usage, None))?;
        let outcome = self.router.complete(group, request).await;
        let took = match &outcome {
            Ok(routed) => routed.usage,
            Err(unanswered) => unanswered.usage,
        };
        join(self.accounts.settle(hold, took.cost_microdollars), self.add_up(took)).await;
        *usage += took;
        match outcome {
            Ok(routed) => Ok(routed.answer.text),
            Err(Unanswered { failure, .. }) if failure.fault.is_of_the_node() => {
                Err(Unasked::NobodyThere(failure, *usage))
            }
            Err(Unanswered { failure, .. }) => Err(failure.into_failure(*usage).into()),
        }
    }

    /// Adds a call to its workflow's day. One that cannot be added is missing there, and counts on its run all the same.
    async fn add_up(&self, usage: Usage) {
        let Some(asking) = Asking::present().filter(|_| !usage.is_none()) else { return };
        if let Err(failure) = self.usage.add(asking.workflow, day_of(self.clock.now()), usage).await {
            tracing::warn!(error.kind = %failure.kind, error.message = failure.message, "a call was not added up");
        }
    }

    fn request<T: JsonSchema>(&self, question: &Question<'_>) -> Result<ModelRequest, Failure> {
        let Question { definition, prompt, name, .. } = question;
        let render = |field: &str, source: &str, values: &Values| {
            templates::render(&format!("prompts.{name}.{field}"), source, values)
        };
        let mut values: Values = definition.variables.clone();
        let system = format!("{}\n\n{}", render("system", &prompt.system, &values)?.trim_end(), fence::RULE);
        for (name, value) in &question.inside {
            values.insert((*name).to_owned(), value.clone());
        }
        for (name, text) in &question.outside {
            values.insert((*name).to_owned(), json!(Fence::around(self.fence, text).enclose(name, text)));
        }
        let turn = Turn {
            speaker: Speaker::User,
            stable: render("stable", &prompt.stable, &values)?,
            text: render("user", &prompt.user, &values)?,
        };
        Ok(ModelRequest {
            system,
            turns: vec![turn],
            schema: Arc::new(schema::of::<T>(name)),
            temperature: prompt.temperature,
            max_output_tokens: prompt.max_output_tokens,
            timeout: Duration::from_secs(prompt.timeout.into()),
        })
    }

    /// Under what key an answer is kept, and for whom; `None` when it is not.
    fn place_in_cache(&self, question: &Question<'_>) -> Option<(String, Asking)> {
        let asking = (question.prompt.cache > 0).then(Asking::present).flatten()?;
        let whole = json!({
            "caller": asking.caller,
            "workflow": asking.workflow,
            "name": question.name,
            "prompt": question.prompt,
            "variables": question.definition.variables,
            "outside": question.outside,
            "inside": question.inside,
        });
        Some((blake3::hash(canonical_text(&whole).as_bytes()).to_hex().to_string(), asking))
    }

    /// A cache that fails is as good as none.
    async fn kept(&self, key: &str) -> Option<Value> {
        match self.cache.get(key, self.clock.now()).await {
            Ok(value) => value,
            Err(failure) => {
                tracing::warn!(error.kind = %failure.kind, error.message = failure.message, "no look into the cache");
                None
            }
        }
    }

    async fn keep<T: Serialize>(&self, key: &str, asking: &Asking, seconds: u32, value: &T) {
        let until = self.clock.now().checked_add(SignedDuration::from_secs(seconds.into()));
        let (Ok(until), Ok(value)) = (until, serde_json::to_value(value)) else { return };
        if let Err(failure) = self.cache.put(key, asking.run, &value, until).await {
            tracing::warn!(error.kind = %failure.kind, error.message = failure.message, "an answer was not cached");
        }
    }
}
