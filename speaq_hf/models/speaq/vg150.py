# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The VG150 vocabulary (Xu et al., CVPR 2017): 150 object and 50 predicate names in index order (0-based).

`VG150_PREDICATE_COUNTS` are the raw counts of each predicate over all splits of Visual Genome. SpeaQ cuts its
predicate groups from them, not from the training frequencies that weigh the loss.
"""

VG150_OBJECTS: tuple[str, ...] = (
    "airplane", "animal", "arm", "bag", "banana", "basket", "beach", "bear", "bed", "bench", "bike", "bird",
    "board", "boat", "book", "boot", "bottle", "bowl", "box", "boy", "branch", "building", "bus", "cabinet",
    "cap", "car", "cat", "chair", "child", "clock", "coat", "counter", "cow", "cup", "curtain", "desk", "dog",
    "door", "drawer", "ear", "elephant", "engine", "eye", "face", "fence", "finger", "flag", "flower", "food",
    "fork", "fruit", "giraffe", "girl", "glass", "glove", "guy", "hair", "hand", "handle", "hat", "head",
    "helmet", "hill", "horse", "house", "jacket", "jean", "kid", "kite", "lady", "lamp", "laptop", "leaf", "leg",
    "letter", "light", "logo", "man", "men", "motorcycle", "mountain", "mouth", "neck", "nose", "number",
    "orange", "pant", "paper", "paw", "people", "person", "phone", "pillow", "pizza", "plane", "plant", "plate",
    "player", "pole", "post", "pot", "racket", "railing", "rock", "roof", "room", "screen", "seat", "sheep",
    "shelf", "shirt", "shoe", "short", "sidewalk", "sign", "sink", "skateboard", "ski", "skier", "sneaker",
    "snow", "sock", "stand", "street", "surfboard", "table", "tail", "tie", "tile", "tire", "toilet", "towel",
    "tower", "track", "train", "tree", "truck", "trunk", "umbrella", "vase", "vegetable", "vehicle", "wave",
    "wheel", "window", "windshield", "wing", "wire", "woman", "zebra",
)  # fmt: skip

VG150_PREDICATES: tuple[str, ...] = (
    "above", "across", "against", "along", "and", "at", "attached to", "behind", "belonging to", "between",
    "carrying", "covered in", "covering", "eating", "flying in", "for", "from", "growing on", "hanging from",
    "has", "holding", "in", "in front of", "laying on", "looking at", "lying on", "made of", "mounted on", "near",
    "of", "on", "on back of", "over", "painted on", "parked on", "part of", "playing", "riding", "says",
    "sitting on", "standing on", "to", "under", "using", "walking in", "walking on", "watching", "wearing",
    "wears", "with",
)  # fmt: skip

VG150_PREDICATE_COUNTS: tuple[int, ...] = (
    47341, 1996, 3092, 3624, 3477, 9903, 10190, 41356, 3288, 3411, 5213, 2312, 3806, 4688, 1973, 9145, 2945, 1853,
    9894, 277936, 42722, 251756, 13715, 3739, 3083, 1869, 2380, 2253, 96589, 146339, 712409, 1914, 9317, 3095,
    2721, 2065, 3810, 8856, 2241, 18643, 14185, 2517, 22596, 1925, 1740, 4613, 3490, 136099, 15457, 66425,
)  # fmt: skip
