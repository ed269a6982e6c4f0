"""The two domains: file names, ids and scenes of their own, and looks that are told apart at a glance."""

import h5py
import numpy as np
import pytest
from PIL import Image

from speaq_hf.data import load_synthetic_genome, load_visual_genome, mix_datasets
from speaq_hf.data.backgrounds import BACKGROUNDS
from speaq_hf.data.clutter import paint_clutter
from speaq_hf.data.domains import DOMAINS, MAX_IMAGES
from speaq_hf.data.everyday_world import EVERYDAY
from speaq_hf.data.generator import generate_synthetic_genome
from training.data import resolve_format


READERS = {"synthetic": load_synthetic_genome, "real": load_visual_genome}
VISUAL_GENOME_FILES = ["VG-SGG-dicts-with-attri.json", "VG-SGG-with-attri.h5", "VG_100K", "image_data.json"]


def generate(root, domain, num_images, **kwargs):
    return generate_synthetic_genome(root, num_images, image_size=96, domain=domain, num_workers=1, **kwargs)


def load(roots, domain, split="train", **kwargs):
    return READERS[domain](roots[domain], split, num_validation_images=None, keep_empty=True, **kwargs)


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    return {domain: generate(tmp_path_factory.mktemp(domain), domain, 60, seed=2) for domain in DOMAINS}


# Files ----------------------------------------------------------------------------------------------------------------


def test_the_real_domain_has_the_file_names_of_visual_genome(roots):
    assert sorted(path.name for path in roots["real"].iterdir()) == VISUAL_GENOME_FILES
    assert resolve_format(roots["real"], "auto") == "visual_genome"
    assert resolve_format(roots["synthetic"], "auto") == "synthetic_genome"


@pytest.mark.parametrize("domain", DOMAINS)
def test_each_reader_finds_the_splits_of_its_domain(roots, domain):
    assert [len(load(roots, domain, split)) for split in ("train", "val", "test")] == [48, 6, 6]


def test_validation_can_be_the_first_training_images_as_in_visual_genome(roots):
    first = load_visual_genome(roots["real"], "val", num_validation_images=5, keep_empty=True)
    rest = load_visual_genome(roots["real"], "train", num_validation_images=5, keep_empty=True)
    assert first["image_id"][:] + rest["image_id"][:] == load(roots, "real")["image_id"][:]
    with pytest.raises(ValueError, match="num_validation_images"):
        load_visual_genome(roots["real"], "train")


def test_both_domains_fit_into_one_folder(tmp_path):
    for domain in DOMAINS:
        generate(tmp_path, domain, 3, split_shares=(1, 0, 0))
    assert [len(load(dict.fromkeys(DOMAINS, tmp_path), domain)) for domain in DOMAINS] == [3, 3]


def test_image_ids_never_meet():
    firsts = sorted(domain.first_image_id for domain in DOMAINS.values())
    assert firsts[0] > 2_417_997  # the largest id of Visual Genome
    assert (np.diff(firsts) >= MAX_IMAGES).all()


def test_one_seed_gives_the_domains_different_scenes(roots):
    graphs = {}
    for domain in DOMAINS:
        with h5py.File(roots[domain] / DOMAINS[domain].files.annotations) as file:
            first = file["img_to_first_box"][()]
            graphs[domain] = {part.tobytes() for part in np.split(file["boxes_1024"][()], first[1:])}
    assert not graphs["synthetic"] & graphs["real"]


def test_the_domains_mix(roots):
    sources = {domain: load(roots, domain) for domain in DOMAINS}
    mixed = mix_datasets(sources, {"real": 0.7, "synthetic": 0.3}, {"real": 1.0, "synthetic": 0.5})
    assert len(set(mixed["image_id"][:])) == len(mixed) == 96
    assert {row["source"]: row["image"].size for row in mixed} == {"synthetic": (96, 96), "real": (96, 96)}


@pytest.mark.parametrize("domain", DOMAINS)
def test_image_i_hangs_on_the_seed_alone(tmp_path, roots, domain):
    generate(tmp_path, domain, 9, seed=2)
    for path in (tmp_path / DOMAINS[domain].files.images).iterdir():
        assert path.read_bytes() == (roots[domain] / DOMAINS[domain].files.images / path.name).read_bytes()


# Looks ----------------------------------------------------------------------------------------------------------------


def grain(image):
    """Share of pixels that differ from their neighbour: few in flat colours, whatever is drawn with them."""
    grey = np.asarray(image.convert("L"), int)
    return (np.abs(np.diff(grey, axis=1)) >= 2).mean()


def colourfulness(image):
    return np.asarray(image.convert("HSV"), float)[..., 1].mean()


def test_one_number_tells_the_domains_apart(roots):
    flat, textured = (
        np.array([grain(row["image"]) for row in load(roots, domain)]) for domain in ("synthetic", "real")
    )
    threshold = (flat[::2].max() + textured[::2].min()) / 2
    assert (flat[1::2] < threshold).mean() > 0.95 and (textured[1::2] > threshold).mean() > 0.95


def test_photographs_are_paler(roots):
    flat, pale = (
        np.mean([colourfulness(row["image"]) for row in load(roots, domain)]) for domain in ("synthetic", "real")
    )
    assert pale < 0.85 * flat


def test_only_the_real_domain_varies_its_jpeg_quality(roots):
    def tables(domain):
        folder = roots[domain] / DOMAINS[domain].files.images
        return {tuple(Image.open(path).quantization[0]) for path in folder.iterdir()}

    assert len(tables("synthetic")) == 1
    assert len(tables("real")) > 20


@pytest.mark.parametrize("size", [(32, 32), (96, 32), (40, 120)])
@pytest.mark.parametrize("domain", DOMAINS)
def test_small_and_long_pictures(tmp_path, domain, size):
    generate_synthetic_genome(tmp_path, 4, image_size=size, domain=domain, num_workers=1, split_shares=(1, 0, 0))
    for row in load({domain: tmp_path}, domain):
        assert row["image"].size == (row["width"], row["height"]) == size[::-1]


@pytest.mark.parametrize("setting", EVERYDAY.settings)
def test_clutter_is_seen_but_leaves_most_of_the_background(setting):
    shares = []
    for seed in range(20):
        plain = BACKGROUNDS[setting](np.random.default_rng(seed), (128, 128), 0.7)
        strewn = plain.copy()
        paint_clutter(np.random.default_rng(seed), strewn, setting, 0.7)
        shares.append((np.asarray(plain) != np.asarray(strewn)).any(-1).mean())
    assert 0 < min(shares) and max(shares) < 0.25
