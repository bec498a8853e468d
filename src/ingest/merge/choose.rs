//! Whose word counts, field by field.

use std::collections::{BTreeMap, BTreeSet};

use super::{Base, BaseValue, Concluded, Conflict, ConflictClaim, Merged, OfferingFlags, Provenance, Settled, Tables};
use crate::domain::date::Date;
use crate::domain::license::{Expression, Term};
use crate::domain::model::{Availability, BaseRef, ComponentKind, Evidence, Relation};
use crate::domain::name::LicenseId;
use crate::ingest::license_names::Mapped;
use crate::ingest::osai;
use crate::ingest::source::DataSource;
use crate::ingest::statement::{DeclaredLicense, Field, SourceRecord, Statement, Value};

/// A value that is in the running for a field.
#[derive(Clone, Debug)]
struct Claim {
    value: Settled,
    source: DataSource,
    record: Box<str>,
    date: Box<str>,
    url: Box<str>,
    rank: u8,
    /// Whether it can be chosen: a provider's "no" never is.
    counts: bool,
    /// Whether it stood before the merge.
    before: bool,
}

/// A record of a source: the source, its record, when and where.
type Origin = (DataSource, Box<str>, Box<str>, Box<str>);

pub(super) fn merge(
    tables: &Tables<'_>,
    base: &Base,
    records: &[&SourceRecord],
    flags: OfferingFlags,
    resolve: &dyn Fn(&str) -> BaseRef,
) -> Merged {
    let mut claims: BTreeMap<Field, Vec<Claim>> = BTreeMap::new();
    for record in records {
        for (field, claim) in of_record(tables, record, resolve) {
            claims.entry(field).or_default().push(claim);
        }
    }
    // A class is no license: it is only held against the one that is chosen.
    let classes = claims.remove(&Field::LicenseClass).unwrap_or_default();
    if !claims.contains_key(&Field::TotalParameters) && !base.contains_key(&Field::TotalParameters) {
        let named = claims.get(&Field::DisplayName).into_iter().flatten().filter_map(of_name).collect::<Vec<_>>();
        claims.insert(Field::TotalParameters, named);
    }
    for claim in of_offerings(flags) {
        claims.entry(Field::Availability(ComponentKind::ModelWeights)).or_default().push(claim);
    }
    let mut withdrawn = BTreeSet::new();
    for (field, value) in base {
        let of_field = claims.entry(*field).or_default();
        if is_replaced(*field, value, records, of_field) {
            withdrawn.insert(*field);
        } else {
            of_field.push(Claim {
                value: value.value.clone(),
                source: value.source,
                record: value.record.clone(),
                date: value.date.clone(),
                url: "".into(),
                rank: rank_before(*field, value),
                counts: true,
                before: true,
            });
        }
    }
    let mut merged = Merged::default();
    let mut provenance: BTreeMap<Origin, BTreeSet<Field>> = BTreeMap::new();
    for (field, of_field) in &mut claims {
        of_field.sort_by(|a, b| key(a).cmp(&key(b)));
        for from in settle(*field, of_field, &mut merged) {
            if from.source != DataSource::Curated {
                let key = (from.source, from.record.clone(), from.date.clone(), from.url.clone());
                provenance.entry(key).or_default().insert(*field);
            }
        }
    }
    for field in withdrawn {
        // Its record no longer states it, or it is known to be wrong, and nobody else does.
        if claims.get(&field).is_none_or(|of_field| !of_field.iter().any(|claim| claim.counts)) {
            merged.set.insert(field, Settled::Nothing);
        }
    }
    check_closed(base, &claims, &classes, &mut merged);
    check_class(tables, base, &classes, &mut merged);
    keep_contradicted(base, &mut merged);
    let entries = provenance.into_iter().map(|((source, record, date, url), fields)| Provenance {
        source,
        record,
        date,
        url,
        fields: fields.into_iter().collect(),
    });
    merged.provenance = entries.collect();
    merged
}

/// Whether a record says today what the catalog once took from it, or no longer says it. Ancestors are never replaced:
/// those of several sources stand there as one, and leaving any out would leave its terms out.
fn is_replaced(field: Field, before: &BaseValue, records: &[&SourceRecord], claims: &[Claim]) -> bool {
    match before.source {
        _ if field == Field::BaseModels => false,
        DataSource::Curated => false,
        // Flags are counted over all offerings: no single record has said it.
        DataSource::ModelsDev => claims.iter().any(|claim| claim.source == before.source),
        source => records.iter().any(|record| record.source == source && record.id == before.record),
    }
}

