"""Puts the root of the repository on the path: Python puts `scripts/` there, where no room lives.

Each script imports this before anything of `payments`.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
