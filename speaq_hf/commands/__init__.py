# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The sub-commands of `speaq`, one per file: options in, one call of the library, what it says out."""
