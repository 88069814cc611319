//! Several versions at once: a split of traffic, and swaps while clients send requests.
#![expect(clippy::unwrap_used, reason = "a test says what failed by failing")]

mod common;

use aisle_models::Registry;
use aisle_proto::model_version::State;
use aisle_proto::{ListVersionsRequest, RollbackRequest};
use aisle_serve::versions::traffic::TrafficSplit;
use aisle_serve::{Config, Server};
use common::{
    SHOPPER, client, copy_version, for_user, model_client, own_registry, point, publish,
    publish_edited, scored, small_shop,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn a_split_sends_each_user_always_to_the_same_version() {
    let (folder, config) = own_registry();
    let stable = small_shop().version.name.clone();
    let canary = publish(folder.path(), 2, Some("canary"));
    let weights = BTreeMap::from([("stable".to_string(), 90.0), ("canary".to_string(), 10.0)]);
    let config = Config {
        split: TrafficSplit::new("test", "stable", &weights).unwrap(),
        ..config
    };
    let server = Server::start(&config).await.unwrap();
    let mut client = client(&server).await;
    let mut seen = BTreeMap::<String, usize>::new();
    for user in 0..400 {
        let mut versions = BTreeSet::new();
        for _ in 0..3 {
            let request = for_user(&format!("u{user}"), 1);
            let answer = client.recommend_for_user(request).await.unwrap();
            versions.insert(answer.into_inner().serving.unwrap().model_version);
        }
        assert_eq!(versions.len(), 1);
        *seen.entry(versions.pop_first().unwrap()).or_default() += 1;
    }
    assert!(
        (20..70).contains(&seen[&canary]) && seen[&canary] + seen[&stable] == 400,
        "{seen:?}"
    );
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_an_alias_without_a_version_get_the_followed_alias() {
    let (_folder, config) = own_registry();
    let weights = BTreeMap::from([("canary".to_string(), 1.0)]);
    let config = Config {
        split: TrafficSplit::new("test", "stable", &weights).unwrap(),
        ..config
    };
    let server = Server::start(&config).await.unwrap();
    let mut client = client(&server).await;
    let answer = client.recommend_for_user(for_user(SHOPPER, 1)).await;
    assert_eq!(
        answer.unwrap().into_inner().serving.unwrap().alias,
        "stable"
    );
}

/// Sends the same request without pause, and checks that each answer is wholly that of the version
/// that it names.
struct Load {
    over: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    loops: Vec<tokio::task::JoinHandle<BTreeSet<String>>>,
}

type Expected = BTreeMap<String, Vec<(String, f32)>>;

impl Load {
    async fn start(server: &Server, expected: &Expected) -> Self {
        let (over, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut loops = Vec::new();
        for _ in 0..4 {
            let (mut client, expected) = (client(server).await, expected.clone());
            let (over, answers) = (over.clone(), answers.clone());
            loops.push(tokio::spawn(async move {
                let mut versions = BTreeSet::new();
                while !over.load(Ordering::Relaxed) {
                    let answer = client.recommend_for_user(for_user(SHOPPER, 20)).await;
                    let answer = answer.unwrap().into_inner();
                    let version = answer.serving.as_ref().unwrap().model_version.clone();
                    assert_eq!(
                        scored(&answer),
                        expected[&version],
                        "an answer that is not its version's"
                    );
                    versions.insert(version);
                    answers.fetch_add(1, Ordering::Relaxed);
                }
                versions
            }));
        }
        Self {
            over,
            answers,
            loops,
        }
    }

    /// Ends it, and returns how many answers there were and which versions made them.
    async fn end(self) -> (usize, BTreeSet<String>) {
        self.over.store(true, Ordering::Relaxed);
        let mut versions = BTreeSet::new();
        for task in self.loops {
            versions.extend(task.await.unwrap());
        }
        (self.answers.load(Ordering::Relaxed), versions)
    }
}

/// What each version answers by itself.
async fn expected_answers(server: &Server, versions: [&String; 2]) -> Expected {
    let (mut client, mut models) = (client(server).await, model_client(server).await);
    let mut expected = Expected::new();
    for version in versions {
        models.set_alias(point("stable", version)).await.unwrap();
        let answer = client.recommend_for_user(for_user(SHOPPER, 20)).await;
        let answer = answer.unwrap().into_inner();
        assert_eq!(answer.serving.as_ref().unwrap().model_version, *version);
        expected.insert(version.clone(), scored(&answer));
    }
    assert_ne!(expected[versions[0]], expected[versions[1]]);
    expected
}

fn serving_stable(server: &Server) -> String {
    let aliases = server.versions().router().aliases();
    aliases[0].1.clone()
}

/// Publishes a version of which one file is damaged or cut short.
fn publish_broken(root: &Path, from: &str, swap: u32) -> String {
    let digest = from.rsplit('-').next().unwrap();
    let broken = format!("29991231T2359{swap:02}Z-{digest}");
    copy_version(&root.join(from), &root.join(&broken));
    let (file, damage): (_, fn(&mut Vec<u8>)) = match swap {
        5 => ("weights.safetensors", |bytes| {
            bytes.truncate(bytes.len() / 2)
        }),
        15 => ("weights.safetensors", |bytes| {
            *bytes.last_mut().unwrap() ^= 1
        }),
        25 => ("items.parquet", |bytes| bytes[100] ^= 0x40),
        35 => ("manifest.json", |bytes| bytes[50] ^= 1),
        _ => ("users.parquet", Vec::clear),
    };
    let file = root.join(&broken).join(file);
    let mut bytes = std::fs::read(&file).unwrap();
    damage(&mut bytes);
    std::fs::write(&file, bytes).unwrap();
    broken
}

/// while clients send requests without pause: 50 swaps and rollbacks, and 5 broken publications.
/// Not one request fails, and every answer is wholly that of the version it names.
#[tokio::test(flavor = "multi_thread")]
async fn swaps_and_broken_publications_never_fail_a_request() {
    let (folder, config) = own_registry();
    let a = small_shop().version.name.clone();
    let b = publish(folder.path(), 2, None);
    let config = Config {
        poll: Duration::from_millis(10),
        ..config
    };
    let server = Server::start(&config).await.unwrap();
    let mut models = model_client(&server).await;
    let expected = expected_answers(&server, [&b, &a]).await;
    let clients = Load::start(&server, &expected).await;

    let root = folder.path().join("shop");
    let mut broken_names = Vec::new();
    for swap in 0..50 {
        if swap % 2 == 0 {
            let target = if serving_stable(&server) == a { &b } else { &a };
            models.set_alias(point("stable", target)).await.unwrap();
        } else {
            let request = RollbackRequest {
                model: "shop".into(),
                alias: "stable".into(),
            };
            models.rollback(request).await.unwrap();
        }
        if swap % 10 == 5 {
            let broken = publish_broken(&root, &a, swap);
            let refused = models
                .set_alias(point("stable", &broken))
                .await
                .unwrap_err();
            assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
            assert!(refused.message().contains("damaged"), "{refused}");
            // The alias file is pointed at it by force.
            let file = root.join("aliases.json");
            let aliases = std::fs::read_to_string(&file).unwrap();
            let serving = serving_stable(&server);
            std::fs::write(&file, aliases.replacen(&serving, &broken, 1)).unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(
                serving_stable(&server),
                serving,
                "a broken version must not be served"
            );
            std::fs::write(&file, aliases).unwrap();
            broken_names.push(broken);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (answers, versions) = clients.end().await;
    assert_eq!(versions.len(), 2, "both versions answered");
    assert!(answers > 200);

    let listed = models.list_versions(ListVersionsRequest::default()).await;
    for version in listed.unwrap().into_inner().versions {
        let broken = broken_names.contains(&version.version);
        assert_eq!(version.state() == State::Failed, broken, "{version:?}");
        assert_eq!(version.failure.is_empty(), !broken);
    }
    server.stop().await.unwrap();
}

/// Two clients move one alias at once: the last change in the registry is the one served.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_moves_of_an_alias_end_as_the_registry_says() {
    let (folder, config) = own_registry();
    let a = small_shop().version.name.clone();
    let b = publish_edited(folder.path(), |manifest| {
        manifest["created_by"] = "a test".into();
    });
    let server = Server::start(&config).await.unwrap();
    let models = model_client(&server).await;
    for round in 0..20 {
        let moves = [&a, &b].map(|version| {
            let (mut models, version) = (models.clone(), version.clone());
            tokio::spawn(async move { models.set_alias(point("stable", &version)).await })
        });
        for one in moves {
            one.await.unwrap().unwrap();
        }
        let registry = Registry::new(folder.path());
        let resolved = registry.resolve("shop", "stable").unwrap();
        assert_eq!(serving_stable(&server), resolved, "round {round}");
    }
}
