//! The facts of a use, as options and files of the commands that ask for them.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};

use super::Failure;
use super::client::{read_message, read_tree};
use crate::pb::weighbridge::v1 as pb;

/// Facts that are not given are unknown: they never become a yes.
#[derive(Debug, Args)]
pub(super) struct FactArguments {
    /// File with the facts of the use (`Use` as JSON, YAML or TOML); the options below add to it and replace what it says.
    #[arg(long = "use", value_name = "FILE")]
    use_file: Option<PathBuf>,
    /// A stored use profile: its facts apply where the file and the options are silent.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// commercial, internal-business, research, evaluation, education or personal.
    #[arg(long)]
    purpose: Option<String>,
    /// licensee or end-user-of-product.
    #[arg(long)]
    role: Option<String>,
    /// vendor-api, self-hosted, on-premises or edge-offline.
    #[arg(long)]
    hosting: Option<String>,
    /// With vendor-api: who serves it, for example groq.
    #[arg(long)]
    provider: Option<String>,
    /// fine-tune, modify, redistribute-weights, redistribute-derivative, offer-as-service, train-other-models,
    /// train-competing-models, distribute-trained-model, publish-outputs or benchmark-publicly.
    #[arg(long = "activity", value_name = "ACTIVITY")]
    activities: Vec<String>,
    /// A use category, for example medical-advice.
    #[arg(long = "category", value_name = "CATEGORY")]
    categories: Vec<String>,
    /// A duty that is done or held already, for example registration.
    #[arg(long = "fulfilled", value_name = "DUTY")]
    fulfilled: Vec<String>,
    /// Monthly active users: NUMBER[@PERIOD][:SUBJECT], for example 800M, 800M@2024-11, 5M:product.
    #[arg(long, value_name = "FIGURE")]
    mau: Vec<String>,
    /// Daily active users, in the same form.
    #[arg(long, value_name = "FIGURE")]
    dau: Vec<String>,
    /// Yearly revenue in US dollars, in the same form.
    #[arg(long, value_name = "FIGURE")]
    revenue: Vec<String>,
    /// Monthly revenue in US dollars, in the same form.
    #[arg(long, value_name = "FIGURE")]
    monthly_revenue: Vec<String>,
    /// Any other figure: METRIC=NUMBER[@PERIOD][:SUBJECT].
    #[arg(long = "measure", value_name = "METRIC=FIGURE")]
    measures: Vec<String>,
    /// Principal place of business, for example DE.
    #[arg(long, value_name = "COUNTRY")]
    org_country: Option<String>,
    /// individual, company, non-profit, academic, government or military.
    #[arg(long, value_name = "TYPE")]
    org_type: Option<String>,
    /// A kind of business, for example model-as-a-service; none for none of them.
    #[arg(long = "business-type", value_name = "TYPE")]
    business_types: Vec<String>,
    /// Where it runs or is offered from.
    #[arg(long = "deploy-country", value_name = "COUNTRY")]
    deploy_countries: Vec<String>,
    /// Where its users are.
    #[arg(long = "user-country", value_name = "COUNTRY")]
    user_countries: Vec<String>,
    /// The caller's own context for policies: KEY=VALUE, for example environment=production.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// Commit, tag or date of the weights.
    #[arg(long, value_name = "REVISION")]
    model_revision: Option<String>,
    /// The day the use happens, for example 2026-01-31; today without it.
    #[arg(long, value_name = "DAY")]
    at: Option<String>,
    /// At least this open: open-weight or open-source.
    #[arg(long, value_name = "TIER")]
    min_tier: Option<String>,
    /// Only these licenses.
    #[arg(long = "license-allow", value_name = "LICENSE")]
    license_allow: Vec<String>,
    /// Not these licenses.
    #[arg(long = "license-deny", value_name = "LICENSE")]
    license_deny: Vec<String>,
}

impl FactArguments {
    /// The facts that were given.
    pub(super) fn read(&self) -> Result<pb::Use, Failure> {
        facts(self)
    }

