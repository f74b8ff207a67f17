//! The plane that a test program talks to, and who talks.

use std::sync::OnceLock;

use serde::de::DeserializeOwned;
use shared_contracts::page::Page;
use xtask::client::Client;
use xtask::plane::{Plane, PlaneOptions};

static PLANE: OnceLock<Plane> = OnceLock::new();

/// Lines of the plane's log that a failed test shows.
const LOG_LINES_SHOWN: usize = 8;

/// The plane of this test program, started by whichever test comes first. It ends with the program, by xtask's
/// guardian; its folder `.patchbay/acceptance-<program>` stays until the next run, so that a failure can be looked at.
pub fn plane() -> &'static Plane {
    PLANE.get_or_init(|| {
        show_causes();
        // On a thread of its own: a test is already inside of a runtime.
        let started = std::thread::spawn(|| {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
            runtime.block_on(Plane::start(options()))
        });
        let plane = started.join().expect("starting the plane does not panic");
        plane.unwrap_or_else(|error| panic!("the plane does not start: {error:#}"))
    })
}

/// An answer never says what failed inside, but the plane's log does; where it cannot be looked at later, a failed
/// test must show it. So with the room on the disk, which no log names.
fn show_causes() {
    let shown_before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if let Some(plane) = PLANE.get() {
            eprintln!("the plane's log ends with:\n{}", plane.log_tail(LOG_LINES_SHOWN));
        }
        if let Ok(free) = xtask::layout::free_bytes() {
            eprintln!("free on the disk: {} MB", free / 1_000_000);
        }
        shown_before(panic);
    }));
}

fn options() -> PlaneOptions {
    let program = std::env::current_exe().ok();
    let name = program.as_ref().and_then(|path| path.file_stem()?.to_str()).unwrap_or("tests");
    // Cargo puts a hash behind the name.
    let name = name.rsplit_once('-').map_or(name, |(name, _)| name);
    let kept = PlaneOptions::kept(&format!("acceptance-{name}"));
    PlaneOptions { is_fresh: true, owners: 2, log_level: "warn", ..kept }
}

/// The owner that tests act as. A client for each test: connections belong to the test's runtime.
pub fn owner() -> Client {
    plane().client().expect("a plane has an owner")
}

/// Another owner, who must see nothing of the first one's.
pub fn stranger() -> Client {
    plane().client_of(plane().owner(1).expect("this plane has two owners"))
}

pub fn now_ms() -> u64 {
    xtask::random::now_ms()
}

/// Every item of a list, page after page; `path` may hold a query. No page is longer than asked for.
pub async fn every_page<T: DeserializeOwned>(client: &Client, path: &str, limit: usize) -> Vec<T> {
    let (mut items, mut after) = (Vec::new(), None::<String>);
    loop {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(after.clone().map(|after| ("after", after)));
        let page: Page<T> =
            client.call(reqwest::Method::GET, path).query(&query).typed().await.expect("a page is given");
        assert!(page.items.len() <= limit, "{} items on a page of {limit}", page.items.len());
        assert!(page.next.is_none() || page.items.len() == limit, "a page before the last is full");
        items.extend(page.items);
        match page.next {
            Some(next) => {
                assert_ne!(after.as_ref(), Some(&next), "a page leads to itself");
                after = Some(next);
            }
            None => return items,
        }
    }
}
