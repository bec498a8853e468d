//! Layers and attention of a model.

use super::SHORT_CHARS_MAX;
use super::violations::Violations;
use crate::domain::hosting::{Architecture, Experts, Recurrent, Window};
use crate::pb::weighbridge::v1 as pb;

/// Reads the shape of a network; `None` where too little of it is known to say what it keeps of a token.
pub(super) fn architecture(v: &mut Violations, message: &pb::Architecture) -> Option<Architecture> {
    let pb::Architecture {
        layers,
        key_value_heads,
        head_dimension,
        architecture_name,
        attention_heads,
        hidden_size,
        value_head_dimension,
        latent_dimension,
        window_layers,
        window_tokens,
        window_key_value_heads,
        window_head_dimension,
        recurrent_layers,
        recurrent_state_values,
        experts,
        experts_per_token,
        url,
    } = message;
    v.length("architecture_name", architecture_name, SHORT_CHARS_MAX);
    v.length("url", url, SHORT_CHARS_MAX);
    let mut number = |field: &str, n: i32| match u32::try_from(n) {
        Ok(n) => n,
        Err(_) => {
            v.add(field, format_args!("{n} is negative: leave it out when it is not known"));
            0
        }
    };
    let layers = number("layers", *layers);
    let key_value_heads = number("key_value_heads", *key_value_heads);
    let head_dimension = number("head_dimension", *head_dimension);
    let attention_heads = number("attention_heads", *attention_heads);
    let hidden_size = number("hidden_size", *hidden_size);
    let value_head_dimension = number("value_head_dimension", *value_head_dimension);
    let latent_dimension = number("latent_dimension", *latent_dimension);
    let window_layers = number("window_layers", *window_layers);
    let window_tokens = number("window_tokens", *window_tokens);
    let window_key_value_heads = number("window_key_value_heads", *window_key_value_heads);
    let window_head_dimension = number("window_head_dimension", *window_head_dimension);
    let recurrent_layers = number("recurrent_layers", *recurrent_layers);
    let experts = number("experts", *experts);
    let experts_per_token = number("experts_per_token", *experts_per_token);
    let state_values = u64::try_from(*recurrent_state_values);
    if state_values.is_err() {
        let description = format_args!("{recurrent_state_values} is negative: leave it out when it is not known");
        v.add("recurrent_state_values", description);
    }
    if window_layers.saturating_add(recurrent_layers) > layers {
        v.add("layers", format_args!("{layers} are fewer than those with a window and those that keep a state"));
    }
    if (window_layers > 0) != (window_tokens > 0) {
        v.add("window_tokens", "window_layers and window_tokens go together");
    }
    if window_key_value_heads > 0 && window_head_dimension == 0 && head_dimension == 0 {
        v.add("window_head_dimension", "it must be set with window_key_value_heads where there is no head_dimension");
    }
    if experts_per_token > experts {
        v.add("experts_per_token", format_args!("{experts_per_token} is more than the {experts} of a layer"));
    }
    let some = |n: u32| (n > 0).then_some(n);
    let of_token = latent_dimension > 0 || (key_value_heads > 0 && head_dimension > 0);
    let is_known = layers > 0 && (of_token || recurrent_layers == layers);
    is_known.then(|| Architecture {
        layers,
        attention_heads: some(attention_heads),
        key_value_heads,
        head_dimension,
        value_head_dimension: some(value_head_dimension),
        hidden_size: some(hidden_size),
        latent_dimension: some(latent_dimension),
        window: some(window_layers).map(|layers| Window {
            layers,
            tokens: window_tokens,
            key_value_heads: some(window_key_value_heads),
            head_dimension: some(window_head_dimension),
        }),
        recurrent: some(recurrent_layers)
            .map(|layers| Recurrent { layers, state_values: state_values.ok().filter(|values| *values > 0) }),
        experts: some(experts_per_token).map(|per_token| Experts { total: experts, per_token }),
    })
}

/// The shape of a network as a record states it, which was read before.
#[must_use]
pub fn recorded_architecture(message: &pb::Architecture) -> Option<Architecture> {
    architecture(&mut Violations::at(""), message)
}
