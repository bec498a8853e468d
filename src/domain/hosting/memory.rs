//! Memory: weights, key-value cache, activations, and whether a number of accelerators holds them.

use super::{Accelerator, Architecture, Assumption, Assumptions, Precision, Shape, Window, Workload};

/// Parameters of the model that the fallback for an unknown architecture is stated for.
const FALLBACK_PARAMETERS: f64 = 8e9;
/// Heads of keys and values of such a model.
const FALLBACK_HEADS: f64 = 8.0;

/// Memory on one device, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    /// Weights: parameters times bytes of the precision.
    pub weights: f64,
    /// Scales of weights of 4 bits, and what of them stays wider.
    pub quantization: f64,
    /// Keys and values of all tokens that are held at the same time.
    pub key_value_cache: f64,
    /// States of layers that keep no tokens.
    pub recurrent_state: f64,
    /// What is computed with in between.
    pub activations: f64,
    /// The serving program itself.
    pub framework: f64,
}

impl Memory {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> f64 {
        let Self { weights, quantization, key_value_cache, recurrent_state, activations, framework } = *self;
        weights + quantization + key_value_cache + recurrent_state + activations + framework
    }
}

/// Memory on each of a number of devices that share the model (tensor parallel).
///
/// Weights are shared out. Keys and values are shared out by heads, so that a head is kept more than once where there are more
/// devices than heads; what latent attention keeps has no heads, and is on every device. Activations and the program are on every
/// device as well.
#[must_use]
pub fn memory(shape: &Shape, workload: &Workload, assumptions: &Assumptions, devices: u32) -> Memory {
    let n = f64::from(devices.max(1));
    let get = |assumption| assumptions.get(assumption);
    let weights = shape.parameters * workload.precision.bytes();
    let overhead = match workload.precision {
        Precision::Int4 => get(Assumption::Int4OverheadFraction),
        Precision::Fp32 | Precision::Bf16 | Precision::Fp8 => 0.0,
    };
    let requests = f64::from(workload.concurrent_requests);
    let bytes = workload.key_value_precision.bytes();
    let values = match &shape.architecture {
        Some(architecture) => requests * key_values(architecture, workload.context_tokens, devices),
        // As many heads as most models have: more devices keep them more than once.
        None => workload.tokens() * fallback_key_values(shape, assumptions) / n.min(FALLBACK_HEADS),
    };
    let state = shape.architecture.and_then(|a| a.recurrent).and_then(|recurrent| recurrent.state_values);
    // States are sums over all tokens, and most programs keep them at 32 bits.
    let state = state.map_or(0.0, |values| to_f64(values) * Precision::Fp32.bytes() * requests / n);
    let activations = match shape.architecture.and_then(|a| a.hidden_size) {
        Some(hidden) => {
            let values = get(Assumption::PrefillChunkTokens) * get(Assumption::ActivationsPerHidden);
            values * f64::from(hidden) * Precision::Bf16.bytes()
        }
        None => shape.parameters * Precision::Bf16.bytes() * get(Assumption::ActivationFraction),
    };
    Memory {
        weights: weights / n,
        quantization: weights * overhead / n,
        key_value_cache: values * bytes,
        recurrent_state: state,
        activations,
        framework: get(Assumption::FrameworkGb) * 1e9,
    }
}

/// Values of keys and values that one device keeps for one request of a length.
fn key_values(architecture: &Architecture, context_tokens: u32, devices: u32) -> f64 {
    let &Architecture { key_value_heads, head_dimension, value_head_dimension, latent_dimension, window, .. } =
        architecture;
    let of_heads = |heads: u32, key: u32, value: u32| {
        let on_one = heads.div_ceil(devices.max(1)).max(1);
        f64::from(on_one) * (f64::from(key) + f64::from(value))
    };
    let whole = match latent_dimension {
        Some(latent) => f64::from(latent),
        None => of_heads(key_value_heads, head_dimension, value_head_dimension.unwrap_or(head_dimension)),
    };
    let windowed = window.map_or(0.0, |Window { layers, tokens, key_value_heads: heads, head_dimension: size }| {
        let of_token = match (heads, size) {
            (None, None) => whole,
            _ => {
                let key = size.unwrap_or(head_dimension);
                let value = size.or(value_head_dimension).unwrap_or(key);
                of_heads(heads.unwrap_or(key_value_heads), key, value)
            }
        };
        f64::from(layers) * f64::from(tokens.min(context_tokens)) * of_token
    });
    f64::from(architecture.full_layers()) * f64::from(context_tokens) * whole + windowed
}

/// Values of the key-value cache of one token where the architecture is not known.
fn fallback_key_values(shape: &Shape, assumptions: &Assumptions) -> f64 {
    assumptions.get(Assumption::FallbackKeyValues) * (shape.parameters / FALLBACK_PARAMETERS).sqrt()
}

/// Whether a number of accelerators holds a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// Memory on each of them.
    pub memory: Memory,
    /// What of each can be filled, in bytes.
    pub usable: f64,
    /// Whether heads can be shared out evenly; where they are not known, it is taken that they can.
    pub divides: bool,
}

impl Fit {
    /// Whether they hold it.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.divides && self.memory.total() <= self.usable
    }
}

/// Holds a model against a number of accelerators.
#[must_use]
pub fn fit(
    shape: &Shape,
    workload: &Workload,
    assumptions: &Assumptions,
    accelerator: &Accelerator,
    devices: u32,
) -> Fit {
    Fit {
        memory: memory(shape, workload, assumptions, devices),
        usable: accelerator.memory_bytes * assumptions.get(Assumption::UsableMemoryFraction),
        divides: shape.architecture.is_none_or(|architecture| divides(&architecture, devices.max(1))),
    }
}

/// Whether devices can have heads in equal numbers: those that ask, and those of keys and values, which may be kept more than once.
fn divides(architecture: &Architecture, devices: u32) -> bool {
    let asks = architecture.attention_heads.is_none_or(|heads| heads.is_multiple_of(devices));
    let even = |heads: u32| heads == 0 || heads.is_multiple_of(devices) || devices.is_multiple_of(heads);
    let window = architecture.window.and_then(|window| window.key_value_heads);
    let kept =
        architecture.latent_dimension.is_some() || (even(architecture.key_value_heads) && window.is_none_or(even));
    asks && kept
}

/// The most requests at the same time, up to a number, that accelerators hold; 0: none.
#[must_use]
pub fn requests_held(
    shape: &Shape,
    workload: &Workload,
    assumptions: &Assumptions,
    accelerator: &Accelerator,
    devices: u32,
    most: u32,
) -> u32 {
    let holds = |concurrent_requests: u32| {
        let workload = Workload { concurrent_requests, ..*workload };
        fit(shape, &workload, assumptions, accelerator, devices).holds()
    };
    // Memory grows with the requests, so the last that fits is found by halving.
    let (mut fits, mut bursts) = (0, most.saturating_add(1));
    while bursts - fits > 1 {
        let middle = fits + (bursts - fits) / 2;
        if holds(middle) {
            fits = middle;
        } else {
            bursts = middle;
        }
    }
    fits
}

/// Far below where a whole number would be rounded in a way that matters here.
#[expect(clippy::cast_precision_loss, reason = "memory is estimated, not counted")]
fn to_f64(values: u64) -> f64 {
    values as f64
}
