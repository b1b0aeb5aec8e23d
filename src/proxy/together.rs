//! What this proxy and the others of its cluster tell one another: marks of writes, refused tokens, what is forgotten.
//!
//! The engine is told first, then this proxy's own disk; and an answer to a write waits for the others. What they tell goes
//! through the same door as a write of one's own: nothing that was asked for before counts from then on, be it stored, in
//! memory, or in the mirror's tables.

use std::sync::{Arc, Weak};

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use zeroize::Zeroizing;

use super::{
    core::Core,
    error::{NOTICE, ProxyError},
};
use crate::{
    alyx::invalidates::{DOUBTED, Scope, is_of_a_token},
    auth::Credentials,
    cache::{Marked, PendingWrite, Purge},
    cluster::{ClusterEvent, ClusterFollower, PurgedAnswers, SharedWrite, Telling, WriteRefused},
    http::cache_status::{CacheStatus, RefusalReason},
    store::StoreError,
};

const ALONE: HeaderValue = HeaderValue::from_static(
    "!!!This proxy is cut off from the others of its cluster; what was written through them may be missing",
);
const UNTOLD: HeaderValue = HeaderValue::from_static(
    "!!!The other proxies of this cluster could not be told of this write yet; they may answer from before it",
);
const STRICT: &str = "This proxy is cut off from the others of its cluster, and `cluster.strict` allows no write that they can't be \
                      told of. The request was not sent to Alyx; nothing was changed. Try again in 5 seconds.";
/// Seconds after which the engine may be back.
const AGAIN: u64 = 5;

/// A write under way, as it is noted here and in the cluster.
#[derive(Debug)]
pub(super) struct MarkedWrite {
    pending: PendingWrite,
    shared: Option<SharedWrite>,
}

/// Whether the others know of a write.
#[derive(Debug)]
pub(super) enum Acknowledging {
    /// There is nothing to tell, or nobody.
    Nobody,
    /// They are being told.
    Others(Telling),
    /// They could not be told.
    Untold,
}

/// Why a write can't be noted.
#[derive(Debug)]
pub(super) enum NotNoted {
    Disk(StoreError),
    Cluster,
}

/// The refusal of a write that the others can't be told of.
pub(super) fn refusal() -> ProxyError {
    ProxyError::new(StatusCode::SERVICE_UNAVAILABLE, RefusalReason::Cluster, STRICT)
        .header(header::RETRY_AFTER, HeaderValue::from(AGAIN))
}

/// Notes that a write which may change these scopes is about to be passed on.
pub(super) async fn begin(core: &Core, scopes: &[Scope]) -> Result<MarkedWrite, NotNoted> {
    // What is known of a token is said by a hash that other proxies don't know.
    let names = || scopes.iter().map(Scope::name).filter(|name| !is_of_a_token(name)).collect::<Vec<_>>();
    let shared = match &core.cluster {
        Some(cluster) if !scopes.is_empty() => {
            Some(cluster.begin(names()).await.map_err(|WriteRefused| NotNoted::Cluster)?)
        }
        _ => None,
    };
    match core.responses.begin_write(scopes).await {
        Ok(pending) => Ok(MarkedWrite { pending, shared }),
        Err(error) => {
            if let (Some(cluster), Some(shared)) = (&core.cluster, shared) {
                cluster.end(shared, false).await;
            }
            Err(NotNoted::Disk(error))
        }
    }
}

/// Notes that a write has ended.
pub(super) async fn end(
    core: &Core,
    write: MarkedWrite,
    changed: bool,
) -> (Result<Marked, StoreError>, Acknowledging) {
    let MarkedWrite { pending, shared } = write;
    let acknowledging = match (&core.cluster, shared) {
        (Some(cluster), Some(shared)) => match cluster.end(shared, changed).await {
            Some(telling) => Acknowledging::Others(telling),
            None if changed => Acknowledging::Untold,
            None => Acknowledging::Nobody,
        },
        _ => Acknowledging::Nobody,
    };
    (core.responses.end_write(pending, changed).await, acknowledging)
}

