//! What it takes to run a model oneself: memory, hardware, speed, cost, and how that compares with a price for tokens.
//!
//! Arithmetic on known facts, and on [`Assumptions`] which every answer lists. What is not known gives no figure: a number of
//! parameters is never taken as 0, and neither is a price.
//!
//! Units: bytes, seconds, US dollars; a gigabyte is 10^9 bytes.

mod accelerator;
mod assumption;
mod cost;
mod memory;
mod route;
mod shape;
mod span;
mod speed;

#[cfg(test)]
mod tests;

pub use accelerator::{Accelerator, Prices};
pub use assumption::{Assumed, Assumption, Assumptions};
pub use cost::{BreakEven, Cases, Machine, TokenPrice, first_break_even};
pub use memory::{Fit, Memory, fit, memory, requests_held};
pub use route::{ComplianceRule, Needs, Route, RouteReason, Stance, Standing, Topic};
pub use shape::{Architecture, Experts, Recurrent, Shape, Window};
pub use span::Span;
pub use speed::{Speed, speed};

use super::words::words;

/// What the built-in catalog knows of hardware, and of rules for where data may go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hardware {
    /// Kinds of accelerators, by id.
    pub accelerators: Vec<Accelerator>,
    /// What is assumed where nobody says otherwise: each of [`Assumption::ALL`] once.
    pub assumed: Vec<Assumed>,
    /// Rules for data, by id.
    pub compliance: Vec<ComplianceRule>,
}

words! {
    /// In how many bits a number is kept.
    pub enum Precision {
        /// 32-bit floating point.
        Fp32 = "FP32",
        /// 16-bit floating point, of either kind.
        Bf16 = "BF16",
        /// 8 bits: floating point or whole numbers.
        Fp8 = "FP8",
        /// 4 bits, with scales beside them.
        Int4 = "INT4",
    }
}

impl Precision {
    /// Bytes of one number, without scales.
    #[must_use]
    pub const fn bytes(self) -> f64 {
        match self {
            Self::Fp32 => 4.0,
            Self::Bf16 => 2.0,
            Self::Fp8 => 1.0,
            Self::Int4 => 0.5,
        }
    }
}

/// What a model is asked to do at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Tokens of one request, in and out.
    pub context_tokens: u32,
    /// Requests that are answered at the same time.
    pub concurrent_requests: u32,
    /// Of the weights.
    pub precision: Precision,
    /// Of the key-value cache.
    pub key_value_precision: Precision,
}

impl Workload {
    /// Tokens that are held at the same time.
    #[must_use]
    pub fn tokens(&self) -> f64 {
        f64::from(self.context_tokens) * f64::from(self.concurrent_requests)
    }
}
