"""A graph as Neuronpedia and circuit-tracer's page read it: one JSON file, and a list of the graphs that lie beside.

    FOLDER/SLUG.json              metadata, qParams, nodes, links
    FOLDER/graph-metadata.json    {"graphs": [metadata of each]}

    node      node_id         feature                 layer  jsNodeId      feature_type
    feature   {L}_{f}_{pos}   (L+f)(L+f+1)/2 + f      L      {L}_{f}-0     cross layer transcoder
    error     {L}_-1_{pos}    -1                      L      {L}_-1-{pos}  mlp reconstruction error
    token     E_{v}_{pos}     pos                     E      E_{v}-{pos}   embedding
    answer    {n+1}_{v}_{pos} v                       n+1    L_{v}-{pos}   logit

`influence` is the share of all influence that a node and those above it have (small is important), before pruning, as
circuit-tracer has it; answers have none. That tool's older id of an error, 0_{L}_{pos}, is also that of feature L of
layer 0, so errors have the id that no feature can have. v is a token's number in the vocabulary where that is given,
else it tells texts, or answers, apart. Biases and what was left out have no place in the format and are not written;
the description says how many there were and that links into a node therefore do not add up to its activation.
Groups of features (`cellglass.circuits.groups`) are its `supernodes`.
What features fire on goes to other files, see `cellglass.circuits.details`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cellglass._version import __version__
from cellglass.circuits.graph import Graph
from cellglass.circuits.groups import groups_of
from cellglass.circuits.json import plain, write_document
from cellglass.circuits.pruning import EDGE_SHARE, NODE_SHARE, cumulative_influence, kept
from cellglass.errors import InputError
from cellglass.files import read_json

Array = np.ndarray[Any, Any]

LIST = "graph-metadata.json"
_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_OWN = ("pruning", "explained")
"""What `about` tells that is no setting."""
_ABSENT = (
    "Written by cellglass. Biases and what was left out of the graph have no nodes in this format, so that the links "
    "into a node do not add up to its activation."
)


def write_neuronpedia(
    graph: Graph,
    folder: Path | str,
    slug: str,
    *,
    scan: str | None = None,
    transcoders: Sequence[str] = (),
    token_ids: Sequence[int] | None = None,
    answer_ids: Sequence[int] | None = None,
    details_url: str | None = None,
    node_share: float = NODE_SHARE,
    edge_share: float = EDGE_SHARE,
) -> Path:
    """Prune a graph and write it; return the path of its file.

    Parameters
    ----------
    graph
        The whole one: influence is of all nodes. One that is pruned already is written as it is.
    folder
        The list of graphs in it is kept; a graph of the same slug is replaced.
    slug
        The graph's name: letters, digits, - and _.
    scan
        The model's name on the page; without it what ``about["model"]`` says, or "cellglass".
    transcoders
        Names of the transcoders.
    token_ids, answer_ids
        Numbers of tokens and answers in the model's vocabulary.
    details_url
        Where the page finds the files of `cellglass.circuits.details`.
    node_share, edge_share
        As of `cellglass.circuits.pruning`.

    Raises
    ------
    InputError
        A slug that is no name, numbers of another count, or a list of graphs that cannot be read.
    """
    held = neuronpedia_document(
        graph, slug, scan=scan, transcoders=transcoders, token_ids=token_ids, answer_ids=answer_ids,
        details_url=details_url, node_share=node_share, edge_share=edge_share,
    )  # fmt: skip
    path, others = Path(folder) / f"{slug}.json", _others(Path(folder) / LIST, slug)
    write_document(path, held)
    write_document(Path(folder) / LIST, {"graphs": [*others, held["metadata"]]})
    return path


def neuronpedia_document(
    graph: Graph,
    slug: str,
    *,
    scan: str | None = None,
    transcoders: Sequence[str] = (),
    token_ids: Sequence[int] | None = None,
    answer_ids: Sequence[int] | None = None,
    details_url: str | None = None,
    node_share: float = NODE_SHARE,
    edge_share: float = EDGE_SHARE,
) -> dict[str, Any]:
    """Return what `write_neuronpedia` writes as plain values; its parameters and errors are that function's."""
    if not _SLUG.fullmatch(slug):
        raise InputError(f"{slug!r} is no name of a graph; use letters, digits, - and _, at most 100")
    tokens = _numbers(token_ids, graph.tokens, "token_ids")
    answers = _numbers(answer_ids, [str(i) for i in range(len(graph.answer_weights))], "answer_ids")
    if len(set(answers)) < len(answers):
        raise InputError("answer_ids has a number twice; give each answer its own")
    metadata = _metadata(graph, slug, scan, transcoders, details_url, node_share, edge_share)
    chosen, target, source = _chosen(graph, node_share, edge_share)
    nodes = _nodes(graph, chosen, tokens, answers)
    weights = np.asarray(graph.weights[target, source], dtype=np.float64).ravel()
    links = [
        {"source": nodes[a]["node_id"], "target": nodes[b]["node_id"], "weight": weight}
        for a, b, weight in zip(source.tolist(), target.tolist(), weights.tolist(), strict=True)
    ]
    state = {
        "pinnedIds": [],
        "supernodes": _supernodes(graph, nodes),
        "linkType": "both",
        "clickedId": "",
        "sg_pos": "",
    }
    return {"metadata": metadata, "qParams": state, "nodes": list(nodes.values()), "links": links}


