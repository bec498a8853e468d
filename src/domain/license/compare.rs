//! Licenses side by side, topic by topic, in words.
//!
//! What is compared is what a license asks for and when, not how a record puts it: clauses and explanations differ between
//! any two texts and say nothing about their terms.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Approval, Binding, Comparison, Coverage, Duty, DutyClass, GateSubject, License, Measured, Permission,
    PermissionStatus, Predicate, PurposeStatus, ScaleGate, Territory,
};
use crate::domain::words::Grouped;

/// One topic of several licenses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it is about, for example `duty display_branding`.
    pub topic: String,
    /// What each license says, in the order given.
    pub sides: Vec<Side>,
    /// Whether they say different things.
    pub differs: bool,
}

/// What one license says on a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// In words.
    pub words: String,
    /// Clauses it comes from; empty when it says nothing.
    pub clause: String,
}

/// Compares licenses; every topic that at least one of them speaks of is one row.
#[must_use]
pub fn compare(licenses: &[&License]) -> Vec<Row> {
    let terms: Vec<(Terms, &License)> = licenses.iter().map(|license| (Terms::of(license), *license)).collect();
    let topics: BTreeSet<&Topic> = terms.iter().flat_map(|(terms, _)| terms.0.keys()).collect();
    let row = |topic: &Topic| {
        let side = |(terms, license): &(Terms, &License)| {
            terms.0.get(topic).cloned().unwrap_or_else(|| absent(topic.0, license))
        };
        let sides: Vec<Side> = terms.iter().map(side).collect();
        let differs = sides.windows(2).any(|pair| matches!(pair, [a, b] if a.words != b.words));
        Row { topic: topic.to_string(), sides, differs }
    };
    topics.into_iter().map(row).collect()
}

/// A part of the comparison, in the order shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    About(u8),
    Permission(u8),
    Purpose(u8),
    PurposeLimit,
    Duty,
    Policy,
    Restriction,
    Gate,
    Territory,
    Training,
    TrainedModel,
    Revocability,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Topic(Part, String);

impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(part, what) = self;
        match part {
            Part::About(_) => f.write_str(what),
            Part::Permission(_) => write!(f, "permission {what}"),
            Part::Purpose(_) => write!(f, "purpose {what}"),
            Part::PurposeLimit => write!(f, "purpose left out: {what}"),
            Part::Duty => write!(f, "duty {what}"),
            Part::Policy => f.write_str("use policy"),
            Part::Restriction => write!(f, "barred use {what}"),
            Part::Gate => write!(f, "scale gate {what}"),
            Part::Territory => f.write_str("territory"),
            Part::Training => f.write_str("training other models on outputs"),
            Part::TrainedModel => f.write_str("models trained on outputs"),
            Part::Revocability => f.write_str("revocability"),
        }
    }
}

/// What a license says where it says nothing: no text that was read limits more than it states.
fn absent(part: Part, license: &License) -> Side {
    let unread = match part {
        Part::Restriction => match license.use_policy.coverage {
            Coverage::Complete => !license.is_read(),
            Coverage::Partial => return plain("not in the part of the policy that was read"),
            Coverage::NotRead => return plain("not known: the policy was not read"),
        },
        _ => !license.is_read(),
    };
    let nothing = match part {
        Part::Purpose(_) if license.permissions.commercial_use.status == PermissionStatus::Prohibited => "not listed",
        Part::Purpose(_) | Part::Gate | Part::Territory => "no limit",
        Part::PurposeLimit => "not left out",
        Part::Duty => "not asked for",
        Part::Restriction => "not barred",
        _ => "nothing",
    };
    plain(if unread { "none recorded; the text was not read" } else { nothing })
}

fn plain(words: impl Into<String>) -> Side {
    Side { words: words.into(), clause: String::new() }
}

/// What one license says, by topic; several statements on one topic are joined.
#[derive(Default)]
struct Terms(BTreeMap<Topic, Side>);

