# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""How scene graphs are drawn: layout, labels, colours, panels and pages of them."""
