//! JSON Schemas of the files that people write: what the reader of texts takes, and what conversion requires besides.

use serde_json::{Value, json};

use super::descriptor;
use super::text::{self, Required};

/// The fields that conversion refuses to do without. Tests hold this table against it.
const REQUIRED: &[Required] = &[
    ("weighbridge.v1.License", &["name", "display_name", "category", "permissions"]),
    ("weighbridge.v1.LicenseDuty", &["kind", "when"]),
    ("weighbridge.v1.PurposeGrant", &["purpose"]),
    ("weighbridge.v1.PurposeLimit", &["purpose"]),
    ("weighbridge.v1.ScaleGate", &["metric", "comparison", "measured", "effect"]),
    ("weighbridge.v1.ScaleGate.Measured", &["kind"]),
    ("weighbridge.v1.UseRestriction", &["category", "strength"]),
    ("weighbridge.v1.Model", &["name"]),
    ("weighbridge.v1.Component", &["kind"]),
    ("weighbridge.v1.BaseModel", &["model"]),
    ("weighbridge.v1.LicensePeriod", &["license_expression"]),
];

/// JSON Schema of a license file; `None` when the descriptor is missing.
#[must_use]
pub fn license_schema() -> Option<Value> {
    text::schema(&descriptor("weighbridge.v1.License")?, REQUIRED)
}

/// JSON Schema of a file of models, `{"models": […]}`; `None` when the descriptor is missing.
#[must_use]
pub fn model_schema() -> Option<Value> {
    let Value::Object(mut model) = text::schema(&descriptor("weighbridge.v1.Model")?, REQUIRED)? else { return None };
    let definitions = model.remove("$defs")?;
    Some(json!({
        "$schema": model.get("$schema")?,
        "title": "Models",
        "type": "object",
        "properties": { "models": { "type": "array", "items": { "$ref": "#/$defs/Model" } } },
        "required": ["models"],
        "additionalProperties": false,
        "$defs": definitions,
    }))
}
