"""What the machine is said to have, with stand-ins for nvidia-smi, /proc and /sys."""

from __future__ import annotations

from pathlib import Path

import pytest

from local_ai_suite import hardware
from local_ai_suite.hardware import MIB, Gpu, Hardware, detect, path_kind

ROW = "0, NVIDIA GeForce RTX 4050 Laptop GPU, 6141, 5921, 566.36, GPU-abc, 8.9"


def program(folder: Path, body: str) -> str:
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_gpus_are_read_from_nvidia_smi(tmp_path: Path) -> None:
    found = detect(nvidia_smi=program(tmp_path, f"echo '{ROW}'\necho '{ROW.replace('0,', '1,')}'"))
    assert found.gpu_problem is None
    assert found.gpus[0] == Gpu(
        index=0,
        name="NVIDIA GeForce RTX 4050 Laptop GPU",
        total_bytes=6141 * MIB,
        free_bytes=5921 * MIB,
        driver="566.36",
        uuid="GPU-abc",
        compute_capability="8.9",
    )
    assert [g.index for g in found.gpus] == [0, 1]


def test_what_nvidia_smi_does_not_know_is_none(tmp_path: Path) -> None:
    row = "0, GRID A10, [N/A], [Not Supported], 550.1, GPU-x, [N/A]"
    gpu = detect(nvidia_smi=program(tmp_path, f"echo '{row}'")).gpus[0]
    assert (gpu.total_bytes, gpu.free_bytes, gpu.compute_capability) == (None, None, None)


def test_an_old_driver_is_asked_again_without_compute_cap(tmp_path: Path) -> None:
    body = (
        'case "$1" in *compute_cap*) '
        "echo 'Field \"compute_cap\" is not a valid field to query.'; exit 2;; esac\n"
        "echo '0, GeForce GTX 1060, 6144, 6000, 470.1, GPU-x'"
    )
    gpu = detect(nvidia_smi=program(tmp_path, body)).gpus[0]
    assert (gpu.name, gpu.free_bytes) == ("GeForce GTX 1060", 6000 * MIB)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18", "NVML"),
        ("echo 'No devices were found'; exit 6", "No devices"),
        ("exit 9", "no answer"),
        ("echo; echo nonsense", "names no GPU"),
        ("head -c 100000 /dev/urandom", "names no GPU"),
    ],
)
def test_a_failing_nvidia_smi_is_no_gpu_and_a_reason(
    tmp_path: Path, body: str, problem: str
) -> None:
    found = detect(nvidia_smi=program(tmp_path, body))
    assert found.gpus == ()
    assert problem in (found.gpu_problem or "")
    assert found.memory_total_bytes


def test_a_hanging_nvidia_smi_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "NVIDIA_SMI_TIMEOUT", 0.2)
    found = detect(nvidia_smi=program(tmp_path, "exec sleep 30"))
    assert found.gpus == ()
    assert "no answer within" in (found.gpu_problem or "")


def test_it_is_found_on_path_and_a_file_that_cannot_run_is_not_it(tmp_path: Path) -> None:
    path = Path(program(tmp_path, f"echo '{ROW}'"))
    assert detect(environ={"PATH": str(tmp_path)}).gpus
    path.chmod(0o644)
    assert detect(nvidia_smi=str(path)).gpu_problem


@pytest.mark.parametrize(
    ("value", "indices"),
    [(None, (0, 1)), ("", ()), ("1", (1,)), ("1,0", (1, 0)), ("GPU-b", (1,)), ("0,7,1", (0,)),
     ("-1", ()), ("0,0", (0,)), ("GPU-", ())],
)  # fmt: skip
def test_cuda_visible_devices_chooses(value: str | None, indices: tuple[int, ...]) -> None:
    both = Hardware(gpus=(Gpu(0, "a", uuid="GPU-aa"), Gpu(1, "b", uuid="GPU-bb")))
    assert tuple(g.index for g in both.visible(value)) == indices


