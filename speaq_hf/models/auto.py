# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""`AutoModelForSceneGraphGeneration`, and the registration of every model with the Auto classes of transformers."""

from collections import OrderedDict

from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoModelForObjectDetection
from transformers.models.auto.auto_factory import _BaseAutoModelClass, _LazyAutoMapping
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
from transformers.models.auto.modeling_auto import MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES
from transformers.utils import is_torchvision_available

from .speaq.configuration_speaq import SpeaQConfig
from .speaq.image_processing_speaq import SpeaQImageProcessor, SpeaQImageProcessorPil
from .speaq.modeling_speaq import SpeaQForSceneGraphGeneration, SpeaQModel


class AutoModelForSceneGraphGeneration(_BaseAutoModelClass):
    """Loads the scene graph model that a checkpoint's configuration names, as the other Auto classes do."""

    _model_mapping = _LazyAutoMapping(CONFIG_MAPPING_NAMES, OrderedDict())


def register_auto_classes() -> None:
    """Make `AutoConfig`, `AutoModel`, `AutoImageProcessor` and [`AutoModelForSceneGraphGeneration`] know the models."""
    AutoConfig.register("speaq", SpeaQConfig, exist_ok=True)
    AutoModel.register(SpeaQConfig, SpeaQModel, exist_ok=True)
    # The second is the name that a saved model goes by where this package is missing.
    for auto_class in (AutoModelForSceneGraphGeneration, AutoModelForObjectDetection):
        auto_class.register(SpeaQConfig, SpeaQForSceneGraphGeneration, exist_ok=True)
    # `pipeline("object-detection")` calls every model that is not in this table unsupported, also registered ones.
    MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES["speaq"] = SpeaQForSceneGraphGeneration.__name__
    processors = {"pil": SpeaQImageProcessorPil}
    if is_torchvision_available():
        processors["torchvision"] = SpeaQImageProcessor
    AutoImageProcessor.register(SpeaQConfig, image_processor_classes=processors, exist_ok=True)