fn key(claim: &Claim) -> (u8, DataSource, &str, String) {
    (claim.rank, claim.source, &claim.record, text(&claim.value))
}

/// Settles one field, and returns the claims it was settled by.
fn settle<'a>(field: Field, claims: &'a [Claim], merged: &mut Merged) -> Vec<&'a Claim> {
    match field {
        Field::Notes => union(field, claims, merged),
        // Every ancestor that anybody names counts: a left-out one would leave its terms out. What the catalog states
        // was read from the maker and stands alone.
        Field::BaseModels if claims.first().is_none_or(|c| c.source != DataSource::Curated) => {
            union(field, claims, merged)
        }
        _ => one(field, claims, merged),
    }
}

fn union<'a>(field: Field, claims: &'a [Claim], merged: &mut Merged) -> Vec<&'a Claim> {
    let mut texts: Vec<Box<str>> = Vec::new();
    let mut bases: Vec<(BaseRef, Relation)> = Vec::new();
    for claim in claims {
        match &claim.value {
            Settled::Plain(Value::Texts(more)) => {
                for note in more {
                    if !texts.contains(note) {
                        texts.push(note.clone());
                    }
                }
            }
            Settled::Bases(more) => {
                for base in more {
                    if !bases.iter().any(|(known, _)| *known == base.0) {
                        bases.push(base.clone());
                    }
                }
            }
            _ => {}
        }
    }
    if claims.iter().any(|claim| !claim.before) {
        let value = if field == Field::Notes { Settled::Plain(Value::Texts(texts)) } else { Settled::Bases(bases) };
        merged.set.insert(field, value);
    }
    claims.iter().collect()
}

fn one<'a>(field: Field, claims: &'a [Claim], merged: &mut Merged) -> Vec<&'a Claim> {
    let Some(chosen) = claims.iter().find(|claim| claim.counts) else { return Vec::new() };
    let differs = claims.iter().any(|claim| !agree(field, &claim.value, &chosen.value));
    let mut value = chosen.value.clone();
    if differs && let Some(rule) = rule(field) {
        if let Settled::License(concluded) = &mut value
            && chosen.source != DataSource::Curated
        {
            // Nobody read the text, and those who report it disagree: that is for a person.
            concluded.evidence = Evidence::Conflict;
        }
        let mut sides: Vec<_> = claims.iter().map(side).collect();
        sides.sort();
        sides.dedup();
        merged.conflicts.push(Conflict { field, claims: sides, chosen: text(&chosen.value), rule });
    }
    if !chosen.before || value != chosen.value {
        merged.set.insert(field, value);
    }
    vec![chosen]
}

/// What a record states, looked up. What is silent makes no claim.
fn of_record(tables: &Tables<'_>, record: &SourceRecord, resolve: &dyn Fn(&str) -> BaseRef) -> Vec<(Field, Claim)> {
    let absent: BTreeSet<ComponentKind> = record
        .statements
        .iter()
        .filter_map(|statement| match (&statement.field, &statement.value) {
            (Field::License(kind), Value::License(declared)) => {
                (tables.licenses.map(record.source, declared) == Mapped::Absent).then_some(*kind)
            }
            _ => None,
        })
        .collect();
    let claim = |statement: &Statement| {
        if tables.errors.reason(record.source, &record.id, statement.field).is_some() {
            return None;
        }
        let value = match (&statement.field, &statement.value) {
            (Field::Availability(kind), _) if absent.contains(kind) => {
                // Of weights its silence says nothing: several such releases are open in truth.
                (*kind != ComponentKind::ModelWeights)
                    .then_some(Settled::Plain(Value::Availability(Availability::Unavailable)))?
            }
            (Field::License(_), Value::License(declared)) => Settled::License(concluded(tables, record, declared)?),
            (_, Value::Bases(bases)) => {
                let mut found: Vec<_> = bases.iter().map(|base| (resolve(&base.name), base.relation)).collect();
                found.dedup();
                Settled::Bases(found)
            }
            (_, value) => Settled::Plain(value.clone()),
        };
        let claim = Claim {
            rank: rank_of(statement.field, record.source, &statement.part, &value),
            value,
            source: record.source,
            record: record.id.clone(),
            date: record.date.clone(),
            url: record.url.clone(),
            counts: true,
            before: false,
        };
        Some((statement.field, claim))
    };
    record.statements.iter().filter_map(claim).collect()
}

