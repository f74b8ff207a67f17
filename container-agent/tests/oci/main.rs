//! The `oci` back end on real engines: Docker and Podman from Debian's packages. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not there is a failed test"
)]
#![allow(clippy::expect_used, reason = "what is not there is a failed test")]

mod bombs;
mod control;
mod egress;
mod ends;
mod engines;
mod image;
mod leftovers;
mod limits;
mod offered;
mod probes;
mod walls;
mod world;

#[path = "../bomb_site/mod.rs"]
mod bomb_site;
#[path = "../probe_program/mod.rs"]
mod probe_program;
#[path = "../remains/mod.rs"]
mod remains;
#[path = "../stand/mod.rs"]
mod stand;

use engines::{Engine, Kind};

/// Every case on each engine.
macro_rules! on_both {
    ($($group:ident :: $case:ident),* $(,)?) => {
        mod docker {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                let engine = tokio::task::spawn_blocking(|| super::Engine::of(super::Kind::Docker)).await.unwrap();
                super::$group::$case(&engine).await;
                tokio::task::spawn_blocking(|| drop(engine)).await.unwrap();
            })*
        }
        mod podman {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                let engine = tokio::task::spawn_blocking(|| super::Engine::of(super::Kind::Podman)).await.unwrap();
                super::$group::$case(&engine).await;
                tokio::task::spawn_blocking(|| drop(engine)).await.unwrap();
            })*
        }
    };
}

on_both![
    ends::exit_codes_and_signals_are_told_apart,
    ends::both_streams_come_whole_and_apart,
    ends::one_that_prints_fast_is_held_back,
    offered::the_doctor_tries_a_container,
    offered::an_image_that_cannot_be_had_is_named,
    limits::each_limit_holds_and_is_named,
    limits::what_was_used_is_known_after_the_end,
    limits::a_limit_that_cannot_be_had_is_refused,
    control::terminate_lets_it_clean_up_and_kill_does_not,
    control::frozen_it_uses_nothing_and_can_be_killed,
    control::nothing_outlives_the_payload,
    walls::the_payload_is_nobody_alone_on_an_empty_machine,
    walls::the_machine_and_the_agent_are_out_of_reach,
    walls::the_socket_takes_one_connection_and_is_gone,
    walls::secrets_and_files_are_placed_for_the_payload_alone,
    probes::no_probe_works,
    bombs::every_bomb_is_contained_and_its_neighbour_unharmed,
    egress::what_is_listed_is_reached_through_the_proxy_alone,
    leftovers::changes_are_collected_as_the_payload_left_them,
    leftovers::a_killed_agent_takes_its_container_along,
    leftovers::a_sweep_removes_what_nobody_holds_and_tells,
];
