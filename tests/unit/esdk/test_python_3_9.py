"""`esdk/` and the sample APP run on Python 3.9: neither syntax nor library of a newer one, by vermin's tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
VERMIN = [sys.executable, "-c", "import vermin; vermin.main()"]
NEWER = {
    "match": "match 1:\n    case 1: pass\n",
    "strict": "for pair in zip([1], [2], strict=True): print(pair)\n",
    "slots": "from dataclasses import dataclass\n@dataclass(slots=True)\nclass A: pass\n",
    "member": "print((3).bit_count())\n",
    "module": "import tomllib\n",
}


def violations(path: Path, *more: Path) -> tuple[int, str]:
    """Exit status of vermin and what it found that Python 3.9 has not."""
    options = ["--no-tips", "--violations", "-t=3.9-", "--processes=1"]
    argv = [*VERMIN, *options, str(path), *map(str, more)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout + done.stderr


def test_the_library_and_the_sample_run_on_3_9() -> None:
    status, said = violations(ROOT / "esdk", ROOT / "apps" / "meter_reader" / "reader")
    assert status == 0, said
    assert "Minimum required versions: 3." in said


def test_what_3_9_has_not_is_found(tmp_path: Path) -> None:
    for name, source in NEWER.items():
        (tmp_path / f"{name}.py").write_text(source)
    status, said = violations(tmp_path)
    assert status != 0
    found = {line.split("/")[-1].removesuffix(".py") for line in said.splitlines() if line.endswith(".py")}
    assert found == set(NEWER), said
