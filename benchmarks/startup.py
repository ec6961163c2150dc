"""Start-up: `import crmml` and `crmml --help`, turn by turn beside `python -c pass`.

Reach: the import within 0.3 s, the help within 0.6 s, whole processes included.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

TURNS = 7
SIDES = {
    "python -c pass": "pass",
    "import crmml": "import crmml",
    "crmml --help": "import sys; from crmml.cli import main; sys.argv[1:] = ['--help']; main()",
}


def main() -> None:
    seconds: dict[str, list[float]] = {name: [] for name in SIDES}
    for _ in range(TURNS):
        for name, code in SIDES.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - started)
    base = statistics.median(seconds["python -c pass"])
    for name, values in seconds.items():
        middle = statistics.median(values)
        print(f"{name:<16} median {middle:6.3f} s, {middle / base:5.1f} x python -c pass")


if __name__ == "__main__":
    main()
