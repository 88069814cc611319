//! Versions: published, loaded, refused and listed.
#![expect(clippy::unwrap_used, reason = "a test says what failed by failing")]

mod common;

use aisle_proto::model_version::State;
use aisle_proto::{
    ListVersionsRequest, LoadVersionRequest, ModelVersion, RecommendForUserRequest, RequestOptions,
};
use aisle_serve::{Config, Server};
use common::{
    Client, ModelClient, by_version, channel, client, eventually, flip_last_bit, for_user,
    model_client, own_registry, point, publish_altered, publish_edited, publish_later, small_shop,
};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

fn load(version: &str) -> LoadVersionRequest {
    LoadVersionRequest {
        model: String::new(),
        version: version.into(),
    }
}

/// A version as the server lists it.
async fn listed(models: &mut ModelClient, version: &str) -> ModelVersion {
    let listed = models.list_versions(ListVersionsRequest::default()).await;
    let versions = listed.unwrap().into_inner().versions;
    versions
        .into_iter()
        .find(|listed| listed.version == version)
        .unwrap()
}

/// The version that answers a stranger.
async fn serving(client: &mut Client) -> Result<String, Status> {
    let answer = client.recommend_for_user(for_user("", 1)).await?;
    Ok(answer.into_inner().serving.unwrap().model_version)
}

