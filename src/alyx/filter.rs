//! Filters: what a list can be asked for, and what each parameter means (ALYX.md 2.1, 2.7).
//!
//! A [`Filter`] says how its text is read ([`Input`]), what a record must be like ([`Predicate`]), how it
//! changes the number of rows ([`RowEffect`]), and from which records that can be decided ([`Decided`]: the
//! codes of ALYX.md). The tables stand in [`super::filters`], in the order in which Alyx validates and
//! applies them. `limit`, `offset` and `format` are no filters.

use super::{Endpoint, model::Labels};

/// A parameter of a list.
#[derive(Debug, Clone, Copy)]
pub struct Filter {
    /// The parameter.
    pub name: &'static str,
    /// How its text is read.
    pub input: Input,
    /// What a record must be like.
    pub test: Predicate,
    /// What it does to the number of rows.
    pub rows: RowEffect,
    /// From which records it can be decided.
    pub decided: Decided,
}

/// How the text of a parameter is read; what can't be read is refused with 400, where nothing else is
/// said (ALYX.md 2.1, "Filter types").
#[derive(Debug, Clone, Copy)]
pub enum Input {
    /// Any text but the NUL character; spaces around it don't count.
    Text,
    /// A UUID in any form that Python reads.
    Uuid,
    /// A decimal number.
    Number,
    /// `True`, `true`, `2`; `False`, `false`, `3`. Anything else is no question.
    SelectedBoolean,
    /// `true`, `1`, `false`, `0` in any case. Anything else is no question.
    Boolean,
    /// A date and time of ISO 8601.
    DateTime,
    /// A date and time of ISO 8601 or in one of Django's own forms.
    FormDateTime,
    /// A day: `YYYY-MM-DD` or `M/D/Y`.
    Date,
    /// Text that is read as a day; 500 where it is none.
    DateText,
    /// Text that is read as a whole number; 500 where it is none.
    NumberText,
    /// One of these codes.
    Choice(&'static [&'static str]),
    /// The primary key of a record that must exist.
    Key(Keyed),
    /// Primary keys, one in each repetition of the parameter; all must exist.
    Keys(Keyed),
    /// A label, whatever its case; 500 where it is none.
    Label(&'static Labels),
    /// Codes of a text column under their labels; 500 where it is none.
    CodeLabel(&'static [(&'static str, &'static str)]),
    /// Comma-separated UUIDs.
    Uuids,
    /// Pairs of field and value (ALYX.md 2.2); 500 where they are malformed.
    Pairs,
}

/// What a key is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyed {
    /// The endpoint that lists the keys with their records; none where Alyx has none.
    pub by: Option<&'static str>,
    /// Whether the key is a whole number, not a UUID.
    pub integer: bool,
}

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// Equal.
    Exact,
    /// Equal in upper case.
    IExact,
    /// Contained in upper case.
    IContains,
    /// On the same day.
    Date,
    /// On that day or a later one.
    DateFrom,
    /// On that day or an earlier one.
    DateUntil,
    /// Contained as it is.
    Contains,
    /// It begins so.
    Starts,
    /// It begins so in upper case.
    IStarts,
    /// That or more.
    From,
    /// That or less.
    Until,
}

