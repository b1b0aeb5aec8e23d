//! The models behind the endpoints, as far as their records show them: columns and relations.
//!
//! `django=` (ALYX.md 2.2) and most filters (ALYX.md 2.7) ask along paths of Django's names, such as
//! `session__subject__nickname`. A model says where each such name is found in the records that Alyx
//! serves: in the list record, in the detail alone, or in no record at all (`hidden`); and to the records
//! of which endpoint a relation leads. Of names that stand nowhere here nothing is known, unless the model
//! is `complete`.
//!
//! Where in a record a value is, is written so: `lab` is a field, `session_info.id` a field within a field,
//! `projects[]` each item of an array, `url#` the id at the end of a link, and `type<.` and `type>.` what is
//! before and after the first point.

pub use super::models::MODELS;

/// A model and the endpoint that lists it.
#[derive(Debug)]
pub struct Model {
    /// The endpoint of its records.
    pub endpoint: &'static str,
    /// Columns that records show.
    pub columns: &'static [Column],
    /// Relations to records of other endpoints.
    pub relations: &'static [Relation],
    /// Columns and relations that exist and that no record shows.
    pub hidden: &'static [&'static str],
    /// Whether these are all: any other name is an error of Alyx that lists them.
    pub complete: bool,
    /// What records show that is no column, and can't be asked for along a path.
    pub shown: &'static [Column],
    /// Paths over relations whose values stand in the record itself.
    pub shortcuts: &'static [Shortcut],
    /// Related records that stand in the record itself.
    pub embedded: &'static [Embedded],
}

/// Related records that stand within a record, as far as they do.
#[derive(Debug, Clone, Copy)]
pub struct Embedded {
    /// The relation, whose key is at `<array>[].<key>`.
    pub relation: &'static str,
    /// Columns, and keys of relations, of the related model; their places are within the item.
    pub columns: &'static [Column],
}

/// A column of a model.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name in Django; with `__`, a column of a model that has no endpoint.
    pub name: &'static str,
    /// What it holds.
    pub kind: ColumnKind,
    /// Where it is in a record.
    pub at: &'static str,
    /// Whether only the detail has it.
    pub detail: bool,
}

/// What a column holds.
#[derive(Debug, Clone, Copy)]
pub enum ColumnKind {
    /// Text.
    Text,
    /// A UUID.
    Uuid,
    /// A whole number.
    Integer,
    /// A floating-point number.
    Float,
    /// True or false.
    Boolean,
    /// A time without a zone, in the server's own.
    DateTime,
    /// A day.
    Date,
    /// Free-form JSON (PostgreSQL's jsonb).
    Json,
    /// An array of numbers.
    Array,
    /// Numbers that records show as labels.
    Labels(&'static Labels),
}

/// The labels of a column that holds numbers.
#[derive(Debug)]
pub struct Labels {
    /// The column's name, as messages have it.
    pub name: &'static str,
    /// Numbers and labels, in Alyx's order; the number where it is known.
    pub labels: &'static [(Option<i64>, &'static str)],
}

/// A relation to records of an endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Relation {
    /// Its name in Django.
    pub name: &'static str,
    /// The endpoint of the related records.
    pub to: &'static str,
    /// How the records are joined.
    pub join: Join,
    /// Whether one record may have many of them.
    pub many: bool,
    /// What it is in Django.
    pub field: RelatedField,
}

/// The class of Django's field that a path ends at which ends at a relation; of a relation through a table of its own that
/// is the field of that table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelatedField {
    /// The record holds the other's key, or a table between the two does.
    ForeignKey,
    /// The same within a tree.
    TreeForeignKey,
    /// The others hold this record's key.
    ManyToOneRel,
    /// The record is one of the other kind, and has its key.
    OneToOneField,
}

impl RelatedField {
    /// Its name, as messages have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ForeignKey => "ForeignKey",
            Self::TreeForeignKey => "TreeForeignKey",
            Self::ManyToOneRel => "ManyToOneRel",
            Self::OneToOneField => "OneToOneField",
        }
    }
}

