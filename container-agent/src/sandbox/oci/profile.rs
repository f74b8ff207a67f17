//! The engine's seccomp profile: what [`walls`] denies, in the engines' JSON. The payload gets both filters; this one
//! binds the container's first process, too. Engines' own profiles let AF_VSOCK through.

use serde_json::{Value, json};

use crate::sandbox::namespaces::walls;

const NO_SUCH_CALL: i32 = libc::ENOSYS;
/// Families end before this one in every kernel; what is larger has garbage in its upper half.
const FAMILIES_END: u64 = 64;

pub fn profile() -> Value {
    let denied: Vec<_> = walls::denied_names().collect();
    let mut rules = vec![rule(&denied, libc::EPERM, &[]), rule(&["clone3"], NO_SUCH_CALL, &[])];
    for flag in walls::NAMESPACE_FLAGS {
        rules.push(rule(&["clone"], libc::EPERM, &[masked(0, number(flag), number(flag))]));
    }
    // There is no "none of these" in the format.
    let allowed = walls::SOCKET_FAMILIES.map(number);
    let sockets = ["socket", "socketpair"];
    for family in (0..FAMILIES_END).filter(|family| !allowed.contains(family)) {
        rules.push(rule(&sockets, libc::EPERM, &[compare(0, family, "SCMP_CMP_EQ")]));
    }
    rules.push(rule(&sockets, libc::EPERM, &[compare(0, FAMILIES_END, "SCMP_CMP_GE")]));
    let (netlink, route) = (number(libc::AF_NETLINK), number(libc::NETLINK_ROUTE));
    let other_netlink = [compare(0, netlink, "SCMP_CMP_EQ"), compare(2, route, "SCMP_CMP_NE")];
    rules.push(rule(&sockets, libc::EPERM, &other_netlink));
    for request in walls::TERMINAL_REQUESTS {
        rules.push(rule(&["ioctl"], libc::EPERM, &[masked(1, u32::MAX.into(), request)]));
    }
    // The agent's own sandbox locks this by its secure bits, which no engine sets.
    let keep = compare(0, number(libc::PR_SET_KEEPCAPS), "SCMP_CMP_EQ");
    rules.push(rule(&["prctl"], libc::EPERM, &[keep]));
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": [architecture()], "syscalls": rules })
}

/// Any other one of the same machine, 32 bits or x32, is refused.
fn architecture() -> String {
    format!("SCMP_ARCH_{}", std::env::consts::ARCH.to_uppercase())
}

fn number(value: libc::c_int) -> u64 {
    value.unsigned_abs().into()
}

fn rule(names: &[&str], errno: i32, arguments: &[Value]) -> Value {
    json!({ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": arguments })
}

fn compare(index: u32, value: u64, operator: &str) -> Value {
    json!({ "index": index, "value": value, "valueTwo": 0, "op": operator })
}

fn masked(index: u32, mask: u64, value: u64) -> Value {
    json!({ "index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vsock_and_every_denied_call_are_in_it() {
        let text = profile().to_string();
        for name in ["mount", "bpf", "io_uring_setup", "ptrace", "keyctl", "userfaultfd", "clone3"] {
            assert!(text.contains(&format!("\"{name}\"")), "{name}");
        }
        assert!(!text.contains("SYS_"), "{text}");
        let refused = |family: i32| {
            profile()["syscalls"].as_array().unwrap().iter().any(|rule| {
                rule["names"][0] == "socket"
                    && rule["args"] == json!([compare(0, number(family), "SCMP_CMP_EQ")])
            })
        };
        assert!(refused(libc::AF_VSOCK) && refused(libc::AF_PACKET));
        assert!(!refused(libc::AF_UNIX) && !refused(libc::AF_INET6));
    }
}
