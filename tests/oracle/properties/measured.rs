//! Questions of which it was measured what a real Alyx answers: the mirror says the same, or that it can't decide.

use super::tables::{Said, Tables};
use crate::{
    alyx::{Endpoint, query_string::parse},
    oracle::ask::naive::{Naive, sample_lab},
};

/// What is expected.
#[derive(Debug)]
enum Told {
    /// So many records.
    Count(u64),
    /// This refusal.
    Refused(u16, &'static str),
    /// That it can't be decided here.
    Undecided,
}

use Told::{Count, Refused, Undecided};

const NO_NUMBER: &str = r#"{"number":["Enter a number."],"status_code":400}"#;
const NO_TIME: &str = r#"{"start_time":["Enter a valid date/time."],"status_code":400}"#;
const NO_DAY: &str = r#"{"birth_date":["Enter a valid date."],"status_code":400}"#;

const QUESTIONS: &[(&str, Told)] = &[
    // A tag is looked for in a subquery: a notice is listed once, however many of its datasets have the tag.
    ("data-notices?dataset_tag=Brainwidemap", Count(3)),
    // Columns of every kind have the lookups of text.
    ("sessions?django=id__startswith,91ac", Count(1)),
    ("sessions?django=pk__icontains,91ac", Count(2)),
    ("sessions?django=id__regex,91ac", Count(2)),
    ("datasets?django=session__id__startswith,91ac", Count(9)),
    // A number is written by Python as the text that is looked for.
    ("sessions?django=number__icontains,1", Count(0)),
    ("sessions?django=number__endswith,1", Count(0)),
    ("sessions?django=number__iexact,1", Undecided),
    // Numbers that the column can't hold.
    ("sessions?django=number__lt,99999999999", Undecided),
    ("sessions?django=number__gte,-99999999999", Undecided),
    ("insertions?django=session__number__lte,99999999999", Undecided),
    ("tasks?django=level__lt,40000", Undecided),
    ("tasks?django=level__lt,30000", Count(182)),
    ("datasets?django=file_size__lt,99999999999", Count(7904)),
    ("datasets?file_size=9007199254740993", Undecided),
    ("datasets?django=file_size__in,[9007199254740993]", Undecided),
    // Stacks are listed once for each slice, unless something makes rows differ.
    ("imaging-stack?django=slices__name,FOV_01", Count(3)),
    ("imaging-stack?django=id__isnull,False", Count(6)),
    ("imaging-stack", Count(6)),
    // Spaces are no number, day or time, and no text.
    ("sessions?number=%20", Refused(400, NO_NUMBER)),
    ("sessions?start_time=%20", Refused(400, NO_TIME)),
    ("subjects?birth_date=%20", Refused(400, NO_DAY)),
    ("data-notices?datasets=%20", Count(0)),
    ("data-notices?datasets=,", Count(0)),
    ("sessions?task_protocol=%20", Count(400)),
    ("sessions?id=%20", Count(400)),
    ("sessions?start_time=2024-1-1", Refused(400, NO_TIME)),
    ("sessions?start_time=2024-1-1%2010:10", Count(0)),
    ("sessions?django=start_time__gte,2024-1-1", Count(82)),
    (
        "sessions?django=start_time__gte,%202031-01-01",
        Refused(
            500,
            "{\"status_code\":500,\"detail\":\"['“ 2031-01-01” value has an invalid format. \
             It must be in YYYY-MM-DD HH:MM[:ss[.uuuuuu]][TZ] format.']\"}",
        ),
    ),
    // Python reads digits of other scripts, and numbers of any length.
    ("tags?limit=%D9%A3", Count(15)),
    ("tags?offset=100000000000000000000", Count(15)),
    ("sessions?number=%D9%A1", Count(378)),
    // Several keys are compared as they are written.
    (
        "fov-location?brain_region=0997",
        Refused(
            400,
            r#"{"brain_region":["Select a valid choice. 0997 is not one of the available choices."],"status_code":400}"#,
        ),
    ),
    (
        "fov-location?brain_region=0997&brain_region=x",
        Refused(400, r#"{"brain_region":["“x” is not a valid value."],"status_code":400}"#),
    ),
    ("fov-location?brain_region=y&brain_region=x", Undecided),
    ("channels?brain_region=0997", Count(18)),
    // Numbers and truths where text is compared.
    ("sessions?django=task_protocol__iexact,12", Undecided),
    ("sessions?django=task_protocol__regex,00", Undecided),
    ("sessions?django=task_protocol__contains,00", Count(0)),
    ("sessions?json=has_key,1", Undecided),
    (
        "sessions?django=json__contains,None",
        Refused(500, r#"{"status_code":500,"detail":"Cannot use None as a query value"}"#),
    ),
    ("fov-location?django=n_xyz__contains,[512.5]", Undecided),
    ("fov-location?django=n_xyz__0,512.5", Undecided),
    ("fov-location?django=x__0,512.5", Count(0)),
    ("sessions?django=start_time__year__gte,2020.5", Undecided),
    ("sessions?django=start_time__year,0", Undecided),
    ("sessions?django=start_time__month,1.5", Count(21)),
    ("sessions?django=id,True", Count(0)),
    ("sessions?django=id__in,[5]", Count(0)),
    ("sessions?django=start_time__date,20240101", Undecided),
    ("subjects?django=birth_date,True", Undecided),
    ("trajectories?django=x,_0.1", Undecided),
    ("sessions?id=0x07813450f5504862ac5c8eb5e0a962", Undecided),
    (
        "sessions?dataset_qc_lte=%2B10",
        Refused(500, r#"{"status_code":500,"detail":"+10 is not a valid QC"}"#),
    ),
    ("sessions?dataset_qc_lte=015", Refused(500, r#"{"status_code":500,"detail":"15 is not a valid QC"}"#)),
    // What Alyx says depends on what else is asked.
    ("sessions?users=a&django=users_count,1", Undecided),
    // What Django finds out last.
    ("sessions?django=number__isnull,1,id__in,[]", Undecided),
    (
        "sessions?django=number__isnull,1,lab__name,a",
        Refused(
            500,
            r#"{"status_code":500,"detail":"The QuerySet value for an isnull lookup must be True or False."}"#,
        ),
    ),
    (
        "sessions?django=number__isnull,1,start_time,2020-01-01T25:00",
        Refused(
            500,
            "{\"status_code\":500,\"detail\":\"['“2020-01-01T25:00” value has the correct format \
             (YYYY-MM-DD HH:MM[:ss[.uuuuuu]][TZ]) but it is an invalid date/time.']\"}",
        ),
    ),
    // Messages.
    ("sessions?django=number__foo,1", Undecided),
    ("sessions?django=number,it's", Undecided),
    ("sessions?django=start_time__year,x", Undecided),
    ("channels?django=name__iexact,[x,~name__regex,.[^a]", Undecided),
    (
        "channels?django=brain_region,abc",
        Refused(500, r#"{"status_code":500,"detail":"Field 'id' expected a number but got 'abc'."}"#),
    ),
    (
        "data-notices?affected_date_start=x&datasets=x",
        Refused(
            400,
            r#"{"affected_date_start":["Enter a valid date."],"datasets":["Enter a valid UUID."],"status_code":400}"#,
        ),
    ),
];

#[test]
fn what_was_measured_is_said_or_left_undecided() {
    let tables = Tables::of(&Naive::new(&sample_lab()));
    let mut wrong = Vec::new();
    for (question, told) in QUESTIONS {
        let (name, query) = question.split_once('?').unwrap_or((question, ""));
        let said = tables.ask(Endpoint::named(name).unwrap(), &parse(query));
        let right = match (&said, told) {
            (Said::Page(count, _), Count(known)) => count == known,
            (Said::Refused(status, body), Refused(known, text)) => (status, body.as_str()) == (known, *text),
            (Said::Undecided(_), Undecided) => true,
            _ => false,
        };
        if !right {
            let said = match said {
                Said::Page(count, _) => format!("{count} records"),
                said => format!("{said:?}"),
            };
            wrong.push(format!("{question}: {said} instead of {told:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_page_beyond_the_count_is_empty() {
    let tables = Tables::of(&Naive::new(&sample_lab()));
    let stacks = Endpoint::named("imaging-stack").unwrap();
    let page = |query: &str| match tables.ask(stacks, &parse(query)) {
        Said::Page(count, records) => (count, records.len()),
        said => panic!("{said:?}"),
    };
    let (count, records) = page("");
    assert!(records as u64 > count, "{records} of {count}: stacks of one slice show nothing");
    assert_ne!(page(&format!("offset={count}")), (count, 0));
    assert_eq!(page(&format!("offset={}", count + 1)), (count, 0));
}