fn concluded(tables: &Tables<'_>, record: &SourceRecord, declared: &DeclaredLicense) -> Option<Concluded> {
    let (expression, evidence) = match tables.licenses.map(record.source, declared) {
        Mapped::License { expression, evidence } => (expression, evidence),
        Mapped::Unmapped { .. } => (Expression::parse(LicenseId::UNKNOWN).ok()?, Evidence::Secondary),
        Mapped::Silent | Mapped::Absent => return None,
    };
    let named = if declared.name.is_empty() {
        declared.text.clone()
    } else {
        format!("{} ({})", declared.text, declared.name).into()
    };
    let place = match (&*declared.link, &*record.url) {
        ("", "") => record.source.credit().url,
        ("", url) => url,
        (link, _) => link,
    };
    Some(Concluded { expression, declared: named, declared_in: place.into(), evidence })
}

pub(super) fn remarks(tables: &Tables<'_>, record: &SourceRecord) -> Vec<String> {
    let weights = Field::License(ComponentKind::ModelWeights);
    let mut stated = false;
    let mut out = Vec::new();
    for statement in &record.statements {
        if let Some(reason) = tables.errors.reason(record.source, &record.id, statement.field) {
            out.push(format!("`{}` is known to be wrong and not believed: it {reason}", statement.field));
            continue;
        }
        let (Field::License(_), Value::License(declared)) = (statement.field, &statement.value) else { continue };
        let mapped = tables.licenses.map(record.source, declared);
        stated |= statement.field == weights && !matches!(mapped, Mapped::Silent | Mapped::Absent);
        if let Mapped::Unmapped { reason } = mapped {
            let text = crate::domain::name::shown(&declared.text);
            out.push(format!("`{}`: the license `{text}` is not mapped: {reason}", statement.field));
        }
    }
    if !stated && record.source != DataSource::Epoch && record.source != DataSource::ModelsDevCatalog {
        out.push("no license is stated for the weights".to_owned());
    }
    out.sort();
    out
}

/// A license that was contradicted when the catalog was made stays so: of the sources of that time only some may have been
/// imported since, and the one that is missing is not in the running here.
fn keep_contradicted(base: &Base, merged: &mut Merged) {
    for (field, value) in base {
        let Settled::License(before) = &value.value else { continue };
        if before.evidence == Evidence::Conflict
            && let Some(Settled::License(now)) = merged.set.get_mut(field)
        {
            now.evidence = Evidence::Conflict;
        }
    }
}

/// Keeps a model from being called closed while something speaks against it: of a closed model neither license nor
/// lineage is looked at. What the catalog read stands. That the weights can be had counts, where anybody says so; else
/// what can be said of no closed model, such as a license of its weights, leaves it open.
fn check_closed(base: &Base, claims: &BTreeMap<Field, Vec<Claim>>, classes: &[Claim], merged: &mut Merged) {
    let field = Field::Availability(ComponentKind::ModelWeights);
    let closed = Settled::Plain(Value::Availability(Availability::Unavailable));
    let stated = claims.get(&field).map_or(&[][..], Vec::as_slice);
    let Some(chosen) = stated.iter().find(|claim| claim.counts) else { return };
    if chosen.source == DataSource::Curated || *merged.set.get(&field).unwrap_or(&chosen.value) != closed {
        return;
    }
    // A provider's flag is no match for the list that keeps the model itself.
    let strong =
        |claim: &&Claim| claim.source != DataSource::ModelsDev || chosen.source != DataSource::ModelsDevCatalog;
    let value = match stated.iter().filter(strong).find(|claim| claim.value != closed) {
        Some(open) => open.value.clone(),
        None => {
            let has = |field: Field| {
                base.contains_key(&field) && !matches!(merged.set.get(&field), Some(Settled::Nothing))
                    || merged.set.get(&field).is_some_and(|value| *value != Settled::Nothing)
            };
            let of_weights =
                has(Field::License(ComponentKind::ModelWeights)) || has(Field::Url(ComponentKind::ModelWeights));
            let restricted = classes.iter().any(|claim| text(&claim.value) == "non-commercial");
            if !of_weights && !restricted {
                return;
            }
            Settled::Nothing
        }
    };
    if let Some(conflict) = merged.conflicts.iter_mut().find(|conflict| conflict.field == field) {
        conflict.chosen = text(&value);
    }
    merged.set.insert(field, value);
}

