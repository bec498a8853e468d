//! What a finding says, written only when it is asked for.

use std::fmt::{self, Write as _};

use super::decision::{Decision, Effect, Finding, Verdict};
use super::intended_use::{Activities, Activity, Hosting, Purpose};
use super::policy::{MissingLabels, Policy, PolicyEffect};
use super::reason::Reason;
use super::waiver::Waiver;
use crate::domain::date::Date;
use crate::domain::license::{
    BarredTraining, Comparison, Duty, Expression, GateSubject, License, LicensePeriod, OutputTerms, Permission,
    PurposeLimit, Restrictiveness, ScaleGate, Term, Territory, Trigger, UseRestriction,
};
use crate::domain::model::{BaseModel, Capability, Component, ComponentKind, Conclusion, Modality, Model};
use crate::domain::name::LicenseId;
use crate::domain::openness::Tier;
use crate::domain::place::{Country, CountrySet};
use crate::domain::vocabulary::Vocabulary;
use crate::domain::words::Grouped;

/// What a finding is about, borrowed from the records and the use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Detail<'a> {
    /// The reason says it all.
    Plain,
    /// Words from a record or the use.
    Text(&'a str),
    /// Why an offering's model is not known.
    Unresolved(&'a str),
    /// How it is hosted.
    Hosting(Hosting),
    /// A provider id.
    Provider(&'a str),
    /// A license as declared.
    Declared(&'a str),
    /// A license id.
    License(&'a LicenseId),
    /// A license that the use does not allow.
    NotAllowed {
        /// As the expression names it.
        id: &'a LicenseId,
        /// It is on the deny-list, rather than not on the allow-list.
        denied: bool,
    },
    /// A license that the SPDX list names.
    Listed {
        /// Its id.
        id: &'a LicenseId,
        /// Its name on the list.
        name: &'static str,
    },
    /// A pinned revision that could not be placed.
    Unplaced {
        /// The revision.
        revision: &'a str,
        /// It lies in several periods rather than in none.
        several: bool,
    },
    /// A branch of an expression.
    Branch(&'a Term),
    /// Licenses over time.
    Periods(&'a [LicensePeriod]),
    /// What a license statement rests on.
    Evidence {
        /// The part with its evidence.
        component: &'a Component,
        /// The license that holds, of a period perhaps; `None`: none is known.
        expression: Option<&'a Expression>,
    },
    /// An act and the answer on it.
    Permission {
        /// In words.
        act: &'static str,
        /// The answer.
        permission: &'a Permission,
    },
    /// A purpose.
    Purpose(Purpose),
    /// A purpose, and who pursues it or may do so.
    PurposeBy(Purpose, &'static str),
    /// A purpose outside the grant.
    PurposeLimit(&'a PurposeLimit),
    /// A duty and what started it.
    Duty {
        /// The duty.
        duty: &'a Duty,
        /// The trigger that was met.
        started: Trigger,
    },
    /// A barred use.
    Restriction {
        /// The category of the use.
        asked: &'a str,
        /// What bars it.
        restriction: &'a UseRestriction,
        /// Only a part of the category is barred.
        narrower: bool,
    },
    /// A gate and the figure held against it.
    Gate {
        /// The gate.
        gate: &'a ScaleGate,
        /// The figure.
        figure: Figure,
    },
    /// Places outside the grant.
    Territory {
        /// The clause.
        territory: &'a Territory,
        /// Those of the use that were looked at.
        places: UsePlaces<'a>,
        /// The ones of them that matter here.
        which: Which,
    },
    /// Training that is barred.
    Barred {
        /// Which.
        barred: BarredTraining,
        /// The clause.
        outputs: &'a OutputTerms,
    },
    /// A step up the lineage.
    Base(&'a BaseModel),
    /// What a descendant's license drops.
    Drift {
        /// What is lost.
        lost: Restrictiveness,
        /// The step.
        base: &'a BaseModel,
        /// The model whose license first drops it; `None`: the one asked for.
        at: Option<&'a Model>,
        /// The barred uses of two single licenses.
        uses: Option<LostUses<'a>>,
    },
    /// Something required.
    Need(Need),
    /// Activities taken as not done.
    Assumed(Activities),
    /// A waiver that has expired.
    Waiver(&'a Waiver),
    /// A policy whose condition holds, or may hold.
    Policy {
        /// The policy.
        policy: &'a Policy,
        /// Whether it holds.
        is_certain: bool,
        /// Labels of the use that would help to tell.
        missing_labels: MissingLabels<'a>,
    },
}

/// Where a use happens, as far as a territory looks at it. Sets of countries are large, and few findings are read: which
/// countries one is about is worked out when its message is written.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct UsePlaces<'a> {
    /// Where the organization is.
    pub organization: Option<Country>,
    /// Where it runs.
    pub deployment: Option<&'a CountrySet>,
    /// Where its users are.
    pub end_users: Option<&'a CountrySet>,
}

/// Which places of a use a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// None: it is about those that are not stated.
    NotStated,
    /// All that were looked at.
    All,
    /// Those that are excluded.
    Excluded,
    /// Those of which a part is excluded.
    PartlyExcluded,
    /// Those that every list of supported places we know leaves open.
    OffMarket,
}

impl UsePlaces<'_> {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> CountrySet {
        let mut all = CountrySet::default();
        self.organization.into_iter().for_each(|country| all.insert(country));
        [self.deployment, self.end_users].into_iter().flatten().for_each(|set| all.extend(set));
        all
    }

    /// The ones that a finding is about.
    pub(super) fn of(&self, territory: &Territory, which: Which) -> CountrySet {
        let all = self.all();
        match which {
            Which::NotStated => CountrySet::default(),
            Which::All => all,
            Which::Excluded => all.common(&territory.excluded.countries),
            Which::PartlyExcluded => all.common(&territory.excluded.parts),
            Which::OffMarket => {
                let markets = well_known_markets();
                let mut off = CountrySet::default();
                all.iter().filter(|country| !markets.contains(*country)).for_each(|country| off.insert(country));
                off
            }
        }
    }
}

/// Places that every publisher's list of supported places has.
pub(super) fn well_known_markets() -> CountrySet {
    CountrySet::named("WELL_KNOWN_MARKETS").unwrap_or_default()
}

/// Barred uses that a license keeps out and the license of a descendant does not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LostUses<'a> {
    /// The license that bars them.
    pub theirs: &'a License,
    /// The license of the descendant.
    pub ours: &'a License,
    /// Which category is part of which.
    pub vocabulary: &'a Vocabulary,
}

impl LostUses<'_> {
    /// Names them, where both bar some: else they are all that the license bars.
    fn write(self, out: &mut String) -> fmt::Result {
        let Self { theirs, ours, vocabulary } = self;
        if ours.use_restrictions.is_empty() {
            return Ok(());
        }
        let mut lost: Vec<&str> = theirs.use_restrictions.iter().map(|r| &*r.category).collect();
        lost.retain(|category| !vocabulary.any_broader(category, &|broader| ours.restricts(broader)));
        lost.sort_unstable();
        lost.dedup();
        if lost.is_empty() {
            return Ok(());
        }
        out.write_str(" (")?;
        write_list(out, lost.iter())?;
        out.write_str(")")
    }
}

/// A figure that was held against a gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figure {
    /// The figure; `None`: not known.
    pub value: Option<i64>,
    /// It is the organization's, in place of the exact one.
    pub stood_in: bool,
    /// The organization's figure is less than a part of it that is stated too, so that neither is taken.
    pub contradicted: bool,
    /// The past period that the gate asks for.
    pub period: Option<Date>,
}

/// Something that a use requires of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// At least this open.
    Tier(Tier),
    /// A part that is available.
    Component(ComponentKind),
    /// At least this long a context.
    ContextTokens(i64),
    /// Takes this in.
    Input(Modality),
    /// Gives this out.
    Output(Modality),
    /// Can do this.
    Capability(Capability),
    /// Can be fine-tuned without the vendor.
    PrivateFineTuning,
    /// Runs without a network.
    Offline,
}

impl Need {
    /// Its field path under `Use`.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Tier(_) => "requirements.min_tier",
            Self::Component(_) => "requirements.components",
            Self::ContextTokens(_) => "requirements.min_context_tokens",
            Self::Input(_) => "requirements.input_modalities",
            Self::Output(_) => "requirements.output_modalities",
            Self::Capability(_) => "requirements.capabilities",
            Self::PrivateFineTuning => "requirements.private_fine_tuning",
            Self::Offline => "requirements.offline",
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tier(tier) => write!(f, "the tier {tier} or a more open one"),
            Self::Component(kind) => write!(f, "{kind} to be available"),
            Self::ContextTokens(tokens) => write!(f, "a context of {} tokens", Grouped(*tokens)),
            Self::Input(modality) => write!(f, "{modality} input"),
            Self::Output(modality) => write!(f, "{modality} output"),
            Self::Capability(capability) => write!(f, "{capability}"),
            Self::PrivateFineTuning => f.write_str("fine-tuning on private data without the vendor"),
            Self::Offline => f.write_str("running without a network"),
        }
    }
}

