"""When transformers gets to know the models: not before it is used, and not while it is half imported."""

import importlib
import sys
import threading

import pytest

from speaq_hf.registration import RunAfterImport


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose `outer` imports its `table` half-way, as some modules of transformers import the Auto classes."""
    folder = tmp_path / "imported_later"
    folder.mkdir()
    modules = {"__init__": "", "table": "entries = []", "broken": "from . import table\nraise OSError('no disk')"}
    modules["outer"] = "from . import table\nstate = 'complete'"
    modules["far_outer"] = "from . import outer"
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield folder.name
    for name in [name for name in sys.modules if name.split(".")[0] == folder.name]:
        del sys.modules[name]


@pytest.fixture
def waiting(package):
    """Waits for `table`, with what has been seen at the moment of the call in `calls`."""

    def function():
        outer = sys.modules.get(f"{package}.outer")
        waiting.calls.append(None if outer is None else getattr(outer, "state", "half imported"))
        importlib.import_module(f"{package}.outer")

    waiting = RunAfterImport(f"{package}.table", function)
    waiting.calls = []
    return waiting


@pytest.mark.parametrize(("name", "state"), [("table", None), ("outer", "complete"), ("far_outer", "complete")])
def test_called_once_after_the_outermost_import(package, waiting, name, state):
    waiting.install()
    importlib.import_module(package)
    assert waiting.calls == []
    importlib.import_module(f"{package}.{name}")
    assert waiting.calls == [state] and waiting not in sys.meta_path
    importlib.reload(sys.modules[f"{package}.table"])
    assert waiting.calls == [state]


def test_called_at_once_when_it_is_too_late_to_wait(package, waiting):
    importlib.import_module(f"{package}.outer")
    waiting.install()
    assert waiting.calls == ["complete"] and waiting not in sys.meta_path


def test_an_import_that_fails_is_not_the_end(package, waiting):
    waiting.install()
    with pytest.raises(OSError, match="no disk"):
        importlib.import_module(f"{package}.broken")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{package}.missing")
    assert waiting.calls == []
    importlib.import_module(f"{package}.outer")
    assert waiting.calls == ["complete"]


def test_removed_it_waits_no_longer(package, waiting):
    waiting.install()
    waiting.remove()
    waiting.remove()
    importlib.import_module(f"{package}.outer")
    assert waiting.calls == []


def test_imports_of_other_threads_do_not_count(package, waiting, tmp_path):
    waiting.install()
    started, go_on = threading.Event(), threading.Event()
    sys.modules[package] = importlib.import_module(package)
    (tmp_path / package / "slow.py").write_text("import sys\nsys.modules[__package__].wait()")
    sys.modules[package].wait = lambda: (started.set(), go_on.wait(10))
    importlib.invalidate_caches()
    thread = threading.Thread(target=importlib.import_module, args=(f"{package}.slow",))
    thread.start()
    assert started.wait(10)
    importlib.import_module(f"{package}.outer")
    assert waiting.calls == ["complete"]
    go_on.set()
    thread.join()
    assert waiting.calls == ["complete"]