impl Terms {
    fn of(license: &License) -> Self {
        let mut terms = Self::default();
        terms.about(license);
        terms.permissions(license);
        terms.purposes(license);
        for duty in &license.duties {
            terms.say(Part::Duty, duty.kind.as_str(), duty_words(duty), &duty.clause);
        }
        for restriction in &license.use_restrictions {
            let words = match (restriction.absolute, &*restriction.condition) {
                (true, _) => "barred".to_owned(),
                (false, "") => "barred under a condition that is not stated".to_owned(),
                (false, condition) => format!("barred under a condition: {condition}"),
            };
            terms.say(Part::Restriction, &restriction.category, words, &restriction.clause);
        }
        for gate in &license.scale_gates {
            terms.say(Part::Gate, &gate.metric.replace('_', " "), gate_words(gate), &gate.clause);
        }
        if let Some(territory) = &license.territory {
            terms.say(Part::Territory, "", territory_words(territory), &territory.clause);
        }
        terms.outputs(license);
        // The domain keeps the one answer that a user has to fear; the other two come to the same.
        let revocable = if license.revocable {
            "the publisher can end it without a breach"
        } else {
            "no right to end it without a breach is stated"
        };
        terms.say(Part::Revocability, "", revocable.to_owned(), "");
        terms
    }

    fn say(&mut self, part: Part, what: &str, words: String, clause: &str) {
        let side = self.0.entry(Topic(part, what.to_owned())).or_default();
        if side.words.is_empty() {
            side.words = words;
        } else if !side.words.split("; or ").any(|said| said == words) {
            side.words = format!("{}; or {words}", side.words);
        }
        if side.clause.is_empty() {
            clause.clone_into(&mut side.clause);
        } else if !clause.is_empty() && side.clause != clause {
            side.clause = format!("{}; {clause}", side.clause);
        }
    }

    fn about(&mut self, license: &License) {
        let read = if license.is_read() { "the text was read" } else { "secondary sources; the text was not read" };
        let osi = if license.osi_approved { "yes" } else { "no" };
        let about = [("category", license.category.as_str()), ("OSI-approved", osi), ("known from", read)];
        for (place, (what, words)) in (0..).zip(about) {
            self.say(Part::About(place), what, words.to_owned(), "");
        }
    }

    fn permissions(&mut self, license: &License) {
        let all = &license.permissions;
        let derivative = all.redistribute_derivative.as_ref().unwrap_or(&all.redistribute);
        let acts: [(&str, &Permission); 9] = [
            ("use", &all.use_),
            ("commercial_use", &all.commercial_use),
            ("modify", &all.modify),
            ("fine_tune", &all.fine_tune),
            ("redistribute", &all.redistribute),
            ("redistribute_derivative", derivative),
            ("offer_as_service", &all.offer_as_service),
            ("use_outputs", &all.use_outputs),
            ("train_other_models", &all.train_other_models),
        ];
        for (place, (act, permission)) in (0..).zip(acts) {
            let words = match permission.status {
                PermissionStatus::Allowed => "granted",
                PermissionStatus::Conditional => "granted within the other terms",
                PermissionStatus::Prohibited => "not granted",
                PermissionStatus::Unclear => "left open",
                PermissionStatus::Unspecified if license.is_read() => "the text is silent",
                PermissionStatus::Unspecified => "not read",
            };
            self.say(Part::Permission(place), act, words.to_owned(), &permission.clause);
        }
    }

    fn purposes(&mut self, license: &License) {
        let purposes = &license.purposes;
        let listed = [
            ("internal business", purposes.internal_business),
            ("research", purposes.research),
            ("evaluation", purposes.evaluation),
            ("education", purposes.education),
            ("personal", purposes.personal),
            ("by a for-profit company", purposes.company),
            ("by a public body or university", purposes.institution),
        ];
        for (place, (what, status)) in (0..).zip(listed) {
            let words = match status {
                None => continue,
                Some(PurposeStatus::Allowed) => "inside the grant",
                Some(PurposeStatus::Prohibited) => "outside the grant",
                Some(PurposeStatus::Unclear) => "left open",
            };
            self.say(Part::Purpose(place), what, words.to_owned(), &purposes.clause);
        }
        for limit in &license.purpose_limits {
            let words = if limit.condition.is_empty() {
                "left out".to_owned()
            } else {
                format!("left out: {}", limit.condition)
            };
            self.say(Part::PurposeLimit, limit.purpose.as_str(), words, &limit.clause);
        }
    }

