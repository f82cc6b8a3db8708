"""circuit-tracer's side: times `attribute`, and keeps its graph and its scores."""

from __future__ import annotations

import torch
from circuit_tracer import ReplacementModel, attribute
from circuit_tracer.graph import compute_graph_scores
from circuit_tracer.utils.hf_utils import load_transcoder_from_hub
from protocol import Job, memory_mib, start
from safetensors.torch import save_file

_BATCH = 64


def main(job: Job) -> None:
    """Trace the job's prompt."""
    cpu = torch.device("cpu")
    folder = str((job.transcoders / "circuit_tracer").resolve())
    transcoders = load_transcoder_from_hub(folder, device=cpu, dtype=torch.float32)[0]
    model = ReplacementModel.from_pretrained_and_transcoders(
        str(job.model), transcoders, backend="nnsight", dtype=torch.float32, device=cpu
    )
    tokens = torch.tensor(job.tokens)
    before = memory_mib("VmRSS")
    graph, seconds = job.repeat(
        lambda: attribute(tokens, model, batch_size=_BATCH, max_feature_nodes=job.most, max_n_logits=10)
    )
    if graph.input_tokens.tolist() != list(job.tokens):
        raise SystemExit(f"circuit-tracer traced {graph.input_tokens.tolist()}, not the tokens that it was given")
    replacement, completeness = compute_graph_scores(graph)
    job.tell(
        seconds=seconds,
        loaded_mib=before,
        features=len(graph.selected_features),
        active=len(graph.active_features),
        nodes=len(graph.adjacency_matrix),
        replacement=replacement,
        completeness=completeness,
    )
    if job.save:
        names = getattr(graph, "logit_tokens", None)
        logits = (
            names if isinstance(names, torch.Tensor) else torch.tensor([one.vocab_idx for one in graph.logit_targets])
        )
        found = {
            "features": graph.active_features[graph.selected_features],
            "adjacency": graph.adjacency_matrix,
            "logits": logits,
            "probabilities": graph.logit_probabilities,
        }
        save_file({name: value.contiguous() for name, value in found.items()}, job.out / "graph.safetensors")


if __name__ == "__main__":
    main(start())
