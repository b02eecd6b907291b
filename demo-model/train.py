"""Trains the demo model from scratch on generated documents; resumes from its last checkpoint.

    python train.py             # all three stages; writes build/checkpoint.pt as it goes
    python train.py --resume    # goes on from there, after an interruption

Batches hold documents of like length, padded on the right, each from position 0 on as at inference;
the loss is on what the assistant says. Matrices learn with Muon, all else with Adam. The learning
rate falls to nothing over the given steps, and a last stage polishes at a low one. One process gives
the same weights every time on the same kind of processor; several processes of one thread each,
which meet once a step, are quicker than threads where other programs use the cores as well.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
import torch.multiprocessing
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from tokenizers import Tokenizer

from corpus.mixture import documents
from model import Config, Demo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from corpus.conversation import Document

HERE = Path(__file__).parent
BATCH_TOKENS = 2560  # in each process
POOL = 1500  # documents that are sorted by length together
LENGTHS = (48, 64, 80, 96, 128, 160, 192, 256, 384, 512, 768, 1024, 2048)
SAVE_SECONDS = 120
POLISH_RATE = 0.12  # of the first rate, at the beginning of the last stage
SECOND_STAGE = 0.40624  # of all steps: from there on the documents of the second stage


def encode(tokenizer: Tokenizer, document: Document) -> tuple[list[int], list[bool]]:
    """Token ids and, for each, whether it is to be learnt.

    Text up to where the model speaks is encoded in one piece, as the engine does it.
    """
    ids: list[int] = []
    learnt: list[bool] = []
    for yes, group in itertools.groupby(document.segments(), key=lambda segment: segment[1]):
        text = "".join(part for part, _ in group)
        piece = tokenizer.encode(text, add_special_tokens=False).ids
        ids += piece
        learnt += [yes] * len(piece)
    return ids, learnt


def batches(tokenizer: Tokenizer, seed: int, stage: int) -> Iterator[tuple[Tensor, Tensor]]:
    """tokens [batch, length] and learnt [batch, length], without end."""
    source, rng = documents(seed, stage), random.Random(seed)
    while True:
        pool = [encode(tokenizer, d) for d in itertools.islice(source, POOL)]
        pool = sorted((p for p in pool if len(p[0]) <= LENGTHS[-1]), key=lambda p: len(p[0]))
        groups: list[tuple[int, list[tuple[list[int], list[bool]]]]] = []
        for item in pool:
            length = next(size for size in LENGTHS if size >= len(item[0]))
            if not groups or groups[-1][0] != length or len(groups[-1][1]) * length >= BATCH_TOKENS:
                groups.append((length, []))
            groups[-1][1].append(item)
        rng.shuffle(groups)
        for length, group in groups:
            # A few fixed shapes are quick: a group that isn't full takes some documents twice.
            rows = group + group[: max(0, BATCH_TOKENS // length - len(group))]
            tokens = torch.zeros(len(rows), length, dtype=torch.long)
            learnt = torch.zeros(len(rows), length, dtype=torch.bool)
            for row, (ids, yes) in enumerate(rows):
                tokens[row, : len(ids)] = torch.tensor(ids)
                learnt[row, : len(ids)] = torch.tensor(yes)
            yield tokens, learnt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=12_500)
    parser.add_argument("--polish", type=int, default=1_200, help="steps of the last stage")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0.012)
    parser.add_argument("--warm", type=int, default=20, help="steps over which the rate rises")
    parser.add_argument("--build", type=Path, default=HERE / "build")
    options = parser.parse_args()
    options.build.mkdir(exist_ok=True)
    meeting = tempfile.mkdtemp()
    torch.multiprocessing.spawn(learn, (options, meeting), nprocs=options.processes)


def learn(rank: int, options: argparse.Namespace, meeting: str) -> None:
    """One process: its own documents, and the mean of everybody's gradients."""
    dist.init_process_group(
        "gloo", init_method=f"file://{meeting}/rank", rank=rank, world_size=options.processes
    )
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
    model = Demo(Config(vocab=tokenizer.get_vocab_size())).to(device)
    rank or print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f}M parameters on {device}")
    matrices = [p for p in model.blocks.parameters() if p.dim() == 2]
    others = [p for p in model.parameters() if p.dim() == 1 or p is model.token_embd.weight]
    muon = torch.optim.Muon(matrices, lr=options.rate, momentum=0.95, weight_decay=0.01)
    adam = torch.optim.AdamW(others, lr=options.rate * 0.15, betas=(0.9, 0.98), weight_decay=0.0)
    parameters = [*matrices, *others]
    path = options.build / "checkpoint.pt"
    step = 0
    if options.resume:
        saved = torch.load(path, map_location=device)
        model.load_state_dict(saved["model"])
        muon.load_state_dict(saved["muon"])
        adam.load_state_dict(saved["adam"])
        step = saved["step"]
    started, saved_at, mean, seen = time.monotonic(), time.monotonic(), 0.0, 0
    changes = {round(SECOND_STAGE * options.steps): 1, options.steps: 2}

    def save() -> None:
        state = {"model": model.state_dict(), "muon": muon.state_dict(), "adam": adam.state_dict()}
        torch.save(
            {**state, "step": step, "config": model.config.as_dict()}, path.with_suffix(".new")
        )
        path.with_suffix(".new").replace(path)

    source = None
    while step < options.steps + options.polish:
        if source is None or step in changes:
            stage = max((new for begin, new in changes.items() if step >= begin), default=0)
            source = batches(tokenizer, options.seed + step + 1_000_003 * rank, stage)
        inputs, learnt = next(source)
        done = step / options.steps
        scale = min(1.0, (step + 1) / options.warm) * min(1.0, (1 - done) / 0.7) + 0.01
        if done >= 1:
            scale = POLISH_RATE * (1 - (step - options.steps) / options.polish)
        for optimizer, rate in ((muon, options.rate), (adam, options.rate * 0.15)):
            for group in optimizer.param_groups:
                group["lr"] = rate * scale
        tokens, wanted = inputs.to(device), learnt[:, 1:].to(device)
        with torch.autocast(device, torch.bfloat16):
            logits = model(tokens[:, :-1], wanted)
        loss = F.cross_entropy(logits.float(), tokens[:, 1:][wanted])
        loss.backward()
        flat = torch.cat([p.grad.flatten() for p in parameters]) / options.processes
        dist.all_reduce(flat)
        for p, piece in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            p.grad.copy_(piece.view_as(p))
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        muon.step()
        adam.step()
        muon.zero_grad()
        adam.zero_grad()
        step += 1
        seen += tokens.numel() * options.processes
        mean = loss.item() if mean == 0 else 0.98 * mean + 0.02 * loss.item()
        if step % 25 == 0 and rank == 0:
            speed = seen / (time.monotonic() - started)
            print(
                json.dumps(
                    {
                        "step": step,
                        "loss": round(mean, 4),
                        "seen": seen,
                        "tokens_per_s": round(speed),
                        "done": round(done, 3),
                    }
                ),
                flush=True,
            )
        if rank == 0 and time.monotonic() - saved_at > SAVE_SECONDS:
            save()
            saved_at = time.monotonic()
    if rank == 0:
        save()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
