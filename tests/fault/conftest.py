"""What the short forms share."""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from fault.worlds import Worlds  # noqa: E402


@pytest.fixture(scope="module")
def worlds():
    with Worlds(os.environ["MIG_BUILD"]) as made:
        yield made