def feature_number(layer: int, feature: int) -> int:
    """Return the one number that stands for a feature of a layer (Cantor's pairing)."""
    return (layer + feature) * (layer + feature + 1) // 2 + feature


def _chosen(graph: Graph, node_share: float, edge_share: float) -> tuple[Array, Array, Array]:
    """Return the nodes that are written, and the target and the source of each link, by target."""
    if "pruning" in graph.about:
        target, source = graph.weights.nonzero()
        is_told = ~np.isin(source, graph.of_kind("bias", "rest"))
        nodes, target, source = np.arange(len(graph.nodes)), target[is_told], source[is_told]
    else:
        nodes, edges = kept(graph, node_share, edge_share)
        target, source = edges.nonzero()
    order = np.lexsort((source, target))
    return np.setdiff1d(nodes, graph.of_kind("bias", "rest")), target[order], source[order]


def _supernodes(graph: Graph, nodes: dict[int, dict[str, Any]]) -> list[list[str]]:
    """Return each group of the graph as the page has it: its name, and the ids of its nodes that are written."""
    layers, features = (graph.nodes[name].tolist() for name in ("layer", "feature"))
    found = []
    for group in groups_of(graph.about):
        ids = [one["node_id"] for node, one in nodes.items() if (layers[node], features[node]) in group.members]
        if ids:
            found.append([group.name, *ids])
    return found


