from __future__ import annotations

import pytest

from factories.tiny_warehouse import tiny_settings


@pytest.fixture
def settings(tmp_path):
    return tiny_settings(tmp_path)
