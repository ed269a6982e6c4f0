# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Images from wherever a user has them, upright and in RGB, or one sentence that says which one cannot be read.

The code lives in the model folder, because it has to travel with the pipeline when that is loaded from the Hub.
"""

from .models.speaq.image_pixels_speaq import array_to_image, to_rgb
from .models.speaq.image_reading_speaq import (
    ImageSource,
    UnreadableImageError,
    is_of_the_system,
    read_image,
    read_reduced_image,
)


__all__ = [
    "ImageSource",
    "UnreadableImageError",
    "array_to_image",
    "is_of_the_system",
    "read_image",
    "read_reduced_image",
    "to_rgb",
]
