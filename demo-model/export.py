"""Writes the trained checkpoint as a Q8_0 GGUF with the `gguf` package, and its SHA-256 beside it.

python export.py [--out demo.gguf]
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
from pathlib import Path

import gguf
import torch

HERE = Path(__file__).parent
ROOM = HERE.parent / "src" / "local_ai_suite" / "demo"


def chat_template() -> str:
    """The room's own, loaded from its file: the suite need not be installed here."""
    spec = importlib.util.spec_from_file_location("template", ROOM / "template.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.chat_template())


def write(checkpoint: Path, out: Path, kind: gguf.GGMLQuantizationType) -> None:
    saved = torch.load(checkpoint, map_location="cpu")
    config, weights = saved["config"], saved["model"]
    tokenizer = json.loads((HERE / "tokenizer.json").read_text(encoding="utf-8"))
    tokens = dict(tokenizer["model"]["vocab"])
    kinds = dict.fromkeys(tokens.values(), gguf.TokenType.NORMAL)
    for added in tokenizer["added_tokens"]:
        tokens[added["content"]] = added["id"]
        special = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
        kinds[added["id"]] = special
    ordered = sorted(tokens, key=lambda token: tokens[token])
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]

    writer = gguf.GGUFWriter(out, "llama")
    writer.add_name("Local AI Suite demo")
    writer.add_description("A small demo model, trained from scratch on generated text")
    writer.add_license("apache-2.0")
    writer.add_languages(["en", "ko"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_context_length(config["context"])
    writer.add_embedding_length(config["width"])
    writer.add_block_count(config["layers"])
    writer.add_feed_forward_length(config["hidden"])
    writer.add_head_count(config["heads"])
    writer.add_head_count_kv(config["heads"])
    writer.add_layer_norm_rms_eps(config["epsilon"])
    writer.add_rope_dimension_count(config["width"] // config["heads"])
    writer.add_rope_freq_base(config["rope_base"])
    writer.add_vocab_size(config["vocab"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(ordered)
    writer.add_token_types([kinds[tokens[token]] for token in ordered])
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokens["<|im_end|>"])
    writer.add_pad_token_id(tokens["<|endoftext|>"])
    writer.add_add_bos_token(False)
    for key, name in (("fim_pre", "prefix"), ("fim_suf", "suffix"), ("fim_mid", "middle")):
        writer.add_uint32(f"tokenizer.ggml.{key}_token_id", tokens[f"<|fim_{name}|>"])
    writer.add_chat_template(chat_template())

    def add(name: str, tensor: torch.Tensor) -> None:
        data = tensor.float().numpy()
        if data.ndim == 1:
            writer.add_tensor(name, data)
        else:
            writer.add_tensor(name, gguf.quants.quantize(data, kind), raw_dtype=kind)

    add("token_embd.weight", weights["token_embd.weight"])
    add("output_norm.weight", weights["output_norm.weight"])
    for layer in range(config["layers"]):
        block, out_name = f"blocks.{layer}", f"blk.{layer}"
        for part, tensor in zip("qkv", weights[f"{block}.attn_qkv.weight"].chunk(3), strict=True):
            add(f"{out_name}.attn_{part}.weight", tensor)
        gate, up = weights[f"{block}.ffn_gate_up.weight"].chunk(2)
        add(f"{out_name}.ffn_gate.weight", gate)
        add(f"{out_name}.ffn_up.weight", up)
        for name in ("attn_norm", "attn_output", "ffn_norm", "ffn_down"):
            add(f"{out_name}.{name}.weight", weights[f"{block}.{name}.weight"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{out}: {out.stat().st_size} bytes, step {saved['step']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=HERE / "build" / "checkpoint.pt")
    parser.add_argument("--out", type=Path, default=ROOM / "demo.gguf")
    parser.add_argument("--f32", action="store_true", help="unquantized, to compare")
    options = parser.parse_args()
    kind = gguf.GGMLQuantizationType.F32 if options.f32 else gguf.GGMLQuantizationType.Q8_0
    write(options.checkpoint, options.out, kind)
    if not options.f32:
        digest = hashlib.sha256(options.out.read_bytes()).hexdigest()
        line = f"{digest}  {options.out.name}\n"
        options.out.with_name(f"{options.out.name}.sha256").write_text(line, encoding="ascii")


if __name__ == "__main__":
    main()
