"""Measures every bar of the gates and of the proxy beside what a user would pick instead: `make bench`.

`python -m benchmarks` takes about a quarter of an hour on two idle cores and writes RESULTS.md;
`--quick` shrinks every count, takes under a minute and prints.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from benchmarks import alarms, harms, processes, proxy, quality, releases, shadow, speed
from benchmarks.crews import Crew, executor, say
from benchmarks.figures import page

GROUPS = {
    "speed": speed,  # first, while the other cores are idle
    "processes": processes,  # same
    "proxy": proxy,  # same
    "shadow": shadow,  # same
    "alarms": alarms,
    "harms": harms,
    "quality": quality,
    "releases": releases,
}
RESULTS = Path(__file__).parent / "RESULTS.md"
QUICK = 0.012  # of every count


def main() -> int:
    asked = _arguments()
    began = time.monotonic()
    with executor(asked.cores) as workers:
        crew = Crew(workers, scale=QUICK if asked.quick else 1.0)
        try:
            sections = [GROUPS[name].measure(crew) for name in asked.only or GROUPS]
        except KeyboardInterrupt:
            workers.shutdown(wait=False, cancel_futures=True)
            say("Stopped; nothing was written.")
            return 130
    minutes = (time.monotonic() - began) / 60
    text = page(sections, command="python -m benchmarks", minutes=minutes)
    if asked.quick or asked.only:
        print(text)
        say("Not written: RESULTS.md takes the full run.")
    else:
        RESULTS.write_text(text, encoding="utf-8")
        say(f"Wrote {RESULTS.name}.")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few runs, under a minute, print only")
    parser.add_argument("--only", action="append", choices=GROUPS, help="one group, print only")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
