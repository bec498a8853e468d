//! What an estimate takes for granted.

use crate::domain::words::words;

type Text = Box<str>;

words! {
    /// Something that an estimate takes for granted, under the name by which it is overridden.
    pub enum Assumption {
        /// Share of a device's memory that can be filled.
        UsableMemoryFraction = "usable_memory_fraction",
        /// Memory that the serving program takes on each device, in gigabytes.
        FrameworkGb = "framework_gb",
        /// Tokens of prompts that are read in one step.
        PrefillChunkTokens = "prefill_chunk_tokens",
        /// Values kept of each such token while a layer is computed, as a multiple of the hidden size.
        ActivationsPerHidden = "activations_per_hidden",
        /// Memory of activations where the hidden size is not known, as a share of the weights at 16 bits.
        ActivationFraction = "activation_fraction",
        /// What scales and layers that stay wider add to weights of 4 bits, as a share of them.
        Int4OverheadFraction = "int4_overhead_fraction",
        /// Values of the key-value cache of one token of a model of 8 billion parameters, where the architecture is not known; it
        /// grows with the square root of the parameters.
        FallbackKeyValues = "fallback_key_values",
        /// Share of the memory bandwidth that is reached while answers are written, at least.
        BandwidthEfficiencyLow = "bandwidth_efficiency_low",
        /// The same at most.
        BandwidthEfficiencyHigh = "bandwidth_efficiency_high",
        /// Share of the peak of operations that is reached while prompts are read, at least.
        ComputeEfficiencyLow = "compute_efficiency_low",
        /// The same at most.
        ComputeEfficiencyHigh = "compute_efficiency_high",
        /// Microseconds that accelerators take to begin to add up what each has computed, which they do twice a layer.
        LinkLatencyUs = "link_latency_us",
        /// US dollars a day for people and whatever else comes beside the hours of accelerators.
        OperationsUsdPerDay = "operations_usd_per_day",
    }
}

/// What is assumed where nobody says otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Assumed {
    /// What it is of.
    pub assumption: Assumption,
    /// The value.
    pub value: f64,
    /// The least that can be said instead.
    pub least: f64,
    /// The most.
    pub most: f64,
    /// Unit; empty: a plain number.
    pub unit: Text,
    /// What it means, in a sentence.
    pub text: Text,
    /// Why this value: where it was read.
    pub source: Text,
}

/// The values of one estimate.
#[derive(Clone, Debug, PartialEq)]
pub struct Assumptions {
    values: [f64; Assumption::ALL.len()],
}

impl Assumptions {
    /// Those of a table; `None` where it lacks one.
    #[must_use]
    pub fn of(table: &[Assumed]) -> Option<Self> {
        let mut values = [f64::NAN; Assumption::ALL.len()];
        for (value, assumption) in values.iter_mut().zip(Assumption::ALL) {
            *value = table.iter().find(|row| row.assumption == *assumption)?.value;
        }
        Some(Self { values })
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, assumption: Assumption) -> f64 {
        // INVARIANT: there is a value for each.
        self.values.get(assumption as usize).copied().unwrap_or(f64::NAN)
    }

    /// The same, with another value for one.
    #[must_use]
    pub fn with(mut self, assumption: Assumption, value: f64) -> Self {
        if let Some(held) = self.values.get_mut(assumption as usize) {
            *held = value;
        }
        self
    }
}