/// What a record must be like.
#[derive(Debug, Clone, Copy)]
pub enum Predicate {
    /// A column compares so with the value: a path of Django's names.
    Column(&'static str, Lookup),
    /// `django=`: pairs over any path (ALYX.md 2.2).
    Django,
    /// Pairs over the keys of this JSON column (ALYX.md 2.3).
    JsonKeys(&'static str),
    /// The text of this JSON column contains the value.
    JsonText(&'static str),
    /// All these users are among the record's (ALYX.md 2.6).
    Users,
    /// `start_time` is between two days.
    DateRange,
    /// Over this relation to datasets, as many different types of these names as names.
    DatasetTypes(&'static str),
    /// The session's datasets of these names exist on a server, with no worse quality than asked for.
    SessionDatasets,
    /// Over this relation, as many datasets of these names as names; quality as asked for, if so.
    Datasets {
        /// The relation.
        relation: &'static str,
        /// Whether `dataset_qc_lte` counts.
        qc: bool,
    },
    /// Over this relation, a dataset of no worse quality; not asked where `datasets` is.
    DatasetQc(&'static str),
    /// 100 × correct / trials, as whole numbers divide, is at least the value.
    PerformanceFrom,
    /// The same is at most the value.
    PerformanceUntil,
    /// Channels or fields of view in a brain region or below it (ALYX.md 2.4).
    Region(Seed),
    /// The subject has a session with the procedure `Histology`.
    Histology,
    /// Not dead today.
    Alive,
    /// The responsible user manages stock.
    Stock,
    /// Alive and under a water restriction without end.
    WaterRestricted,
    /// A file of the dataset exists, or does not, on a server.
    ExistsOnServer,
    /// The dataset is of this insertion: of its session, its name in the collection; 500 where there is none.
    OfInsertion,
    /// A tag of the dataset has this flag.
    Tagged(&'static str),
    /// The region and those above it, instead of all other questions.
    Ancestors,
    /// The region and those below it, instead of all other questions.
    Descendants,
    /// Any of these datasets.
    AnyDataset,
    /// Refers to nothing: 500, always.
    Broken,
}

/// How the brain region of a [`Predicate::Region`] is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seed {
    /// By its number.
    Id,
    /// By its acronym, in any case.
    Acronym,
    /// By a part of its name, in any case; it may be several.
    Name,
}

/// What a filter does to the number of rows (ALYX.md 2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowEffect {
    /// Nothing: one for each record, or for each way in which its path leads to a match.
    One,
    /// Nothing, though its path may lead to many: they are looked for in a subquery, not joined.
    Once,
    /// One for each related record that matches.
    Multiply,
    /// One for each record, also for the other filters of the request.
    Distinct,
}

/// From which records a filter can be decided (ALYX.md, "Decidability codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// L: from the list record.
    List,
    /// D: from the detail.
    Detail,
    /// X: with the records of these endpoints.
    With(&'static [&'static str]),
    /// From what the paths of the request name.
    ByPath,
    /// H: from no record.
    Nowhere,
}

impl Filter {
    /// V: whether an unknown key is an error and not an empty list.
    pub fn verifies(&self) -> bool {
        matches!(self.input, Input::Key(_) | Input::Keys(_))
    }

    /// Whether the ways in which a record fulfils it are rows; `many` says whether its path leads to many.
    pub(crate) fn joins(&self, many: bool) -> bool {
        match self.rows {
            RowEffect::Once => false,
            RowEffect::One => many,
            RowEffect::Multiply | RowEffect::Distinct => true,
        }
    }

    /// T: whether the answer depends on the server's current date.
    pub fn depends_on_today(&self) -> bool {
        matches!(self.test, Predicate::Alive | Predicate::WaterRestricted)
    }
}

impl Input {
    /// Whether spaces around the value don't count.
    pub fn strips(self) -> bool {
        !matches!(
            self,
            Self::SelectedBoolean | Self::Boolean | Self::Choice(_) | Self::Key(_) | Self::Keys(_)
        )
    }
}

/// Whether Alyx strips the spaces around the value of this parameter before it uses it, so that
/// `?nickname=+KS004+` asks what `?nickname=KS004` asks.
pub fn strips(endpoint: &Endpoint, name: &str) -> bool {
    match endpoint.filter(name) {
        // Of these Alyx also reads the raw text, or repeats it in its messages.
        None
        | Some(
            Filter {
                test: Predicate::SessionDatasets | Predicate::Datasets { .. } | Predicate::DatasetQc(_),
                ..
            }
            | Filter { input: Input::Pairs, .. },
        ) => false,
        Some(filter) => filter.input.strips(),
    }
}

/// Shorthand for the tables in [`super::filters`].
pub(super) mod shorthand {
    use super::{Decided, Filter, Input, Keyed, Lookup, Predicate, RowEffect};
    use crate::alyx::model::Labels;

    pub(in super::super) const LIST: Decided = Decided::List;
    pub(in super::super) const DETAIL: Decided = Decided::Detail;
    pub(in super::super) const NOWHERE: Decided = Decided::Nowhere;

    pub(in super::super) const fn with(endpoints: &'static [&'static str]) -> Decided {
        Decided::With(endpoints)
    }

    /// A filter on a column.
    pub(in super::super) const fn on(
        name: &'static str,
        input: Input,
        path: &'static str,
        lookup: Lookup,
        decided: Decided,
    ) -> Filter {
        Filter { name, input, test: Predicate::Column(path, lookup), rows: RowEffect::One, decided }
    }

    /// A filter that is more than a comparison.
    pub(in super::super) const fn asks(
        name: &'static str,
        input: Input,
        test: Predicate,
        rows: RowEffect,
        decided: Decided,
    ) -> Filter {
        Filter { name, input, test, rows, decided }
    }

    pub(in super::super) const fn text(name: &'static str, decided: Decided) -> Filter {
        on(name, Input::Text, name, Lookup::Exact, decided)
    }

    pub(in super::super) const fn text_at(
        name: &'static str,
        path: &'static str,
        decided: Decided,
    ) -> Filter {
        on(name, Input::Text, path, Lookup::Exact, decided)
    }

    pub(in super::super) const fn iexact(name: &'static str, path: &'static str, decided: Decided) -> Filter {
        on(name, Input::Text, path, Lookup::IExact, decided)
    }

    pub(in super::super) const fn icontains(
        name: &'static str,
        path: &'static str,
        decided: Decided,
    ) -> Filter {
        on(name, Input::Text, path, Lookup::IContains, decided)
    }

    pub(in super::super) const fn uuid(name: &'static str, path: &'static str, decided: Decided) -> Filter {
        on(name, Input::Uuid, path, Lookup::Exact, decided)
    }

    pub(in super::super) const fn number(name: &'static str, decided: Decided) -> Filter {
        on(name, Input::Number, name, Lookup::Exact, decided)
    }

    pub(in super::super) const fn time(name: &'static str, decided: Decided) -> Filter {
        on(name, Input::DateTime, name, Lookup::Exact, decided)
    }

    pub(in super::super) const fn day(name: &'static str, decided: Decided) -> Filter {
        on(name, Input::Date, name, Lookup::Exact, decided)
    }

    /// The day of a time, as text.
    pub(in super::super) const fn day_of(name: &'static str, path: &'static str, decided: Decided) -> Filter {
        on(name, Input::DateText, path, Lookup::Date, decided)
    }

    pub(in super::super) const fn number_text(
        name: &'static str,
        path: &'static str,
        decided: Decided,
    ) -> Filter {
        on(name, Input::NumberText, path, Lookup::Exact, decided)
    }

    pub(in super::super) const fn boolean(name: &'static str, decided: Decided) -> Filter {
        on(name, Input::Boolean, name, Lookup::Exact, decided)
    }

    pub(in super::super) const fn label(
        name: &'static str,
        labels: &'static Labels,
        decided: Decided,
    ) -> Filter {
        on(name, Input::Label(labels), name, Lookup::Exact, decided)
    }

    pub(in super::super) const fn key(
        name: &'static str,
        by: Option<&'static str>,
        decided: Decided,
    ) -> Filter {
        on(name, Input::Key(Keyed { by, integer: false }), name, Lookup::Exact, decided)
    }

    pub(in super::super) const fn integer_key(
        name: &'static str,
        by: Option<&'static str>,
        decided: Decided,
    ) -> Filter {
        on(name, Input::Key(Keyed { by, integer: true }), name, Lookup::Exact, decided)
    }

    pub(in super::super) const fn keys(
        name: &'static str,
        by: Option<&'static str>,
        decided: Decided,
    ) -> Filter {
        let input = Input::Keys(Keyed { by, integer: false });
        asks(name, input, Predicate::Column(name, Lookup::Exact), RowEffect::Distinct, decided)
    }

    pub(in super::super) const fn integer_keys(
        name: &'static str,
        by: Option<&'static str>,
        decided: Decided,
    ) -> Filter {
        let input = Input::Keys(Keyed { by, integer: true });
        asks(name, input, Predicate::Column(name, Lookup::Exact), RowEffect::Distinct, decided)
    }

    /// Related records are looked for in a subquery.
    pub(in super::super) const fn once(mut filter: Filter) -> Filter {
        filter.rows = RowEffect::Once;
        filter
    }

    /// One row for each match, where no other filter says otherwise.
    pub(in super::super) const fn each(mut filter: Filter) -> Filter {
        filter.rows = RowEffect::Multiply;
        filter
    }

    pub(in super::super) const fn distinct(mut filter: Filter) -> Filter {
        filter.rows = RowEffect::Distinct;
        filter
    }

    pub(in super::super) const DJANGO: Filter =
        asks("django", Input::Pairs, Predicate::Django, RowEffect::Distinct, Decided::ByPath);
}