/// Holds what a source knows of the class of a license against the license that was chosen.
fn check_class(tables: &Tables<'_>, base: &Base, classes: &[Claim], merged: &mut Merged) {
    let field = Field::License(ComponentKind::ModelWeights);
    let before = base.get(&field);
    // What is set by now is no curated license: those stand as they are.
    let curated = !merged.set.contains_key(&field) && before.is_some_and(|value| value.source == DataSource::Curated);
    let settled = merged.set.get(&field).or(before.map(|value| &value.value));
    let Some(Settled::License(concluded)) = settled else { return };
    let Some(commercial) = (tables.commercial_use)(&concluded.expression) else { return };
    let same = if commercial { "commercial" } else { "non-commercial" };
    let against: Vec<_> = classes.iter().filter(|claim| text(&claim.value) != same).map(side).collect();
    if against.is_empty() {
        return;
    }
    let mut concluded = concluded.clone();
    match merged.conflicts.iter_mut().find(|conflict| conflict.field == field) {
        Some(conflict) => conflict.claims.extend(against),
        None => merged.conflicts.push(Conflict {
            field,
            claims: against,
            chosen: text(&Settled::License(concluded.clone())),
            rule: rule(field).unwrap_or_default(),
        }),
    }
    if !curated {
        concluded.evidence = Evidence::Conflict;
        merged.set.insert(field, Settled::License(concluded));
    }
}

/// The size that stands in a name, where no source states one: `Widget 7B`.
fn of_name(claim: &Claim) -> Option<Claim> {
    let size = |word: &str| {
        let number = word.strip_suffix(['B', 'b'])?;
        let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        number.parse::<f64>().ok().filter(|_| plain).and_then(|billions| crate::ingest::parameters(billions * 1e9))
    };
    let name = text(&claim.value);
    let mut sizes = name.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').filter_map(size);
    // Of two sizes one is that of a part, or of another model.
    let total = sizes.next().filter(|_| sizes.next().is_none())?;
    Some(Claim { value: Settled::Plain(Value::Number(total)), rank: u8::MAX, ..claim.clone() })
}

fn side(claim: &Claim) -> ConflictClaim {
    ConflictClaim {
        source: claim.source,
        record: claim.record.clone(),
        date: claim.date.clone(),
        url: claim.url.clone(),
        value: text(&claim.value),
    }
}

/// A provider's "yes" is weak and its "no" says next to nothing.
fn of_offerings(flags: OfferingFlags) -> Vec<Claim> {
    let all = flags.open.saturating_add(flags.closed);
    let claim = |count: u32, availability, counts| Claim {
        value: Settled::Plain(Value::Availability(availability)),
        source: DataSource::ModelsDev,
        record: format!("{count} of {all} offerings").into(),
        date: "".into(),
        url: "".into(),
        rank: rank(Field::Availability(ComponentKind::ModelWeights), DataSource::ModelsDev, ""),
        counts,
        before: false,
    };
    let open = (flags.open > 0).then(|| claim(flags.open, Availability::Available, true));
    let closed = (flags.closed > 0).then(|| claim(flags.closed, Availability::Unavailable, false));
    open.into_iter().chain(closed).collect()
}

/// Whose word comes first, 0 before all: measured on models checked by hand. A vote would be wrong, since on several
/// models every data set but the maker's own is.
fn rank(field: Field, source: DataSource, part: &str) -> u8 {
    use DataSource as S;
    if source == S::Curated {
        return 0;
    }
    let order: &[(DataSource, &str)] = match field {
        Field::License(_) => &[
            (S::ModelCard, ""),
            (S::ModelsDevCatalog, ""),
            (S::Osai, osai::PART_NOTES),
            (S::Comparia, ""),
            (S::Osai, osai::PART_HEAD),
            (S::Mot, ""),
        ],
        Field::Availability(ComponentKind::ModelWeights) | Field::Url(ComponentKind::ModelWeights) => &[
            (S::ModelCard, ""),
            (S::ModelsDevCatalog, ""),
            (S::Comparia, ""),
            (S::Epoch, ""),
            (S::Osai, ""),
            (S::Mot, ""),
            (S::ModelsDev, ""),
        ],
        Field::TotalParameters | Field::ActiveParameters => &[(S::Epoch, ""), (S::Comparia, ""), (S::Mot, "")],
        _ => &[
            (S::ModelsDevCatalog, ""),
            (S::ModelCard, ""),
            (S::Comparia, ""),
            (S::Osai, ""),
            (S::Mot, ""),
            (S::Epoch, ""),
            (S::ModelsDev, ""),
        ],
    };
    let at = order.iter().position(|(known, place)| *known == source && (*place == part || part.is_empty()));
    at.and_then(|at| u8::try_from(at + 1).ok()).unwrap_or(u8::MAX)
}

