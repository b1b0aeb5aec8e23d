//! Details: one record by its key (REST.md 1, 3).

use http::StatusCode;

use super::{answer::Answer, data::Data};
use crate::alyx::Endpoint;

/// The record of this key. Two of one name are an error of Alyx (REST.md 8, trap 19).
pub(super) fn answer(data: &Data, endpoint: &'static Endpoint, key: &str) -> Answer {
    let table = data.table(endpoint);
    match table.find(key) {
        [] => Answer::not_found(endpoint.model),
        [at] => match table.detail(*at) {
            Some(detail) => Answer::records(StatusCode::OK, detail.text().to_owned()),
            None => Answer::beyond(&format!("have the detail of /{}/{key}", endpoint.name)),
        },
        places => {
            let (model, count) = (endpoint.model, places.len());
            Answer::failed(&format!("get() returned more than one {model} -- it returned {count}!"))
        }
    }
}
