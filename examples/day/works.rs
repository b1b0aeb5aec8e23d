//! What people, rigs and others do, request by request.

use alyx_proxy::clock::Clock;
use http::Method;
use rand::RngExt;
use serde_json::{Value, json};

use crate::{
    plan::{MINUTE, Work},
    played::Day,
    world::{id, token},
};

impl Day {
    async fn load(&mut self, user: usize, session: &Value) {
        let eid = id(session);
        self.get(user, &format!("/sessions/{eid}")).await;
        let datasets = self.get(user, &format!("/datasets?session={eid}&exists=True")).await;
        let insertions = self.get(user, &format!("/insertions?session={eid}")).await;
        for insertion in insertions["results"].as_array().into_iter().flatten().take(2) {
            let (pid, name) = (id(insertion), insertion["name"].as_str().unwrap_or_default().to_owned());
            let track = format!("/trajectories?session={eid}&probe={name}&provenance=Histology track");
            self.get(user, &track.replace(' ', "%20")).await;
            self.pages(user, &format!("/channels?probe_insertion={pid}"), 4).await;
        }
        let some: Vec<String> = datasets["results"]
            .as_array()
            .into_iter()
            .flatten()
            .take(6)
            .map(|dataset| format!("%27{}%27", id(dataset)))
            .collect();
        if !some.is_empty() {
            let ids = some.join("%2C%20");
            self.get(user, &format!("/datasets?exists=True&django=id__in%2C%5B{ids}%5D")).await;
        }
        self.get(user, &format!("/datasets?django=session__id%2C{eid}%2Cdataset_type__name%2Ctrials.table"))
            .await;
    }

    async fn search(&mut self, user: usize, is_new: bool) {
        let (subject, session) = (self.subject(), self.session());
        let lab = session["lab"].as_str().unwrap_or("cortexlab").to_owned();
        let at = self.chance.random_range(0..10);
        let number: u32 = if is_new { self.chance.random_range(1..100_000) } else { at * 7_000 };
        let share = f64::from(number) / 1000.0;
        let year = 2018 + number % 6;
        let (month, day) = (1 + number / 7 % 12, 1 + number / 31 % 28);
        let target = match at {
            0 => format!("/sessions?performance_gte={share}&task_protocol=ephys"),
            1 => format!("/sessions?lab={lab}&date_range={year}-{month:02}-{day:02}%2C2030-01-01"),
            2 => format!("/sessions?subject={subject}"),
            3 => format!("/sessions?django=projects__name__icontains%2Cibl%2Cn_trials__gte%2C{number}"),
            4 => format!(
                "/insertions?django=session__projects__name__icontains%2Cibl%2Csession__number__lt%2C{number}"
            ),
            5 => format!("/sessions?atlas_acronym=CA1&performance_gte={share}"),
            6 => format!("/trajectories?provenance=Planned&django=x__gte%2C{number}"),
            7 => format!("/sessions?dataset_types=spikes.times&lab={lab}&performance_lte={share}"),
            8 => format!("/sessions?lab={lab}"),
            _ => format!(
                "/insertions?atlas_acronym=CA1&django=session__start_time__date__lte%2C{year}-{month:02}-{day:02}"
            ),
        };
        self.pages(user, &target, 3).await;
    }

    async fn names(&mut self, user: usize) {
        let at = self.rank(self.world.labs.len());
        let lab = self.world.labs[at]["name"].as_str().unwrap().to_owned();
        for target in ["/dataset-types".to_owned(), format!("/labs/{lab}"), "/projects".to_owned()] {
            self.pages(user, &target, 2).await;
        }
        self.get(user, "/brain-regions?acronym=CA1").await;
        self.get(user, "/data-repository?limit=5").await;
    }

    async fn colony(&mut self, user: usize) {
        let subject = self.subject();
        self.get(user, "/subjects?alive=True&stock=False").await;
        self.get(user, &format!("/subjects/{subject}")).await;
        self.get(user, &format!("/weighings?nickname={subject}")).await;
    }

    /// Reads a record, and writes into it.
    async fn edit(&mut self, user: usize) {
        let eid = id(&self.session());
        self.get(user, &format!("/sessions/{eid}")).await;
        let narrative = json!({ "narrative": format!("seen at {}", self.clock.now()) });
        self.ask(user, Method::PATCH, &format!("/sessions/{eid}"), Some(narrative)).await;
        self.get(user, &format!("/sessions/{eid}")).await;
    }

    async fn rig(&mut self, user: usize) {
        let subject = self.subject();
        self.get(user, &format!("/subjects/{subject}")).await;
        self.get(user, "/users/zoltan").await;
        let at = self.chance.random_range(8..18);
        let weighing = json!({ "subject": subject, "weight": 21.5, "user": "zoltan",
                               "date_time": format!("2026-11-26T{at:02}:00:00") });
        self.ask(user, Method::POST, "/weighings", Some(weighing)).await;
        self.get(user, &format!("/weighings?nickname={subject}")).await;
        let start = format!("2026-11-26T{at:02}:10:00");
        let session = json!({ "subject": subject, "users": ["zoltan"], "start_time": start, "number": 1,
                              "projects": ["ibl_neuropixel_brainwide_01"], "lab": "cortexlab", "type": "Experiment",
                              "procedures": ["Behavior training/tasks"], "task_protocol": "training" });
        let made = self.ask(user, Method::POST, "/sessions", Some(session)).await;
        let eid = id(&made);
        self.until(self.clock.now() + 2 * MINUTE).await;
        self.get(user, &format!("/sessions/{eid}")).await;
        let trials = json!({ "n_trials": 512, "n_correct_trials": 400 });
        self.ask(user, Method::PATCH, &format!("/sessions/{eid}"), Some(trials)).await;
        self.get(user, &format!("/sessions?subject={subject}&date_range=2026-11-26%2C2026-11-26&number=1"))
            .await;
    }

    /// Past the proxy, as other labs do.
    async fn other(&mut self) {
        let eid = id(&self.session());
        let protocol = format!("ephys, changed at {}", self.clock.now());
        let request = self
            .direct
            .patch(format!("{}/sessions/{eid}", self.alyx.url()))
            .header("authorization", format!("Token {}", token(0)))
            .header("content-type", "application/json")
            .body(json!({ "task_protocol": protocol }).to_string());
        assert!(request.send().await.unwrap().status().is_success());
        self.edits.entry(eid).or_default().push((self.clock.now(), protocol));
    }

    /// Does one work of the plan.
    pub(crate) async fn work(&mut self, user: usize, work: Work) {
        match work {
            Work::Load => {
                let session = self.session();
                self.load(user, &session).await;
            }
            Work::Script => {
                for _ in 0..20 {
                    self.script = (self.script + 1) % self.world.sessions.len();
                    let session = self.world.sessions[self.script].clone();
                    self.load(user, &session).await;
                }
            }
            Work::Search => self.search(user, false).await,
            Work::NewSearch => self.search(user, true).await,
            Work::Colony => self.colony(user).await,
            Work::Names => self.names(user).await,
            Work::Edit => self.edit(user).await,
            Work::Rig => self.rig(user).await,
            Work::Poll => drop(self.get(user, "/tasks?status=Waiting&limit=5").await),
            Work::Other => self.other().await,
        }
    }
}
