//! Conditions: read, checked with all mistakes at once, compiled.

use super::fields::{DECISION, DecisionField, LABELS, PolicyField, USE, UseField};
use super::guard::Guard;
use crate::catalog::filter::{
    Comparison, Near, Node, Operator, Problem, Query, Schema, Value, Wanted, character, check, parse,
};
use crate::domain::eligibility::{Activity, Fact, Facts};
use crate::domain::name::shown;
use crate::domain::place::Country;

/// A compiled condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition<M> {
    pub(super) query: Query<PolicyField<M>>,
    /// What it cannot hold without.
    pub(super) guard: Option<Guard>,
    /// The facts of the use that it looks at.
    pub(super) facts: Facts,
    /// Whether it looks at the decision before policies.
    pub(super) looks_at_decision: bool,
    /// Activities that it asks for.
    pub(super) activities: Vec<Activity>,
    /// Labels whose values it asks for.
    pub(super) labels: Vec<Box<str>>,
    /// Whether it names license terms.
    pub(super) names_terms: bool,
}

/// What is wrong with a condition, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The character, from 1.
    pub character: usize,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl<M: Schema<Field = M> + Copy + Eq + std::fmt::Debug> Condition<M> {
    /// Reads a condition. `near` finds known names that are like an unknown one.
    ///
    /// # Errors
    /// Every mistake at once, in the order of the text.
    pub fn read(text: &str, near: Near<'_>) -> Result<Self, Vec<Mistake>> {
        let node = match parse(text) {
            Ok(Some(node)) => node,
            Ok(None) => {
                let message = "a policy needs a condition; one that holds everywhere is `model.name:*`".to_owned();
                return Err(vec![Mistake { character: 1, message }]);
            }
            Err(error) => return Err(vec![Mistake { character: error.character, message: error.message }]),
        };
        let mut problems = Vec::new();
        check_fields(&node, Place::Plain, &mut problems);
        let query = match check::<PolicyField<M>>(&node, near) {
            Ok(query) => Some(query),
            Err(found) => {
                problems.extend(found);
                None
            }
        };
        problems.sort_by_key(|problem| problem.span.start);
        match query {
            Some(query) if problems.is_empty() => Ok(Self::of(query)),
            _ => {
                let told = |problem: Problem| Mistake {
                    character: character(text, problem.span.start),
                    message: problem.message,
                };
                Err(problems.into_iter().map(told).collect())
            }
        }
    }

    /// The use categories that it names.
    #[must_use]
    pub fn categories(&self) -> Vec<&str> {
        let mut named = Vec::new();
        each_test(&self.query, &mut |field, wanted| {
            if let (PolicyField::Use(UseField::Categories), Wanted::Equal(Value::Text(slug))) = (field, wanted) {
                named.push(&**slug);
            }
        });
        named
    }

    fn of(mut query: Query<PolicyField<M>>) -> Self {
        each_test_mut(&mut query, &mut normalise);
        cheapest_first(&mut query);
        let mut condition = Self {
            guard: Guard::of(&query),
            query,
            facts: Facts::NONE,
            looks_at_decision: false,
            activities: Vec::new(),
            labels: Vec::new(),
            names_terms: false,
        };
        let (mut facts, mut looks, mut activities) = (Facts::NONE, false, Vec::new());
        let (mut labels, mut names_terms): (Vec<Box<str>>, bool) = (Vec::new(), false);
        each_test(&condition.query, &mut |field, wanted| match field {
            PolicyField::Model(of_model) => names_terms |= M::is_of_terms(*of_model),
            PolicyField::Label(key) => {
                facts = facts.with(UseField::Labels.fact());
                labels.push(key.as_str().into());
            }
            PolicyField::Decision(_) => looks = true,
            PolicyField::Use(of_use) => {
                facts = facts.with(of_use.fact());
                if *of_use == UseField::Activities {
                    facts = facts.with(Fact::Hosting);
                    activities.extend(Activity::ALL.iter().copied().filter(|activity| is_wanted(*activity, wanted)));
                    // What is changed and leaves for devices is passed on.
                    if activities.contains(&Activity::RedistributeDerivative) {
                        activities.extend([Activity::FineTune, Activity::Modify]);
                    }
                    // These are other training as well.
                    if activities.contains(&Activity::TrainOtherModels) {
                        activities.extend([Activity::TrainCompetingModels, Activity::DistributeTrainedModel]);
                    }
                }
            }
        });
        labels.sort_unstable();
        labels.dedup();
        (condition.labels, condition.names_terms) = (labels, names_terms);
        activities.sort_unstable();
        activities.dedup();
        (condition.facts, condition.looks_at_decision, condition.activities) = (facts, looks, activities);
        condition
    }
}

