//! The data sets that statements come from, what each is called, and whose word counts for which field.

use crate::domain::words::words;

words! {
    /// A data set, or the release's own catalog.
    pub enum DataSource {
        /// Curated by hand, with the maker's own license text behind it.
        Curated = "curated",
        /// The maker's model card on the hub.
        ModelCard = "model-card",
        /// models.dev's own model records.
        ModelsDevCatalog = "models-dev-catalog",
        /// European Open Source AI Index.
        Osai = "osai",
        /// compar:IA.
        Comparia = "comparia",
        /// Model Openness Tool.
        Mot = "mot",
        /// Epoch AI's notable models.
        Epoch = "epoch",
        /// What providers say of their offerings, by models.dev.
        ModelsDev = "models-dev",
    }
}

/// How a data set is credited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// Its name.
    pub title: &'static str,
    /// Where it is.
    pub url: &'static str,
    /// Its license.
    pub license: &'static str,
}

impl DataSource {
    /// How it is credited.
    #[must_use]
    pub const fn credit(self) -> Credit {
        let (title, url, license) = match self {
            Self::Curated => ("Weighbridge catalog", "", ""),
            // Each card is under the terms of its repository.
            Self::ModelCard => ("Model card", "https://huggingface.co", ""),
            Self::ModelsDevCatalog => ("models.dev", "https://models.dev/models.json", "MIT"),
            Self::Osai => ("European Open Source AI Index", "https://osai-index.eu/", "CC-BY-4.0"),
            Self::Comparia => ("compar:IA", "https://github.com/betagouv/ComparIA", "Apache-2.0"),
            Self::Mot => ("Model Openness Tool", "https://mot.isitopen.ai", "MIT"),
            Self::Epoch => ("Epoch AI, Data on AI Models", "https://epoch.ai/data/ai-models", "CC-BY-4.0"),
            Self::ModelsDev => ("models.dev", "https://models.dev/api.json", "MIT"),
        };
        Credit { title, url, license }
    }

    /// Whether a record of it that names no known model makes one. Epoch's rows are as often families, papers and
    /// services as weights, and an offering never makes a model.
    #[must_use]
    pub const fn makes_models(self) -> bool {
        match self {
            Self::Curated | Self::ModelCard | Self::ModelsDevCatalog | Self::Osai | Self::Comparia | Self::Mot => true,
            Self::Epoch | Self::ModelsDev => false,
        }
    }

    /// Whether a document of it is all there is: what it no longer holds is gone.
    #[must_use]
    pub const fn is_complete(self) -> bool {
        !matches!(self, Self::Curated | Self::ModelCard)
    }
}
