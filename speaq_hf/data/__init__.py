# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Data in, batches out: readers, statistics, augmentation, mixing and the collator.

Names are resolved on first use, so that importing this package needs neither h5py nor datasets.
"""

from ..lazy_names import lazy_names


_MODULE_OF = {
    "SceneGraphAugmentation": "augmentation",
    "SceneGraphExample": "augmentation",
    "SceneGraphTransform": "augmentation",
    "AnnotationNoise": "annotation_noise",
    "SceneGraphCollator": "collator",
    "BatchExpansion": "compact_batches",
    "CompactCollator": "compact_batches",
    "CompactTransform": "compact_batches",
    "pair_frequency_accuracy": "frequency_baseline",
    "embed_images": "formats.arrow",
    "generate_synthetic_genome": "generator",
    "RatioBatchSampler": "ratio_sampler",
    "mix_datasets": "mixing",
    "QuickReader": "quick_images",
    "report_data": "report",
    "generate_scene_world": "scene_world",
    "load_scene_graph_splits": "scene_graph_files",
    "load_scene_graphs": "scene_graph_files",
    "save_scene_graphs": "scene_graph_files",
    "PredicateStatistics": "statistics",
    "TripletCounts": "statistics",
    "object_counts": "statistics",
    "predicate_statistics": "statistics",
    "zero_shot_triplets": "statistics",
    "SceneComplexity": "scenes",
    "TripletDistribution": "triplet_distribution",
    "rename_classes": "vocabulary",
    "load_synthetic_genome": "visual_genome",
    "load_visual_genome": "visual_genome",
    "object_names": "visual_genome",
    "predicate_names": "visual_genome",
    "scene_graph_features": "visual_genome",
}

__all__ = sorted(_MODULE_OF)
__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
