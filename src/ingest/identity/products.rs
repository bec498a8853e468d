//! Ids that stand for no model, or for one that changes under them.

/// Why the id of a router has no model.
pub(super) const REASON: &str = "a router, plan or product, not a model";

/// Why a moving id has no model.
pub(super) const MOVING_REASON: &str = "an id that its maker points at one model after another, \
     and only the maker's own API follows: add `{provider}/{id}` as an alias to the model it is at this provider";

/// Ids that their maker points at one model after another, and the maker's own provider. Elsewhere they keep meaning
/// what they meant when they were added: `deepseek-chat` is V3 at one provider and V3.2 at another.
const MOVING: &[(&str, &str)] = &[("deepseek-chat", "deepseek"), ("deepseek-reasoner", "deepseek")];

/// Whether an id means another model at this provider than at its maker's.
pub(super) fn is_moving(provider: Option<&str>, id: &str) -> bool {
    let last = id.rsplit('/').next().unwrap_or(id);
    let bare = last.split([':', '@']).next().unwrap_or(last);
    let moved = |(moving, own): &(&str, &str)| bare.eq_ignore_ascii_case(moving) && provider.is_some_and(|p| p != *own);
    MOVING.iter().any(moved)
}

/// Last parts of an id that are no model wherever they stand.
const NAMES: &[&str] = &[
    "auto",
    "auto-model",
    "auto-router",
    "code-standard",
    "fusion",
    "model-router",
    "owl-alpha",
    "route-llm",
    "router",
];

/// Starts of an id that a provider uses for its routers and products.
const PREFIXES: &[(&str, &str)] = &[
    ("fireworks-ai", "accounts/fireworks/routers/"),
    ("gitlab", "duo-"),
    ("kilo", "kilo-auto/"),
    ("nano-gpt", "auto-model-"),
    ("nano-gpt", "nanogpt/coding-router"),
];

/// Whether an id is one of a router, a plan or a product.
pub(super) fn is_product(provider: Option<&str>, id: &str) -> bool {
    let last = id.rsplit('/').next().unwrap_or(id);
    let listed = |(at, prefix): &(&str, &str)| provider == Some(*at) && id.starts_with(prefix);
    NAMES.iter().any(|name| last.eq_ignore_ascii_case(name)) || PREFIXES.iter().any(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moving_id_is_believed_at_its_maker_only() {
        assert!(is_moving(Some("kilo"), "deepseek/deepseek-chat"));
        assert!(is_moving(Some("kilo"), "deepseek/deepseek-chat:free"));
        assert!(!is_moving(Some("deepseek"), "deepseek-chat"));
        assert!(!is_moving(None, "deepseek-chat"));
        assert!(!is_moving(Some("kilo"), "deepseek/deepseek-chat-v3.1"));
    }

    #[test]
    fn routers_are_told_from_models() {
        for (provider, id) in [
            (None, "auto"),
            (Some("azure"), "model-router"),
            (Some("openrouter"), "openrouter/auto"),
            (Some("kilo"), "kilo-auto/free"),
            (Some("gitlab"), "duo-chat-sonnet-4-6"),
            (Some("fireworks-ai"), "accounts/fireworks/routers/glm-5p1-fast"),
        ] {
            assert!(is_product(provider, id), "{id}");
        }
        for id in ["autoglm-phone", "o1", "route/glm-5.1", "smart-turn-v2"] {
            assert!(!is_product(Some("kilo"), id), "{id}");
        }
    }
}
