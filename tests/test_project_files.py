"""The programs are found in a clone and where an installation puts them, and an installation puts all of them there."""

import configparser
import shutil
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

import pytest

from speaq_hf import project_files
from speaq_hf.project_files import configuration_file, project_folder


ROOT = Path(__file__).parents[1]


def installed_files():
    """Place in an installation -> file of the clone, as setup.cfg says."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    sections = parser["options.data_files"].items()
    return {
        f"{target}/{file.name}": file
        for target, patterns in sections
        for pattern in patterns.split()
        for file in ROOT.glob(pattern)
    }


def test_a_clone_is_its_own_project_folder():
    assert project_folder() == ROOT


def test_an_installation_has_every_file_of_the_programs():
    wanted = {
        file
        for name in ("training", "conversion")
        for file in (ROOT / name).rglob("*")
        if file.suffix in (".py", ".yaml")
    }
    installed = installed_files()
    assert wanted | {ROOT / "CITATION.cff"} == set(installed.values())
    for place, file in installed.items():
        assert place == f"share/speaq_hf/{file.relative_to(ROOT).as_posix()}"


@pytest.mark.parametrize("knows_files", [True, False], ids=["list of the installer", "one folder for all"])
def test_programs_of_an_installation_are_found(tmp_path, monkeypatch, knows_files):
    for place, file in installed_files().items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, tmp_path / place)
    packages = tmp_path / "lib" / "site-packages" if knows_files else tmp_path
    monkeypatch.setattr(project_files, "__file__", str(packages / "speaq_hf" / "project_files.py"))
    place = PurePosixPath("../../share/speaq_hf/CITATION.cff")
    entry = SimpleNamespace(as_posix=lambda: str(place), locate=lambda: packages / place)
    monkeypatch.setattr(project_files.metadata, "files", lambda name: [entry] if knows_files else None)
    assert project_folder() == tmp_path / "share" / "speaq_hf"
    assert configuration_file("speaq_vg") == tmp_path / "share" / "speaq_hf" / "training" / "configs" / "speaq_vg.yaml"


def test_the_folder_training_of_somebody_else_is_not_ours(tmp_path, monkeypatch):
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "train.py").touch()
    monkeypatch.setattr(project_files, "__file__", str(tmp_path / "speaq_hf" / "project_files.py"))
    monkeypatch.setattr(project_files.metadata, "files", lambda name: None)
    with pytest.raises(FileNotFoundError, match="install speaq_hf again"):
        project_folder()


def test_a_configuration_is_a_path_or_a_name(tmp_path):
    file = tmp_path / "mine.yaml"
    file.touch()
    assert configuration_file(str(file)) == file
    assert configuration_file("tiny") == ROOT / "training" / "configs" / "tiny.yaml"
    with pytest.raises(FileNotFoundError, match="no configuration file mine.*isg_vg.*speaq_vg"):
        configuration_file("mine")
