//! The description of the interface has the paths, methods and parameters of Alyx's own.

use std::collections::BTreeMap;

use alyx_proxy::alyx::{ENDPOINTS, coreapi, schema};
use serde_json::Value;

type Shape = BTreeMap<String, BTreeMap<String, Vec<(String, String)>>>;

/// Paths, methods, and the names and places of parameters, as recorded from Alyx 3.6.1.
fn recorded() -> Shape {
    serde_json::from_str(include_str!("../fixtures/schema-shape.json")).unwrap()
}

fn ours() -> Shape {
    let document = schema::document();
    let paths = document["paths"].as_object().unwrap();
    paths.iter().map(|(path, methods)| (path.clone(), shape(methods))).collect()
}

fn shape(methods: &Value) -> BTreeMap<String, Vec<(String, String)>> {
    let operations = methods.as_object().unwrap().iter();
    operations
        .map(|(method, operation)| {
            let text = |parameter: &Value, key: &str| parameter[key].as_str().unwrap().to_owned();
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let mut parameters: Vec<_> = parameters.map(|one| (text(one, "name"), text(one, "in"))).collect();
            parameters.sort();
            (method.clone(), parameters)
        })
        .collect()
}

#[test]
fn has_the_paths_methods_and_parameters_of_alyx() {
    let (recorded, ours) = (recorded(), ours());
    let paths = |shape: &Shape| shape.keys().cloned().collect::<Vec<_>>();
    assert_eq!(paths(&ours), paths(&recorded));
    for (path, methods) in &recorded {
        assert_eq!(&ours[path], methods, "{path}");
    }
}

/// What ONE's client follows: `requestBody.content['application/json'].schema.$ref`.
#[test]
fn every_body_refers_to_a_described_record() {
    let document = schema::document();
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    let mut bodies = 0;
    for body in operations.filter_map(|operation| operation.get("requestBody")) {
        let reference = body["content"]["application/json"]["schema"]["$ref"].as_str().unwrap();
        let name = reference.rsplit('/').next().unwrap();
        let properties = document["components"]["schemas"][name]["properties"].as_object();
        assert!(properties.is_some_and(|properties| !properties.is_empty()), "{reference}");
        bodies += 1;
    }
    assert!(bodies > 50, "{bodies}");
}

/// The links of an endpoint of the older description, and of what is within it, by action.
fn links(entry: &Value) -> BTreeMap<String, Value> {
    let mut links = BTreeMap::new();
    for (action, link) in entry.as_object().unwrap() {
        if link.get("url").is_none() {
            links.extend(
                self::links(link).into_iter().map(|(inner, link)| (format!("{action}/{inner}"), link)),
            );
            continue;
        }
        let fields = link["fields"].as_array().unwrap().iter();
        let pair = |field: &Value| match field.as_array() {
            Some(pair) => [pair[0].clone(), pair[1].clone()],
            None => [field["name"].clone(), field["location"].clone()],
        };
        let mut fields: Vec<[Value; 2]> =
            fields.map(pair).filter(|[_, location]| location != "form").collect();
        fields.sort_by_key(|[name, _]| name.to_string());
        links.insert(action.clone(), serde_json::json!([link["url"], link["action"], fields]));
    }
    links
}

/// What ONE 2.x reads: endpoint, action, address, method, and the names and places of parameters. Alyx's
/// document is frozen: the endpoint of notices and some filters came after it, and two have gone since.
#[test]
fn the_older_description_has_the_same_of_alyx() {
    let recorded: BTreeMap<String, Value> =
        serde_json::from_str(include_str!("../fixtures/coreapi-shape.json")).unwrap();
    let document = coreapi::document();
    let ours: BTreeMap<&String, &Value> =
        document.as_object().unwrap().iter().filter(|(name, _)| !name.starts_with('_')).collect();
    let names = ours.keys().copied().filter(|name| *name != "data-notices");
    assert_eq!(names.collect::<Vec<_>>(), recorded.keys().collect::<Vec<_>>());
    for (name, entry) in recorded {
        let (ours, mut theirs) = (links(ours[&name]), links(&entry));
        if name == "subjects" {
            let gone = |field: &Value| field[0] == "cull_method" || field[0] == "reduced";
            theirs.get_mut("list").unwrap()[2].as_array_mut().unwrap().retain(|field| !gone(field));
        }
        assert_eq!(ours, theirs, "{name}");
    }
}

/// Messages about invalid values come in the order in which Alyx declares its filters.
#[test]
fn filters_are_in_the_order_of_alyx() {
    let recorded: BTreeMap<String, Vec<String>> =
        serde_json::from_str(include_str!("../fixtures/filter-order.json")).unwrap();
    for endpoint in ENDPOINTS.iter().filter(|endpoint| recorded.contains_key(endpoint.name)) {
        let ours: Vec<&str> = endpoint.filters.iter().map(|filter| filter.name).collect();
        // Two filters of subjects have gone since that document was made.
        let theirs = recorded[endpoint.name].iter().map(String::as_str);
        let theirs: Vec<&str> = theirs.filter(|name| ours.contains(name)).collect();
        assert_eq!(ours, theirs, "{}", endpoint.name);
    }
}
