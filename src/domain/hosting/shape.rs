//! The shape of a network, as far as memory and speed depend on it.

/// How large a model is.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Parameters in all. Every expert is loaded.
    pub parameters: f64,
    /// Those that one token is computed with.
    pub active: f64,
    /// Its layers; `None`: not known.
    pub architecture: Option<Architecture>,
}

/// Layers and attention.
///
/// Every layer keeps keys and values of each token, but for those that keep a window of tokens or a state of fixed size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Architecture {
    /// Layers.
    pub layers: u32,
    /// Heads that ask.
    pub attention_heads: Option<u32>,
    /// Heads of keys and values; fewer than those that ask with grouped-query attention.
    pub key_value_heads: u32,
    /// Size of a key.
    pub head_dimension: u32,
    /// Size of a value, where it is not that of a key.
    pub value_head_dimension: Option<u32>,
    /// Size of the residual stream.
    pub hidden_size: Option<u32>,
    /// Latent attention: what is kept of a token in a layer, instead of keys and values.
    pub latent_dimension: Option<u32>,
    /// Layers that look at the last tokens only.
    pub window: Option<Window>,
    /// Layers that keep a state instead of tokens.
    pub recurrent: Option<Recurrent>,
    /// Experts, where it is a mixture of them.
    pub experts: Option<Experts>,
}

/// Layers that look at the last tokens only (sliding window, chunked attention).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How many of the layers.
    pub layers: u32,
    /// How many tokens.
    pub tokens: u32,
    /// Heads of keys and values of those layers, where there are others.
    pub key_value_heads: Option<u32>,
    /// Size of their keys and values, where it is another.
    pub head_dimension: Option<u32>,
}

/// Layers that keep no tokens: a state of fixed size (state space, linear attention, short convolution), or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recurrent {
    /// How many of the layers.
    pub layers: u32,
    /// Values of the state of one request, over all of them; `None`: not known, and not counted.
    pub state_values: Option<u64>,
}

/// Experts of a mixture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Experts {
    /// How many there are in a layer.
    pub total: u32,
    /// How many a token is sent to.
    pub per_token: u32,
}

impl Shape {
    /// Share of the parameters that one step reads for a number of requests, from the active ones up to all.
    ///
    /// Each token chooses its experts by itself; where the choices are independent, a share `(1 - k/n)^c` of the experts stays
    /// untouched by `c` tokens that take `k` of `n` each. Where the experts are not known, all of the model counts as one layer of
    /// them, of which a token takes its active share.
    #[must_use]
    pub fn parameters_read(&self, requests: f64) -> f64 {
        if self.active >= self.parameters {
            return self.parameters;
        }
        let experts = self.architecture.and_then(|architecture| architecture.experts);
        let chosen = experts.map_or(self.active / self.parameters, |e| f64::from(e.per_token) / f64::from(e.total));
        if chosen >= 1.0 {
            return self.parameters;
        }
        // total = shared + experts, active = shared + chosen x experts.
        let of_experts = ((self.parameters - self.active) / (1.0 - chosen)).min(self.parameters);
        let touched = 1.0 - (1.0 - chosen).powf(requests.max(1.0));
        (self.parameters - of_experts) + of_experts * touched
    }
}

impl Architecture {
    /// Layers that keep every token.
    #[must_use]
    pub fn full_layers(&self) -> u32 {
        let window = self.window.map_or(0, |window| window.layers);
        let recurrent = self.recurrent.map_or(0, |recurrent| recurrent.layers);
        self.layers.saturating_sub(window).saturating_sub(recurrent)
    }
}
