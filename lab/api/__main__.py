"""python -m lab.api --state-dir DIR …: the Kubernetes API of a lab as a process."""

from __future__ import annotations

import sys

from lab.api.process import main

if __name__ == "__main__":
    sys.exit(main())
