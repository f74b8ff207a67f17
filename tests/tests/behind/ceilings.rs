//! What an execution may ask for.

use acceptance::{Project, command, plane, refused};
use serde_json::json;
use shared_contracts::executions::{Execution, RequestedLimits};
use shared_contracts::limits::{CPU_CORES_CEILING, DISK_MB_CEILING, MEMORY_MB_CEILING, PROCESSES_CEILING};
use shared_contracts::problem::ProblemKind;
use xtask::client::ClientError;

use crate::alone;

async fn asking(project: &Project, limits: serde_json::Value) -> Result<Execution, ClientError> {
    let mut input = command(&["true"]);
    input.limits = serde_json::from_value::<RequestedLimits>(limits).unwrap();
    let task = project.task().await;
    project.client.create_execution(project.id, task.id, &input).await
}

#[tokio::test]
async fn nobody_asks_for_more_than_the_ceilings() {
    let _alone = alone().await;
    let project = Project::new().await;
    for (field, ceiling) in [
        ("memory_mb", json!(MEMORY_MB_CEILING)),
        ("cpu_cores", json!(CPU_CORES_CEILING)),
        ("processes", json!(PROCESSES_CEILING)),
        ("disk_mb", json!(DISK_MB_CEILING)),
    ] {
        let allowed = asking(&project, json!({ field: ceiling })).await.unwrap();
        project.client.stop_execution(allowed.id).await.unwrap();
        let more = match ceiling.as_u64() {
            Some(whole) => json!(whole + 1),
            None => json!(ceiling.as_f64().unwrap() + 0.5),
        };
        let problem = refused(asking(&project, json!({ field: more })).await, ProblemKind::Invalid);
        let [fault] = problem.faults.as_slice() else { panic!("{problem}") };
        assert_eq!(fault.field, format!("limits.{field}"));
        let named = [ceiling.as_f64().unwrap().to_string(), format!("`sandbox.{field}_max`")];
        assert!(named.iter().all(|part| fault.message.contains(part)), "{problem}");
    }
}

#[tokio::test]
async fn the_settings_lower_what_may_be_asked_for_and_what_is_given() {
    let _alone = alone().await;
    let project = Project::new().await;
    let set = |memory_mb: u32, wall_seconds: u32| {
        let sql = format!(
            "UPDATE settings SET value = '{memory_mb}' WHERE key = 'sandbox.memory_mb_max';
             UPDATE settings SET value = '{wall_seconds}' WHERE key = 'sandbox.wall_seconds_max'"
        );
        plane().sql(&sql).unwrap();
    };
    set(1_000, 60);
    let given = asking(&project, json!({})).await;
    let asked = asking(&project, json!({"memory_mb": 1_001, "wall_seconds": 61})).await;
    set(MEMORY_MB_CEILING, 86_400);
    let given = given.unwrap();
    assert_eq!((given.spec.limits.memory_mb, given.spec.limits.wall_seconds), (1_000, 60));
    let fields: Vec<_> = refused(asked, ProblemKind::Invalid).faults.into_iter().map(|f| f.field).collect();
    assert_eq!(fields, ["limits.memory_mb", "limits.wall_seconds"]);
    project.client.stop_execution(given.id).await.unwrap();
}
