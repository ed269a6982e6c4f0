# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What a model predicts for the images of a data set, beside what is annotated, and its recall; over several processes."""

import functools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from datasets import Dataset
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import BaseImageProcessor
from transformers.image_transforms import center_to_corners_format

from speaq_hf import SceneGraph
from speaq_hf.data import SceneGraphCollator, SceneGraphTransform
from speaq_hf.data.images import UnreadableImageError, read_row_image, undecoded
from speaq_hf.metrics import SceneGraphRecall
from speaq_hf.metrics.oracle import ground_objects
from speaq_hf.metrics.scene_graph_evaluator import SceneGraphEvaluator

from .arguments import RunArguments
from .interruption import leave_to_parent
from .object_recall import ObjectRecall


logger = logging.getLogger(__name__)

# Model, processor, dataset, accelerator and `LoadingOptions` to B predictions and B references, batch after batch.
Predictor = Callable[..., Iterator[tuple[list[Any], list[dict[str, Any]]]]]


@dataclass(frozen=True)
class LoadingOptions:
    """How a data set is read for evaluation.

    Args:
        batch_size: Images per forward pass of a process.
        num_workers: Reading processes, for each process.
        max_images: Only the first so many images.
        skip_unreadable: Leave out images that cannot be read, with a warning, instead of raising.
    """

    batch_size: int = 8
    num_workers: int = 0
    max_images: int | None = None
    skip_unreadable: bool = False

    @classmethod
    def from_arguments(cls, arguments: RunArguments) -> "LoadingOptions":
        """How the validation split is read while training."""
        data, evaluation = arguments.data, arguments.evaluation
        skip = data.unreadable_images == "replace"
        return cls(evaluation.batch_size, data.num_workers, evaluation.max_images, skip)