    fn outputs(&mut self, license: &License) {
        let policy = &license.use_policy;
        let coverage = match policy.coverage {
            Coverage::Complete if license.use_restrictions.is_empty() => "no barred use is stated",
            Coverage::Complete => "its barred uses are listed in full",
            Coverage::Partial => "a further policy exists, or part of it was not read",
            Coverage::NotRead => "a policy that was not read",
        };
        self.say(Part::Policy, "", coverage.to_owned(), &policy.title);
        let outputs = &license.outputs;
        if !outputs.training_barred.is_empty() {
            let barred: Vec<&str> = outputs.training_barred.iter().map(|b| b.as_str()).collect();
            let mut words = format!("barred for {}", barred.join(", "));
            push_predicates(&mut words, ", only for ", " and ", &outputs.training_barred_only_if);
            self.say(Part::Training, "", words, &outputs.clause);
        }
        if outputs.trained_model_is_derivative {
            let words = "one that is trained to act alike counts as a derivative".to_owned();
            self.say(Part::TrainedModel, "", words, &outputs.clause);
        }
    }
}

fn push_predicates(words: &mut String, lead: &str, between: &str, predicates: &[Predicate]) {
    if !predicates.is_empty() {
        let named: Vec<&str> = predicates.iter().map(|p| p.as_str()).collect();
        words.push_str(lead);
        words.push_str(&named.join(between));
    }
}

fn duty_words(duty: &Duty) -> String {
    let when: Vec<&str> = duty.when.iter().map(|trigger| trigger.in_words()).collect();
    let lead = match duty.class() {
        DutyClass::Consent => "only the publisher can give it, ",
        DutyClass::Bar(_) => "barred ",
        DutyClass::Step | DutyClass::General => "",
    };
    let mut words = format!("{lead}{}", when.join(", "));
    if !duty.not_when.is_empty() {
        let not: Vec<&str> = duty.not_when.iter().map(|trigger| trigger.in_words()).collect();
        words.push_str(", but not ");
        words.push_str(&not.join(", "));
    }
    push_predicates(&mut words, ", only for ", " and ", &duty.only_if);
    if !duty.gate_group.is_empty() {
        words.push_str(", only beyond a scale gate");
    }
    if !duty.exact_strings.is_empty() {
        let strings: Vec<String> = duty.exact_strings.iter().map(|text| format!("`{text}`")).collect();
        words.push_str(", worded ");
        words.push_str(&strings.join(" or "));
    }
    words.push_str(match duty.binding {
        Binding::Required => "",
        Binding::Encouraged => " (asked for, not demanded)",
        Binding::OutsideText => " (asked for outside the text)",
    });
    if duty.approval == Approval::UnreadAgreement {
        words.push_str(" (rests on a further text that was not read)");
    }
    words
}

fn gate_words(gate: &ScaleGate) -> String {
    let mut words = match gate.threshold {
        None => format!("{} for {}", gate.effect, gate.business_types.join(", ")),
        Some(threshold) => {
            let comparison = match gate.comparison {
                Comparison::GreaterThan => "above",
                Comparison::AtLeast | Comparison::IsOneOf => "from",
            };
            let whose = match gate.subject {
                GateSubject::Product => "of the product",
                GateSubject::Licensee => "of the licensee",
                GateSubject::Group => "of the licensee with its affiliates",
            };
            format!("{} {comparison} {} {whose}, {}", gate.effect, Grouped(threshold), measured(gate.measured))
        }
    };
    push_predicates(&mut words, ", only for ", " and ", &gate.only_if);
    push_predicates(&mut words, ", not for ", " or ", &gate.unless);
    push_predicates(&mut words, ", left open for ", " or ", &gate.unsettled_if);
    if gate.unverified {
        words.push_str(" (the clause was not read)");
    }
    words
}

fn measured(measured: Measured) -> String {
    match measured {
        Measured::Fixed(period) => format!("once, in {period}"),
        Measured::MonthBeforeRelease => "once, in the month before the model's release".to_owned(),
        Measured::AnyTime => "at any time".to_owned(),
        Measured::AtApplication => "when the license is applied for".to_owned(),
    }
}

fn territory_words(territory: &Territory) -> String {
    let mut words = if territory.excluded.written.is_empty() {
        format!("judged by {}", territory.test)
    } else {
        format!("{} excluded, judged by {}", territory.excluded.written.join(", "), territory.test)
    };
    if territory.multimodal_only {
        words.push_str(", only for models of more than text");
    }
    push_predicates(&mut words, ", not for ", " or ", &territory.unless);
    words
}
