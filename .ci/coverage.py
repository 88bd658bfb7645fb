"""Say how many lines of Cython the tests ran, of a build with b_coverage.

    python .ci/coverage.py BUILD

Cython's own tracing would take the GIL at every line, in kernels that run without it. So gcov counts lines
of C, and Cython's comments there say of which line of a .pyx or .pxd they come. A line was run if any module
ran it: all modules are compiled from one source, for several instruction sets and float types.
"""

import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

MARK = re.compile(
    r' */\* "(skconvnet/.*\.(?:pyx|pxd))":(\d+)$|.*/\* (?:function exit code|Python wrapper) \*/'
)


def list_origins(code):
    """For each line of C, the file and line that it comes of, or None."""
    origin = None
    for line in code.splitlines():
        if mark := MARK.match(line):
            origin = mark[1] and (mark[1], int(mark[2]))
        yield origin


def count_lines(build):
    """How often each line of each file was run."""
    sources = {path.read_text(): str(path) for path in Path("skconvnet").rglob("*.pyx")}
    counts = defaultdict(Counter)
    for data in build.rglob("*.gcda"):
        command = ["gcov", "--json-format", "--stdout", data.resolve()]
        output = subprocess.run(command, cwd=build, check=True, stdout=subprocess.PIPE).stdout
        for file in json.loads(output)["files"]:
            if file["file"].endswith(".pyx.c"):
                origins = [None, *list_origins((build / file["file"]).read_text())]
                for line in file["lines"]:
                    if origin := origins[line["line_number"]]:
                        counts[origin[0]][origin[1]] += line["count"]
    for name in [name for name in counts if name.endswith(".pyx") and (build / name).exists()]:  # copies
        counts[sources[(build / name).read_text()]].update(counts.pop(name))
    return counts


def main():
    """Print a row for each file, and their sum."""
    n_lines = n_run = 0
    for name, counts in sorted(count_lines(Path(sys.argv[1])).items()):
        missed = sorted(line for line, count in counts.items() if not count)
        n_lines, n_run = n_lines + len(counts), n_run + len(counts) - len(missed)
        print(f"{name:45} {len(counts):5} {1 - len(missed) / len(counts):7.1%}  {' '.join(map(str, missed))}")
    print(f"{'Cython':45} {n_lines:5} {n_run / n_lines:7.1%}")


if __name__ == "__main__":
    main()
