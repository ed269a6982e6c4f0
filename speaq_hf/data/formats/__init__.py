# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""One module per file format of scene graphs: `found_in` recognises it, `read` and `write` translate it.

`read(path, split, **options)` gives checked datasets by split name, all splits or the one asked for; `write(datasets,
folder)` fills a new folder. Users call `load_scene_graphs` and `save_scene_graphs` of `speaq_hf.data`.
"""
