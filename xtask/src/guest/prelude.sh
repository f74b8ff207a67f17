# What the scenarios share. $OPTIONS and $PARENT are set before it; a user has a group in which the agent is alone, as
# systemd gives one to each service, a new one for each start.
if [ "$(id -u)" = 0 ]; then
    alone() { "$@"; }
else
    alone() {
        group=$(mktemp -d "$PARENT/run-XXXXXX")
        (echo 0 > "$group/cgroup.procs" && exec "$@")
    }
fi
attempt() { alone patchbay-agent try $OPTIONS "$@"; }
# Until a command succeeds: a machine without acceleration is slow, how slow is not known.
await() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || { echo "NOT REACHED: $*"; exit 1; }
        sleep 0.1
    done
}
# The payload itself, not the agent that was told its name.
runs() { ps -o args | grep -q "^sleep $1"; }
gone() { ! runs "$1"; }
# Control groups of sandboxes, wherever they are.
groups() { find /sys/fs/cgroup -path '*/patchbay/*' -type d | grep .; }
clean() {
    find /sys/fs/cgroup -type d -name patchbay | grep . && echo "BROKEN: these groups are left"
    ls /tmp | grep patchbay && echo "BROKEN: these files are left"
    true
}
