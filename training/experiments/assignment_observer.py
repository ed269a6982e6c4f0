# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""How relations are shared out among queries, seen on validation images: copies of targets, and which queries are used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BaseImageProcessor

from speaq_hf import SceneGraph, SpeaQConfig
from speaq_hf.models.speaq.loss_speaq import RelationAssigner
from speaq_hf.models.speaq.post_processing_speaq import OUTPUT_NAMES
from training.prediction import run_model


_TOP = 20


class AssignmentObserver:
    """Predicts scene graphs as `predict_scene_graphs` does, and looks on."""

    def __init__(self) -> None:
        self._copies: list[Tensor] = []
        self._used: list[
            Tensor
        ] = []  # for each image and each of its best queries the query and its predicate, (2, k)
        self._assigner: RelationAssigner | None = None

    def __call__(
        self, model: nn.Module, processor: BaseImageProcessor, *arguments: Any
    ) -> Iterator[tuple[list[SceneGraph], list[dict[str, Any]]]]:
        """Arguments and results as of `predict_scene_graphs`."""
        self._assigner = RelationAssigner.from_config(model.config)
        for outputs, batch in run_model(model, processor, *arguments):
            layer = {name: outputs[name] for name in OUTPUT_NAMES} | {"relation_boxes": outputs.relation_boxes}
            self._copies += [copies for _, _, copies in self._assigner([layer], batch["labels"])[0]]
            self._used.append(_best_queries(layer))
            yield processor.post_process_scene_graph(outputs, batch["target_sizes"], top_k=None), batch["references"]

    def compute(self, config: SpeaQConfig) -> dict[str, Any]:
        """What was seen.

        Returns:
            `queries_per_relation`: mean number k of queries that would be trained on a relation. With query groups also, a
            number for each: `group_use`, the share of the 20 best relations of an image that come from its queries, and
            `group_fidelity`, the share of those whose predicate is of the group.
        """
        copies = torch.cat(self._copies).float() if self._copies else torch.zeros(0)
        seen: dict[str, Any] = {"queries_per_relation": float(copies.mean())}
        if config.num_query_groups > 1 and self._used:
            seen |= self._group_use(*torch.cat(self._used, dim=1).cpu())
        return seen

    def _group_use(self, queries: Tensor, predicates: Tensor) -> dict[str, list[float]]:
        sizes = torch.tensor(self._assigner.query_groups)
        group_of_query = torch.arange(len(sizes)).repeat_interleave(sizes)[queries]
        is_own = torch.tensor(self._assigner.predicate_to_group)[predicates] == group_of_query
        counts = group_of_query.bincount(minlength=len(sizes))
        own = group_of_query.bincount(is_own.double(), minlength=len(sizes))
        return {"group_use": (counts / counts.sum()).tolist(), "group_fidelity": (own / counts.clamp(min=1)).tolist()}


def _best_queries(layer: dict[str, Tensor]) -> Tensor:
    """Query and predicate of the best relations of every image, `(2, B·k)`."""
    names = ("subject_logits", "object_logits", "predicate_logits")
    best = [layer[name].float().softmax(dim=-1)[..., :-1].max(dim=-1) for name in names]
    scores = best[0].values * best[1].values * best[2].values
    queries = scores.topk(min(_TOP, scores.shape[1]), dim=1).indices
    return torch.stack((queries.flatten(), best[2].indices.gather(1, queries).flatten()))