    /// Resource name of the profile; empty: none.
    pub(super) fn profile(&self) -> String {
        match &self.profile {
            None => String::new(),
            Some(name) if name.starts_with("useProfiles/") => name.clone(),
            Some(id) => format!("useProfiles/{id}"),
        }
    }
}

/// The facts of the file and of the options, read in one go, so that every problem is reported at once.
fn facts(arguments: &FactArguments) -> Result<pb::Use, Failure> {
    let mut tree = match &arguments.use_file {
        None => Map::new(),
        Some(path) => match read_tree(path)? {
            Value::Object(tree) => tree,
            _ => return Err(Failure::usage(format!("`{}`: it holds the fields of a use", path.display()))),
        },
    };
    let texts = [
        ("purpose", &arguments.purpose),
        ("role", &arguments.role),
        ("hosting", &arguments.hosting),
        ("provider", &arguments.provider),
        ("model_revision", &arguments.model_revision),
        ("at", &arguments.at),
    ];
    for (field, text) in texts {
        set(&mut tree, field, text.clone().map(Value::from));
    }
    let lists = [
        ("activities", &arguments.activities),
        ("categories", &arguments.categories),
        ("fulfilled_duties", &arguments.fulfilled),
        ("deployment_countries", &arguments.deploy_countries),
        ("end_user_countries", &arguments.user_countries),
    ];
    for (field, list) in lists {
        add(&mut tree, field, list);
    }
    let requirements = inner(&mut tree, "requirements");
    if let Some(requirements) = requirements {
        set(requirements, "min_tier", arguments.min_tier.clone().map(Value::from));
        set(requirements, "license_allow", list_value(&arguments.license_allow));
        set(requirements, "license_deny", list_value(&arguments.license_deny));
    }
    if let Some(organization) = inner(&mut tree, "organization") {
        set(organization, "country", arguments.org_country.clone().map(Value::from));
        set(organization, "type", arguments.org_type.clone().map(Value::from));
        set(organization, "business_types", list_value(&arguments.business_types));
    }
    if let Some(labels) = inner(&mut tree, "labels") {
        for text in &arguments.labels {
            let Some((key, value)) = text.split_once('=') else {
                return Err(Failure::usage(format!("`{text}` is no label: write KEY=VALUE")));
            };
            labels.insert(key.to_owned(), value.into());
        }
    }
    figures(arguments, &mut tree)?;
    let shown = arguments.use_file.as_ref().map_or_else(|| "use".to_owned(), |p| p.display().to_string());
    read_message(&shown, &Value::Object(tree), "weighbridge.v1.Use")
}

fn list_value(list: &[String]) -> Option<Value> {
    (!list.is_empty()).then(|| Value::from(list.to_vec()))
}

/// Adds to a list of the file: what it says is done, and where, stays said.
fn add(tree: &mut Map<String, Value>, field: &str, more: &[String]) {
    if more.is_empty() {
        return;
    }
    let key = tree.keys().find(|key| spelled(key) == spelled(field)).cloned();
    let list = tree.entry(key.unwrap_or_else(|| field.to_owned())).or_insert_with(|| Value::Array(Vec::new()));
    if let Some(list) = list.as_array_mut() {
        for item in more {
            let item = Value::from(item.as_str());
            if !list.contains(&item) {
                list.push(item);
            }
        }
    }
}

/// Sets a field that an option gives; a spelling of it in the file gives way.
fn set(tree: &mut Map<String, Value>, field: &str, value: Option<Value>) {
    let Some(value) = value else { return };
    tree.retain(|key, _| spelled(key) != spelled(field));
    tree.insert(field.to_owned(), value);
}

/// The object under a field, made when it is not there; `None` when the file has something else there.
fn inner<'a>(tree: &'a mut Map<String, Value>, field: &str) -> Option<&'a mut Map<String, Value>> {
    tree.entry(field.to_owned()).or_insert_with(|| Value::Object(Map::new())).as_object_mut()
}