/// Writes a value as the facts of a use are kept: `providers/openai` is `openai`, and slugs have hyphens.
fn normalise<M>(field: &PolicyField<M>, wanted: &mut Wanted) {
    if let (Wanted::Like(pattern), PolicyField::Use(of_use)) = (&mut *wanted, field) {
        let id = |text: &str| text.strip_prefix("providers/").unwrap_or(text).to_owned();
        match of_use {
            UseField::Provider => *pattern = pattern.map(id),
            UseField::Categories | UseField::BusinessTypes => *pattern = pattern.map(|text| text.replace('_', "-")),
            _ => {}
        }
    }
    let Wanted::Equal(Value::Text(text)) = wanted else { return };
    match field {
        PolicyField::Use(UseField::Provider) => {
            if let Some(id) = text.strip_prefix("providers/") {
                *text = id.to_owned().into();
            }
        }
        PolicyField::Use(UseField::Categories | UseField::BusinessTypes) => *text = text.replace('_', "-").into(),
        _ => {}
    }
}

/// Whether an activity that is listed is what a test wants.
fn is_wanted(activity: Activity, wanted: &Wanted) -> bool {
    let at = Activity::ALL.iter().position(|known| *known == activity).and_then(|at| u8::try_from(at).ok());
    at.is_some_and(|at| wanted.is_met(&Value::Word(at)) != crate::domain::tri::Tri::False)
}

/// Puts what is cheap to ask before what is not, since most conditions are settled by their first part. The order changes no
/// answer. Returns about how much all of it costs.
fn cheapest_first<M: Schema<Field = M> + Copy>(query: &mut Query<PolicyField<M>>) -> usize {
    match query {
        Query::And(parts) | Query::Or(parts) => {
            let mut rated: Vec<(usize, Query<PolicyField<M>>)> =
                std::mem::take(parts).into_iter().map(|mut part| (cheapest_first(&mut part), part)).collect();
            rated.sort_by_key(|(cost, _)| *cost);
            let cost = rated.iter().map(|(cost, _)| cost).sum();
            parts.extend(rated.into_iter().map(|(_, part)| part));
            cost
        }
        Query::Not(part) | Query::Unknown(part) => cheapest_first(part),
        Query::Word(_) => 10,
        Query::Test(test) => match &test.field {
            PolicyField::Use(_) => 1,
            PolicyField::Label(_) => 2,
            PolicyField::Decision(_) => 3,
            PolicyField::Model(field) if M::is_of_terms(*field) => 8,
            PolicyField::Model(_) => 6,
        },
    }
}

/// Lets every test of a query be changed.
fn each_test_mut<F>(query: &mut Query<F>, change: &mut impl FnMut(&F, &mut Wanted)) {
    match query {
        Query::And(parts) | Query::Or(parts) => parts.iter_mut().for_each(|part| each_test_mut(part, change)),
        Query::Not(part) | Query::Unknown(part) => each_test_mut(part, change),
        Query::Word(_) => {}
        Query::Test(test) => change(&test.field, &mut test.wanted),
    }
}

