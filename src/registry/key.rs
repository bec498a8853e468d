//! Keys of the store: layer, kind and name.

use bytes::Bytes;

use crate::catalog::{Layer, SourceId};
use crate::domain::name::{LicenseId, ModelName, OfferingName, ProviderId, is_segment};

/// A record of the store by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Key {
    /// A model in a layer.
    Model(Layer, ModelName),
    /// A license in a layer.
    License(Layer, LicenseId),
    /// A shared list of barred uses.
    UsePolicy(Box<str>),
    /// A provider.
    Provider(ProviderId),
    /// An offering.
    Offering(OfferingName),
    /// What a data set says of a model.
    SourceRecord(SourceId),
    /// A named set of facts.
    UseProfile(Box<str>),
    /// An exception.
    Waiver(Box<str>),
    /// A policy of the organisation.
    Policy(Box<str>),
    /// What runs where.
    Deployment(Box<str>),
}

impl Key {
    /// What keys of the built-in catalog begin with.
    pub(super) const BUILT_IN: &'static [u8] = b"b/";

    /// The key's bytes.
    pub(super) fn bytes(&self) -> Bytes {
        let text = match self {
            Self::Model(layer, name) => format!("{}/models/{}/{}", letter(*layer), name.publisher(), name.model()),
            Self::License(layer, id) => format!("{}/licenses/{id}", letter(*layer)),
            Self::UsePolicy(id) => format!("{}/use-policies/{id}", letter(Layer::BuiltIn)),
            Self::Provider(id) => format!("{}/providers/{id}", letter(Layer::Imported)),
            Self::Offering(name) => {
                format!("{}/offerings/{}/{}", letter(Layer::Imported), name.provider(), name.offering())
            }
            Self::UseProfile(id) => format!("{}/use-profiles/{id}", letter(Layer::Operator)),
            Self::Waiver(id) => format!("{}/waivers/{id}", letter(Layer::Operator)),
            Self::Policy(id) => format!("{}/policies/{id}", letter(Layer::Operator)),
            Self::Deployment(id) => format!("{}/deployments/{id}", letter(Layer::Operator)),
            Self::SourceRecord((source, id)) => format!("{}/sources/{source}/{id}", letter(Layer::Imported)),
        };
        text.into_bytes().into()
    }

    /// Reads a key's bytes; `None` for a key that this release does not know.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (layer, rest) = text.split_once('/')?;
        let layer = match layer {
            "b" => Layer::BuiltIn,
            "i" => Layer::Imported,
            "o" => Layer::Operator,
            _ => return None,
        };
        let (kind, name) = rest.split_once('/')?;
        match (kind, layer) {
            ("models", _) => {
                let (publisher, model) = name.split_once('/')?;
                Some(Self::Model(layer, ModelName::new(publisher, model).ok()?))
            }
            ("licenses", _) => Some(Self::License(layer, LicenseId::new(name).ok()?)),
            ("use-policies", Layer::BuiltIn) => Some(Self::UsePolicy(name.into())),
            ("providers", Layer::Imported) => Some(Self::Provider(ProviderId::new(name).ok()?)),
            ("offerings", Layer::Imported) => {
                let (provider, offering) = name.split_once('/')?;
                Some(Self::Offering(OfferingName::new(ProviderId::new(provider).ok()?, offering).ok()?))
            }
            ("use-profiles", Layer::Operator) => is_segment(name).then(|| Self::UseProfile(name.into())),
            ("waivers", Layer::Operator) => is_segment(name).then(|| Self::Waiver(name.into())),
            ("policies", Layer::Operator) => is_segment(name).then(|| Self::Policy(name.into())),
            ("deployments", Layer::Operator) => is_segment(name).then(|| Self::Deployment(name.into())),
            ("sources", Layer::Imported) => {
                let (source, id) = name.split_once('/').filter(|(source, id)| !source.is_empty() && !id.is_empty())?;
                Some(Self::SourceRecord((source.into(), id.into())))
            }
            _ => None,
        }
    }
}

fn letter(layer: Layer) -> char {
    match layer {
        Layer::BuiltIn => 'b',
        Layer::Imported => 'i',
        Layer::Operator => 'o',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_round_trip() {
        let provider = ProviderId::new("groq").unwrap();
        let keys = [
            Key::Model(Layer::Operator, ModelName::new("meta", "llama").unwrap()),
            Key::License(Layer::BuiltIn, LicenseId::new("LicenseRef-X").unwrap()),
            Key::UsePolicy("llama-3".into()),
            Key::Provider(provider.clone()),
            Key::Offering(OfferingName::new(provider, "openai/gpt-oss-120b").unwrap()),
            Key::SourceRecord(("mot".into(), "a/b c".into())),
            Key::UseProfile("eu-production".into()),
            Key::Waiver("meta-2026".into()),
            Key::Policy("no-proprietary".into()),
            Key::Deployment("search-eu".into()),
        ];
        for key in keys {
            assert_eq!(Key::read(&key.bytes()), Some(key.clone()), "{key:?}");
        }
        for bad in ["", "x/models/a/b", "b/models/a", "b/providers/groq", "b/other/x", "i/sources/mot", "i/sources//x"]
        {
            assert_eq!(Key::read(bad.as_bytes()), None, "{bad}");
        }
    }
}
