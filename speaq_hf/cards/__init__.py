# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Model cards: texts, tables, published and measured results."""
