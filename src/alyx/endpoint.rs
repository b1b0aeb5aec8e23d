//! The endpoints that keep records: lists with filters, and details by a key.

use serde_json::Value;

use super::{filter::Filter, filters, query_string};
use crate::spelling;

/// How fast the answers of an endpoint go out of date; the settings give each class its span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Changed rarely, by administrators.
    Reference,
    /// Written by experiments and analyses.
    Records,
    /// Must be current: polled for work to do, decides about an animal, or computed anew at each request.
    Volatile,
    /// The description of the interface.
    Schema,
    /// ONE's cache tables.
    Tables,
}

/// What the last segment of a detail path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DetailKey {
    /// A UUID in its lower-case dashed form.
    Uuid,
    /// A whole number.
    Integer,
    /// A name, exact and case-sensitive, without `/`.
    Name(&'static str),
}

/// How a detail differs from the record in the list (ALYX.md 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetailShape {
    /// Not at all.
    AsListed,
    /// These fields of the list record are absent.
    Without(&'static [&'static str]),
    /// It has fields that no list record has.
    Own,
}

/// `/<endpoint>/<key>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detail {
    /// What the key is.
    pub key: DetailKey,
    /// What its body is.
    pub shape: DetailShape,
    /// Methods besides GET and HEAD.
    pub writes: &'static [&'static str],
}

/// An endpoint with a list of records.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// The path's first segment, e.g. `sessions`.
    pub name: &'static str,
    /// The model's name as Alyx's messages have it, e.g. `Session`.
    pub model: &'static str,
    /// How fast its records go out of date where others show them, or are filtered by them.
    pub class: Class,
    /// How fast what is asked of it itself goes out of date.
    pub asked: Class,
    /// Whether its list accepts POST.
    pub create: bool,
    /// Its detail route, if there is one.
    pub detail: Option<Detail>,
    /// The columns that its list is ordered by, after which ties stand in any order.
    pub order: &'static [Order],
    /// Fields of its records that Alyx computes anew at each request, from the time of day (ALYX.md 3.8).
    pub clock: &'static [&'static str],
    /// What its list can be asked for, in the order in which Alyx validates and applies it.
    pub filters: &'static [Filter],
}

/// A column that a list is ordered by (ALYX.md 1, "ordering"). Nulls stand where PostgreSQL puts them: last
/// where values ascend, first where they descend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// A path of Django's names, from the endpoint's model.
    pub path: &'static str,
    /// Whether the greatest value stands first.
    pub descending: bool,
}

const fn up(path: &'static str) -> Order {
    Order { path, descending: false }
}

const fn down(path: &'static str) -> Order {
    Order { path, descending: true }
}

const BY_NAME: &[Order] = &[up("name")];
const BY_START: &[Order] = &[down("start_time")];
const BY_SESSION: &[Order] = &[down("session__start_time"), up("name")];
const BY_NICKNAME: &[Order] = &[up("nickname"), down("birth_date")];

/// The endpoint of brain regions, whose tree filters of others walk (ALYX.md 2.4).
pub const BRAIN_REGIONS: &str = "brain-regions";
/// The endpoint of channels, which lie in brain regions.
pub const CHANNELS: &str = "channels";
/// The endpoint of trajectories, which have channels.
pub const TRAJECTORIES: &str = "trajectories";
/// The endpoint of the locations of fields of view, which touch brain regions.
pub const FOV_LOCATION: &str = "fov-location";
/// The endpoint of datasets, by whose files and quality others are asked for.
pub const DATASETS: &str = "datasets";

const UUID: DetailKey = DetailKey::Uuid;
const NAME: DetailKey = DetailKey::Name("name");

const ALL: &[&str] = &["PUT", "PATCH", "DELETE"];
const CHANGE: &[&str] = &["PUT", "PATCH"];
const REMOVE: &[&str] = &["DELETE"];
const READ: &[&str] = &[];

