"""Recall of objects, by hand."""

import math

import torch

from training.object_recall import ObjectRecall


A, B, C = [0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 40.0, 40.0], [21.0, 21.0, 41.0, 41.0]


def detections(*rows):
    """From (box, class, score)."""
    boxes, labels, scores = zip(*rows, strict=True) if rows else ((), (), ())
    return {
        "boxes": torch.tensor(boxes).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "scores": torch.tensor(scores),
    }


def objects(*rows):
    prediction = detections(*((box, label, 1.0) for box, label in rows))
    return {"boxes": prediction["boxes"], "labels": prediction["labels"]}


def recall(prediction, reference, **options):
    metric = ObjectRecall(**options)
    metric.add_batch([prediction], [reference])
    return metric.compute()


def test_class_overlap_and_rank_decide():
    reference = objects((A, 0), (B, 1))
    prediction = detections((B, 0, 0.9), (A, 0, 0.5), (C, 1, 0.7))
    assert recall(prediction, reference, ks=(1, 2, 3)) == {
        "recall@1": 0.0, "recall@2": 0.5, "recall@3": 1.0, "num_objects": 2, "num_images": 1,
    }  # fmt: skip
    assert recall(prediction, reference, ks=(3,), iou_threshold=0.9)["recall@3"] == 0.5


def test_an_object_is_found_once_and_a_detection_finds_one():
    assert recall(detections((B, 1, 0.9), (B, 1, 0.8)), objects((B, 1), (A, 1)))["recall@10"] == 0.5
    assert recall(detections((B, 1, 0.9)), objects((B, 1), (C, 1)))["recall@10"] == 0.5
    assert recall(detections((B, 1, 0.9), (B, 1, 0.8)), objects((B, 1), (C, 1)))["recall@10"] == 1.0


def test_nothing_to_find_and_nothing_found():
    assert math.isnan(recall(detections((A, 0, 0.5)), objects())["recall@10"])
    assert recall(detections(), objects((A, 0)))["recall@10"] == 0.0
    broken = detections(([math.nan] * 4, 0, math.nan), (A, 0, 0.5))
    assert recall(broken, objects((A, 0)))["recall@10"] == 1.0


def test_processes_add_up():
    parts = [ObjectRecall(ks=(1,)), ObjectRecall(ks=(1,))]
    parts[0].add_batch([detections((A, 0, 0.5))], [objects((A, 0), (B, 0), (C, 0))])
    parts[1].add_batch([detections((A, 0, 0.5))], [objects((A, 0))])
    assert parts[0].merge(parts[1]).compute() == {"recall@1": 0.5, "num_objects": 4, "num_images": 2}
