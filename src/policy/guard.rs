//! What settles most conditions at once: one fact of the use that a condition cannot hold without.

use super::fields::{LabelKey, PolicyField, UseField};
use crate::catalog::filter::{Query, Value, Wanted};
use crate::domain::eligibility::{Activity, Hosting, PolicyCase};
use crate::domain::place::Country;
use crate::domain::tri::Tri;

/// A test that a condition cannot hold without, in the form that is quickest to look at.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Guard {
    /// Words that may do, a bit each.
    Purpose(u32),
    Hosting(u32),
    OrganizationType(u32),
    Label(LabelKey, Wanted),
    Activity(Activity),
    DeployedIn(Country),
    UsedIn(Country),
}

impl Guard {
    /// The first that a condition has.
    pub(super) fn of<M>(query: &Query<PolicyField<M>>) -> Option<Self> {
        match query {
            Query::And(parts) => parts.iter().find_map(Self::of),
            Query::Test(test) => match &test.field {
                PolicyField::Label(key) => Some(Self::Label(*key, test.wanted.clone())),
                PolicyField::Use(field) => Self::of_use(*field, &test.wanted),
                PolicyField::Model(_) | PolicyField::Decision(_) => None,
            },
            Query::Or(_) | Query::Not(_) | Query::Unknown(_) | Query::Word(_) => None,
        }
    }

    fn of_use(field: UseField, wanted: &Wanted) -> Option<Self> {
        let words = || {
            let may_do = (0..32_u8).filter(|word| wanted.is_met(&Value::Word(*word)) != Tri::False);
            may_do.fold(0, |words, word| words | 1 << word)
        };
        let country = || match wanted {
            Wanted::Equal(Value::Text(code)) => Country::parse(code),
            _ => None,
        };
        match (field, wanted) {
            (UseField::Purpose, _) => Some(Self::Purpose(words())),
            (UseField::Hosting, _) => Some(Self::Hosting(words())),
            (UseField::OrganizationType, _) => Some(Self::OrganizationType(words())),
            (UseField::Activities, Wanted::Equal(Value::Word(at))) => {
                Activity::ALL.get(usize::from(*at)).copied().map(Self::Activity)
            }
            (UseField::DeploymentCountries, _) => country().map(Self::DeployedIn),
            (UseField::EndUserCountries, _) => country().map(Self::UsedIn),
            _ => None,
        }
    }

    /// Whether a case plainly misses it: the fact is known, and another. Then the condition does not hold, whatever else is so.
    pub(super) fn misses(&self, case: &PolicyCase<'_, '_>) -> bool {
        let use_ = case.use_();
        let lacks = |words: u32, word: Option<u32>| word.is_some_and(|word| words & 1 << word == 0);
        match self {
            Self::Purpose(words) => lacks(*words, use_.purpose.map(|purpose| purpose as u32)),
            Self::Hosting(words) => lacks(*words, use_.hosting.map(|hosting| hosting as u32)),
            Self::OrganizationType(words) => lacks(*words, use_.organization.kind.map(|kind| kind as u32)),
            Self::Label(key, wanted) => {
                let found = use_.labels.iter().find(|(known, _)| key.is(known));
                found.is_some_and(|(_, value)| wanted.is_met(&Value::text(value)) == Tri::False)
            }
            Self::Activity(activity) => {
                let done = case.activities();
                // Weights that leave for devices are passed on, and some training is other training as well.
                let stays = use_.hosting.is_some_and(|hosting| hosting != Hosting::EdgeOffline);
                let implied = *activity == Activity::TrainOtherModels
                    && (done.has(Activity::TrainCompetingModels) || done.has(Activity::DistributeTrainedModel));
                stays && !case.may_do_more() && !implied && !done.has(*activity)
            }
            Self::DeployedIn(country) => use_.deployment_countries.as_ref().is_some_and(|set| !set.contains(*country)),
            Self::UsedIn(country) => use_.end_user_countries.as_ref().is_some_and(|set| !set.contains(*country)),
        }
    }
}