def evaluate_recall(
    model: nn.Module,
    processor: BaseImageProcessor,
    dataset: Dataset,
    metric: SceneGraphRecall | SceneGraphEvaluator | ObjectRecall,
    accelerator: Accelerator,
    options: LoadingOptions,
    predict: Predictor | None = None,
) -> dict[str, Any]:
    """Recall of a model on a data set. Every process takes its share of the images and returns the whole result.

    Args:
        model: Not wrapped for training; left in the mode it had.
        processor: Makes its inputs and reads its outputs.
        dataset: Rows of one split.
        metric: An empty metric with the wanted settings.
        accelerator: Tells which share of the images is this process's.
        options: How the images are read.
        predict: `predict_scene_graphs`, which is what None means, or another `Predictor`, as the metric needs.

    Returns:
        What `metric.compute()` says about all images.
    """
    if options.max_images is not None:
        dataset = dataset.select(range(min(options.max_images, len(dataset))))
    share = dataset.select(range(accelerator.process_index, len(dataset), accelerator.num_processes))
    batches = (predict or predict_scene_graphs)(model, processor, share, accelerator, options)
    total = -(-len(share) // options.batch_size)
    for predictions, references in tqdm(
        batches, "Evaluating", total, leave=False, disable=not accelerator.is_main_process
    ):
        metric.add_batch(predictions, references)
    # Tallies whose result does not depend on how the images were shared out.
    return functools.reduce(type(metric).merge, gather_object([metric])).compute()


def predict_scene_graphs(
    model: nn.Module,
    processor: BaseImageProcessor,
    dataset: Dataset,
    accelerator: Accelerator,
    options: LoadingOptions,
) -> Iterator[tuple[list[SceneGraph], list[dict[str, Any]]]]:
    """Predict the scene graph of every row, batch after batch.

    Yields:
        B graphs, and B references with `image_id`, `boxes` (xyxy pixels), `labels` and `relations` as annotated.
    """
    for outputs, batch in run_model(model, processor, dataset, accelerator, options):
        # Uncut: without the graph constraint, pairs far down the list compete too.
        yield processor.post_process_scene_graph(outputs, batch["target_sizes"], top_k=None), batch["references"]


@dataclass(frozen=True)
class GroundedPredictions:
    """Predicted graphs, brought onto the annotated objects; see `ground_objects`.

    Args:
        mode: "sgcls" or "predcls".
        iou_threshold: Lowest overlap of a predicted object with the annotated one it stands for, in (0, 1].
        predict: Where the graphs come from.
    """

    mode: str
    iou_threshold: float = 0.5
    predict: Predictor = predict_scene_graphs

    def __call__(self, *arguments: Any) -> Iterator[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
        """Arguments and results as of `predict_scene_graphs`."""
        for graphs, references in self.predict(*arguments):
            pairs = zip(graphs, references, strict=True)
            yield [ground_objects(graph, truth, self.mode, self.iou_threshold) for graph, truth in pairs], references


def predict_objects(
    model: nn.Module,
    processor: BaseImageProcessor,
    dataset: Dataset,
    accelerator: Accelerator,
    options: LoadingOptions,
) -> Iterator[tuple[list[dict[str, Tensor]], list[dict[str, Any]]]]:
    """Detect the objects of every row, batch after batch.

    Yields:
        B dicts with `boxes` `(Q, 4)` (xyxy pixels), `labels` `(Q,)` and `scores` `(Q,)`, one detection for each query; and B
        references as from `predict_scene_graphs`.
    """
    for outputs, batch in run_model(model, processor, dataset, accelerator, options):
        scores, labels = outputs.logits.float().softmax(dim=-1)[..., :-1].max(dim=-1)
        boxes = center_to_corners_format(outputs.pred_boxes.float())
        sizes = [(width, height, width, height) for height, width in batch["target_sizes"]]
        boxes = boxes * torch.tensor(sizes, dtype=torch.float32, device=boxes.device)[:, None]
        images = zip(boxes.cpu(), labels.cpu(), scores.cpu(), strict=True)
        yield [dict(zip(("boxes", "labels", "scores"), image, strict=True)) for image in images], batch["references"]


@torch.inference_mode()
def run_model(
    model: nn.Module,
    processor: BaseImageProcessor,
    dataset: Dataset,
    accelerator: Accelerator,
    options: LoadingOptions,
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Outputs of a model in evaluation mode and the batch that `EvaluationCollator` made, batch after batch."""
    loader = DataLoader(
        undecoded(dataset),
        batch_size=options.batch_size,
        collate_fn=EvaluationCollator(processor, options.skip_unreadable),
        num_workers=options.num_workers,
        worker_init_fn=leave_to_parent,
        generator=torch.Generator(),  # leaves the generator alone that training draws from
    )
    was_training = model.training
    model.eval()
    try:
        for batch in loader:
            if not batch["references"]:
                continue
            pixel_values, pixel_mask = (batch[name].to(accelerator.device) for name in ("pixel_values", "pixel_mask"))
            with accelerator.autocast():
                outputs = model(pixel_values=pixel_values, pixel_mask=pixel_mask)
            yield outputs, batch
    finally:
        model.train(was_training)


class EvaluationCollator:
    """Rows to a batch with references. The references are the rows' annotations as they are: the processor's labels are
    clipped to the image and lack boxes without area, which an evaluation must not decide for itself."""

    def __init__(self, processor: BaseImageProcessor, skip_unreadable: bool = False) -> None:
        self.transform, self.collate = SceneGraphTransform(processor), SceneGraphCollator(processor)
        self.skip_unreadable = skip_unreadable

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Batches rows of a scene graph dataset.

        Args:
            rows: B rows.

        Returns:
            `pixel_values`, `pixel_mask`, `labels`, `target_sizes` (height, width) of the image files, and `references`;
            only the latter, empty, if no image can be read.
        """
        rows = [row for row in rows if self._is_readable(row)]
        if not rows:
            return {"references": []}
        columns = self.transform({name: [row[name] for row in rows] for name in rows[0]})
        batch = self.collate(
            [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        )
        sizes = [tuple(label["orig_size"].tolist()) for label in batch["labels"]]
        return batch | {"target_sizes": sizes, "references": [reference_from_row(row) for row in rows]}

    def _is_readable(self, row: dict[str, Any]) -> bool:
        if not self.skip_unreadable:
            return True
        try:
            row["image"] = read_row_image(row)
        except UnreadableImageError as error:
            logger.warning("Left out of the evaluation: %s", error)
            return False
        return True


def reference_from_row(row: dict[str, Any]) -> dict[str, Any]:
    """What is annotated in a row, as `SceneGraphRecall` takes it."""
    return {
        "image_id": row["image_id"],
        "boxes": torch.tensor(row["objects"]["bbox"], dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(row["objects"]["category"], dtype=torch.int64),
        "relations": torch.tensor(row["relations"], dtype=torch.int64).reshape(-1, 3),
    }
