# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What a model and a machine are and how fast: `speaq info` and `speaq bench`."""
