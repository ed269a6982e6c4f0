# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""What tells a split that a data set does not have from one that cannot be read."""


class MissingSplitError(ValueError):
    """A data set has no images of the split that was asked for."""
