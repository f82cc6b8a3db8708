"""Our side: times freezing, the transcoders' work and the graph, and keeps the graph and its scores."""

from __future__ import annotations

import sys

import numpy as np
import scipy.sparse as sp
import torch
from ours import answers_of, frozen_on, model_of, replaced, transcoders_of
from protocol import Job, memory_mib, start

from cellglass.circuits.build import build_graph
from cellglass.circuits.graph import Graph


def main(job: Job) -> None:
    """Trace the job's prompt."""
    net, transcoders = model_of(job.model), transcoders_of(job.transcoders)
    before = memory_mib("VmRSS")
    texts = [str(one) for one in job.tokens]

    def work() -> Graph:
        frozen = frozen_on(net, job.tokens)
        replacement = replaced(frozen, transcoders)
        most = sys.maxsize if job.most is None else job.most
        return build_graph(frozen, replacement, answers_of(net, frozen), texts, [""] * len(texts), most=most)

    graph, seconds = job.repeat(work)
    scores = graph.scores()
    frozen = frozen_on(net, job.tokens)
    job.tell(
        seconds=seconds,
        loaded_mib=before,
        features=len(graph.of_kind("feature")),
        active=sum(one.n_active for one in replaced(frozen, transcoders).features),
        nodes=len(graph.nodes),
        logits=float((frozen.final @ net.lm_head.weight.T - net(torch.tensor([job.tokens])).logits[0]).abs().max()),
        **scores._asdict(),
    )
    if job.save:
        sp.save_npz(job.out / "weights.npz", graph.weights, compressed=False)
        graph.nodes.to_csv(job.out / "nodes.csv")
        np.save(job.out / "answers.npy", graph.answer_weights)


if __name__ == "__main__":
    main(start())
