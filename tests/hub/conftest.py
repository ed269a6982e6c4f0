from collections.abc import Iterator

import pytest

from .machine import Machine, start
from .server import LoopbackHub, serve


@pytest.fixture(scope="package")
def hub() -> Iterator[LoopbackHub]:
    """A Hub for all tests of the package, which do not share repositories."""
    with serve() as running:
        yield running


@pytest.fixture(autouse=True)
def all_accidents_happened(hub: LoopbackHub) -> Iterator[None]:
    """An accident that did not happen proves nothing, and would hit the next test."""
    yield
    assert not hub.faults.pending()


@pytest.fixture(scope="package")
def sender(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The computer that models and data sets are pushed from."""
    with start(hub.endpoint, hub.token, tmp_path_factory.mktemp("sender")) as machine:
        yield machine


@pytest.fixture(scope="package")
def receiver(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Another computer, with nothing in its caches."""
    with start(hub.endpoint, hub.token, tmp_path_factory.mktemp("receiver")) as machine:
        yield machine


@pytest.fixture(scope="package")
def stranger(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A computer of somebody who has transformers, but not speaq_hf."""
    with start(hub.endpoint, hub.token, tmp_path_factory.mktemp("stranger"), without=["speaq_hf"]) as machine:
        yield machine
