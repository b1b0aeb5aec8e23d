//! Reads and writes that cross, and writes of which nobody heard the end.

use super::{
    create, posts, primed,
    support::{Fault, Lab, Proxy, Setup, lab, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_sent_once_and_counts_as_made_if_its_answer_is_lost() {
    for fault in [Fault::Silence, Fault::Truncated, Fault::Gateway(502), Fault::Gateway(504)] {
        let lab = Lab::open().await;
        let proxy = Setup::new(&lab.url())
            .set("upstream.timeout", "1s")
            .set("upstream.serve_stale_after", "1s")
            .start()
            .await;
        assert_eq!(lab::version(&proxy.get("/sessions").await.expect(200).json()), 1);
        lab.upstream.behave(fault);
        // Alyx has it, but nobody hears so.
        let new = lab.renew();
        let answer = create(&proxy).try_send().await;
        assert!(
            answer.as_ref().is_err()
                || answer.as_ref().is_ok_and(|a| a.status.is_server_error() || a.status == 201),
            "{fault:?}: {answer:?}"
        );
        assert_eq!(posts(&lab), 1, "{fault:?}: a write must not be tried again");
        lab.upstream.restore().await;
        // While it is not known that Alyx is back the old state may come, but told as such.
        until("the new state is read", async || {
            let read = proxy.get("/sessions").await.expect(200);
            let told = read.header("alyx-api-notice").is_some_and(|notice| notice.starts_with("!!!"));
            let version = lab::version(&read.json());
            assert!(version == new || told, "{fault:?}: {}", read.describe());
            version == new
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_counts_as_made_if_whoever_made_it_has_gone() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    assert_eq!(lab::version(&proxy.get("/sessions").await.expect(200).json()), 1);
    lab.upstream.behave(Fault::Slow(4000));
    let writing = {
        let write = create(&proxy);
        tokio::spawn(async move { write.try_send().await })
    };
    until("the write is upstream", async || posts(&lab) == 1).await;
    // Its connection is closed before there is an answer.
    writing.abort();
    assert!(writing.await.unwrap_err().is_cancelled());
    let new = lab.renew();
    lab.upstream.behave(Fault::None);
    until("the new state is read", async || {
        lab::version(&proxy.get("/sessions").await.expect(200).json()) == new
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_before_the_write_is_not_fresh_after_it() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    proxy.get("/labs").await.expect(200);
    // The read is answered in Alyx before the write, and arrives after it.
    lab.upstream.behave(Fault::Slow(1000));
    let client = proxy.client();
    let reading = tokio::spawn(async move { client.get("/sessions").await });
    until("the read is upstream", async || lab.count("/sessions") == 1).await;
    lab.upstream.behave(Fault::None);
    let new = lab.renew();
    create(&proxy).send().await.expect(201);
    // Whoever wrote asks at once, while the earlier read is still under way.
    assert_eq!(
        lab::version(&proxy.get("/sessions").await.expect(200).json()),
        new,
        "joined a read of before"
    );
    // It was asked before: it may bring either state.
    let late = lab::version(&reading.await.unwrap().expect(200).json());
    assert!([1, new].contains(&late), "{late}");
    assert_eq!(
        lab::version(&proxy.get("/sessions").await.expect(200).json()),
        new,
        "the late answer was stored"
    );
}

/// Whoever wishes for something newer does not get something older for it.
#[tokio::test(flavor = "multi_thread")]
async fn who_writes_waits_for_their_own_write_whatever_they_wish() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url()).set("upstream.serve_stale_after", "300ms").start().await;
    for wish in ["no-cache", "max-age=0", "min-fresh=10", "max-stale"] {
        proxy.get("/sessions").await.expect(200);
        let new = lab.renew();
        create(&proxy).send().await.expect(201);
        lab.upstream.behave(Fault::Slow(1000));
        let read =
            proxy.client().ask("GET", "/sessions").header("cache-control", wish).send().await.expect(200);
        assert_eq!(lab::version(&read.json()), new, "{wish}: {}", read.describe());
        lab.upstream.behave(Fault::None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_by_a_write_is_not_given_while_upstream_is_there() {
    // `stale_while_revalidate` is for age, not for what is known to have changed.
    let (lab, proxy, new) = primed().await;
    create(&proxy).send().await.expect(201);
    assert_eq!(lab::version(&proxy.get("/sessions").await.expect(200).json()), new);
    // Offline it is better than nothing, and told.
    create(&proxy).send().await.expect(201);
    lab.upstream.cut().await;
    let answer = proxy.get("/sessions").await.expect(200);
    assert!(
        answer.header("alyx-api-notice").is_some_and(|notice| notice.starts_with("!!!")),
        "{}",
        answer.describe()
    );
}
