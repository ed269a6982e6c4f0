# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The models. Importing any of them makes transformers know all of them."""

from ..registration import register_now


register_now()
