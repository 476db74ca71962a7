//! What is known of the tools that plans are made of, whatever deployment they are in.

/// A tool, as far as plans are checked against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToolFacts {
    /// What plans call it.
    pub name: &'static str,
    /// What it is for and what it takes, in a sentence, for whoever plans.
    pub purpose: &'static str,
    /// What repeating it does to the world.
    pub effect: Effect,
    /// Whether an assistant's plan may use it without the definition saying so.
    pub is_harmless: bool,
}

/// What a tool does to the world, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it can be repeated until its result is in the journal.
    None,
    /// Something that changes nothing when it is repeated, or that the other side knows by its key.
    AtLeastOnce,
    /// Something that must not happen twice. A crash in the middle leaves the run in need of attention.
    AtMostOnce,
    /// It waits, for a time or a person.
    Waits,
}

impl Effect {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::AtLeastOnce => "at_least_once",
            Self::AtMostOnce => "at_most_once",
            Self::Waits => "waits",
        }
    }
}

/// Every tool there is. A deployment has those of them that it is configured for.
pub const TOOLS: [ToolFacts; 9] = [
    ToolFacts {
        name: "ask_assistant",
        purpose: "answers an `instruction` about a `text`: summarizes, extracts, drafts",
        effect: Effect::None,
        is_harmless: true,
    },
    ToolFacts {
        name: "http_request",
        purpose: "sends a request with `method`, `headers` and a `json` or `body` to a `url` on a host that the \
                  configuration names, and gives the answer",
        effect: Effect::AtLeastOnce,
        is_harmless: false,
    },
    ToolFacts {
        name: "mcp",
        purpose: "calls a `tool` with `arguments` on a `server` that the configuration names",
        // Once more only where the server says that repeating it changes nothing.
        effect: Effect::AtMostOnce,
        is_harmless: false,
    },
    ToolFacts {
        name: "publish_event",
        purpose: "publishes an event of a `type` with an object `detail` on the bus, for other systems",
        effect: Effect::AtLeastOnce,
        is_harmless: true,
    },
    ToolFacts {
        name: "request_approval",
        purpose: "asks a person a yes-or-no `question`, by email to a `recipient` that the definition names, and waits \
                  for the answer",
        effect: Effect::Waits,
        is_harmless: true,
    },
    ToolFacts {
        name: "send_email",
        purpose: "sends an email with `subject` and `text` to a `recipient` that the definition names",
        effect: Effect::AtMostOnce,
        is_harmless: false,
    },
    ToolFacts {
        name: "set_record",
        purpose: "keeps a `value` under a `name` beside the task: a checklist entry, a decision, a figure",
        effect: Effect::AtLeastOnce,
        is_harmless: true,
    },
    ToolFacts {
        name: "start_workflow",
        purpose: "starts a run of the workflow `type` on `data` and goes on without waiting for it",
        effect: Effect::AtLeastOnce,
        is_harmless: false,
    },
    ToolFacts {
        name: "wait",
        purpose: "waits for a number of `seconds`, or `until` a time of RFC 3339",
        effect: Effect::Waits,
        is_harmless: true,
    },
];

impl ToolFacts {
    /// The tool of this name.
    pub fn of(name: &str) -> Option<&'static Self> {
        TOOLS.iter().find(|tool| tool.name == name)
    }

    /// Whether a step with it can be broken off after a time: what may have happened once must not be given up.
    pub const fn takes_a_timeout(self) -> bool {
        matches!(self.effect, Effect::None | Effect::AtLeastOnce)
    }
}
