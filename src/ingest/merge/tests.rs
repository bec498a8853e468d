use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Base, BaseValue, Concluded, Merged, OfferingFlags, Place, Settled, Tables, merge, place};
use crate::domain::license::Expression;
use crate::domain::model::{Availability, BaseRef, ComponentKind, Evidence, Relation};
use crate::ingest::identity::table::Table;
use crate::ingest::license_names::LicenseNames;
use crate::ingest::source::DataSource;
use crate::ingest::source_errors::SourceErrors;
use crate::ingest::statement::{DeclaredLicense, Field, Identity, NamedBase, SourceRecord, Statement, Value};

const WEIGHTS: ComponentKind = ComponentKind::ModelWeights;

fn names() -> LicenseNames {
    let tags = "tags = [{ tag = 'mit', kind = 'single', license = 'MIT' }]\nlicense_names = []";
    let spellings = "names = [{ license = 'Apache-2.0', spellings = ['Apache 2'] }]\n\
                     silent = [{ spellings = ['unlicensed'] }]\nabsent = [{ spellings = ['not included'] }]";
    LicenseNames::read(tags, spellings).unwrap()
}

/// Calls `test` with tables in which `Acme` is the publisher `acme`, and `acme-ai` its organization on the hub.
fn with_tables<T>(test: impl FnOnce(&Tables<'_>) -> T) -> T {
    let names = names();
    let by_name = |name: &str| (name.eq_ignore_ascii_case("acme")).then(|| "acme".into());
    let on_hub = |organization: &str| match organization {
        "acme-ai" => Some("acme".into()),
        "acme" => None,
        other => Some(other.to_ascii_lowercase().into()),
    };
    let errors = "[[errors]]\nsource = 'mot'\nrecords = ['wrong']\nreason = 'is'\nfield = 'components[MODEL_WEIGHTS].license_expression'";
    let errors = SourceErrors::read(errors).unwrap();
    let tables = Tables {
        errors: &errors,
        licenses: &names,
        commercial_use: &|expression| Some(!expression.as_str().contains("-NC-")),
        publisher_by_name: &by_name,
        publisher_on_hub: &on_hub,
    };
    test(&tables)
}

fn record(source: DataSource, id: &str, statements: &[(Field, Value, &str)]) -> SourceRecord {
    let mut statements: Vec<_> = statements
        .iter()
        .map(|(field, value, part)| Statement { field: *field, value: value.clone(), part: (*part).into() })
        .collect();
    statements.sort_by(|a, b| (a.field, &a.part).cmp(&(b.field, &b.part)));
    SourceRecord {
        source,
        id: id.into(),
        url: "".into(),
        date: "".into(),
        identity: Identity::default(),
        statements,
        warnings: Vec::new(),
    }
}

fn license(text: &str) -> Value {
    Value::License(DeclaredLicense { text: text.into(), ..DeclaredLicense::default() })
}

fn available(availability: Availability) -> Value {
    Value::Availability(availability)
}

fn merged(base: &Base, records: &[SourceRecord], flags: OfferingFlags) -> Merged {
    let records: Vec<_> = records.iter().collect();
    with_tables(|tables| merge(tables, base, &records, flags, &|name| BaseRef::Written(name.into())))
}

fn base_license(text: &str, evidence: Evidence, source: DataSource) -> (Field, BaseValue) {
    let expression = Expression::parse(text).unwrap();
    let value = Settled::License(Concluded { expression, declared: "".into(), declared_in: "".into(), evidence });
    (Field::License(WEIGHTS), BaseValue { value, source, record: "r".into(), date: "".into() })
}

#[track_caller]
fn check_license(merged: &Merged, expected: Option<&str>) {
    let found = match merged.set.get(&Field::License(WEIGHTS)) {
        Some(Settled::License(concluded)) => Some(format!("{} {}", concluded.expression, concluded.evidence)),
        _ => None,
    };
    assert_eq!(found.as_deref(), expected);
}

#[test]
fn the_word_that_counts_is_the_first_in_the_order() {
    let field = Field::License(WEIGHTS);
    let of = |source, text: &str, part: &'static str| record(source, "r", &[(field, license(text), part)]);
    let mot = of(DataSource::Mot, "CC-BY-4.0", "");
    let head = of(DataSource::Osai, "CC0-1.0", "system.endmodellicense");
    let comparia = of(DataSource::Comparia, "Apache 2", "");
    let notes = of(DataSource::Osai, "ISC", "licenses.notes");
    let card = of(DataSource::ModelCard, "mit", "");
    let all = [mot, head, comparia, notes, card];
    let first = ["CC-BY-4.0 SECONDARY", "CC0-1.0 CONFLICT", "Apache-2.0 CONFLICT", "ISC CONFLICT", "MIT CONFLICT"];
    for (n, expected) in first.iter().enumerate() {
        check_license(&merged(&Base::new(), &all[..=n], OfferingFlags::default()), Some(expected));
    }
    let merged = merged(&Base::new(), &all, OfferingFlags::default());
    let conflict = merged.conflicts.first().unwrap();
    assert_eq!((conflict.field, conflict.claims.len(), conflict.chosen.as_str()), (field, 5, "MIT"));
    assert_eq!(merged.provenance.len(), 1);
    assert_eq!(merged.provenance[0].source, DataSource::ModelCard);
}

#[test]
fn sources_that_agree_are_no_conflict() {
    let field = Field::License(WEIGHTS);
    let records = [
        record(DataSource::Mot, "a", &[(field, license("Apache-2.0"), "")]),
        record(DataSource::Comparia, "b", &[(field, license("Apache 2"), "")]),
        record(DataSource::Osai, "c", &[(field, license("unlicensed"), "system.endmodellicense")]),
    ];
    let found = merged(&Base::new(), &records, OfferingFlags::default());
    check_license(&found, Some("Apache-2.0 SECONDARY"));
    assert!(found.conflicts.is_empty());
    let both = [
        record(DataSource::Mot, "a", &[(field, license("MIT AND ISC"), "")]),
        record(DataSource::Comparia, "b", &[(field, license("ISC AND MIT"), "")]),
    ];
    assert!(merged(&Base::new(), &both, OfferingFlags::default()).conflicts.is_empty());
    let either = [both[0].clone(), record(DataSource::Comparia, "b", &[(field, license("ISC OR MIT"), "")])];
    assert_eq!(merged(&Base::new(), &either, OfferingFlags::default()).conflicts.len(), 1);
}

#[test]
fn a_statement_that_is_known_to_be_wrong_is_not_believed_and_named() {
    let field = Field::License(WEIGHTS);
    let wrong =
        record(DataSource::Mot, "wrong", &[(field, license("MIT"), ""), (Field::Family, Value::Text("f".into()), "")]);
    let found = merged(&Base::new(), std::slice::from_ref(&wrong), OfferingFlags::default());
    check_license(&found, None);
    assert!(found.set.contains_key(&Field::Family));
    let said = with_tables(|tables| super::remarks(tables, &wrong));
    assert!(said.iter().any(|text| text.contains("known to be wrong")), "{said:?}");
}

#[test]
fn what_can_not_be_mapped_is_unknown_and_never_a_license() {
    let field = Field::License(WEIGHTS);
    let records = [record(DataSource::Mot, "a", &[(field, license("Our own terms"), "")])];
    let found = merged(&Base::new(), &records, OfferingFlags::default());
    check_license(&found, Some("LicenseRef-Unknown SECONDARY"));
    let Some(Settled::License(concluded)) = found.set.get(&field) else { panic!() };
    assert_eq!(&*concluded.declared, "Our own terms");
    // A better word with an unknown license is not passed over for a worse one with a known license.
    let records = [records[0].clone(), record(DataSource::ModelCard, "b", &[(field, license("x-own"), "")])];
    let found = merged(&Base::new(), &records, OfferingFlags::default());
    check_license(&found, Some("LicenseRef-Unknown SECONDARY"));
    let both = [
        record(DataSource::Mot, "a", &[(field, license("MIT"), "")]),
        record(DataSource::ModelCard, "b", &[(field, license("x-own"), "")]),
    ];
    check_license(&merged(&Base::new(), &both, OfferingFlags::default()), Some("LicenseRef-Unknown CONFLICT"));
}

#[test]
fn what_was_read_in_the_text_stands_and_the_conflict_is_kept() {
    let field = Field::License(WEIGHTS);
    let base = Base::from([base_license("MIT", Evidence::TextRead, DataSource::Curated)]);
    let records = [record(DataSource::ModelCard, "a", &[(field, license("mit"), "")])];
    assert!(merged(&base, &records, OfferingFlags::default()).is_empty());
    let records = [record(DataSource::Comparia, "a", &[(field, license("Apache 2"), "")])];
    let found = merged(&base, &records, OfferingFlags::default());
    assert_eq!((found.set.len(), found.conflicts.len()), (0, 1));
    assert_eq!(found.conflicts[0].chosen, "MIT");
}

#[test]
fn what_nobody_looked_up_gives_way() {
    let field = Field::License(WEIGHTS);
    let base = Base::from([base_license("MIT", Evidence::GeneralKnowledge, DataSource::Curated)]);
    let records = [record(DataSource::Mot, "a", &[(field, license("Apache 2"), "")])];
    check_license(&merged(&base, &records, OfferingFlags::default()), Some("Apache-2.0 CONFLICT"));
    let records = [record(DataSource::Mot, "a", &[(field, license("MIT"), "")])];
    check_license(&merged(&base, &records, OfferingFlags::default()), Some("MIT SECONDARY"));
}

#[test]
fn what_the_catalog_took_from_a_source_is_replaced_by_what_it_says_today() {
    let field = Field::License(WEIGHTS);
    let base = Base::from([base_license("MIT", Evidence::Secondary, DataSource::Mot)]);
    let records = [record(DataSource::Mot, "r", &[(field, license("Apache 2"), "")])];
    let found = merged(&base, &records, OfferingFlags::default());
    check_license(&found, Some("Apache-2.0 SECONDARY"));
    assert!(found.conflicts.is_empty());
    // Another record of the same source does not speak for it.
    let another = [record(DataSource::Mot, "a", &[(field, license("Apache 2"), "")])];
    check_license(&merged(&base, &another, OfferingFlags::default()), Some("Apache-2.0 CONFLICT"));
    // A record that no longer says it takes it back, and what another says then counts.
    let silent = record(DataSource::Mot, "r", &[]);
    let found = merged(&base, std::slice::from_ref(&silent), OfferingFlags::default());
    assert_eq!(found.set.get(&field), Some(&Settled::Nothing));
    let both = [silent, record(DataSource::Comparia, "c", &[(field, license("Apache 2"), "")])];
    check_license(&merged(&base, &both, OfferingFlags::default()), Some("Apache-2.0 SECONDARY"));
    // Another source is held against it like any other claim.
    let records = [record(DataSource::Comparia, "a", &[(field, license("Apache 2"), "")])];
    check_license(&merged(&base, &records, OfferingFlags::default()), Some("Apache-2.0 CONFLICT"));
    let weaker = Base::from([base_license("MIT", Evidence::Secondary, DataSource::Comparia)]);
    let records = [record(DataSource::Mot, "a", &[(field, license("Apache 2"), "")])];
    check_license(&merged(&weaker, &records, OfferingFlags::default()), Some("MIT CONFLICT"));
}

#[test]
fn a_license_that_was_contradicted_stays_so_when_only_one_side_is_imported_again() {
    let field = Field::License(WEIGHTS);
    let base = Base::from([base_license("MIT", Evidence::Conflict, DataSource::Comparia)]);
    let comparia = record(DataSource::Comparia, "a", &[(field, license("MIT"), "")]);
    check_license(&merged(&base, &[comparia], OfferingFlags::default()), Some("MIT CONFLICT"));
    let card = record(DataSource::ModelCard, "a", &[(field, license("mit"), "")]);
    check_license(&merged(&base, &[card], OfferingFlags::default()), Some("MIT CONFLICT"));
}

#[test]
fn a_provider_never_closes_a_model_and_opens_one_only_alone() {
    let field = Field::Availability(WEIGHTS);
    let flags = |open, closed| OfferingFlags { open, closed };
    let set = |found: &Merged| found.set.get(&field).cloned();
    let yes = Some(Settled::Plain(available(Availability::Available)));
    assert_eq!(set(&merged(&Base::new(), &[], flags(0, 9))), None);
    assert_eq!(merged(&Base::new(), &[], flags(0, 9)).conflicts, []);
    assert_eq!(set(&merged(&Base::new(), &[], flags(1, 9))), yes);
    assert_eq!(merged(&Base::new(), &[], flags(1, 9)).conflicts.len(), 1);
    let closed = |source| [record(source, "a", &[(field, available(Availability::Unavailable), "")])];
    let no = Some(Settled::Plain(available(Availability::Unavailable)));
    let found = merged(&Base::new(), &closed(DataSource::Mot), flags(9, 0));
    assert_eq!((set(&found), found.conflicts.len()), (yes, 1));
    assert_eq!(found.conflicts[0].chosen, "AVAILABLE");
    assert_eq!(set(&merged(&Base::new(), &closed(DataSource::Mot), flags(0, 9))), no);
    // But for the list that keeps the model itself.
    let found = merged(&Base::new(), &closed(DataSource::ModelsDevCatalog), flags(9, 0));
    assert_eq!((set(&found), found.conflicts.len()), (no, 1));
    let open = [record(DataSource::Mot, "a", &[(field, available(Availability::Gated), "")])];
    let found = merged(&Base::new(), &open, flags(0, 9));
    assert_eq!(found.conflicts[0].chosen, "GATED");
    // Gated, partial and free weights are all public.
    let osai = record(DataSource::Osai, "b", &[(field, available(Availability::Partial), "")]);
    assert_eq!(merged(&Base::new(), &[open[0].clone(), osai], flags(3, 0)).conflicts, []);
}

#[test]
fn a_model_is_closed_only_where_nothing_speaks_against_it() {
    let field = Field::Availability(WEIGHTS);
    let closed = |source, more: &[(Field, Value, &str)]| {
        record(source, "a", &[&[(field, available(Availability::Unavailable), "")], more].concat())
    };
    let set =
        |base: &Base, records: &[SourceRecord]| merged(base, records, OfferingFlags::default()).set.remove(&field);
    let no = Settled::Plain(available(Availability::Unavailable));
    let yes = Settled::Plain(available(Availability::Available));
    let comparia = DataSource::Comparia;
    assert_eq!(set(&Base::new(), &[closed(comparia, &[])]), Some(no.clone()));
    let mot = record(DataSource::Mot, "m", &[(field, available(Availability::Available), "")]);
    assert_eq!(set(&Base::new(), &[closed(comparia, &[]), mot]), Some(yes));
    // What no closed model has: a license of its weights, a place to load them from, a class.
    let licensed = (Field::License(WEIGHTS), license("mit"), "");
    let address = (Field::Url(WEIGHTS), Value::Text("https://example.com/w".into()), "");
    let class = |class: &str| (Field::LicenseClass, Value::Text(class.into()), "");
    for against in [licensed, address, class("non-commercial")] {
        assert_eq!(set(&Base::new(), &[closed(comparia, &[against])]), Some(Settled::Nothing));
    }
    assert_eq!(set(&Base::new(), &[closed(comparia, &[class("commercial")])]), Some(no.clone()));
    // What the catalog read stands, and what it took from a source does not.
    let before = |source| {
        let value = BaseValue { value: no.clone(), source, record: "r".into(), date: "".into() };
        Base::from([(field, value), base_license("MIT", Evidence::Tag, DataSource::Curated)])
    };
    assert_eq!(set(&before(DataSource::Curated), &[closed(comparia, &[])]), None);
    assert_eq!(set(&before(DataSource::Epoch), &[closed(comparia, &[])]), Some(Settled::Nothing));
}

#[test]
fn that_there_were_no_weights_when_epoch_looked_gives_way_to_those_who_looked_later() {
    let field = Field::Availability(WEIGHTS);
    let epoch = |a| record(DataSource::Epoch, "e", &[(field, available(a), "")]);
    let mot = |a| record(DataSource::Mot, "m", &[(field, available(a), "")]);
    let chosen =
        |records: &[SourceRecord]| merged(&Base::new(), records, OfferingFlags::default()).conflicts[0].chosen.clone();
    assert_eq!(chosen(&[epoch(Availability::Unavailable), mot(Availability::Available)]), "AVAILABLE");
    assert_eq!(chosen(&[epoch(Availability::Available), mot(Availability::Unavailable)]), "AVAILABLE");
    let alone = merged(&Base::new(), &[epoch(Availability::Unavailable)], OfferingFlags { open: 1, closed: 0 });
    assert_eq!(alone.conflicts[0].chosen, "AVAILABLE");
    let alone = merged(&Base::new(), &[epoch(Availability::Unavailable)], OfferingFlags::default());
    assert_eq!(alone.set.get(&field), Some(&Settled::Plain(available(Availability::Unavailable))));
}

#[test]
fn a_class_is_no_license_and_contradicts_one() {
    let field = Field::License(WEIGHTS);
    let class = |class: &str| record(DataSource::Epoch, "e", &[(Field::LicenseClass, Value::Text(class.into()), "")]);
    let mot = |text: &str| record(DataSource::Mot, "m", &[(field, license(text), "")]);
    assert!(merged(&Base::new(), &[class("non-commercial")], OfferingFlags::default()).is_empty());
    check_license(
        &merged(&Base::new(), &[class("non-commercial"), mot("MIT")], OfferingFlags::default()),
        Some("MIT CONFLICT"),
    );
    check_license(
        &merged(&Base::new(), &[class("commercial"), mot("CC-BY-NC-4.0")], OfferingFlags::default()),
        Some("CC-BY-NC-4.0 CONFLICT"),
    );
    let agreed = merged(&Base::new(), &[class("commercial"), mot("MIT")], OfferingFlags::default());
    check_license(&agreed, Some("MIT SECONDARY"));
    assert!(agreed.conflicts.is_empty());
    let read = Base::from([base_license("MIT", Evidence::TextRead, DataSource::Curated)]);
    let found = merged(&read, &[class("non-commercial")], OfferingFlags::default());
    assert_eq!((found.set.len(), found.conflicts.len()), (0, 1));
    let taken = Base::from([base_license("MIT", Evidence::Secondary, DataSource::Mot)]);
    check_license(&merged(&taken, &[class("non-commercial")], OfferingFlags::default()), Some("MIT CONFLICT"));
}

#[test]
fn the_size_in_a_name_counts_where_nobody_states_one() {
    let name = |text: &str| record(DataSource::Osai, "o", &[(Field::DisplayName, Value::Text(text.into()), "")]);
    let size = |records: &[SourceRecord]| match merged(&Base::new(), records, OfferingFlags::default())
        .set
        .remove(&Field::TotalParameters)
    {
        Some(Settled::Plain(Value::Number(number))) => Some(number),
        None => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(size(&[name("Widget 7B Chat")]), Some(7_000_000_000));
    assert_eq!(size(&[name("Widget-1.5b")]), Some(1_500_000_000));
    assert_eq!(size(&[name("Widget 8x7B")]), None);
    assert_eq!(size(&[name("Widget 30B on 7B")]), None);
    assert_eq!(size(&[name("Widget A3B")]), None);
    let stated = record(DataSource::Mot, "m", &[(Field::TotalParameters, Value::Number(6_700_000_000), "")]);
    assert_eq!(size(&[name("Widget 7B"), stated]), Some(6_700_000_000));
}

#[test]
fn a_part_that_was_not_released_after_all_is_not_available() {
    let record = |kind| {
        record(
            DataSource::Mot,
            "a",
            &[
                (Field::Availability(kind), available(Availability::Available), ""),
                (Field::License(kind), license("not included"), ""),
            ],
        )
    };
    let data = ComponentKind::TrainingData;
    let found = merged(&Base::new(), &[record(data)], OfferingFlags::default());
    let closed = Settled::Plain(available(Availability::Unavailable));
    assert_eq!(found.set, BTreeMap::from([(Field::Availability(data), closed)]));
    // Of weights that says too little.
    assert_eq!(merged(&Base::new(), &[record(WEIGHTS)], OfferingFlags::default()).set, BTreeMap::new());
}

#[test]
fn every_ancestor_that_anybody_names_counts() {
    let bases = |name: &str| Value::Bases(vec![NamedBase { relation: Relation::FineTune, name: name.into() }]);
    let records = [
        record(DataSource::ModelCard, "a", &[(Field::BaseModels, bases("x/y"), "")]),
        record(DataSource::Epoch, "b", &[(Field::BaseModels, bases("Llama"), "")]),
    ];
    let found = merged(&Base::new(), &records, OfferingFlags::default());
    let Some(Settled::Bases(all)) = found.set.get(&Field::BaseModels) else { panic!() };
    assert_eq!(all.iter().map(|(base, _)| base.as_str()).collect::<Vec<_>>(), ["x/y", "Llama"]);
    let value = Settled::Bases(vec![(BaseRef::Written("read".into()), Relation::Merge)]);
    let base = BaseValue { value, source: DataSource::Curated, record: "".into(), date: "".into() };
    let found = merged(&Base::from([(Field::BaseModels, base)]), &records, OfferingFlags::default());
    assert!(!found.set.contains_key(&Field::BaseModels));
    assert_eq!(found.conflicts.len(), 1);
}

fn named(source: DataSource, id: &str, repository: &str, key: &str, name: &str, publisher: &str) -> SourceRecord {
    let list = |text: &str| if text.is_empty() { Vec::new() } else { vec![text.into()] };
    let identity =
        Identity { repositories: list(repository), keys: list(key), names: list(name), publishers: list(publisher) };
    SourceRecord { identity, ..record(source, id, &[]) }
}

#[track_caller]
fn check_place(records: &[SourceRecord], expected: &[&str]) {
    let index = Table::of(&[("acme/known-7b", &["acme-ai/Known-7B"]), ("other/twin", &[]), ("acme/twin", &[])]);
    let places = with_tables(|tables| place(&index, tables, records)).places;
    let found: Vec<_> = places
        .iter()
        .map(|place| match place {
            Place::Known(model) => format!("known {}/{}", model.publisher(), model.model()),
            Place::New(model) => format!("new {}/{}", model.publisher(), model.model()),
            Place::None { reason } => {
                assert!(reason.len() > 20);
                "-".to_owned()
            }
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_record_is_placed_by_what_is_certain() {
    use DataSource as S;
    for name in ["Known 7B", "Acme Known-7B", "known_7b"] {
        check_place(&[named(S::Mot, "a", "acme-ai/Known-7B", "", name, "Nobody")], &["known acme/known-7b"]);
    }
    check_place(&[named(S::Comparia, "a", "x/Other-Instruct-2503", "", "Other", "X")], &["new x/other-instruct-2503"]);
    // A link to another model, or to another size, is not believed: the name decides, with the publisher.
    for name in ["Known", "Known 7B Chat", "Unknown 7B", "Known 1.7B", "7B"] {
        check_place(&[named(S::Mot, "a", "acme-ai/Known-7B", "", name, "Nobody")], &["-"]);
    }
    check_place(&[named(S::Mot, "a", "acme-ai/Known-7B", "", "Something else", "Nobody")], &["-"]);
    check_place(&[named(S::Osai, "a", "acme-ai/Known-7B", "", "Known 13B", "Acme")], &["new acme/known-13b"]);
    check_place(&[named(S::Osai, "a", "other/Something-7B", "", "Known 7B", "Acme")], &["known acme/known-7b"]);
    check_place(&[named(S::Mot, "a", "", "", "Known 7B", "ACME")], &["known acme/known-7b"]);
    check_place(&[named(S::Mot, "a", "", "", "Known 7B", "Nobody")], &["-"]);
    check_place(&[named(S::Mot, "a", "", "", "Known 8B", "ACME")], &["new acme/known-8b"]);
    check_place(&[named(S::Mot, "a", "", "", "Twin", "Acme")], &["known acme/twin"]);
    check_place(&[named(S::Mot, "a", "Somebody/Known-7B", "", "Known 7B", "ACME")], &["new somebody/known-7b"]);
    check_place(&[named(S::Mot, "a", "", "", "PanGu-\u{3b1}", "Acme")], &["-"]);
    check_place(&[named(S::Epoch, "a", "", "", "New One", "Acme")], &["-"]);
    check_place(&[named(S::ModelsDevCatalog, "a", "acme-ai/New-1", "acme/new1", "new1", "acme")], &["new acme/new-1"]);
    // Its key says which model it is, whoever's weights it links to.
    check_place(
        &[named(S::ModelsDevCatalog, "a", "acme-ai/Known-7B", "acme/twin", "twin", "acme")],
        &["known acme/twin"],
    );
}

#[test]
fn whoever_is_called_like_a_publisher_on_the_hub_is_not_that_publisher() {
    use DataSource as S;
    check_place(&[named(S::ModelCard, "a", "acme/New-1", "", "", "")], &["-"]);
    check_place(&[named(S::ModelCard, "a", "acme/Known-7B", "", "", "")], &["-"]);
    check_place(&[named(S::ModelCard, "a", "acme-ai/New-1", "", "", "")], &["new acme/new-1"]);
    // The name and the publisher count all the same.
    check_place(&[named(S::Mot, "a", "acme/Known-7B", "", "Known 7B", "Acme")], &["known acme/known-7b"]);
}

#[test]
fn a_new_model_is_not_called_like_another() {
    use DataSource as S;
    // The repository's name is that of a known model, the key is not.
    let key = |id: &str| named(S::ModelsDevCatalog, id, "elsewhere/Twin", "acme/twin-2", "", "");
    check_place(&[key("a")], &["new acme/twin-2"]);
    let first = named(S::ModelsDevCatalog, "a", "x/Thing", "acme/one", "", "");
    let second = named(S::ModelsDevCatalog, "b", "y/Thing", "acme/two", "", "");
    check_place(&[first.clone(), second.clone()], &["new acme/thing", "new acme/two"]);
    let third = named(S::ModelsDevCatalog, "c", "z/Two", "acme/three", "", "");
    let fourth = named(S::ModelsDevCatalog, "d", "z/Thing", "acme/four", "", "");
    check_place(
        &[first, second, third, fourth],
        &["new acme/thing", "new acme/two", "new acme/three", "new acme/four"],
    );
}

#[test]
fn a_base_is_a_record_only_where_its_name_says_whose_it_is() {
    let index = Table::of(&[("acme/known-7b", &["acme-ai/Known-7B"]), ("acme/llama-2", &["Llama II"])]);
    let check = |name: &str, expected: &str| {
        let found = with_tables(|tables| super::resolve_base(&index, tables, &Default::default(), name));
        let found = match found {
            BaseRef::Record(model) => format!("{}/{}", model.publisher(), model.model()),
            BaseRef::Written(text) => format!("written {text}"),
        };
        assert_eq!(found, expected);
    };
    check("acme-ai/Known-7B", "acme/known-7b");
    check("https://huggingface.co/acme-ai/known-7b/tree/main", "acme/known-7b");
    check("known-7b", "written known-7b");
    check("Known 7B", "written Known 7B");
    check("llama ii", "acme/llama-2");
    check("acme/known-7b", "written acme/known-7b");
    check("other/known-7b", "written other/known-7b");
}

#[test]
fn a_name_finds_the_model_that_another_source_makes() {
    use DataSource as S;
    let card = named(S::ModelCard, "a", "acme-ai/New-1", "", "", "");
    let epoch = named(S::Epoch, "b", "", "", "new 1", "Acme");
    let mot = named(S::Mot, "c", "", "", "New-1", "acme");
    check_place(&[epoch.clone(), mot.clone(), card.clone()], &["new acme/new-1"; 3]);
    check_place(&[card, mot, epoch], &["new acme/new-1"; 3]);
}

fn any_record() -> impl Strategy<Value = SourceRecord> {
    let sources = prop::sample::select(vec![
        DataSource::ModelCard,
        DataSource::ModelsDevCatalog,
        DataSource::Osai,
        DataSource::Comparia,
        DataSource::Mot,
        DataSource::Epoch,
    ]);
    let licenses = prop::sample::select(vec!["MIT", "mit", "Apache 2", "unlicensed", "strange", "not included"]);
    let kinds = prop::sample::select(vec![WEIGHTS, ComponentKind::TrainingData]);
    let availabilities = prop::sample::select(Availability::ALL.to_vec());
    let statement = prop_oneof![
        (kinds.clone(), licenses).prop_map(|(kind, text)| (Field::License(kind), license(text), "")),
        (kinds, availabilities).prop_map(|(kind, a)| (Field::Availability(kind), available(a), "")),
        (1_i64..5).prop_map(|n| (Field::TotalParameters, Value::Number(n * 1_000_000_000), "")),
        "[ab]".prop_map(|name| (Field::DisplayName, Value::Text(name.into()), "")),
        "[ab]".prop_map(|note| (Field::Notes, Value::Texts(vec![note.into()]), "")),
        "[ab]".prop_map(|name| {
            let base = NamedBase { relation: Relation::FineTune, name: name.into() };
            (Field::BaseModels, Value::Bases(vec![base]), "")
        }),
    ];
    let identity = (
        prop::sample::select(vec!["", "acme-ai/New-1", "acme/New-1", "acme-ai/Known-7B", "x/New-1"]),
        prop::sample::select(vec!["", "New 1", "Known-7B", "Other"]),
    );
    (sources, "[a-d]", prop::collection::vec(statement, 0..5), identity).prop_map(
        |(source, id, mut statements, (repository, name))| {
            // A record states a field once.
            statements.sort_by_key(|(field, ..)| *field);
            statements.dedup_by_key(|(field, ..)| *field);
            SourceRecord {
                identity: named(source, "", repository, "", name, "Acme").identity,
                ..record(source, &id, &statements)
            }
        },
    )
}

proptest! {
    /// The order of records never shows, neither in which model they are about nor in what is merged.
    #[test]
    fn the_order_of_records_does_not_show(
        records in prop::collection::vec(any_record(), 0..8).prop_map(|mut records| {
            // Within a source an id is there once.
            records.sort_by(|a, b| (a.source, &a.id).cmp(&(b.source, &b.id)));
            records.dedup_by(|a, b| (a.source, &a.id) == (b.source, &b.id));
            records
        }),
        seed in any::<u64>(),
    ) {
        let mut shuffled: Vec<_> = records.iter().cloned().enumerate().collect();
        // A fixed mixture of the seed: proptest's own shuffle would not shrink with the records.
        shuffled.sort_by_key(|(at, _)| seed.rotate_left(u32::try_from(*at).unwrap() * 7) ^ seed.wrapping_mul(*at as u64 + 1));
        let index = Table::of(&[("acme/known-7b", &["acme-ai/Known-7B"])]);
        let (order, moved): (Vec<usize>, Vec<SourceRecord>) = shuffled.into_iter().unzip();
        let straight = with_tables(|tables| place(&index, tables, &records)).places;
        let turned = with_tables(|tables| place(&index, tables, &moved)).places;
        for (at, place) in order.iter().zip(&turned) {
            prop_assert_eq!(place, &straight[*at]);
        }
        let flags = OfferingFlags { open: 1, closed: 1 };
        prop_assert_eq!(merged(&Base::new(), &records, flags), merged(&Base::new(), &moved, flags));
    }

    /// No set of statements makes a license of the weights better than a review once one more source contradicts it.
    #[test]
    fn a_contradiction_is_never_decided_without_the_text(records in prop::collection::vec(any_record(), 1..6)) {
        let found = merged(&Base::new(), &records, OfferingFlags::default());
        let contradicted = found.conflicts.iter().any(|conflict| conflict.field == Field::License(WEIGHTS));
        if let Some(Settled::License(concluded)) = found.set.get(&Field::License(WEIGHTS)) {
            prop_assert_eq!(concluded.evidence == Evidence::Conflict, contradicted);
        } else {
            prop_assert!(!contradicted);
        }
    }
}