impl Endpoint {
    const fn new(name: &'static str, model: &'static str, class: Class) -> Self {
        let filters = filters::of(name);
        Self {
            name,
            model,
            class,
            asked: class,
            create: false,
            detail: None,
            order: &[],
            clock: &[],
            filters,
        }
    }

    const fn ordered(mut self, order: &'static [Order]) -> Self {
        self.order = order;
        self
    }

    /// Whoever asks for it itself needs it fresher than whoever sees it elsewhere.
    const fn asked_as(mut self, class: Class) -> Self {
        self.asked = class;
        self
    }

    const fn by_the_clock(mut self, fields: &'static [&'static str]) -> Self {
        self.clock = fields;
        self
    }

    const fn creates(mut self) -> Self {
        self.create = true;
        self
    }

    const fn detail(mut self, key: DetailKey, writes: &'static [&'static str]) -> Self {
        self.detail = Some(Detail { key, shape: DetailShape::AsListed, writes });
        self
    }

    const fn shaped(mut self, shape: DetailShape) -> Self {
        if let Some(detail) = &mut self.detail {
            detail.shape = shape;
        }
        self
    }

    /// Its filter of this name.
    pub fn filter(&self, name: &str) -> Option<&'static Filter> {
        self.filters.iter().find(|filter| filter.name == name)
    }

    /// Whether its details are other than the records of its list.
    pub fn has_own_details(&self) -> bool {
        self.detail.is_some_and(|detail| detail.shape == DetailShape::Own)
    }

    /// The key of a record's detail, as far as the record shows it.
    pub fn key_of(&self, record: &Value) -> Option<String> {
        let field = match self.detail?.key {
            DetailKey::Name(field) => field,
            DetailKey::Uuid | DetailKey::Integer => "id",
        };
        match record.get(field) {
            Some(Value::String(key)) => Some(key.clone()),
            Some(Value::Number(key)) => Some(key.to_string()),
            _ => {
                let url = record.get("url")?.as_str()?;
                query_string::segments(url).pop()
            }
        }
    }

    /// The endpoint of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ENDPOINTS.iter().find(|endpoint| endpoint.name == name)
    }

    /// That there is none of this name, with the one that was likely meant, or else with all of them.
    pub fn unknown(name: &str) -> String {
        let names = || ENDPOINTS.iter().map(|endpoint| endpoint.name);
        let meant = match spelling::did_you_mean(name, names()) {
            none if none.is_empty() => format!("; there are {}", names().collect::<Vec<_>>().join(", ")),
            meant => meant,
        };
        format!("there is no endpoint `{name}`{meant}")
    }
}