/// A copy of the small version whose weights were damaged, beside the one that serves.
fn publish_damaged(registry: &Path) -> (String, PathBuf) {
    const WEIGHTS: &str = "weights.safetensors";
    let edit = |manifest: &mut serde_json::Value| manifest["created_by"] = "a test".into();
    let damage = |folder: &Path| flip_last_bit(&folder.join(WEIGHTS));
    let name = publish_altered(registry, edit, damage);
    let weights = registry.join("shop").join(&name).join(WEIGHTS);
    (name, weights)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_before_the_first_version_says_how_to_publish_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&Config::local(folder.path())).await.unwrap();
    let refused = client(&server)
        .await
        .recommend_for_user(for_user("", 1))
        .await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.get_error_details().retry_info().is_some());
    assert!(refused.message().contains("aisle-train fit"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_version_is_served_when_it_is_published() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        poll: Duration::from_millis(20),
        ..Config::local(folder.path())
    };
    let server = Server::start(&config).await.unwrap();
    let client = client(&server).await;
    let version = publish_later(folder.path(), 1, Some("stable")).await;
    eventually("the published version was never served", || {
        let mut client = client.clone();
        let version = version.clone();
        async move {
            serving(&mut client)
                .await
                .is_ok_and(|found| found == version)
        }
    })
    .await;
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_serving_only_after_a_version_was_published() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        poll: Duration::from_millis(20),
        ..Config::local(folder.path())
    };
    let server = Server::start(&config).await.unwrap();
    let health = HealthClient::new(channel(&server).await);
    let check = |service: &'static str| {
        let mut health = health.clone();
        async move {
            let request = HealthCheckRequest {
                service: service.into(),
            };
            health.check(request).await.unwrap().into_inner().status()
        }
    };
    let services = ["", "aisle.v1.RecommendationService"];
    for service in services {
        assert_eq!(check(service).await, ServingStatus::NotServing);
    }
    publish_later(folder.path(), 1, Some("stable")).await;
    for service in services {
        eventually("health never was SERVING", || async {
            check(service).await == ServingStatus::Serving
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loaded_version_answers_by_name() {
    let (folder, config) = own_registry();
    let other = publish_edited(folder.path(), |manifest| {
        manifest["created_by"] = "a test".into();
    });
    let server = Server::start(&config).await.unwrap();
    let (mut client, mut models) = (client(&server).await, model_client(&server).await);
    let by_name = RecommendForUserRequest {
        options: Some(RequestOptions {
            selector: by_version(&other),
            ..Default::default()
        }),
        ..Default::default()
    };
    let refused = client.recommend_for_user(by_name.clone()).await;
    assert_eq!(
        common::reason_of(&refused.unwrap_err()),
        "VERSION_NOT_LOADED"
    );
    let loaded = models.load_version(load(&other)).await.unwrap();
    assert_eq!(loaded.get_ref().state(), State::Ready);
    let answer = client.recommend_for_user(by_name).await.unwrap();
    let info = answer.into_inner().serving.unwrap();
    assert_eq!((info.model_version, info.alias), (other, String::new()));
    // What no selector names goes on as before.
    assert_eq!(
        serving(&mut client).await.unwrap(),
        small_shop().version.name
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_does_not_exist_cannot_be_loaded() {
    let server = small_shop().serve().await;
    let refused = model_client(&server)
        .await
        .load_version(load("none-such"))
        .await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert!(
        refused.message().contains(&small_shop().version.name),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_model_than_the_served_one_is_not_found() {
    let server = small_shop().serve().await;
    let request = RecommendForUserRequest {
        options: Some(RequestOptions {
            model: "books".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let refused = client(&server).await.recommend_for_user(request).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert!(refused.message().contains("'shop'"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_needs_more_memory_than_there_is_is_refused() {
    let (folder, config) = own_registry();
    let huge = publish_edited(folder.path(), |manifest| {
        manifest["memory_bytes"] = (1u64 << 60).into();
    });
    let server = Server::start(&config).await.unwrap();
    let (mut client, mut models) = (client(&server).await, model_client(&server).await);
    let refused = models.set_alias(point("stable", &huge)).await.unwrap_err();
    assert_eq!(common::reason_of(&refused), "INSUFFICIENT_MEMORY");
    assert_eq!(
        serving(&mut client).await.unwrap(),
        small_shop().version.name
    );
    let listed = listed(&mut models, &huge).await;
    assert_eq!(listed.state(), State::Failed);
    assert!(
        listed.failure.contains("MiB are free"),
        "{}",
        listed.failure
    );
}

/// The follower remembers a refusal for half a minute, a client's call does not.
#[tokio::test(flavor = "multi_thread")]
async fn loading_a_refused_version_verifies_it_again() {
    let (folder, config) = own_registry();
    let server = Server::start(&config).await.unwrap();
    let mut models = model_client(&server).await;
    let (name, weights) = publish_damaged(folder.path());
    let refused = models.load_version(load(&name)).await.unwrap_err();
    assert_eq!(common::reason_of(&refused), "ARTIFACT_INTEGRITY");
    assert_eq!(listed(&mut models, &name).await.state(), State::Failed);
    flip_last_bit(&weights);
    let loaded = models.load_version(load(&name)).await.unwrap();
    assert_eq!(loaded.get_ref().state(), State::Ready);
    assert!(loaded.get_ref().failure.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_publication_is_known_before_an_alias_points_at_it() {
    let (folder, config) = own_registry();
    let server = Server::start(&config).await.unwrap();
    let models = model_client(&server).await;
    // The first look at the registry only notes what is there.
    tokio::time::sleep(4 * config.poll).await;
    let (name, _) = publish_damaged(folder.path());
    eventually("the damage was never found", || {
        let (mut models, name) = (models.clone(), name.clone());
        async move { listed(&mut models, &name).await.state() == State::Failed }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn losing_the_alias_file_does_not_empty_the_server() {
    let (folder, config) = own_registry();
    let server = Server::start(&config).await.unwrap();
    let mut client = client(&server).await;
    std::fs::remove_file(folder.path().join("shop").join("aliases.json")).unwrap();
    tokio::time::sleep(6 * config.poll).await;
    assert_eq!(
        serving(&mut client).await.unwrap(),
        small_shop().version.name
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_the_services() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, ServiceResponse};
    let server = small_shop().serve().await;
    let mut reflection = ServerReflectionClient::new(channel(&server).await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = tonic::codegen::tokio_stream::once(request);
    let mut responses = reflection
        .server_reflection_info(requests)
        .await
        .unwrap()
        .into_inner();
    let response = responses.message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(listed)) = response.message_response else {
        panic!("{response:?}");
    };
    let names: Vec<String> = listed
        .service
        .into_iter()
        .map(|ServiceResponse { name }| name)
        .collect();
    for service in ["RecommendationService", "ModelService", "RuleService"] {
        let name = format!("aisle.v1.{service}");
        assert!(names.contains(&name), "{names:?}");
    }
}