def _nodes(graph: Graph, chosen: Array, tokens: Sequence[int], answers: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return nodes in the format, by their numbers."""
    rank, last = cumulative_influence(graph).tolist(), len(graph.tokens) - 1
    order, strongest = graph.of_kind("answer").tolist(), int(np.argmax(graph.answer_weights))
    found: dict[int, dict[str, Any]] = {}
    for node, one in zip(chosen.tolist(), graph.nodes.iloc[chosen].to_dict("records"), strict=True):
        place, layer = int(one["position"]), int(one["layer"])
        if one["kind"] == "feature":
            f = int(one["feature"])
            number, kind = feature_number(layer, f), "cross layer transcoder"
            made = _node(f"{layer}_{f}_{place}", number, layer, place, kind, f"{layer}_{f}-0", _machine(one["label"]))
            made["activation"] = float(one["value"])
        elif one["kind"] == "error":
            said, kind = f"error of layer {layer}", "mlp reconstruction error"
            made = _node(f"{layer}_-1_{place}", -1, layer, place, kind, f"{layer}_-1-{place}", said)
        elif one["kind"] == "token":
            v, said = tokens[place], _called(graph, place)
            made = _node(f"E_{v}_{place}", place, "E", place, "embedding", f"E_{v}-{place}", said)
        else:
            number = order.index(node)
            v, p = answers[number], float(graph.answer_weights[number])
            said = f'Output "{one["label"]}" (p={p:.3f})'
            made = _node(f"{layer + 1}_{v}_{last}", v, layer + 1, last, "logit", f"L_{v}-{last}", said)
            made |= {"token_prob": p, "is_target_logit": number == strongest}
        if one["kind"] != "answer":
            made["influence"] = rank[node]
        found[node] = made
    return found


def _node(
    node_id: str, feature: int, layer: int | str, place: int, feature_type: str, js: str, clerp: str
) -> dict[str, Any]:
    return {
        "node_id": node_id, "feature": feature, "layer": str(layer), "ctx_idx": place, "feature_type": feature_type,
        "token_prob": 0.0, "is_target_logit": False, "run_idx": 0, "reverse_ctx_idx": 0, "jsNodeId": js,
        "clerp": clerp, "influence": None, "activation": None,
    }  # fmt: skip


def _machine(name: object) -> str:
    """Return what a feature is called, marked as the machine's; nothing where it has no name."""
    return f"{name} (named by machine)" if name else ""


def _called(graph: Graph, place: int) -> str:
    """Return the text of a token, with its gene where that is another text."""
    text, gene = graph.tokens[place], graph.genes[place]
    return f"{text} ({gene})" if gene and gene != text.strip() else text


def _metadata(
    graph: Graph, slug: str, scan: str | None, transcoders: Sequence[str], details_url: str | None,
    node_share: float, edge_share: float,
) -> dict[str, Any]:  # fmt: skip
    absent = len(graph.of_kind("bias", "rest"))
    found: dict[str, Any] = {
        "slug": slug,
        "scan": scan if scan is not None else str(graph.about.get("model", "cellglass")),
        "transcoder_list": [str(name) for name in transcoders],
        "prompt_tokens": list(graph.tokens),
        "prompt": "".join(graph.tokens),
        "schema_version": 1,
        "info": {
            "description": f"{_ABSENT} Nodes not written: {absent}.",
            "generator": {"name": "cellglass", "version": __version__},
        },
        "generation_settings": plain({name: value for name, value in graph.about.items() if name not in _OWN}),
    }
    if "pruning" in graph.about:  # influence is then of what is left, and a threshold on it would prune again
        pruning = graph.about["pruning"]
        node_share, edge_share = pruning["node_share"], pruning["edge_share"]
    else:
        found["node_threshold"] = float(node_share)
    found["pruning_settings"] = {"node_threshold": float(node_share), "edge_threshold": float(edge_share)}
    if details_url is not None:
        found["feature_details"] = {"feature_json_base_url": details_url}
    return found


def _numbers(given: Sequence[int] | None, texts: Sequence[str], name: str) -> list[int]:
    """Return the numbers that are given, or one for each different text."""
    if given is None:
        first = {text: number for number, text in reversed(list(enumerate(texts)))}
        return [first[text] for text in texts]
    if len(given) != len(texts):
        raise InputError(f"{name} are {len(given)} numbers, but the graph has {len(texts)} of these; give one for each")
    return [int(number) for number in given]


def _others(path: Path, slug: str) -> list[Any]:
    """Return the graphs of a list but for one."""
    if not path.exists():
        return []
    held = read_json(path, way_out="remove it to start a new list")
    graphs = held.get("graphs") if isinstance(held, dict) else None
    if not isinstance(graphs, list):
        raise InputError(f"{path}: this is no list of graphs; remove it to start a new one, or name another folder")
    return [one for one in graphs if not (isinstance(one, dict) and one.get("slug") == slug)]
