"""Arguments: every mistake is named before any work, every published number is in the configurations."""

from pathlib import Path

import pytest
import yaml

from training.configuration_file import DETECTOR_SECTIONS, SECTIONS, describe_options, parse_run


CONFIGS = Path(__file__).parents[2] / "training" / "configs"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({"data": {"root": "somewhere"}}))
    return path


WRONG = [
    (["--training.max_step", "3"], "Unknown field of section training: 'max_step'.*max_steps"),
    (["--trainig.max_steps", "3"], "Unknown section: 'trainig'.*training"),
    (["--max_steps", "3"], "--max_steps: options are written --section.field"),
    (["--training", "3"], "--training is a section"),
    (["--model.num_object_querys", "3"], "Unknown field of section model: 'num_object_querys'.*num_object_queries"),
    (["--model.id2label", "{0: a}"], "Unknown field of section model: 'id2label'"),
    (["--training.max_steps", "many"], "training.max_steps: expected int, got str 'many'. Optimizer steps."),
    (["--training.max_steps", "1.5"], "training.max_steps: expected int, got float 1.5"),
    (["--training.max_steps", "0"], "training.max_steps must be at least 1, got 0"),
    (["--training.learning_rate", "-1"], "training.learning_rate must not be negative, got -1"),
    (["--training.learning_rate", ".inf"], "training.learning_rate must not be negative, got inf"),
    (["--training.max_grad_norm", "0"], "training.max_grad_norm must be positive or null, got 0"),
    (["--training.milestones", "[5, 3]"], "training.milestones must be at least 1 and increase"),
    (["--training.warmup_ratio", "1"], "training.warmup_ratio must be below 1"),
    (["--training.schedule", "linear"], "training.schedule: .*linear"),
    (["--training.mixed_precision", "fp8"], "training.mixed_precision: expected one of no, fp16, bf16, got str 'fp8'"),
    (["--training.seed"], "Option --training.seed needs a value"),
    (["--training.seed", "--training.max_steps", "3"], "Option --training.seed needs a value"),
    (["training.seed", "3"], "Expected an option --section.field, got 'training.seed'"),
    (["--training.seed.low", "3", "--training.seed", "[1]"], "training.seed: expected int, got list"),
    (["--data.ratios", "0.5"], "data.ratios: expected dict of float or int or null, got float 0.5"),
    (
        ["--training.resume_from", "true"],
        "resume_from: expected str or null, got bool True. A checkpoint folder, or auto",
    ),
    (["--training.milestones", "null"], "training.milestones: expected list of int, got null. Steps at which"),
    (
        ["--data.synthetic_root", "x", "--data.ratios", "null"],
        "data.ratios must be set with synthetic_root, e.g. {real",
    ),
    (["--data.root.images", "x"], "root holds 'somewhere', which has no fields"),
    (["--data.root", "null"], "data.root is not set: pass --data.root DIR"),
    (["--data.num_workers", "-1"], "data.num_workers must be at least 0"),
    (["--data.format", "voc"], "data.format: .*voc"),
    (["--model.pretrained", "a", "--model.detr", "b"], "model.pretrained and model.detr exclude each other"),
    (["--evaluation.best_metric", "R@30"], "evaluation.best_metric must be one of .*R@20.*got 'R@30'"),
    (["--evaluation.max_images", "0"], "evaluation.max_images must be at least 1 or null"),
    (["--data", "3"], "--data is a section"),
]


@pytest.mark.parametrize(
    ("words", "message"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_wrong_option_is_named(file, words, message):
    with pytest.raises(ValueError, match=message):
        parse_run(file, words)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a\n- b\n", "must hold the sections model, data, training, evaluation, got list"),
        ("data: [", "is not a YAML file"),
        ("data: 3\n", "Section data must hold fields, got 3"),
        ("data:\n  rot: x\n", "Unknown field of section data: 'rot'. Did you mean .*root"),
    ],
)
def test_wrong_file_is_named(file, content, message):
    file.write_text(content)
    with pytest.raises(ValueError, match=message):
        parse_run(file)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.yaml; see training/configs"):
        parse_run(tmp_path / "nowhere.yaml")


def test_options_win_over_the_file_and_keep_their_types(file):
    words = ["--training.learning_rate", "1e-4", "--training.weight_decay=0", "--model.dropout", "0"]
    words += [
        "--model.backbone_config.depths",
        "[1, 2]",
        "--data.root",
        "else/where",
        "--training.max_grad_norm",
        "null",
    ]
    run = parse_run(file, words)
    assert run.training.learning_rate == 1e-4
    assert (run.training.weight_decay, type(run.training.weight_decay)) == (0.0, float)
    assert run.training.max_grad_norm is None
    assert run.data.root == "else/where"
    assert run.model.config == {"dropout": 0, "backbone_config": {"depths": [1, 2]}}


@pytest.mark.parametrize("spelling", ["no", "'no'", '"no"'])
def test_no_is_a_number_format(file, spelling):
    assert parse_run(file, ["--training.mixed_precision", spelling]).training.mixed_precision == "no"
    file.write_text(f"data: {{root: x}}\ntraining: {{mixed_precision: {spelling}}}\n")
    assert parse_run(file).training.mixed_precision == "no"


def test_without_a_second_source_there_is_nothing_to_mix(file):
    data = parse_run(file, ["--data.ratios", "null", "--data.loss_weights", "null"]).data
    assert (data.synthetic_root, data.ratios, data.loss_weights) == (None, None, None)
    assert parse_run(file, ["--data.synthetic_root", "x", "--data.loss_weights", "null"]).data.loss_weights is None


def test_arguments_survive_their_own_file(file, tmp_path):
    run = parse_run(file, ["--model.dropout", "0.5", "--training.milestones", "[1, 2]"])
    copy = tmp_path / "copy.yaml"
    copy.write_text(yaml.safe_dump(run.to_dict()))
    assert parse_run(copy) == run


def test_published_recipes():
    speaq, baseline = (parse_run(CONFIGS / name) for name in ("speaq_vg.yaml", "isg_vg.yaml"))
    for run in (speaq, baseline):
        options = run.training
        assert (options.learning_rate, options.backbone_learning_rate_factor) == (1e-4, 0.1)
        assert (options.weight_decay, options.max_grad_norm, options.decay) == (1e-4, 0.01, 0.1)
        assert (options.schedule, options.batch_size, run.evaluation.steps) == ("step", 20, 6000)
    assert (speaq.model.variant, speaq.training.max_steps, speaq.training.milestones) == ("speaq", 150_000, [96_000])
    assert (baseline.training.max_steps, baseline.training.milestones) == (250_000, [160_000])
    assert baseline.model.variant == "iterative_sgg"
    mixed = parse_run(CONFIGS / "speaq_vg_synthetic.yaml").data
    assert (mixed.ratios, mixed.loss_weights) == (
        {"real": 0.7, "synthetic": 0.3},
        {"real": 1.0, "synthetic": 0.5},
    )


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_can_be_read(path):
    sections = DETECTOR_SECTIONS if path.stem.startswith("detr") else SECTIONS
    assert parse_run(path, sections=sections).training.max_steps > 0


def test_help_describes_every_option():
    text = describe_options()
    assert "--training.max_steps: Optimizer steps." in text
    assert "--data.ratios:" in text and "--evaluation.best_metric:" in text
    assert "--model.backbone:" in describe_options(DETECTOR_SECTIONS)
