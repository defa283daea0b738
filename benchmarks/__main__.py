"""The suite: every benchmark in a process of its own, one after the other.

python -m benchmarks [--full] [NAME ...]
"""

import argparse
import subprocess
import sys
import time

SUITE = (
    *("startup", "training", "convolution", "stages", "ingest", "embedding", "assign", "publish", "known", "query"),
    "repository",
)


def main() -> None:
    """Run the benchmarks; one that fails does not stop the others, but the suite ends with its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SUITE))
    parser.add_argument("--full", action="store_true", help="longer, closer")
    arguments = parser.parse_args()
    start, worst = time.monotonic(), 0
    for name in arguments.names or SUITE:
        command = [sys.executable, "-m", f"benchmarks.{name}", *["--full"] * arguments.full]
        code = subprocess.run(command, check=False).returncode
        if code:
            print(f"benchmarks.{name} ended with exit code {code}", file=sys.stderr)
        worst = max(worst, code, key=abs)
    print(f"{time.monotonic() - start:.0f} s; lines are in benchmarks/results/")
    sys.exit(worst)


if __name__ == "__main__":
    main()