/// Every endpoint that lists records (ALYX.md 1).
pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new("sessions", "Session", Class::Records)
        .ordered(BY_START)
        .creates()
        .detail(UUID, ALL)
        .shaped(DetailShape::Own),
    Endpoint::new("subjects", "Subject", Class::Records)
        .ordered(BY_NICKNAME)
        .by_the_clock(&[
            "age_weeks",
            "alive",
            "reference_weight",
            "last_water_restriction",
            "expected_water",
            "remaining_water",
        ])
        .creates()
        .detail(DetailKey::Name("nickname"), ALL)
        .shaped(DetailShape::Own),
    Endpoint::new("insertions", "ProbeInsertion", Class::Records)
        .ordered(BY_SESSION)
        .creates()
        .detail(UUID, ALL)
        .shaped(DetailShape::Own),
    Endpoint::new("chronic-insertions", "ChronicInsertion", Class::Records).creates().detail(UUID, ALL),
    Endpoint::new("trajectories", "TrajectoryEstimate", Class::Records).creates().detail(UUID, ALL),
    Endpoint::new("channels", "Channel", Class::Records).creates().detail(UUID, ALL),
    Endpoint::new("brain-regions", "BrainRegion", Class::Reference).detail(DetailKey::Integer, CHANGE),
    Endpoint::new("fields-of-view", "FOV", Class::Records).ordered(BY_SESSION).creates().detail(UUID, ALL),
    Endpoint::new("fov-location", "FOVLocation", Class::Records)
        .ordered(&[down("default_provenance")])
        .creates()
        .detail(UUID, ALL)
        .shaped(DetailShape::Own),
    Endpoint::new("imaging-stack", "ImagingStack", Class::Records)
        .ordered(&[up("slices__name")])
        .creates()
        .detail(UUID, READ)
        .shaped(DetailShape::Own),
    Endpoint::new("datasets", "Dataset", Class::Records)
        .creates()
        .detail(UUID, ALL)
        .shaped(DetailShape::Without(&["protected", "public"])),
    Endpoint::new("files", "FileRecord", Class::Records).creates().detail(UUID, ALL),
    Endpoint::new("downloads", "Download", Class::Records).detail(UUID, CHANGE),
    Endpoint::new("data-notices", "DataNotice", Class::Records)
        .ordered(&[down("importance"), down("created_datetime"), up("name")])
        .creates()
        .detail(UUID, ALL),
    Endpoint::new("tasks", "Task", Class::Volatile)
        .ordered(&[up("level"), down("priority"), down("session__start_time")])
        .creates()
        .detail(UUID, ALL),
    Endpoint::new("notes", "Note", Class::Records).creates().detail(UUID, ALL),
    Endpoint::new("surgeries", "Surgery", Class::Records).ordered(BY_START).detail(UUID, CHANGE),
    // What decides about an animal (is it weighed, has it had its water, how much may it have) is asked each time.
    Endpoint::new("weighings", "Weighing", Class::Records)
        .asked_as(Class::Volatile)
        .creates()
        .detail(UUID, REMOVE),
    Endpoint::new("water-administrations", "WaterAdministration", Class::Records)
        .asked_as(Class::Volatile)
        .creates()
        .detail(UUID, ALL),
    Endpoint::new("water-restriction", "WaterRestriction", Class::Records)
        .asked_as(Class::Volatile)
        .ordered(&[down("end_time"), down("start_time")]),
    Endpoint::new("water-restricted-subjects", "Subject", Class::Records)
        .asked_as(Class::Volatile)
        .ordered(BY_NICKNAME)
        .by_the_clock(&["expected_water", "remaining_water", "reference_weight", "last_water_restriction"]),
    Endpoint::new("water-type", "WaterType", Class::Reference).asked_as(Class::Records).creates(),
    Endpoint::new("labs", "Lab", Class::Reference).creates().detail(NAME, ALL),
    Endpoint::new("projects", "Project", Class::Reference).creates().detail(NAME, ALL),
    Endpoint::new("users", "LabMember", Class::Reference)
        .ordered(&[up("username")])
        .creates()
        .detail(DetailKey::Name("username"), ALL),
    Endpoint::new("locations", "LabLocation", Class::Reference).detail(NAME, CHANGE),
    Endpoint::new("procedures", "ProcedureType", Class::Reference).creates(),
    Endpoint::new("dataset-types", "DatasetType", Class::Reference)
        .ordered(BY_NAME)
        .creates()
        .detail(NAME, ALL),
    Endpoint::new("data-formats", "DataFormat", Class::Reference)
        .ordered(BY_NAME)
        .creates()
        .detail(NAME, ALL),
    // ONE reads bucket and keys from it whenever it starts.
    Endpoint::new("data-repository", "DataRepository", Class::Reference)
        .asked_as(Class::Records)
        .ordered(BY_NAME)
        .creates()
        .detail(NAME, ALL),
    Endpoint::new("data-repository-type", "DataRepositoryType", Class::Reference)
        .ordered(BY_NAME)
        .creates()
        .detail(NAME, ALL),
    Endpoint::new("revisions", "Revision", Class::Reference).ordered(BY_NAME).creates().detail(NAME, ALL),
    Endpoint::new("tags", "Tag", Class::Reference).ordered(BY_NAME).creates().detail(NAME, ALL),
];