fn spelled(key: &str) -> String {
    key.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// Figures: with a period or subject they are exact measures, without they are the organization's.
fn figures(arguments: &FactArguments, tree: &mut Map<String, Value>) -> Result<(), Failure> {
    let own = [
        ("monthly_active_users", &arguments.mau),
        ("daily_active_users", &arguments.dau),
        ("annual_revenue_usd", &arguments.revenue),
        ("monthly_revenue_usd", &arguments.monthly_revenue),
    ];
    let mut exact = Vec::new();
    for (metric, figures) in own {
        let mut own_figure = false;
        for text in figures {
            let figure = Figure::parse(text)?;
            match figure {
                Figure { period: None, subject: None, .. } if own_figure => {
                    return Err(Failure::usage(format!("`{text}`: the organization's {metric} is given twice")));
                }
                Figure { value, period: None, subject: None } => {
                    own_figure = true;
                    if let Some(organization) = inner(tree, "organization") {
                        set(organization, metric, Some(value.into()));
                    }
                }
                figure => exact.push(figure.measure(metric)),
            }
        }
    }
    for text in &arguments.measures {
        let Some((metric, figure)) = text.split_once('=') else {
            return Err(Failure::usage(format!("`{text}` is no measure: write METRIC=NUMBER[@PERIOD][:SUBJECT]")));
        };
        exact.push(Figure::parse(figure)?.measure(metric));
    }
    if !exact.is_empty() {
        let list = tree.entry("measures").or_insert_with(|| Value::Array(Vec::new()));
        if let Some(list) = list.as_array_mut() {
            list.extend(exact);
        }
    }
    Ok(())
}

/// `NUMBER[@PERIOD][:SUBJECT]`.
#[derive(Debug, PartialEq)]
struct Figure {
    value: i64,
    period: Option<String>,
    subject: Option<String>,
}

impl Figure {
    fn parse(text: &str) -> Result<Self, Failure> {
        let (rest, subject) = match text.rsplit_once(':') {
            Some((rest, subject)) => (rest, Some(subject.to_owned())),
            None => (text, None),
        };
        let (number, period) = match rest.split_once('@') {
            Some((number, period)) => (number, Some(period.to_owned())),
            None => (rest, None),
        };
        let value = number_of(number).ok_or_else(|| {
            Failure::usage(format!(
                "`{text}` is no figure: write NUMBER[@PERIOD][:SUBJECT], the number with K, M or B, for example 800M@2024-11:group"
            ))
        })?;
        Ok(Self { value, period, subject })
    }

    fn measure(self, metric: &str) -> Value {
        json!({
            "metric": metric,
            "subject": self.subject.unwrap_or_else(|| "group".to_owned()),
            "period": self.period.unwrap_or_default(),
            "value": self.value,
        })
    }
}

/// A whole number: digits with `_` or `,` between thousands, a decimal part only before K, M or B.
pub(super) fn number_of(text: &str) -> Option<i64> {
    let text = text.replace(['_', ','], "");
    let (digits, places) = match text.chars().last()?.to_ascii_uppercase() {
        'K' => (text.get(..text.len() - 1)?, 3),
        'M' => (text.get(..text.len() - 1)?, 6),
        'B' | 'G' => (text.get(..text.len() - 1)?, 9),
        _ => (text.as_str(), 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || fraction.len() > places {
        return None;
    }
    let scaled = format!("{whole}{fraction}{}", "0".repeat(places - fraction.len()));
    scaled.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_exact() {
        let value = |text| Figure::parse(text).map(|f| f.value).ok();
        assert_eq!(value("800M"), Some(800_000_000));
        assert_eq!(value("700,000,001"), Some(700_000_001));
        assert_eq!(value("2.5M"), Some(2_500_000));
        assert_eq!(value("1.2345K"), None);
        assert_eq!(value("-5"), None);
        assert_eq!(value("9999999999999999999"), None);
        assert_eq!(value(""), None);
        let exact = Figure::parse("800M@2024-11:group").unwrap();
        assert_eq!((exact.period.as_deref(), exact.subject.as_deref()), (Some("2024-11"), Some("group")));
    }
}