/// How the records of a relation are found.
#[derive(Debug, Clone, Copy)]
pub enum Join {
    /// The record holds the other's key.
    Holds {
        /// Where it holds it.
        at: &'static str,
        /// The other's column that the key is of; null where empty.
        key: &'static str,
        /// Whether only the detail holds it.
        detail: bool,
    },
    /// The other record holds this record's key: through this relation of the other's.
    HeldAs(&'static str),
}

/// A path over relations whose value stands in the record itself.
#[derive(Debug, Clone, Copy)]
pub struct Shortcut {
    /// The path.
    pub path: &'static str,
    /// What it holds.
    pub kind: ColumnKind,
    /// Where it is in the record.
    pub at: &'static str,
}

/// Quality control, of sessions and datasets.
pub static QC: Labels = Labels {
    name: "qc",
    labels: &[
        (Some(50), "CRITICAL"),
        (Some(40), "FAIL"),
        (Some(30), "WARNING"),
        (Some(0), "NOT_SET"),
        (Some(10), "PASS"),
    ],
};

/// Where the coordinates of a trajectory come from.
pub static PROVENANCE: Labels = Labels {
    name: "provenance",
    labels: &[
        (Some(70), "Ephys aligned histology track"),
        (Some(50), "Histology track"),
        (Some(30), "Micro-manipulator"),
        (Some(10), "Planned"),
    ],
};

/// What has become of a task.
pub static STATUS: Labels = Labels {
    name: "status",
    labels: &[
        (Some(20), "Waiting"),
        (Some(25), "Held"),
        (Some(30), "Started"),
        (Some(40), "Errored"),
        (Some(45), "Abandoned"),
        (Some(50), "Empty"),
        (Some(55), "Incomplete"),
        (Some(60), "Complete"),
    ],
};

impl Labels {
    /// The label that this text is, whatever its case.
    pub fn label(&self, text: &str) -> Option<&'static str> {
        let text = text.trim().to_lowercase();
        self.labels.iter().map(|(_, label)| *label).find(|label| label.to_lowercase() == text)
    }

    /// The number behind a label, where it is known.
    pub fn number(&self, label: &str) -> Option<i64> {
        self.labels.iter().find(|(_, known)| *known == label).and_then(|(number, _)| *number)
    }
}

impl ColumnKind {
    /// A key in a path as the JSON that a record shows for it.
    pub fn json_of(self, key: &str) -> serde_json::Value {
        match self {
            Self::Integer => key.parse::<i64>().map_or_else(|_| key.into(), Into::into),
            _ => key.into(),
        }
    }
}

impl Model {
    /// The model whose records this endpoint lists.
    pub fn of(endpoint: &str) -> Option<&'static Self> {
        MODELS.iter().copied().find(|model| model.endpoint == endpoint)
    }

    /// The column of this name; `pk` is the primary key.
    pub fn column(&self, name: &str) -> Option<&'static Column> {
        let name = if name == "pk" { "id" } else { name };
        self.columns.iter().find(|column| column.name == name)
    }

    /// The relation of this name; `<name>_id` is its key.
    pub fn relation(&self, name: &str) -> Option<&'static Relation> {
        self.relations.iter().find(|relation| relation.name == name)
    }
}

/// Shorthand for the tables in [`super::models`].
pub(super) mod shorthand {
    use super::{Column, ColumnKind, Join, RelatedField, Relation, Shortcut};

    pub(in super::super) const fn column(name: &'static str, kind: ColumnKind) -> Column {
        Column { name, kind, at: name, detail: false }
    }

    pub(in super::super) const fn at(name: &'static str, kind: ColumnKind, at: &'static str) -> Column {
        Column { name, kind, at, detail: false }
    }

    pub(in super::super) const fn detail(name: &'static str, kind: ColumnKind) -> Column {
        Column { name, kind, at: name, detail: true }
    }

    pub(in super::super) const fn one(
        name: &'static str,
        to: &'static str,
        at: &'static str,
        key: &'static str,
    ) -> Relation {
        Relation {
            name,
            to,
            join: Join::Holds { at, key, detail: false },
            many: false,
            field: RelatedField::ForeignKey,
        }
    }

    pub(in super::super) const fn many(
        name: &'static str,
        to: &'static str,
        at: &'static str,
        key: &'static str,
    ) -> Relation {
        Relation {
            name,
            to,
            join: Join::Holds { at, key, detail: false },
            many: true,
            field: RelatedField::ForeignKey,
        }
    }

    /// A relation that only the detail holds.
    pub(in super::super) const fn in_detail(mut relation: Relation) -> Relation {
        if let Join::Holds { at, key, .. } = relation.join {
            relation.join = Join::Holds { at, key, detail: true };
        }
        relation
    }

    /// One that the others hold, and the record shows.
    pub(in super::super) const fn held_by(mut relation: Relation) -> Relation {
        relation.field = RelatedField::ManyToOneRel;
        relation
    }

    /// One within a tree.
    pub(in super::super) const fn in_tree(mut relation: Relation) -> Relation {
        relation.field = RelatedField::TreeForeignKey;
        relation
    }

    pub(in super::super) const fn held(name: &'static str, to: &'static str, by: &'static str) -> Relation {
        Relation { name, to, join: Join::HeldAs(by), many: true, field: RelatedField::ManyToOneRel }
    }

    /// One that the others show many of: through a table between the two, or held by this record and shown there alone.
    pub(in super::super) const fn shown(name: &'static str, to: &'static str, by: &'static str) -> Relation {
        Relation { name, to, join: Join::HeldAs(by), many: true, field: RelatedField::ForeignKey }
    }

    pub(in super::super) const fn shortcut(
        path: &'static str,
        kind: ColumnKind,
        at: &'static str,
    ) -> Shortcut {
        Shortcut { path, kind, at }
    }
}
