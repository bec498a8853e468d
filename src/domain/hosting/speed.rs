//! Speed: reading prompts is bound by operations, writing answers by memory.

use super::{Accelerator, Architecture, Assumption, Assumptions, Precision, Shape, Span, Workload, memory};

/// Operations for one parameter and token: a product and a sum.
const OPERATIONS_A_PARAMETER: f64 = 2.0;

/// How fast a model answers, between what is reached at least and at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Tokens of answers a second, over all requests at the same time.
    pub decode: Span,
    /// Tokens of prompts a second.
    pub prefill: Span,
}

impl Speed {
    /// Seconds until the first token of the answer to a prompt, with nothing else to do.
    #[must_use]
    pub fn first_token_seconds(&self, prompt_tokens: f64) -> Span {
        Span { low: prompt_tokens / self.prefill.high, high: prompt_tokens / self.prefill.low }
    }

    /// Tokens a day, of prompts and answers, at full load, with a number of tokens of prompts for each of an answer.
    #[must_use]
    pub fn tokens_per_day(&self, input_output_ratio: f64) -> Span {
        let of = |decode: f64, prefill: f64| {
            SECONDS_A_DAY * (1.0 + input_output_ratio) / (1.0 / decode + input_output_ratio / prefill)
        };
        Span { low: of(self.decode.low, self.prefill.low), high: of(self.decode.high, self.prefill.high) }
    }
}

const SECONDS_A_DAY: f64 = 86_400.0;

/// How fast accelerators answer that share a model.
///
/// A step that writes one token of each request reads the weights that it computes with, and the keys and values of all tokens held;
/// it takes the longer of the two, reading and computing. Then accelerators add up what each has computed.
#[must_use]
pub fn speed(
    shape: &Shape,
    workload: &Workload,
    assumptions: &Assumptions,
    accelerator: &Accelerator,
    devices: u32,
) -> Speed {
    let n = f64::from(devices.max(1));
    let requests = f64::from(workload.concurrent_requests.max(1));
    let held = memory(shape, workload, assumptions, devices);
    let share_read = shape.parameters_read(requests) / shape.parameters;
    let bytes = (held.weights + held.quantization) * share_read + held.key_value_cache + held.recurrent_state;
    // A token that is written looks at the whole context, one of a prompt at half of it in the mean.
    let context = f64::from(workload.context_tokens);
    let operations = |looked_at: f64| {
        (OPERATIONS_A_PARAMETER * shape.active + shape.architecture.map_or(0.0, |a| attention(&a, looked_at))) / n
    };
    let (writing, prompt) = (operations(context), operations(context / 2.0));
    let flops = accelerator.flops(workload.precision);
    let adding = adding_up(shape, accelerator, devices);
    let latency = adding.sums * assumptions.get(Assumption::LinkLatencyUs) / 1e6;
    let decode = |bandwidth: Assumption, compute: Assumption| {
        let reading = bytes / (accelerator.bandwidth * assumptions.get(bandwidth));
        let computing = writing * requests / (flops * assumptions.get(compute));
        requests / (reading.max(computing) + latency + requests * adding.seconds_a_token)
    };
    // A step reads so many tokens of prompts that when it begins does not matter.
    let prefill = |compute: Assumption| 1.0 / (prompt / (flops * assumptions.get(compute)) + adding.seconds_a_token);
    Speed {
        decode: Span {
            low: decode(Assumption::BandwidthEfficiencyLow, Assumption::ComputeEfficiencyLow),
            high: decode(Assumption::BandwidthEfficiencyHigh, Assumption::ComputeEfficiencyHigh),
        },
        prefill: Span {
            low: prefill(Assumption::ComputeEfficiencyLow),
            high: prefill(Assumption::ComputeEfficiencyHigh),
        },
    }
}

/// Operations of attention for one token that looks at a number of tokens: each head multiplies its query with their keys, and the result
/// with their values. Attention that picks the tokens it looks at takes less.
fn attention(architecture: &Architecture, looked_at: f64) -> f64 {
    let &Architecture { attention_heads, key_value_heads, head_dimension, value_head_dimension, .. } = architecture;
    let of = |heads: u32, key: u32, value: u32| {
        OPERATIONS_A_PARAMETER * f64::from(heads) * (f64::from(key) + f64::from(value))
    };
    let heads = attention_heads.unwrap_or(key_value_heads);
    let whole = of(heads, head_dimension, value_head_dimension.unwrap_or(head_dimension));
    let windowed = architecture.window.map_or(0.0, |window| {
        let key = window.head_dimension.unwrap_or(head_dimension);
        f64::from(window.layers) * looked_at.min(f64::from(window.tokens)) * of(heads, key, key)
    });
    f64::from(architecture.full_layers()) * looked_at * whole + windowed
}

/// What it takes accelerators to add up what each has computed.
struct AddingUp {
    /// How often they do in a step.
    sums: f64,
    /// Seconds of sending for each token.
    seconds_a_token: f64,
}

/// Sums over all accelerators after attention and after the feed-forward part of each layer, of the residual stream at 16 bits. Each
/// sends twice what it has, but for its own share (ring all-reduce). Where the shape is not known it is left out.
fn adding_up(shape: &Shape, accelerator: &Accelerator, devices: u32) -> AddingUp {
    let known = shape.architecture.and_then(|architecture| Some((architecture.layers, architecture.hidden_size?)));
    let Some((layers, hidden)) = known.filter(|_| devices > 1) else {
        return AddingUp { sums: 0.0, seconds_a_token: 0.0 };
    };
    let n = f64::from(devices);
    let sums = SUMS_A_LAYER * f64::from(layers);
    let sent = 2.0 * (n - 1.0) / n * f64::from(hidden) * Precision::Bf16.bytes();
    AddingUp { sums, seconds_a_token: sums * sent / accelerator.link }
}

/// After attention, and after the feed-forward part.
const SUMS_A_LAYER: f64 = 2.0;
