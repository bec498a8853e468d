//! Which licenses count as open, by what they are put on.

use crate::domain::model::ComponentKind;
use crate::domain::name::LicenseId;

/// What a part consists of, by the Model Openness Framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentType {
    /// Code.
    Code,
    /// Data, weights included.
    Data,
    /// Documents.
    Document,
}

/// Content type of a part (Model Openness Tool, `components.yml`).
#[must_use]
pub fn content_type(kind: ComponentKind) -> ContentType {
    use ComponentKind as K;
    match kind {
        K::ModelArchitecture
        | K::DataPreprocessingCode
        | K::TrainingCode
        | K::InferenceCode
        | K::EvaluationCode
        | K::SupportingLibraries => ContentType::Code,
        K::ModelWeights | K::IntermediateWeights | K::TrainingData | K::EvaluationData | K::ModelMetadata => {
            ContentType::Data
        }
        K::SampleOutputs
        | K::ModelCard
        | K::DataCard
        | K::TechnicalReport
        | K::ResearchPaper
        | K::EvaluationResults => ContentType::Document,
    }
}

/// Whether the Open Source Initiative approved a license, by the SPDX list.
#[must_use]
pub fn is_osi_approved(id: &LicenseId) -> bool {
    spdx::license_id(id.as_str()).is_some_and(spdx::LicenseId::is_osi_approved)
}

/// Open for software: OSI-approved.
#[must_use]
pub fn is_open_software(id: &LicenseId) -> bool {
    is_osi_approved(id)
}

/// Open for data: an open data or content license without limits on use, or OSI-approved.
#[must_use]
pub fn is_open_data(id: &LicenseId) -> bool {
    const IDS: &[&str] =
        &["CC0-1.0", "PDDL-1.0", "ODC-By-1.0", "ODbL-1.0", "etalab-2.0", "OpenMDW-1.0", "LicenseRef-OpenMDW-1.1"];
    let text = id.as_str();
    // Attribution and share-alike, any version, but neither non-commercial nor no-derivatives.
    let creative = text.starts_with("CC-BY-") && !text.contains("-NC") && !text.contains("-ND");
    IDS.contains(&text) || creative || text.starts_with("CDLA-") || is_osi_approved(id)
}

/// Open for weights: OSI-approved or OpenMDW.
#[must_use]
pub fn is_open_weights(id: &LicenseId) -> bool {
    matches!(id.as_str(), "OpenMDW-1.0" | "LicenseRef-OpenMDW-1.1") || is_osi_approved(id)
}