/// Shows every test of a query.
fn each_test<'q, F>(query: &'q Query<F>, show: &mut impl FnMut(&'q F, &'q Wanted)) {
    match query {
        Query::And(parts) | Query::Or(parts) => parts.iter().for_each(|part| each_test(part, show)),
        Query::Not(part) | Query::Unknown(part) => each_test(part, show),
        Query::Word(_) => {}
        Query::Test(test) => show(&test.field, &test.wanted),
    }
}

/// Where a test stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Plain,
    Negated,
    /// In `unknown(…)`.
    Unknown,
}

/// What the language of filters can ask of a row, and a policy not of a check: nobody may get a better verdict by saying less,
/// and a no that was reached with little known must stay when more becomes known.
fn check_fields(node: &Node, place: Place, problems: &mut Vec<Problem>) {
    match node {
        Node::And(parts) | Node::Or(parts) => {
            parts.iter().for_each(|part| check_fields(part, place, problems));
        }
        Node::Not(part) => check_fields(part, if place == Place::Plain { Place::Negated } else { place }, problems),
        Node::Unknown(part) => check_fields(part, Place::Unknown, problems),
        Node::Word(_) => {}
        Node::Compare(comparison) => {
            check_use(comparison, place, problems);
            check_decision(comparison, place, problems);
        }
    }
}

/// What is not known of the use is a review in any case, and never more than that.
fn check_use(comparison: &Comparison, place: Place, problems: &mut Vec<Problem>) {
    let Comparison { field, operator, value } = comparison;
    let Some(path) = field.path.strip_prefix(USE) else { return };
    if place == Place::Unknown {
        let message =
            "`unknown(…)` asks of the model only: a fact of the use that is not known is a review by itself".into();
        problems.push(Problem { span: field.span, message });
    }
    let is_any = value.pattern.as_ref().is_some_and(|pattern| pattern.is_any());
    let names_country = UseField::parse(path).is_some_and(UseField::names_countries);
    if names_country && value.pattern.is_none() && Country::parse(&value.text).is_none() {
        let message = format!("`{}` is no country: write its code, as `DE` (ISO 3166-1 alpha-2)", shown(&value.text));
        problems.push(Problem { span: value.span, message });
    }
    let asks_presence = *operator == Operator::Has && is_any;
    let is_closed = UseField::parse(path).is_some_and(UseField::is_closed);
    if asks_presence && !is_closed {
        let instead = match path.strip_prefix(LABELS) {
            Some(key) => format!("; write `use.labels:{key}` to ask whether the label is there"),
            None => String::new(),
        };
        let message =
            format!("a policy cannot ask whether a fact of the use is known: one that is not is a review{instead}");
        problems.push(Problem { span: field.span, message });
    }
}

/// The decision before policies may only be asked whether something is there: then a graver decision meets every policy that
/// a milder one meets.
fn check_decision(comparison: &Comparison, place: Place, problems: &mut Vec<Problem>) {
    let Comparison { field, operator, .. } = comparison;
    let Some(of) = field.path.strip_prefix(DECISION).and_then(DecisionField::parse) else { return };
    let positive = place == Place::Plain;
    let fits = match of {
        DecisionField::Verdict => matches!(operator, Operator::GreaterOrEqual | Operator::Greater),
        DecisionField::Duties | DecisionField::Reasons => *operator == Operator::Has,
    };
    if positive && fits {
        return;
    }
    let form = match of {
        DecisionField::Verdict => "decision.verdict >= NEEDS_REVIEW",
        DecisionField::Duties => "decision.duties:share_alike",
        DecisionField::Reasons => "decision.reasons:TERMS_NOT_READ",
    };
    let message = format!(
        "of the decision a policy may only ask what is there, as `{form}`, and not whether something is missing: else \
                 a further restriction could make the policy let go"
    );
    problems.push(Problem { span: field.span, message });
}
