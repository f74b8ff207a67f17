//! `patchbay-agent mcp` as a coding agent's client speaks to it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

struct Client {
    server: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    count: u64,
}

impl Client {
    fn start(workspace: &std::path::Path) -> Self {
        let mut server = Command::new(env!("CARGO_BIN_EXE_patchbay-agent"))
            .arg("mcp")
            .env("PATCHBAY_WORKSPACE", workspace)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = server.stdin.take().unwrap();
        let output = BufReader::new(server.stdout.take().unwrap()).lines();
        let mut client = Self { server, input, output, count: 0 };
        let info = json!({"name": "test", "version": "1"});
        let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info});
        let ready = client.ask("initialize", hello);
        assert_eq!(ready["result"]["serverInfo"]["name"], "patchbay", "{ready}");
        assert!(ready["result"]["capabilities"]["tools"].is_object(), "{ready}");
        client.say(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        client
    }

    fn say(&mut self, message: Value) {
        writeln!(self.input, "{message}").unwrap();
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.count += 1;
        let id = self.count;
        self.say(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        let answer: Value = serde_json::from_str(&self.output.next().unwrap().unwrap()).unwrap();
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({"name": tool, "arguments": arguments}))
    }
}

#[test]
fn a_client_lists_the_tools_is_refused_mends_and_lands() {
    let workspace = tempfile::tempdir().unwrap();
    let poem = workspace.path().join("poem");
    std::fs::write(&poem, "one\ntwo\nthree\n").unwrap();
    let mut client = Client::start(workspace.path());
    let tools = client.ask("tools/list", json!({}))["result"]["tools"].clone();
    let names: Vec<_> = tools.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["apply_patch", "check_patch"]);
    assert_eq!(tools[0]["inputSchema"]["required"], json!(["patch"]));
    let patch = |old: &str| format!("--- a/poem\n+++ b/poem\n@@ -1,3 +1,3 @@\n one\n-{old}\n+TWO\n three\n");

    let refused = client.call("apply_patch", json!({"patch": patch("too")}))["result"].clone();
    assert_eq!(refused["isError"], true, "{refused}");
    let said = &refused["structuredContent"]["outcomes"][0];
    assert_eq!((&said["outcome"], &said["path"]), (&json!("no_match"), &json!("poem")), "{refused}");
    assert!(said["hint"].is_string() && said["nearest"]["diff"].is_string(), "{refused}");
    let text: Value = serde_json::from_str(refused["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(text, refused["structuredContent"], "clients that only show text show the same");

    let checked =
        client.call("check_patch", json!({"patch": patch("two"), "format": "udiff"}))["result"].clone();
    assert_eq!(checked["structuredContent"]["operations"][0]["outcome"], "applied", "{checked}");
    assert_eq!(std::fs::read_to_string(&poem).unwrap(), "one\ntwo\nthree\n");

    let applied = client.call("apply_patch", json!({"patch": patch("two")}))["result"].clone();
    assert_eq!(applied["isError"], false, "{applied}");
    assert_eq!(std::fs::read_to_string(&poem).unwrap(), "one\nTWO\nthree\n");

    for (tool, arguments) in [
        ("apply_patch", json!({"patch": "x", "format": "none such"})),
        ("apply_patch", json!({"text": "x"})),
        ("delete_everything", json!({"patch": "x"})),
    ] {
        let answer = client.call(tool, arguments);
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
    // It ends with its client.
    drop(client.input);
    assert!(client.server.wait().unwrap().success());
}