def fake_root(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_container_limit_bounds_the_memory(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/docker/x"
    root = fake_root(tmp_path, {
        "proc/self/cgroup": "0::/docker/x\n",
        f"{group}/memory.max": str(1 << 30),
        f"{group}/memory.current": str(700 * MIB),
        f"{group}/memory.stat": f"anon {200 * MIB}\ninactive_file {400 * MIB}\nactive_file 0\n",
        "sys/fs/cgroup/docker/memory.max": "max\n",
    })  # fmt: skip
    found = detect(root=root)
    assert found.memory_total_bytes == 1 << 30
    assert found.memory_available_bytes == (1 << 30) - 300 * MIB


def test_a_limit_of_an_outer_group_counts(tmp_path: Path) -> None:
    root = fake_root(tmp_path, {
        "proc/self/cgroup": "0::/a/b\n",
        "sys/fs/cgroup/a/b/memory.max": "max",
        "sys/fs/cgroup/a/memory.max": str(512 * MIB),
        "sys/fs/cgroup/a/memory.current": "0",
    })  # fmt: skip
    assert detect(root=root).memory_total_bytes == 512 * MIB


def test_version_1_groups_and_their_no_limit_are_read(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "9:memory:/x\n3:cpu,cpuacct:/x\n",
        "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "9223372036854771712",
    }
    unlimited = detect(root=fake_root(tmp_path, files)).memory_total_bytes
    assert unlimited
    assert unlimited < 1 << 60
    (tmp_path / "sys/fs/cgroup/memory/x/memory.limit_in_bytes").write_text(str(256 * MIB))
    assert detect(root=tmp_path).memory_total_bytes == 256 * MIB


def test_a_cpu_quota_bounds_the_threads(tmp_path: Path) -> None:
    root = fake_root(
        tmp_path, {"proc/self/cgroup": "0::/x\n", "sys/fs/cgroup/x/cpu.max": "100000 100000"}
    )
    assert detect(root=root).cpu_threads == 1


def test_wsl_is_known_by_its_kernel(tmp_path: Path) -> None:
    name = "proc/sys/kernel/osrelease"
    assert detect(root=fake_root(tmp_path, {name: "5.15.167.4-microsoft-standard-WSL2"})).is_wsl
    assert not detect(root=fake_root(tmp_path, {name: "6.8.0-45-generic"})).is_wsl


@pytest.mark.parametrize(
    ("filesystem", "wsl", "kind"),
    [
        ("ext4", True, "native"),
        ("9p", True, "windows_drive"),
        ("virtiofs", True, "windows_drive"),
        ("9p", False, "network"),
        ("cifs", False, "network"),
        ("nfs4", True, "network"),
        (None, True, "unknown"),
    ],
)
def test_paths_are_told_apart(filesystem: str | None, wsl: bool, kind: str) -> None:
    assert path_kind(Path("/x"), filesystem=lambda _: filesystem, wsl=wsl) == kind


def test_this_machine_has_memory_and_cores() -> None:
    found = detect()
    assert found.memory_total_bytes
    assert found.memory_available_bytes
    assert found.memory_available_bytes <= found.memory_total_bytes
    assert (found.cpu_threads or 0) >= 1


def on_bus(root: Path, slot: str, **values: str) -> None:
    folder = root / "sys/bus/pci/devices" / slot
    folder.mkdir(parents=True)
    for name, value in values.items():
        (folder / {"kind": "class"}.get(name, name)).write_text(value + "\n")


def test_other_makers_gpus_are_named_and_their_memory_is_never_invented(tmp_path: Path) -> None:
    on_bus(tmp_path, "0000:00:02.0", vendor="0x8086", device="0x46a6", kind="0x030000")
    on_bus(tmp_path, "0000:03:00.0", vendor="0x1002", device="0x744c", kind="0x030000",
           mem_info_vram_total=str(24560 * MIB))  # fmt: skip
    on_bus(tmp_path, "0000:03:00.1", vendor="0x1002", device="0xab30", kind="0x040300")  # sound
    on_bus(tmp_path, "0000:01:00.0", vendor="0x10de", device="0x28a1", kind="0x030000")  # NVIDIA
    on_bus(tmp_path, "0000:05:00.0", vendor="0x1a03", device="0x2000", kind="0x030000")  # a BMC
    on_bus(tmp_path, "0000:06:00.0")  # gone while we looked
    found = detect(environ={}, root=tmp_path, system=("linux", "x86_64")).other_gpus
    assert [gpu.describe() for gpu in found] == [
        "Intel GPU [8086:46a6]", "AMD GPU [1002:744c] with 24560 MiB",
    ]  # fmt: skip
    assert found[0].total_bytes is None


def test_each_of_apples_own_chips_has_a_gpu(tmp_path: Path) -> None:
    (apple,) = detect(environ={}, root=tmp_path, system=("darwin", "arm64")).other_gpus
    assert apple.describe() == "Apple GPU"
    assert detect(environ={}, root=tmp_path, system=("darwin", "x86_64")).other_gpus == ()
