//! The household's portrait through the gateway, over the demo departments.

use serde_json::json;

use crate::support::{HOUSEHOLD, ask, supervisor, world};

#[tokio::test(flavor = "multi_thread")]
async fn the_supervisor_is_answered() {
    let world = world().await;
    let query = r#"query($id: ID!) { household(id: $id) { id registry { headName division { code village } causes } assistance { dibaoStatus dibaoMonthly }
        identity { members { idNumber name lifeStatus } } housing { safetyGrade } help { cadre { name unit } } assets { deposits { overThreshold banks { name state hasAccount } } }
        risk { warning { level complete rules { id inputs { path value } } } }
        items { no state source message } } }"#;
    let answer = ask(&world.gateway, &supervisor(), query, json!({ "id": HOUSEHOLD })).await;
    println!("{}", serde_json::to_string_pretty(&answer).unwrap());
    assert!(answer.get("errors").is_none());
}
