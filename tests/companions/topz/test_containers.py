"""Which container a process is in, and what it is called, as engines and kubelets leave their marks."""

import pytest

from tests.companions.topz.proc_tree import ID, OTHER
from tlsproxy.companions.topz.containers import (
    Called,
    Member,
    cgroup_of,
    id_of,
    key_of,
    kubernetes_name,
    main_of,
    names,
)


@pytest.mark.parametrize(
    ("content", "key", "short"),
    [
        (f"0::/../cri-containerd-{ID}.scope\n", f"/../cri-containerd-{ID}.scope", "abababababab"),
        (f"0::/../{ID}\n", f"/../{ID}", "abababababab"),
        (f"0::/kubepods.slice/x.slice/crio-{ID}.scope\n", f"/kubepods.slice/x.slice/crio-{ID}.scope", "abababababab"),
        (f"0::/machine.slice/libpod-{ID}.scope/container\n", f"/machine.slice/libpod-{ID}.scope", "abababababab"),
        (f"0::/system.slice/docker-{ID}.scope/init.scope\n", f"/system.slice/docker-{ID}.scope", "abababababab"),
        (f"0::/docker/{ID}/docker/{OTHER}\n", f"/docker/{ID}/docker/{OTHER}", "cdcdcdcdcdcd"),
        (f"12:cpu,cpuacct:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/\n", f"/docker/{ID}", "abababababab"),
        (f"4:memory:/else\n1:name=systemd:/docker/{ID}\n", f"/docker/{ID}", "abababababab"),
        (f"4:memory:/kubepods/pod1/{ID}\n0::/\n", f"/kubepods/pod1/{ID}", "abababababab"),
        (f"1:cpu:/system.slice/x:cri-containerd:{ID}\n", f"/system.slice/x:cri-containerd:{ID}", "abababababab"),
        (f"0::/../cri-containerd-{ID}.scope (deleted)\n", f"/../cri-containerd-{ID}.scope", "abababababab"),
        ("0::/system.slice/nginx.service\n", "/system.slice/nginx.service", ""),
        ("0::/\n", "/", ""),
        ("9:cpu:/\n4:memory:/group/x\n0::/\n", "/group/x", ""),
        ("", "/", ""),
        ("odd\n", "/", ""),
    ],
)
def test_cgroups(content: str, key: str, short: str) -> None:
    """A container's cgroup ends with its id, in versions 1 and 2, whatever is above and below."""
    assert key_of(cgroup_of(content)) == key
    assert id_of(key) == short


def test_the_kubelets_name() -> None:
    """A kubelet mounts a file of the container's directory, whose path has its name."""
    mounts = (
        "700 600 8:1 /var/lib/kubelet/pods/0b-1/etc-hosts /etc/hosts rw - ext4 /dev/sda1 rw\n"
        "701 600 8:1 /var/lib/kubelet/pods/0b-1/containers/legacy-app/3f2a /dev/log rw - ext4 /dev/sda1 rw\n"
    )
    assert kubernetes_name(mounts) == "legacy-app"
    assert kubernetes_name("700 600 8:1 / / rw - ext4 /dev/sda1 rw\n") == ""


APP, PAUSE, UNIT = f"/docker/{ID}", f"/docker/{OTHER}", "/system.slice/nginx.service"


def test_names() -> None:
    """A container is called as the kubelet calls it, else as its unit or its first process; one of a pod's as pause."""
    members = {
        APP: [Member(30, 7, "worker"), Member(7, 3, "server")],
        PAUSE: [Member(1, 0, "pause")],
        UNIT: [Member(9, 1, "nginx")],
        "/": [Member(5, 0, "topz")],
    }
    called = names(members, {"/": "look"})
    assert called == {
        APP: Called("server", infra=False),
        PAUSE: Called("pause", infra=True),
        UNIT: Called("nginx", infra=False),
        "/": Called("look", infra=False),
    }


def test_names_are_told_apart() -> None:
    """Of several that would be called the same each has its id behind its name, or a number."""
    members = {key: [Member(number, 0, "python")] for number, key in enumerate((APP, PAUSE, "/a", "/b"), 1)}
    assert sorted(one.name for one in names(members, {}).values()) == [
        "python-1",
        "python-2",
        "python-abababababab",
        "python-cdcdcdcdcdcd",
    ]


def test_the_process_that_a_container_is_for() -> None:
    """It is the one whose parent is outside, whatever numbers those below it have."""
    server = Member(300, 1, "server")
    assert main_of([Member(8, 300, "worker"), server]) == server


def test_a_process_without_a_name() -> None:
    """Where nothing is known of a container's processes it is called as its cgroup, or as being in none."""
    assert names({"/x/y": [Member(1, None, "")]}, {})["/x/y"].name == "y"
    assert names({"/": [Member(1, None, "")]}, {})["/"].name == "outside of containers"
    assert main_of([]) is None
