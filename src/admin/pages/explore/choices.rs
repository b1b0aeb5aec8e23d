//! What helps those who don't know Alyx's parameters: values to choose from, counts of what was found, and what was likely
//! meant by what finds nothing.

use super::Visit;
use crate::{
    alyx::{
        Endpoint, known_values,
        query_string::{self, Pairs},
    },
    mirror::plan::Today,
    spelling,
    store::{ReadRequest, budget::Budget, reader_pool::Owner},
};

/// What looking for them may cost.
const BUDGET: Budget = Budget { time: std::time::Duration::from_secs(2), steps: 20_000_000 };
/// Values of a parameter that are offered.
const MOST: usize = 2_000;
/// Values of a column that are counted, and those that are likely meant.
const FEW: usize = 6;

/// How many of the records found share a value.
pub(super) struct Facet {
    pub(super) name: &'static str,
    pub(super) values: Vec<FacetValue>,
}

pub(super) struct FacetValue {
    pub(super) value: String,
    pub(super) count: u64,
    pub(super) link: String,
}

/// What was likely meant.
pub(super) struct Meant {
    pub(super) parameter: String,
    pub(super) value: String,
    pub(super) link: String,
}

/// The values of one parameter.
pub(super) struct KnownValues {
    pub(super) parameter: &'static str,
    pub(super) values: Vec<String>,
}

impl Visit {
    fn read_request(&self) -> ReadRequest {
        let token = self.session.as_ref().and_then(|session| session.token(&self.admin.core.key));
        let owner = token.map_or(Owner::Proxy, |token| Owner::User(token.0));
        ReadRequest { owner, what: "/-/explore".to_owned(), budget: BUDGET }
    }

    /// The values of the endpoint's parameters, as far as they are names that are mirrored.
    pub(super) async fn known(&self, endpoint: &'static Endpoint) -> Vec<KnownValues> {
        let Some(mirror) = &self.admin.core.mirror else { return Vec::new() };
        let parameters: Vec<_> = endpoint
            .filters
            .iter()
            .filter_map(|filter| Some((filter.name, known_values::of(endpoint, filter)?)))
            .collect();
        let mut places: Vec<_> = parameters.iter().map(|(_, place)| *place).collect();
        places.sort_unstable();
        places.dedup();
        let found = mirror.values(self.read_request(), places.clone(), MOST).await.unwrap_or_default();
        let of = |place| {
            let at = places.iter().position(|known| *known == place)?;
            found.get(at).filter(|values| !values.is_empty()).cloned()
        };
        parameters
            .into_iter()
            .filter_map(|(parameter, place)| Some(KnownValues { parameter, values: of(place)? }))
            .collect()
    }

    /// How the records that were found are spread over labs, subjects and the like, as far as the mirror can tell.
    pub(super) async fn facets(&self, endpoint: &'static Endpoint, asked: &Pairs) -> Vec<Facet> {
        let Some(mirror) = &self.admin.core.mirror else { return Vec::new() };
        let (core, settings) = (&self.admin.core, &self.settings);
        let date = core.mode.today(settings, core.clock.now());
        let today = Today { date, zone: Some(core.mode.zone(settings)) };
        let columns = known_values::shared(endpoint);
        let counted = mirror.counts(self.read_request(), endpoint, asked.clone(), today, columns, FEW).await;
        let facet = |(name, values): (&'static str, Vec<(String, u64)>)| {
            let value = |(value, count): (String, u64)| {
                let pair = known_values::asking(endpoint, name, &value)?;
                let same = |(known, _): &&(String, String)| *known != pair.0 || pair.0 == "django";
                let pairs: Pairs = asked.iter().filter(same).cloned().chain([pair.clone()]).collect();
                Some(FacetValue { link: place(endpoint, &pairs), value, count })
            };
            Facet { name, values: values.into_iter().filter_map(value).collect() }
        };
        // Where all share one value there is nothing to choose.
        counted.unwrap_or_default().into_iter().map(facet).filter(|facet| facet.values.len() > 1).collect()
    }
}

/// The values that were likely meant by those that find nothing.
pub(super) fn meant(endpoint: &'static Endpoint, asked: &Pairs, known: &[KnownValues]) -> Vec<Meant> {
    let mut found = Vec::new();
    for (at, (name, typed)) in asked.iter().enumerate() {
        let Some(KnownValues { values, .. }) = known.iter().find(|known| known.parameter == name) else {
            continue;
        };
        if values.contains(typed) {
            continue;
        }
        let near = spelling::nearest(typed, values.iter().map(String::as_str));
        let folded = typed.to_lowercase();
        let within = values.iter().filter(|value| value.to_lowercase().contains(&folded)).map(String::as_str);
        let mut likely: Vec<&str> = near.into_iter().collect();
        likely.extend(within.filter(|value| Some(*value) != near));
        likely.truncate(FEW);
        for value in likely {
            let mut pairs = asked.clone();
            value.clone_into(&mut pairs[at].1);
            let link = place(endpoint, &pairs);
            found.push(Meant { parameter: name.clone(), value: value.to_owned(), link });
        }
    }
    found
}

fn place(endpoint: &Endpoint, pairs: &Pairs) -> String {
    let pairs: Pairs =
        pairs.iter().filter(|(name, _)| name != "offset" && name != "limit").cloned().collect();
    format!("/-/explore/{}?{}", endpoint.name, query_string::encode_sorted(&pairs))
}