/// Epoch looks once, near publication: that there were weights stays true, that there were none may not. So its "none"
/// comes after everybody's word, a provider's included: a closed model's license is not looked at.
fn rank_of(field: Field, source: DataSource, part: &str, value: &Settled) -> u8 {
    let closed = *value == Settled::Plain(Value::Availability(Availability::Unavailable));
    if closed && field == Field::Availability(ComponentKind::ModelWeights) && source == DataSource::Epoch {
        return rank(field, DataSource::ModelsDev, part).saturating_add(1);
    }
    rank(field, source, part)
}

/// What the catalog says that nobody looked up gives way to every source.
fn rank_before(field: Field, value: &BaseValue) -> u8 {
    match &value.value {
        Settled::License(concluded) if concluded.evidence == Evidence::GeneralKnowledge => u8::MAX,
        // In which part of its record it stood is not kept: it counts as the weaker one.
        Settled::License(_) if value.source == DataSource::Osai => rank(field, value.source, osai::PART_HEAD),
        settled => rank_of(field, value.source, "", settled),
    }
}

/// The rule that chooses, as a sentence; `None` for fields whose values only differ in wording.
fn rule(field: Field) -> Option<&'static str> {
    match field {
        Field::DisplayName | Field::Family | Field::Notes | Field::LicenseClass | Field::Url(_) => None,
        // Each of them lists what it looked at.
        Field::InputModalities | Field::OutputModalities | Field::Capabilities => None,
        Field::License(_) => Some(
            "catalog > model card > models.dev > licenses.notes of the OSAI index > compar:IA > its endmodellicense > MOT",
        ),
        Field::Availability(ComponentKind::ModelWeights) => {
            Some("catalog > model card > models.json > compar:IA > Epoch > OSAI index > MOT > providers")
        }
        Field::TotalParameters | Field::ActiveParameters => Some("catalog > Epoch > compar:IA > MOT"),
        Field::BaseModels => Some("catalog alone, else all together"),
        _ => Some("catalog > models.dev > model card > compar:IA > OSAI index > MOT > Epoch"),
    }
}

/// Whether two values say the same, as exactly as such sources say it.
fn agree(field: Field, a: &Settled, b: &Settled) -> bool {
    match (a, b) {
        (Settled::License(a), Settled::License(b)) => same_license(&a.expression, &b.expression),
        (Settled::Plain(Value::Availability(a)), Settled::Plain(Value::Availability(b))) => {
            (*a == Availability::Unavailable) == (*b == Availability::Unavailable)
        }
        (Settled::Plain(Value::Number(a)), Settled::Plain(Value::Number(b))) => {
            // 128,000 and 131,072 are one context, 7B and 6.7B one size.
            let share = if matches!(field, Field::TotalParameters | Field::ActiveParameters) { 8 } else { 16 };
            a.abs_diff(*b) <= a.unsigned_abs().max(b.unsigned_abs()) / share
        }
        (Settled::Plain(Value::Date(a)), Settled::Plain(Value::Date(b))) => {
            a.first_day() <= b.last_day() && b.first_day() <= a.last_day() || same_month(*a, *b)
        }
        (a, b) => a == b,
    }
}

fn same_month(a: Date, b: Date) -> bool {
    let month = |date: Date| date.to_string().get(..7).map(str::to_owned);
    month(a) == month(b)
}

/// The order of parts means nothing; how they are joined does.
fn same_license(a: &Expression, b: &Expression) -> bool {
    let leaves = |terms: &[Term]| {
        let plain = |term: &Term| match term {
            Term::License { id, exception, .. } => Some((id.clone(), exception.clone())),
            Term::And(_) | Term::Or(_) => None,
        };
        terms.iter().map(plain).collect::<Option<BTreeSet<_>>>()
    };
    match (a.root(), b.root()) {
        (Term::And(a), Term::And(b)) | (Term::Or(a), Term::Or(b)) => match (leaves(a), leaves(b)) {
            (Some(a), Some(b)) => a == b,
            _ => a == b,
        },
        (a, b) => a == b,
    }
}

/// A value as a person reads it in a conflict.
fn text(value: &Settled) -> String {
    match value {
        Settled::License(Concluded { expression, declared, .. }) => {
            let unknown = expression.licenses().iter().any(|id| id.is_unknown());
            if unknown { format!("{expression} (`{declared}`)") } else { expression.to_string() }
        }
        Settled::Bases(bases) => bases.iter().map(|(base, _)| base.as_str()).collect::<Vec<_>>().join(", "),
        Settled::Plain(value) => value.to_texts().join(", "),
        Settled::Nothing => "UNKNOWN".to_owned(),
    }
}
