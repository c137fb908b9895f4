"""The disk check: what is counted, and what the refusal says."""

from __future__ import annotations

import pytest

from gateway.errors import Unavailable
from gateway.images.space import MARGIN_BYTES, MissingLayer, check_space, needed_bytes

MIB = 1 << 20


def test_needed() -> None:
    assert needed_bytes([]) == 0
    one = MissingLayer(10 * MIB, 0, compressed=True)
    half = MissingLayer(4 * MIB, 3 * MIB, compressed=False)
    assert needed_bytes([one]) == 50 * MIB + MARGIN_BYTES
    assert needed_bytes([one, half]) == 54 * MIB + MARGIN_BYTES


def test_refusal_names_both_sides() -> None:
    check_space("x", 10, 30, 20)
    with pytest.raises(
        Unavailable, match=r"needs about 50\.0 MiB .* 36\.0 MiB are free \(100\.0 MiB less the 64\.0 MiB"
    ):
        check_space("registry.example/a", 50 * MIB, 100 * MIB, 64 * MIB)
