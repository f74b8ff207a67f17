#!/bin/busybox sh
# The guest's first process: a machine with control groups v2 alone, a disk, and an ordinary user. It plays each scenario
# and says in one line of JSON on the second serial port how it went.
export PATH=/bin HOME=/ TMPDIR=/tmp

tell() { # NAME COMMAND…: what it prints and its exit code
    name=$1
    shift
    began=$(cut -d' ' -f1 /proc/uptime)
    timeout -s KILL "$SCENARIO_SECONDS" "$@" > /said 2>&1 < /dev/null
    code=$?
    printf '{"scenario":"%s","exit":%d,"from":%s,"to":%s,"said":"%s"}\n' "$name" "$code" "$began" \
        "$(cut -d' ' -f1 /proc/uptime)" "$(tail -c 16000 /said | base64 | tr -d '\n')" > /dev/ttyS1
}

if [ "$1" != on-disk ]; then
    # 1. The ramdisk holds the kernel's modules and the disk; a root that can be left lies on the disk.
    /bin/busybox mkdir -p /proc /sys /dev /tmp
    /bin/busybox --install -s /bin
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    mount -t devtmpfs devtmpfs /dev
    mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
    # As systemd gives it; the kernel itself gives the first process 4096.
    ulimit -n 524288
    insmod /modules/loop.ko
    insmod /modules/overlay.ko
    truncate -s 256M /disk
    mke2fs -F -I 256 /disk > /dev/null
    mkdir /new
    mount -t ext4 -o loop /disk /new
    cp -a /bin /etc /init /scenarios /new/
    mkdir -p /new/proc /new/sys /new/dev /new/tmp /new/var /new/memory /new/home/user /new/usr/bin
    for scenario in /scenarios/ramdisk/*; do
        tell "${scenario##*/}" sh "$scenario"
    done
    for mounted in proc sys dev; do
        mount -o move /$mounted /new/$mounted
    done
    exec switch_root /new /init on-disk
fi

# 2. As systemd leaves a machine: controllers handed down, a user with groups of its own.
mount -t tmpfs tmpfs /memory
chmod 1777 /tmp
chown 1000:1000 /home/user
echo '+memory +pids +cpu' > /sys/fs/cgroup/cgroup.subtree_control
delegated=/sys/fs/cgroup/user
mkdir $delegated
chown 1000:1000 $delegated $delegated/cgroup.procs $delegated/cgroup.subtree_control
su user -c "mkdir $delegated/shell; echo '+memory +pids +cpu' > $delegated/cgroup.subtree_control"
# 3. The scenarios.
for scenario in /scenarios/root/*; do
    tell "${scenario##*/}" sh "$scenario"
done
for scenario in /scenarios/stranger/*; do
    tell "${scenario##*/}" su user -c "sh $scenario"
done
for scenario in /scenarios/user/*; do
    tell "${scenario##*/}" sh -c "echo 0 > $delegated/shell/cgroup.procs; exec su user -c 'sh $scenario'"
done
echo '{"end":true}' > /dev/ttyS1
poweroff -f
