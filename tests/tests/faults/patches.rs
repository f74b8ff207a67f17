//! The Worker is killed while patch batches are applied: whatever it had committed is known afterwards, once.

use acceptance::agents::{Tenant, own_plane};
use acceptance::{Archive, create};
use futures_util::future::{join_all, select_all};
use shared_contracts::patches::PatchState;

const ROUNDS: usize = 3;
const AT_ONCE: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_applied_is_known_whenever_the_worker_dies() {
    let mut plane = own_plane("patches").await;
    let project = Tenant::of(&plane, 0).project_with(Archive::of(&[("base", "0\n")])).await;
    for round in 0..ROUNDS {
        let mut patches = Vec::new();
        for index in 0..AT_ONCE {
            let path = format!("{round}-{index}");
            patches.push((project.propose(vec![create(&path, "x\n")]).await.id, path));
        }
        let apply = |id| {
            let client = project.client.clone();
            tokio::spawn(async move { client.apply_patches(id).await.ok() })
        };
        let applying: Vec<_> = patches.iter().map(|(id, _)| apply(*id)).collect();
        let (first, _, others) = select_all(applying).await;
        plane.kill_worker().await.unwrap();
        let mut acknowledged: Vec<_> = first.unwrap().into_iter().collect();
        acknowledged.extend(join_all(others).await.into_iter().filter_map(Result::unwrap));
        // As if the time had passed that a request may take.
        plane
            .sql("UPDATE patch_batches SET applying_since_ms = 1 WHERE applying_since_ms IS NOT NULL")
            .unwrap();
        plane.start_worker().await.unwrap();
        plane.run_reconciler().await.unwrap();
        let paths = project.paths().await;
        for (id, path) in &patches {
            let (landed, found) = (paths.contains(path), project.client.get_patch(*id).await.unwrap());
            let wanted = if landed { PatchState::Applied } else { PatchState::Proposed };
            assert_eq!((found.summary.state, found.receipt.is_some()), (wanted, landed), "{path}");
            if let Some(receipt) = acknowledged.iter().find(|receipt| receipt.patch_batch_id == *id) {
                assert_eq!(found.receipt.as_ref(), Some(receipt), "what was acknowledged is never lost");
            }
        }
        assert_eq!(project.head().await as usize, paths.len(), "each is a revision");
        // What was not applied still is when it is asked for again.
        for (id, _) in &patches {
            project.client.apply_patches(*id).await.unwrap();
        }
    }
    assert_eq!(project.paths().await.len(), 1 + ROUNDS * AT_ONCE);
    plane.stop_worker().await.unwrap();
    let rows = plane
        .sql(
            "SELECT count(*) AS events, count(DISTINCT patch_batch_id) AS batches FROM patch_events
             WHERE kind = 'applied'",
        )
        .unwrap();
    let wanted = Some((ROUNDS * AT_ONCE) as u64);
    assert_eq!((rows[0]["events"].as_u64(), rows[0]["batches"].as_u64()), (wanted, wanted));
    plane.stop().await.unwrap();
}
