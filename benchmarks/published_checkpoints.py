"""Published checkpoints that circuits can be asked of, and what that takes by measured rates. Measures nothing.

Repositories, licences and what they were trained on are as their pages said in 2026 (huggingface.co/NAME); shapes are
those of their configurations: EleutherAI/pythia-160m and -410m, google/gemma-2-2b.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from cellglass.circuits.build import COPIES, MEMORY
from cellglass.dictionaries import default_training

HOUR = 3600.0
FLOAT = 4
"""Bytes of a number; everything is float32."""


class Checkpoint(NamedTuple):
    """A published checkpoint: where it is, its architecture and its configuration; tied: embedding and head are one."""

    repository: str
    architecture: str
    config: Mapping[str, Any]

    @property
    def layers(self) -> int:
        """Number of layers."""
        return int(self.config["num_hidden_layers"])

    @property
    def width(self) -> int:
        """Width of the residual stream."""
        return int(self.config["hidden_size"])


class Rate(NamedTuple):
    """Seconds that a step takes whatever its size, and for each unit of its work."""

    fixed: float
    rate: float

    def seconds(self, work: Any) -> Any:
        """Return the seconds that some work takes."""
        return self.fixed + self.rate * work


class Recipe(NamedTuple):
    """What is asked.

    Cells in the file, genes of a cell's sentence, tokens of a gene's name and of the texts around the sentence
    (assumptions: no published tokenizer was at hand), tokens that transcoders learn from, cells of each label, those
    of them whose genes are deleted, most features of a graph, and latents that are active.
    """

    cells: int = 1000
    genes: int = 200
    tokens_a_gene: float = 3.0
    around: int = 60
    rows: int = 100_000
    n_cells: int = 20
    deleted: int = 5
    features: int = 1000
    k: int = 16
    latents_a_dimension: int = 8

    @property
    def tokens(self) -> int:
        """Tokens of a cell."""
        return round(self.genes * self.tokens_a_gene) + self.around


_PYTHIA = {"vocab_size": 50304, "rotary_pct": 0.25, "max_position_embeddings": 2048, "tie_word_embeddings": False}
CHECKPOINTS = {
    "Pythia-160M": Checkpoint(
        "vandijklab/pythia-160m-c2s",
        "gpt_neox",
        {**_PYTHIA, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    ),
    "Pythia-410M": Checkpoint(
        "vandijklab/C2S-Pythia-410m-cell-type-prediction",
        "gpt_neox",
        {**_PYTHIA, "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
    ),
    "Gemma-2-2B": Checkpoint(
        "vandijklab/C2S-Scale-Gemma-2-2B",
        "gemma2",
        {
            "vocab_size": 256_000, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
            "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "tie_word_embeddings": True,
        },
    ),
}  # fmt: skip


def counted(checkpoint: Checkpoint) -> tuple[int, int]:
    """Return the parameters of a checkpoint, all and those that multiply a token; no weight is made."""
    import torch
    import transformers

    names = {"gpt_neox": "GPTNeoX", "gemma2": "Gemma2"}
    own = names[checkpoint.architecture]
    with torch.device("meta"):
        net = getattr(transformers, f"{own}ForCausalLM")(getattr(transformers, f"{own}Config")(**checkpoint.config))
    every = {id(one): one.numel() for one in net.parameters()}
    apart = {id(one): one.numel() for part in (net.get_input_embeddings(), net.get_output_embeddings())
             for one in part.parameters()}  # fmt: skip
    return sum(every.values()), sum(every.values()) - sum(apart.values())


def costs(
    checkpoint: Checkpoint, used: int, every: int, rates: Mapping[str, Rate], recipe: Recipe
) -> Iterator[tuple[str, float, str]]:
    """Yield what each step takes: hours of one core, GB of disk and memory."""
    layers, width = checkpoint.layers, checkpoint.width
    latents, tokens = recipe.latents_a_dimension * width, recipe.tokens
    each = 0.4 * (tokens - recipe.around) + 0.25 * recipe.around  # tokens that are kept of a cell; see circuits.tokens
    learnt = min(recipe.cells * 9 // 10, round(recipe.rows / each * 10 / 9))
    held = min(400, recipe.cells // 10)
    runs = held * (1 + 3 * (layers + 2))
    training = default_training(latents)
    step = float(training.batch_size) * width * latents
    targets, cells, deleted = recipe.features + 1, 2 * recipe.n_cells, 2 * recipe.deleted * recipe.genes
    times = {
        "capture": rates["capture"].seconds(float(used) * tokens * learnt),
        "training": layers * training.steps * rates["step"].seconds(step),
        "table of losses": rates["capture"].seconds(float(used) * tokens * runs),
        "class circuit": cells * rates["trace"].seconds(float(used) * tokens * targets),
        "deletions": deleted * rates["deletion"].seconds(float(used) * tokens),
    }
    for name, seconds in times.items():
        yield f"hours: {name}", seconds / HOUR, "h"
    yield "GB: checkpoint", FLOAT * every / 1e9, "GB"
    yield "GB: tokens on disk", FLOAT * recipe.rows * 10 / 9 * 2 * layers * width / 1e9, "GB"
    yield "GB: transcoders", FLOAT * layers * 2 * width * latents / 1e9, "GB"
    learning = 4 * 2 * width * latents + 2 * training.batch_size * latents  # weights, gradients, moments; a batch
    yield "GB: memory, training", FLOAT * (every + learning) / 1e9, "GB"
    yield "GB: memory, tracing", tracing(checkpoint, every, recipe) / 1e9, "GB"


def tracing(checkpoint: Checkpoint, every: int, recipe: Recipe) -> float:
    """Return the bytes of weights, transcoders, patterns of attention, gradients of a walk and rows of a graph."""
    layers, width, tokens = checkpoint.layers, checkpoint.width, recipe.tokens
    patterns = layers * int(checkpoint.config["num_attention_heads"]) * tokens**2
    columns = recipe.k * tokens * layers + tokens * (layers + 1) + 4 * layers
    walk = min(MEMORY, 256 * tokens * width * FLOAT * COPIES)
    dictionaries = layers * 2 * width * width * recipe.latents_a_dimension
    return float(FLOAT * (every + dictionaries + patterns + (recipe.features + 1) * columns) + walk)
