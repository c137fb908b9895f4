"""What the running agent loads: nothing of what the border worker is there for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
HEAVY = ("pydantic", "pydantic_core", "securesystemslib", "cryptography", "yaml", "gateway.documents", "gateway.border")
CODE = """
import sys
sys.path.insert(0, sys.argv[1])
import gateway.trust.acceptance, gateway.trust.border, gateway.trust.caps, gateway.trust.keyring, gateway.trust.verdicts
print([name for name in sys.argv[2:] if name in sys.modules])
"""


def test_trust_does_not_load_what_belongs_behind_the_border() -> None:
    argv = [sys.executable, "-I", "-c", CODE, str(ROOT), *HEAVY]
    assert subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout.strip() == "[]"
