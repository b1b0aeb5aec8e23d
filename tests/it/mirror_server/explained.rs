//! How the proxy answers, and what it can answer, told by itself.

use std::process::Command;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_explains_how_it_answers() {
    let alyx = miniature().await;
    let proxy = setup(&alyx).set("mirror.endpoints", "sessions,labs,subjects,projects").start().await;
    mirrored(&proxy, &["sessions", "labs", "subjects", "projects"]).await;
    let explain = |path: &'static str| {
        let client = proxy.client();
        async move { client.ask("GET", path).header("x-alyx-proxy-explain", "1").send().await.expect(200).json() }
    };
    let here = explain("/sessions?lab=cortexlab&limit=3").await;
    assert_eq!(here["decision"], "mirror", "{here:#}");
    assert!(here["plan"]["page"].as_str().unwrap().contains("SELECT"), "{here:#}");
    assert_eq!(here["plan"]["parameters"], json!(["lab"]), "{here:#}");
    assert!(here["plan"]["tables"].as_array().unwrap().iter().any(|table| table["endpoint"] == "sessions"));
    assert_eq!(here["ignored"], json!([]), "{here:#}");
    assert_eq!(explain("/sessions?labs=cortexlab&limit=3").await["ignored"], json!(["labs"]));
    let there = explain("/insertions").await;
    assert_eq!(there["decision"], "forwarded", "{there:#}");
    assert!(there["remedy"].as_str().unwrap().contains("mirror.endpoints"), "{there:#}");

    let command = |token: &str| {
        Command::new(env!("CARGO_BIN_EXE_alyx-proxy"))
            .args(["explain", "/sessions?lab=cortexlab", "--url", &proxy.url()])
            .env("ALYX_PROXY_TOKEN", token)
            .output()
            .unwrap()
    };
    let said = command(READER.token);
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert!(text.contains("decision    answered from the mirror") && text.contains("SELECT"), "{text}");
    assert_eq!(command(users::UNKNOWN_TOKEN).status.code(), Some(1));
    cut(&alyx, &proxy).await;
    let there = explain("/insertions").await;
    assert_eq!(there["decision"], "refused", "{there:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_answers_lists_every_endpoint_and_parameter() {
    let alyx = miniature().await;
    let proxy = setup(&alyx).set("mirror.endpoints", "labs").start().await;
    mirrored(&proxy, &["labs"]).await;
    let client = proxy.client().anonymous();
    let page = client.get("/-/answers").await.expect(200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    client.get("/-/style.css").await.expect(200);
    let answers = client.get("/-/answers.json").await.expect(200).json();
    let listed = answers["endpoints"].as_array().unwrap();
    for endpoint in ENDPOINTS {
        assert!(page.text().contains(&format!("<h2>/{}</h2>", endpoint.name)), "{}", endpoint.name);
        let found = listed.iter().find(|listed| listed["endpoint"] == endpoint.name).unwrap();
        assert_eq!(found["mirrored"], endpoint.name == "labs", "{}", endpoint.name);
        let parameters = found["parameters"].as_array().unwrap();
        for filter in endpoint.filters {
            assert!(
                parameters.iter().any(|found| found["name"] == filter.name),
                "{} {}",
                endpoint.name,
                filter.name
            );
            assert!(page.text().contains(&format!("<code>{}</code>", filter.name)), "{}", filter.name);
        }
    }
}