impl Finding<'_> {
    /// One sentence that a person understands, with the numbers in it.
    #[must_use]
    pub fn message(&self) -> String {
        let mut out = String::with_capacity(160);
        self.tell(&mut out);
        out
    }

    /// Writes it behind a text.
    pub fn tell(&self, out: &mut String) {
        // Writing to a string cannot fail.
        let _ = self.write_message(out);
    }

    fn write_message(&self, out: &mut String) -> fmt::Result {
        let license = self.origin.license.map_or("the license", |l| &l.display_name);
        match self.detail {
            Detail::Plain => self.write_plain(out, license),
            Detail::Text(text) => self.write_text(out, license, text),
            Detail::Unresolved(why) => write!(out, "the model behind this offering is not known: {why}"),
            Detail::Hosting(hosting) => {
                write!(out, "the weights of this model cannot be had, so {hosting} is not possible")
            }
            Detail::Provider(provider) => {
                write!(out, "the service terms of provider `{provider}` are not in the catalog")
            }
            Detail::Declared("") => out.write_str("no license of the weights is known"),
            Detail::Declared(text) => {
                write!(out, "the weights are declared `{text}`, which could not be mapped to a known license")
            }
            Detail::NotAllowed { id, denied: true } => {
                write!(out, "`{id}` is among the licenses that the use refuses")
            }
            Detail::NotAllowed { id, denied: false } => {
                write!(out, "`{id}` is not among the licenses that the use allows")
            }
            Detail::License(id) => write!(out, "the terms of `{id}` are not known"),
            Detail::Listed { id, name } => {
                write!(out, "`{id}` ({name}) is known by name; its terms are not modelled")
            }
            Detail::Unplaced { revision, several } => {
                let places = if several { "several of its periods" } else { "no known period" };
                out.write_str("the license of the weights changed over time, and ")?;
                if revision.is_empty() {
                    out.write_str("the day of the use")?;
                } else {
                    write!(out, "revision `{revision}`")?;
                }
                write!(out, " belongs to {places}")
            }
            Detail::Branch(term) => {
                out.write_str("of the licenses to choose from, `")?;
                write_term(out, term)?;
                out.write_str("` was taken, the best for this use")
            }
            Detail::Periods(periods) => write_periods(out, periods),
            Detail::Evidence { component, expression } => write_evidence(out, component, expression),
            Detail::Permission { act, permission } => self.write_permission(out, license, act, permission),
            Detail::Purpose(purpose) => self.write_purpose(out, license, purpose, ""),
            Detail::PurposeBy(purpose, who) => self.write_purpose(out, license, purpose, who),
            Detail::PurposeLimit(limit) => {
                write!(out, "{license} leaves out {}", limit.purpose)?;
                if !limit.condition.is_empty() {
                    write!(out, " ({})", limit.condition)?;
                }
                self.write_missing(out)
            }
            Detail::Duty { duty, started } => self.write_duty(out, license, duty, started),
            Detail::Restriction { asked, restriction, narrower } => {
                write!(out, "{license} bars {}", restriction.category)?;
                if narrower {
                    write!(out, ", and the use may be in that part of {asked}")?;
                } else if *restriction.category != *asked {
                    write!(out, ", of which {asked} is a part")?;
                }
                match (restriction.absolute, restriction.condition.is_empty()) {
                    (true, true) => Ok(()),
                    (true, false) => write!(out, " ({})", restriction.condition),
                    (false, true) => out.write_str(" under a condition that is not stated"),
                    (false, false) => write!(out, " under a condition: {}", restriction.condition),
                }
            }
            Detail::Gate { gate, figure } => self.write_gate(out, license, gate, figure),
            Detail::Territory { territory, places, which } => {
                self.write_territory(out, license, territory, &places.of(territory, which))
            }
            Detail::Barred { barred, outputs } => {
                let verb = if self.effect == Effect::Blocks { "bars" } else { "may bar" };
                write!(out, "{license} {verb} training {barred} on outputs")?;
                if outputs.note.is_empty() { Ok(()) } else { write!(out, " ({})", outputs.note) }
            }
            Detail::Base(base) => self.write_base(out, base),
            Detail::Drift { lost, base, at, uses } => {
                match at {
                    Some(at) => write!(out, "the license of `{}` drops", at.name)?,
                    None => out.write_str("the declared license drops")?,
                }
                write!(out, " terms of `{}`, which still hold: ", base.model.as_str())?;
                write_list(out, lost.words())?;
                match uses.filter(|_| lost.has(Restrictiveness::USES)) {
                    Some(uses) => uses.write(out),
                    None => Ok(()),
                }
            }
            Detail::Need(need) => match self.effect {
                Effect::Blocks => write!(out, "the use requires {need}, which this model does not offer"),
                _ => write!(out, "the use requires {need}; whether this model offers it is not known"),
            },
            Detail::Waiver(waiver) => {
                write!(out, "`{}` would silence a finding {}, but has expired", waiver.name, waiver.reason)
            }
            Detail::Policy { policy, is_certain, .. } => write_policy(out, policy, is_certain),
            Detail::Assumed(activities) => {
                out.write_str("taken as not done, because not listed; the verdict would be worse with: ")?;
                let names = Activity::ALL.iter().filter(|a| activities.has(**a)).map(|a| a.as_str());
                write_list(out, names)
            }
        }
    }

    fn write_plain(&self, out: &mut String, license: &str) -> fmt::Result {
        let text = match self.reason {
            Reason::TierUnknown => "nothing says whether the weights of this model can be had",
            Reason::HostingUnknown => "how the model is hosted decides which terms hold, and it is not stated",
            Reason::WeightsUnavailable => "the weights of this model cannot be had, so they cannot be passed on",
            Reason::OfferingUnknown => {
                "nothing says that this provider serves this model, so its terms may not be those that hold"
            }
            Reason::WeightsWithdrawn => "the publisher no longer offers the weights for download",
            Reason::ProductVendorTerms => {
                "the model comes inside somebody else's product: the terms of the provider are the product vendor's affair"
            }
            Reason::LicenseUnknown => "no license of the weights is known",
            Reason::TermsNotRead => {
                return write!(out, "the terms of {license} are known from secondary sources; the text was not read");
            }
            Reason::PurposeUnknown => {
                return write!(
                    out,
                    "{license} does not grant commercial use, and the purpose of the use is not stated"
                );
            }
            other => other.as_str(),
        };
        out.write_str(text)
    }

    fn write_text(&self, out: &mut String, license: &str, text: &str) -> fmt::Result {
        match self.reason {
            Reason::LicenseExceptionNotModelled => write!(out, "the exception `{text}` to {license} is not modelled"),
            Reason::UsePolicyNotRead => {
                write!(out, "the use policy of {license} was not read, or not all of it: it may bar {text}")
            }
            _ => out.write_str(text),
        }
    }

    /// Names the facts that a review waits for.
    fn write_missing(&self, out: &mut String) -> fmt::Result {
        if self.effect != Effect::Review || self.missing.is_empty() {
            return Ok(());
        }
        out.write_str("; not stated: ")?;
        write_list(out, self.missing.iter().map(|fact| fact.as_str()))
    }

    fn write_permission(&self, out: &mut String, license: &str, act: &str, permission: &Permission) -> fmt::Result {
        match self.effect {
            Effect::Blocks => write!(out, "{license} does not grant {act}")?,
            Effect::Permits => write!(out, "{license} grants {act}")?,
            Effect::Review if self.reason == Reason::PermissionUnclear => {
                write!(out, "{license} leaves open whether it grants {act}")?;
            }
            Effect::Review | Effect::Duty | Effect::Info => {
                write!(out, "whether {license} grants {act} was not read")?;
            }
        }
        if permission.note.is_empty() { Ok(()) } else { write!(out, " ({})", permission.note) }
    }

    fn write_purpose(&self, out: &mut String, license: &str, purpose: Purpose, who: &str) -> fmt::Result {
        match self.effect {
            Effect::Blocks => write!(out, "{license} does not cover the purpose {purpose}{who}"),
            Effect::Permits => write!(out, "{license} covers the purpose {purpose}, though not commercial use"),
            Effect::Review | Effect::Duty | Effect::Info => {
                write!(out, "{license} leaves open whether it covers the purpose {purpose}{who}")
            }
        }
    }

    fn write_duty(&self, out: &mut String, license: &str, duty: &Duty, started: Trigger) -> fmt::Result {
        let lead = match self.reason {
            Reason::DutyFulfilled => "done already: ",
            Reason::DutyGeneral => "holds for everyone: ",
            Reason::DutyEncouraged => "asked for, not demanded: ",
            Reason::DutyUncertain => "may be owed, which depends on facts that are not stated: ",
            Reason::PublisherConsentNeeded => "only the publisher can give this: ",
            Reason::AgreementNotRead => "the right rests on a further text that was not read: ",
            Reason::StepNotOpen => "the organization cannot take this step: ",
            Reason::ActivityBarred => {
                return write!(out, "{license} bars the use {}: {}", started.in_words(), duty.text);
            }
            _ => "",
        };
        write!(out, "{lead}{}", duty.text)?;
        match &*duty.exact_strings {
            [] => Ok(()),
            [first, rest @ ..] => {
                write!(out, " Wording: `{first}`")?;
                rest.iter().try_for_each(|other| write!(out, " or `{other}`"))
            }
        }
    }

    fn write_gate(&self, out: &mut String, license: &str, gate: &ScaleGate, figure: Figure) -> fmt::Result {
        let Some(threshold) = gate.threshold else {
            write!(out, "{license}: for {} ", gate.business_types.join(", "))?;
            write!(out, "{}", gate.effect)?;
            return match self.reason {
                Reason::ScaleGateSettled => out.write_str("; what it asks for is at hand"),
                _ => self.write_missing(out),
            };
        };
        let whose = match gate.subject {
            GateSubject::Product => "of the product",
            GateSubject::Licensee => "of the licensee",
            GateSubject::Group => "of the licensee with its affiliates",
        };
        let metric = gate.metric.replace('_', " ");
        if self.reason == Reason::FigureStoodIn {
            write!(out, "the organization's figure of {metric} stood in for the exact one {whose}")?;
            return figure.period.map_or(Ok(()), |period| write!(out, " in {period}"));
        }
        match figure.value {
            Some(value) => write!(out, "{} {metric} {whose}", Grouped(value))?,
            None => write!(out, "the figure of {metric} {whose}")?,
        }
        // The most to date, where the figure of a past month is asked for and is not stated.
        let most = self.reason == Reason::ScaleGateUnknown && figure.stood_in && !self.missing_measures.is_empty();
        if let Some(period) = figure.period.filter(|_| !most) {
            write!(out, " in {period}")?;
        }
        let comparison = match gate.comparison {
            Comparison::GreaterThan => "more than",
            Comparison::AtLeast | Comparison::IsOneOf => "at least",
        };
        let limit = Grouped(threshold);
        let effect = gate.effect;
        match self.reason {
            Reason::ScaleGateWithin => {
                write!(out, " stays within the limit of {license}: {effect} from {comparison} {limit}")?;
            }
            Reason::ScaleGateUnknown if figure.contradicted => {
                write!(
                    out,
                    " is stated as less than a part of it, and under {license} {effect} from {comparison} {limit}: the exact figure is needed"
                )?;
            }
            Reason::ScaleGateUnknown if figure.value.is_none() => {
                write!(out, " is not stated, and under {license} {effect} from {comparison} {limit}")?;
            }
            Reason::ScaleGateUnknown if self.missing_measures.is_empty() => {
                write!(out, " is {comparison} the limit of {limit} of {license}: {effect}, if that reaches this use")?;
                self.write_missing(out)?;
            }
            Reason::ScaleGateUnknown => {
                out.write_str(" are the most to date, which does not tell the figure")?;
                figure.period.map_or(Ok(()), |period| write!(out, " in {period}"))?;
                write!(out, "; under {license} {effect} from {comparison} {limit}")?;
            }
            Reason::ScaleGateUnsettled => {
                write!(out, ": {license} leaves open whether its limit of {limit} holds here")?;
            }
            Reason::ScaleGateSettled => {
                write!(out, " need not stay within the limit of {limit} of {license}: what it asks for is at hand")?;
            }
            _ => write!(out, " is {comparison} the limit of {limit} of {license}: {effect}")?,
        }
        if self.effect == Effect::Blocks && !gate.discretion.is_empty() {
            write!(out, " ({})", gate.discretion)?;
        }
        if gate.unverified { out.write_str("; the clause was not read in the text") } else { Ok(()) }
    }

    fn write_territory(
        &self,
        out: &mut String,
        license: &str,
        territory: &Territory,
        countries: &CountrySet,
    ) -> fmt::Result {
        let test = territory.test;
        let excluded = || territory.excluded.written.join(", ");
        match self.reason {
            Reason::TerritoryExcluded => {
                write!(out, "{license} excludes ")?;
                write_list(out, countries.iter().map(|c| c.as_str().to_owned()))?;
                write!(out, " (excluded: {}), judged by {test}", excluded())
            }
            Reason::TerritoryUnknown if territory.excluded.written.is_empty() => {
                write!(
                    out,
                    "{license} holds only for places on the publisher's list, and a place of the use is not stated"
                )
            }
            Reason::TerritoryUnknown => {
                write!(
                    out,
                    "{license} excludes {}, judged by {test}, and a place that decides is not stated",
                    excluded()
                )
            }
            Reason::TerritoryUnclear if territory.excluded.written.is_empty() => {
                out.write_str("whether the publisher's list of supported places holds ")?;
                write_list(out, countries.iter().map(|c| c.as_str().to_owned()))?;
                out.write_str(" was not read")
            }
            Reason::TerritoryUnclear => {
                write!(out, "{license} excludes {}; whether that reaches ", excluded())?;
                write_list(out, countries.iter().map(|c| c.as_str().to_owned()))?;
                out.write_str(" here is not settled")
            }
            Reason::DutyApplies | Reason::DutyFulfilled => {
                write!(out, "{license}: use it only from places on the publisher's list")
            }
            _ => write!(out, "no place that decides is excluded by {license} (excluded: {})", excluded()),
        }
    }

    fn write_base(&self, out: &mut String, base: &BaseModel) -> fmt::Result {
        let (name, relation) = (base.model.as_str(), base.relation);
        match self.reason {
            Reason::OutputLineageRestricted => write!(
                out,
                "the model was trained on outputs of `{name}`, whose terms bar or limit that: what follows for its users is not settled"
            ),
            _ => write!(out, "the terms of `{name}`, from which it was made ({relation}), are not known"),
        }
    }
}

