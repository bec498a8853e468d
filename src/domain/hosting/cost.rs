//! Cost: machines that are paid by the hour, against a price for tokens.

use super::Span;

const HOURS_A_DAY: f64 = 24.0;
const MILLION: f64 = 1e6;

/// Machines of one kind that serve a model: each costs the same whether it works or not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// US dollars for an hour of one.
    pub usd_per_hour: f64,
    /// US dollars a day for what comes beside the machines, however many there are.
    pub operations_per_day: f64,
    /// Tokens a day of one at full load.
    pub tokens_per_day: f64,
    /// Share of that which it is kept busy with, above 0 and at most 1.
    pub utilization: f64,
}

/// What an API asks for a million tokens, in US dollars: both are more than 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenPrice {
    /// Of prompts.
    pub input: f64,
    /// Of answers.
    pub output: f64,
}

impl TokenPrice {
    /// A price where there is one: 0 stands for a free tier, a plan, or nothing known, and is none.
    #[must_use]
    pub fn of(input: Option<f64>, output: Option<f64>) -> Option<Self> {
        let price = |price: Option<f64>| price.filter(|price| price.is_finite() && *price > 0.0);
        Some(Self { input: price(input)?, output: price(output)? })
    }

    /// US dollars for a million tokens of both, with a number of tokens of prompts for each of an answer.
    #[must_use]
    pub fn blended(&self, input_output_ratio: f64) -> f64 {
        (self.input * input_output_ratio + self.output) / (1.0 + input_output_ratio)
    }
}

/// From how many tokens a day on machines cost no more than an API.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BreakEven {
    /// From there on.
    At {
        /// The least number of tokens a day at which machines cost no more.
        tokens_per_day: f64,
        /// Above this it stays so: before, the API is cheaper again whenever one more machine has just begun.
        always_above: f64,
    },
    /// Never: a machine at work costs more for its tokens than the API does.
    Never,
}

impl Machine {
    /// US dollars a day of one.
    #[must_use]
    pub fn usd_per_day(&self) -> f64 {
        self.usd_per_hour * HOURS_A_DAY
    }

    /// Tokens a day that one is given.
    #[must_use]
    pub fn used_tokens_per_day(&self) -> f64 {
        self.tokens_per_day * self.utilization
    }

    /// How many are needed for a number of tokens a day: one at least.
    #[must_use]
    pub fn needed(&self, tokens_per_day: f64) -> f64 {
        (tokens_per_day / self.used_tokens_per_day()).ceil().max(1.0)
    }

    /// US dollars a day for a number of tokens a day.
    #[must_use]
    pub fn cost_per_day(&self, tokens_per_day: f64) -> f64 {
        self.needed(tokens_per_day) * self.usd_per_day() + self.operations_per_day
    }

    /// US dollars for a million tokens, at a number of tokens a day.
    #[must_use]
    pub fn cost_per_million(&self, tokens_per_day: f64) -> f64 {
        self.cost_per_day(tokens_per_day) / tokens_per_day * MILLION
    }

    /// US dollars for a million tokens where every machine has all that it is to be given: less is not possible.
    #[must_use]
    pub fn least_per_million(&self) -> f64 {
        self.usd_per_day() / self.used_tokens_per_day() * MILLION
    }

    /// From how many tokens a day on they cost no more than an API with a price for a million tokens.
    #[must_use]
    pub fn break_even(&self, usd_per_million: f64) -> BreakEven {
        let fixed = self.usd_per_day();
        let operations = self.operations_per_day;
        let price = usd_per_million / MILLION;
        // What the API asks for the tokens of one machine, beyond what the machine costs.
        let full = price * self.used_tokens_per_day();
        let gain = full - fixed;
        if gain < 0.0 || (gain <= 0.0 && operations > 0.0) {
            return BreakEven::Never;
        }
        let crossing = |machines: f64| (machines * fixed + operations) / price;
        // With m machines the API costs as much at `crossing(m)` tokens; that has to be within what m machines can do.
        let first = if operations > 0.0 { (operations / gain).ceil().max(1.0) } else { 1.0 };
        // The last machine at whose beginning the API is cheaper again. Where nothing is gained, that never ends.
        let last = if gain > 0.0 { (((operations + full) / gain).ceil() - 1.0).max(first) } else { f64::INFINITY };
        BreakEven::At { tokens_per_day: crossing(first), always_above: crossing(last) }
    }
}

/// From how many tokens a day on any of several kinds of machines costs no more than an API, with the kind that does first; `None`:
/// there is no kind.
#[must_use]
pub fn first_break_even(machines: &[Machine], usd_per_million: f64) -> Option<(usize, BreakEven)> {
    let all: Vec<BreakEven> = machines.iter().map(|machine| machine.break_even(usd_per_million)).collect();
    let at = |at: &BreakEven| match at {
        BreakEven::At { tokens_per_day, always_above } => (*tokens_per_day, *always_above),
        BreakEven::Never => (f64::INFINITY, f64::INFINITY),
    };
    let (first, found) = all.iter().enumerate().min_by(|(_, a), (_, b)| at(a).0.total_cmp(&at(b).0))?;
    // It may be another kind with which it stays so.
    let always_above = all.iter().map(|found| at(found).1).fold(f64::INFINITY, f64::min);
    Some((
        first,
        match found {
            BreakEven::At { tokens_per_day, .. } => BreakEven::At { tokens_per_day: *tokens_per_day, always_above },
            BreakEven::Never => BreakEven::Never,
        },
    ))
}

/// The cheapest, the usual and the dearest case of machines: the better the case, the cheaper and faster they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cases {
    /// Least price, greatest speed.
    pub low: Machine,
    /// Usual price, middle speed.
    pub typical: Machine,
    /// Greatest price, least speed.
    pub high: Machine,
}

impl Cases {
    /// Of prices for an hour of a machine, and of tokens a day of one at full load.
    #[must_use]
    pub fn of(usd_per_hour: [f64; 3], tokens_per_day: Span, utilization: f64, operations_per_day: f64) -> Self {
        let [low, typical, high] = usd_per_hour;
        let machine =
            |usd_per_hour, tokens_per_day| Machine { usd_per_hour, operations_per_day, tokens_per_day, utilization };
        Self {
            low: machine(low, tokens_per_day.high),
            typical: machine(typical, tokens_per_day.middle()),
            high: machine(high, tokens_per_day.low),
        }
    }
}