impl Acknowledging {
    /// Returns when the others have applied a write; else its answer says that they have not.
    pub(super) async fn wait(self, core: &Core, response: &mut Response<Body>) {
        match (self, &core.cluster) {
            (Self::Others(telling), Some(cluster)) => cluster.wait_for_others(&telling).await,
            (Self::Untold, _) => {
                response.headers_mut().insert(NOTICE, UNTOLD);
            }
            _ => {}
        }
    }
}

/// Tells the others that Alyx has refused a token, before it is told to its holder.
pub(super) async fn refused(core: &Core, credentials: &Credentials) {
    let (Some(cluster), Credentials::Token { field, .. }) = (&core.cluster, credentials) else { return };
    let token = field.to_str().ok().and_then(|field| field.split_ascii_whitespace().nth(1));
    let Some(token) = token else { return };
    let event = ClusterEvent::Refused(Zeroizing::new(token.to_owned()));
    if let Some(telling) = cluster.tell(event).await {
        cluster.wait_for_others(&telling).await;
    }
}

/// Tells the others what is to be forgotten.
pub(crate) async fn purged(core: &Core, what: &Purge) {
    let Some(cluster) = &core.cluster else { return };
    let what = match what {
        Purge::All => PurgedAnswers::All,
        Purge::Below(path) => PurgedAnswers::Below(path.clone()),
        Purge::Question { path, query } => PurgedAnswers::Question(format!("{path}?{query}")),
    };
    if let Some(telling) = cluster.tell(ClusterEvent::Purged(what)).await {
        cluster.wait_for_others(&telling).await;
    }
}

impl Core {
    /// Whether what is remembered here may miss what was written through others. To be asked before it is looked at.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| !cluster.together())
    }
}

/// Says of an answer from here that it may miss what was written through others.
pub(crate) fn say_doubt(response: &mut Response<Body>, how: Option<CacheStatus>) {
    let is_remembered = match how {
        Some(CacheStatus::Hit(..) | CacheStatus::Stale { .. } | CacheStatus::Mirror { .. }) => true,
        // It joined a request that may have left before it came.
        Some(CacheStatus::Forwarded { collapsed, .. }) => collapsed,
        _ => false,
    };
    if is_remembered {
        metrics::counter!("alyx_proxy_cluster_answers_in_doubt_total").increment(1);
        response.headers_mut().entry(NOTICE).or_insert(ALONE);
    }
}

/// Applies what the others tell.
#[derive(Debug)]
pub(crate) struct Following(Weak<Core>);

impl Following {
    pub(crate) fn of(core: &Arc<Core>) -> Arc<Self> {
        Arc::new(Self(Arc::downgrade(core)))
    }
}

impl ClusterFollower for Following {
    fn apply(&self, event: ClusterEvent) {
        let Some(core) = self.0.upgrade() else { return };
        match event {
            ClusterEvent::Written(scopes) => {
                // Of an own table of tokens others know nothing; whoever says so all the same is not believed.
                let scopes = scopes.into_iter().filter(|scope| !is_of_a_token(scope)).collect();
                let Marked { at, endpoints } = core.responses.written_elsewhere(scopes);
                if let Some(synchroniser) = &core.synchroniser {
                    synchroniser.request(endpoints.into_iter().map(|(endpoint, _)| endpoint), at);
                }
            }
            ClusterEvent::Doubt => {
                tracing::info!(
                    "what was written through others may have been missed: all that is stored is asked anew"
                );
                core.responses.written_elsewhere(vec![DOUBTED.to_owned()]);
                core.tokens.doubt();
                if let Some(synchroniser) = &core.synchroniser {
                    synchroniser.request_cycle();
                }
            }
            ClusterEvent::Refused(token) => {
                core.tokens.refused_elsewhere(core.key.token(&token), &core.store);
            }
            ClusterEvent::Purged(what) => {
                let what = match what {
                    PurgedAnswers::All => Purge::All,
                    PurgedAnswers::Below(path) => Purge::below(&path),
                    PurgedAnswers::Question(question) => Purge::question(&question),
                };
                tokio::spawn(async move {
                    if let Err(error) = core.responses.purge(what).await {
                        tracing::error!(%error, "what an administrator of another proxy has forgotten is still stored");
                    }
                });
            }
        }
    }
}