fn write_term(out: &mut String, term: &Term) -> fmt::Result {
    match term {
        Term::License { id, exception: None, .. } => write!(out, "{id}"),
        Term::License { id, exception: Some(exception), .. } => write!(out, "{id} WITH {exception}"),
        Term::And(terms) | Term::Or(terms) => {
            let word = if matches!(term, Term::And(_)) { " AND " } else { " OR " };
            for (i, inner) in terms.iter().enumerate() {
                if i > 0 {
                    out.write_str(word)?;
                }
                write_term(out, inner)?;
            }
            Ok(())
        }
    }
}

fn write_periods(out: &mut String, periods: &[LicensePeriod]) -> fmt::Result {
    out.write_str("revisions of the weights came under different licenses; the current one was taken: ")?;
    let text = periods.iter().map(|period| {
        let from = period.from.map_or_else(String::new, |day| format!(" from {day}"));
        let until = period.until.map_or_else(String::new, |day| format!(" until {day}"));
        format!("{}{from}{until}", period.expression)
    });
    write_list(out, text)
}

fn write_evidence(out: &mut String, component: &Component, expression: Option<&Expression>) -> fmt::Result {
    let evidence = component.evidence;
    if let Some(pinned) = expression.filter(|pinned| Some(*pinned) != component.expression.as_ref()) {
        return write!(out, "the license statement `{pinned}` of the pinned revision comes from the record's periods");
    }
    match expression {
        Some(expression) => write!(out, "the license statement `{expression}` rests on {evidence}")?,
        None => write!(out, "the license statement rests on {evidence}")?,
    }
    if let Some(conclusion) = &component.conclusion {
        let Conclusion { reviewer, url, date } = &**conclusion;
        write!(out, ", as {reviewer} concluded on {date} ({url})")?;
    }
    if component.declared_license.is_empty() {
        Ok(())
    } else {
        write!(out, "; declared as `{}`", component.declared_license)
    }
}

