//! `/-/cluster`: the other proxies of the same Alyx, as this one sees them; after a log-in.

use askama::Template;
use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::json;

use super::{
    Visit,
    error::ProxyError,
    frame::{Frame, page},
    text_response, to,
};
use crate::cluster::ClusterView;

#[derive(Template)]
#[template(path = "cluster.html")]
struct ClusterPage {
    frame: Frame,
    cluster: Option<ClusterView>,
}

impl Visit {
    fn cluster(&self) -> Option<ClusterView> {
        self.admin.core.cluster.as_ref().map(|cluster| cluster.view(true))
    }

    /// The page, or the door to it.
    pub(super) fn cluster_page(&self) -> Response<Body> {
        if !self.counts() {
            return to("/-/login?next=%2F-%2Fcluster");
        }
        page(&ClusterPage { frame: self.frame("cluster", "Cluster"), cluster: self.cluster() }, 200)
    }

    /// The same as JSON.
    pub(super) fn cluster_json(&self) -> Response<Body> {
        if !self.counts() {
            let text = "Log in, or send a token that Alyx has accepted, to see the cluster.";
            return ProxyError::refused(StatusCode::FORBIDDEN, text).into();
        }
        text_response(&format!("{:#}\n", json!({ "cluster": self.cluster() })), "application/json")
    }
}
