# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Saved models: their files, what these say of the model, and how it was trained."""
