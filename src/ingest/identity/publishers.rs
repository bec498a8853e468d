//! Under which names publishers put their models on hubs and with providers.

/// Name of an organization, in lower case, and the publisher whose it is. A publisher's own id needs no row. A row
/// never makes a match by itself: what follows the name must be an alias of a model of that publisher.
const ORGANIZATIONS: &[(&str, &str)] = &[
    ("qwen", "alibaba"),
    ("meta-llama", "meta"),
    ("facebook", "meta"),
    ("deepseek-ai", "deepseek"),
    ("mistralai", "mistral"),
    ("mistral-ai", "mistral"),
    ("minimaxai", "minimax"),
    ("cohereforai", "cohere"),
    ("coherelabs", "cohere"),
    ("x-ai", "xai"),
    ("xai-org", "xai"),
    ("grok", "xai"),
    ("z-ai", "zhipuai"),
    ("zai", "zhipuai"),
    ("zai-org", "zhipuai"),
    ("thudm", "zhipuai"),
    ("stepfun-ai", "stepfun"),
    ("xiaomimimo", "xiaomi"),
    ("moonshot", "moonshotai"),
    ("kimi", "moonshotai"),
    ("sarvamai", "sarvam"),
    ("sakanaai", "sakana"),
    ("deepreinforce-ai", "deepreinforce"),
    ("perplexity-ai", "perplexity"),
];

/// The publisher an organization stands for: itself when no row names it.
pub(super) fn publisher_of(organization: &str) -> String {
    let lower = organization.to_ascii_lowercase();
    match ORGANIZATIONS.iter().find(|(name, _)| *name == lower) {
        Some((_, publisher)) => (*publisher).to_owned(),
        None => lower,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_lower_case_and_stands_once() {
        for (at, (name, publisher)) in ORGANIZATIONS.iter().enumerate() {
            assert_eq!(*name, name.to_ascii_lowercase());
            assert!(crate::domain::name::is_segment(publisher), "{publisher}");
            assert!(ORGANIZATIONS.iter().skip(at + 1).all(|(other, _)| other != name), "{name}");
        }
        assert_eq!(publisher_of("Qwen"), "alibaba");
        assert_eq!(publisher_of("IBM-Granite"), "ibm-granite");
    }
}
