"""The fit planner against the engine: projected and allocated bytes, part by part.

``python benchmarks/bench_fit.py [NAME ...] [--json FILE]``. Bar: each part within 5 % or 16 MiB.
The last column is what llama.cpp projects for itself (the code behind llama-fit-params).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from fit_models import MODELS
from fit_probe import LoadRefused, probe
from local_ai_suite.fit import model_shape
from local_ai_suite.fit.machine import Device
from local_ai_suite.fit.memory import Load
from local_ai_suite.fit.projection import project
from local_ai_suite.gguf import read_gguf

MIB = 1 << 20
RELATIVE, ABSOLUTE = 0.05, 16.0
PARTS = ("weights", "kv_cache", "compute")
_CPU = Device("CPU", "cpu", "", None, None, 0, 0, None)

# (tokens per slot, slots, K type, V type, flash attention)
CASES: tuple[tuple[int, int, str, str, bool], ...] = (
    (4096, 1, "f16", "f16", True),
    (16_384, 1, "f16", "f16", True),
    (16_384, 1, "q8_0", "q8_0", True),
    (4096, 4, "f16", "f16", True),
    (8192, 1, "f16", "f16", False),
)
EMBEDDING = ("bert", "qwen3-embedding")


@dataclass(frozen=True)
class Row:
    """One comparison, in MiB; ``engines_own`` is what llama.cpp projects for itself."""

    model: str
    case: str
    part: str
    projected: float
    allocated: float
    engines_own: float | None = None

    @property
    def error(self) -> float:
        return self.projected - self.allocated

    @property
    def good(self) -> bool:
        return abs(self.error) <= max(ABSOLUTE, RELATIVE * self.allocated)


def loads(name: str) -> list[Load]:
    """The ways in which the model ``name`` is loaded here."""
    if name in EMBEDDING:
        sizes = (512,) if name == "bert" else (512, 2048)
        return [
            Load(ctx_size=size, ubatch_size=size, batch_size=size, embedding=True) for size in sizes
        ]
    found = [
        Load(ctx_size=ctx, parallel=n, cache_type_k=k, cache_type_v=v, flash_attention=flash)
        for ctx, n, k, v, flash in CASES
    ]
    return [*found, Load(ctx_size=4096, parallel=3, kv_unified=True, ubatch_size=256)]


def compare(name: str, path: Path, load: Load, *, own_projection: bool = False) -> list[Row]:
    """Project and load once; raises :class:`LoadRefused` when the engine refuses."""
    shape = model_shape(read_gguf(path))
    parts = project(shape, load, (), _CPU)[0].parts
    actual = probe(path=str(path), n_ctx=load.n_ctx, own_projection=own_projection, **asdict(load))
    case = f"{load.ctx_size}x{load.parallel} {load.cache_type_k}/{load.cache_type_v}"
    case += "" if load.flash_attention else " no-fa"
    case += " unified" if load.kv_unified else ""
    return [
        Row(name, case, part, getattr(parts, part) / MIB, actual[part],
            actual.get(f"{part}_projected"))
        for part in PARTS
    ]  # fmt: skip


def main() -> int:
    """Print the table; the exit code is 1 when a part is outside the bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--json", type=Path, help="write the rows here, too")
    options = parser.parse_args()
    rows: list[Row] = []
    refused: list[str] = []
    titles = f"{'projected':>10} {'allocated':>10} {'error':>9} {'llama.cpp':>10}"
    print(f"{'model':16} {'case':24} {'part':9} {titles}")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.names or MODELS:
            path = MODELS[name]().write(Path(folder) / f"{name}.gguf")
            for load in loads(name):
                try:
                    found = compare(name, path, load, own_projection=True)
                except LoadRefused as exc:
                    refused.append(f"{name} {load}:\n{exc}")
                    continue
                for row in found:
                    own = "" if row.engines_own is None else f"{row.engines_own:10.0f}"
                    print(
                        f"{row.model:16} {row.case:24} {row.part:9} {row.projected:10.1f} "
                        f"{row.allocated:10.1f} {row.error:+9.1f} {own:>10}"
                        f"{'' if row.good else '  <-- off'}",
                        flush=True,
                    )
                rows += found
            path.unlink()
    bad = [row for row in rows if not row.good]
    print(f"\n{len(rows)} parts compared, {len(bad)} outside 5 % or 16 MiB; MiB throughout.")
    for text in refused:
        print(f"\nnot loaded: {text}", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return 1 if bad or refused or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
