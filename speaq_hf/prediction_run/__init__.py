# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""From files, folders, addresses, videos and cameras to predicted scene graphs, in runs that can be interrupted.

`predict_sources` is behind `speaq predict`.
"""