fn write_policy(out: &mut String, policy: &Policy, is_certain: bool) -> fmt::Result {
    let Policy { name, effect, message, is_enforced, is_unwaivable: _ } = policy;
    let does = match (is_enforced, effect) {
        (true, PolicyEffect::Block) => "blocks this",
        (true, PolicyEffect::Review) => "wants a review of this",
        (true, PolicyEffect::Duty) => "asks for a step",
        (false, PolicyEffect::Block) => "would block this, were it enforced",
        (false, PolicyEffect::Review) => "would want a review of this, were it enforced",
        (false, PolicyEffect::Duty) => "would ask for a step, were it enforced",
    };
    if is_certain {
        write!(out, "the policy `{name}` {does}: {message}")
    } else {
        write!(out, "whether the policy `{name}` holds here cannot be told; where it does, it {does}: {message}")
    }
}

fn write_list(out: &mut String, items: impl Iterator<Item = impl AsRef<str>>) -> fmt::Result {
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.write_str(", ")?;
        }
        out.write_str(item.as_ref())?;
    }
    Ok(())
}

impl Decision<'_> {
    /// One plain sentence.
    #[must_use]
    pub fn summary(&self) -> String {
        let of = |effect| self.findings.that(effect);
        let (blocks, reviews, duties) = (of(Effect::Blocks), of(Effect::Review), of(Effect::Duty));
        // A text of a record ends in a full stop of its own.
        let lead = |finding: &Finding<'_>| finding.message().trim_end_matches('.').to_owned();
        let others = |count: usize| match count {
            0 | 1 => String::new(),
            2 => "; one more reason".to_owned(),
            n => format!("; {} more reasons", n - 1),
        };
        match self.verdict {
            Verdict::Eligible => "May be used as described; nothing more to do.".to_owned(),
            Verdict::EligibleWithConditions => match duties.count() {
                1 => "May be used as described once one duty is done.".to_owned(),
                n => format!("May be used as described once {n} duties are done."),
            },
            Verdict::NeedsReview => {
                let (first, count) = (reviews.clone().next().map(lead), reviews.count());
                format!("Needs a review: {}{}.", first.unwrap_or_default(), others(count))
            }
            Verdict::Ineligible => {
                let (first, count) = (blocks.clone().next().map(lead), blocks.count());
                format!("May not be used as described: {}{}.", first.unwrap_or_default(), others(count))
            }
        }
    }
}
