//! Ways to a model, and what needs make of them.

use crate::domain::words::words;

type Text = Box<str>;

words! {
    /// A way to a model.
    pub enum Route {
        /// An API of a model whose weights nobody else has, or of the publisher's own.
        VendorApi = "VENDOR_API",
        /// An API of a model with public weights, by somebody else than its publisher.
        HostedOpenWeights = "HOSTED_OPEN_WEIGHTS",
        /// Public weights on accelerators of one's own, or rented by the hour.
        SelfHosted = "SELF_HOSTED",
    }
}

words! {
    /// Whether a route is open; the gravest reason decides.
    pub enum Standing {
        /// It meets what is needed.
        Open = "OPEN",
        /// Somebody has to look.
        Review = "REVIEW",
        /// It cannot meet what is needed.
        Closed = "CLOSED",
    }
}

words! {
    /// What a reason is about, in the order in which reasons of the same weight are told.
    pub enum Topic {
        /// Data stays on one's own premises.
        OnPremises = "ON_PREMISES",
        /// It runs without a network.
        Offline = "OFFLINE",
        /// It runs on a device of a size.
        DeviceMemory = "DEVICE_MEMORY",
        /// Rules for the data.
        Compliance = "COMPLIANCE",
        /// Weights are trained further in private.
        PrivateFineTuning = "PRIVATE_FINE_TUNING",
        /// The use keeps to a provider.
        Provider = "PROVIDER",
        /// Whether models may be used so.
        Eligibility = "ELIGIBILITY",
        /// Whether accelerators that are known hold a model.
        Hardware = "HARDWARE",
        /// What it may cost.
        Budget = "BUDGET",
        /// How fast it must be.
        Latency = "LATENCY",
        /// What it costs.
        Cost = "COST",
    }
}

/// Rules for data, for example of a law, and what they mean for each route.
#[derive(Clone, Debug, PartialEq)]
pub struct ComplianceRule {
    /// Id, for example "hipaa".
    pub id: Text,
    /// Name for people.
    pub display_name: Text,
    /// Where they are written.
    pub url: Text,
    /// What they mean: one for each of [`Route::ALL`], and one for weights hosted on one's own premises.
    pub stances: Vec<Stance>,
}

/// What rules mean for a route.
#[derive(Clone, Debug, PartialEq)]
pub struct Stance {
    /// The route.
    pub route: Route,
    /// It holds on one's own premises; the others where machines may be rented.
    pub on_premises: bool,
    /// Whether it is open.
    pub standing: Standing,
    /// Why, a sentence.
    pub text: Text,
    /// The provision.
    pub clause: Text,
}

/// What is needed of a way to a model. Numbers that are not given are not needed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Needs {
    /// Data must not leave one's own premises.
    pub on_premises: bool,
    /// Rules that hold for the data.
    pub compliance: Vec<ComplianceRule>,
    /// Weights are trained further on data that nobody else may see.
    pub private_fine_tuning: bool,
    /// It runs without a network.
    pub offline: bool,
    /// Memory of the device that it runs on, in bytes.
    pub device_memory: Option<f64>,
    /// Tokens a day.
    pub tokens_per_day: Option<f64>,
    /// Most US dollars a day.
    pub budget_per_day: Option<f64>,
    /// Most seconds until the first token of an answer.
    pub first_token_seconds: Option<f64>,
    /// Least tokens a second of one request.
    pub request_tokens_per_second: Option<f64>,
}

/// Why a route stands where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteReason {
    /// What it is about.
    pub topic: Topic,
    /// What it does to the route.
    pub standing: Standing,
    /// A sentence.
    pub text: String,
    /// Where that is written; empty: it follows from the request or the registry.
    pub source: String,
}

impl RouteReason {
    /// A reason that follows from the request or the registry.
    #[must_use]
    pub fn new(topic: Topic, standing: Standing, text: impl Into<String>) -> Self {
        Self { topic, standing, text: text.into(), source: String::new() }
    }
}

impl Needs {
    /// Whether the model runs on a device without a network.
    #[must_use]
    pub fn on_device(&self) -> bool {
        self.offline || self.device_memory.is_some()
    }

    /// What the needs themselves make of a route, before any model is looked at.
    #[must_use]
    pub fn reasons(&self, route: Route) -> Vec<RouteReason> {
        let by_api = matches!(route, Route::VendorApi | Route::HostedOpenWeights);
        let mut out = Vec::new();
        let mut say = |topic, standing, text: &str| out.push(RouteReason::new(topic, standing, text));
        if self.on_premises {
            match by_api {
                true => say(Topic::OnPremises, Standing::Closed, "what is asked leaves the premises for the provider"),
                false => say(Topic::OnPremises, Standing::Open, "weights and data stay on the premises"),
            }
        }
        if self.offline {
            match by_api {
                true => say(Topic::Offline, Standing::Closed, "an API needs a network"),
                false => say(Topic::Offline, Standing::Open, "public weights run without a network"),
            }
        }
        if self.device_memory.is_some() && by_api {
            say(Topic::DeviceMemory, Standing::Closed, "an API does not run on the device");
        }
        if self.private_fine_tuning {
            let (standing, text) = match route {
                Route::VendorApi => (
                    Standing::Review,
                    "what it is trained on goes to the vendor, who also keeps the weights: ask for terms",
                ),
                Route::HostedOpenWeights => {
                    (Standing::Review, "what it is trained on, or the new weights, go to the provider: ask for terms")
                }
                Route::SelfHosted => (Standing::Open, "weights are trained where the data is"),
            };
            say(Topic::PrivateFineTuning, standing, text);
        }
        for rule in &self.compliance {
            // Devices may be anywhere.
            let own = !by_api && self.on_premises;
            let stances = rule.stances.iter().filter(|stance| stance.route == route && stance.on_premises == own);
            out.extend(stances.map(|Stance { standing, text, clause, .. }| RouteReason {
                topic: Topic::Compliance,
                standing: *standing,
                text: format!("{}: {text}", rule.display_name),
                source: if clause.is_empty() { rule.url.to_string() } else { format!("{clause}, {}", rule.url) },
            }));
        }
        if by_api && (self.first_token_seconds.is_some() || self.request_tokens_per_second.is_some()) {
            let text = "the registry does not know how fast providers answer: measure it";
            out.push(RouteReason::new(Topic::Latency, Standing::Review, text));
        }
        out
    }
}
