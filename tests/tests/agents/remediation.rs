//! A coding agent whose edit does not fit: it is answered at once, in its sandbox, by the tool that the container agent
//! brings; what it mends lands, and comes back as a patch batch that applies.

use acceptance::agents::{Job, Machine, Tenant, lab};
use acceptance::{Archive, replace};
use shared_contracts::events::LogStream;
use shared_contracts::executions::Outcome;
use shared_contracts::patches::{OperationOutcome, OperationReceipt, TreeReceipt};
use shared_contracts::problem::{Problem, ProblemKind};
use shared_contracts::projects::UpdateProject;

const POEM: &str = "one\ntwo\nthree\nfour\n";

/// Each answer is one line of standard output: its exit code, then the document.
const CODING_AGENT: &str = r#"
    answer() { code=0; apply_patch --json > /tmp/answer || code=$?; printf '%s ' $code; tr -d '\n' < /tmp/answer; echo; }
    cat > /tmp/patch <<'EOF'
*** Begin Patch
*** Update File: src/poem
@@
 one
-too
+TWO
 three
*** Add File: src/new
+new
*** End Patch
EOF
    answer < /tmp/patch
    cmp src/poem - <<'EOF' && test ! -e src/new && echo unchanged
one
two
three
four
EOF
    # As the answer says: the file's own lines.
    sed 's/-too/-two/' /tmp/patch > /tmp/mended
    answer < /tmp/mended
    answer < /tmp/mended
    ln -s /tmp out; ln -s ../../tmp/canary link; echo alive > /tmp/canary
    for path in ../tmp/canary /tmp/canary out/canary out/new link/x .git/config keys/.env; do
        answer <<EOF
*** Begin Patch
*** Add File: $path
+pwned
*** End Patch
EOF
    done
    rm out link; cat /tmp/canary; ls /tmp/new 2> /dev/null
    true
"#;

fn parts<T: serde::de::DeserializeOwned>(line: &str) -> (i32, T) {
    let (code, document) = line.split_once(' ').expect("a code and a document");
    let document = serde_json::from_str(document).unwrap_or_else(|error| panic!("{error}: {line}"));
    (code.parse().expect("a code"), document)
}

fn are_refused(receipts: &[OperationReceipt]) -> Vec<bool> {
    receipts.iter().map(|receipt| !receipt.outcome.is_success()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_edit_is_mended_inside_and_lands_outside() {
    let tenant = Tenant::new();
    let project = tenant.project_with(Archive::of(&[("src/poem", POEM), ("keys/public", "k\n")])).await;
    let denied = UpdateProject { denied_paths: Some(vec!["**/.env".into()]), ..UpdateProject::default() };
    project.client.update_project(project.id, &denied).await.unwrap();
    let machine = Machine::start(lab(), &tenant, 1).await;
    let job = Job::script(&project, CODING_AGENT).await;
    let log = job.log().await;
    assert_eq!(log.end().outcome, Outcome::Succeeded, "{log:?}");
    let lines = log.lines(LogStream::Stdout);
    let mut lines = lines.iter().map(String::as_str);
    let mut next = || lines.next().expect("another line");

    // Refused: every operation is explained, and nothing was changed.
    let (code, problem) = parts::<Problem>(next());
    assert_eq!((code, problem.kind), (1, ProblemKind::PatchRefused), "{problem:?}");
    assert_eq!(are_refused(&problem.outcomes), [true, false]);
    let Some(OperationOutcome::NoMatch { nearest: Some(nearest), hint, .. }) =
        problem.outcomes.first().map(|receipt| &receipt.outcome)
    else {
        panic!("{problem:?}");
    };
    assert_eq!((nearest.lines.first, nearest.lines.last), (1, 3));
    assert!(nearest.diff.contains("-too\n+two\n") && hint.contains("send the hunk again"), "{problem:?}");
    assert_eq!(next(), "unchanged");

    // Mended, it lands; sent again, it has landed.
    let (code, receipt) = parts::<TreeReceipt>(next());
    assert_eq!((code, receipt.files.len()), (0, 2), "{receipt:?}");
    let (code, receipt) = parts::<TreeReceipt>(next());
    let landed = |receipt: &OperationReceipt| receipt.outcome == OperationOutcome::AlreadyApplied;
    assert!(code == 0 && receipt.operations.iter().all(landed), "{receipt:?}");

    // What leads outside, and what the project denies, is refused inside already.
    for path in
        ["../tmp/canary", "/tmp/canary", "out/canary", "out/new", "link/x", ".git/config", "keys/.env"]
    {
        let (code, problem) = parts::<Problem>(next());
        assert!(matches!(code, 1 | 2), "{path}: {problem:?}");
        assert_eq!(are_refused(&problem.outcomes), [true], "{path}: {problem:?}");
    }
    assert_eq!(next(), "alive");
    assert_eq!(lines.next(), None, "nothing was written beside the workspace");

    // The overlay's change is a batch, and it applies.
    let id = log.end().patch_batch_id.expect("a patch batch was proposed");
    let receipt = tenant.client.apply_patches(id).await.unwrap();
    assert_eq!(receipt.files.len(), 2, "{receipt:?}");
    assert_eq!(project.text("src/poem").await, "one\nTWO\nthree\nfour\n");
    machine.stop().await;
}

/// The workspace went on while it ran: its batch is kept, and its log has the plane's answer to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_no_longer_fits_is_answered_in_the_log() {
    let tenant = Tenant::new();
    let project = tenant.project_with(Archive::of(&[("poem", POEM)])).await;
    let job = Job::script(&project, "sed -i 's/two/TWO/' poem; echo n > new").await;
    let meanwhile = project.propose(vec![replace("poem", POEM, "one\nzwei\nthree\nfour\n")]).await;
    tenant.client.apply_patches(meanwhile.id).await.unwrap();
    let machine = Machine::start(lab(), &tenant, 1).await;
    let log = job.log().await;
    assert!(log.end().patch_batch_id.is_some(), "it is proposed all the same");
    let said = log.lines(LogStream::System);
    let head =
        said.iter().position(|line| line.contains("1 of 2 operations do not fit the workspace as it is now"));
    let answer = said.get(head.unwrap_or_else(|| panic!("{said:?}")) + 1).expect("the operation");
    let receipt: OperationReceipt =
        serde_json::from_str(answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
    assert_eq!(receipt.path, "poem");
    assert!(!receipt.outcome.is_success());
    machine.stop().await;
}
