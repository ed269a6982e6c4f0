# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Training runs seen from outside: the command that starts one, the curves of its log."""
