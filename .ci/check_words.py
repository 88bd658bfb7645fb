"""Find words that the project no longer uses, and say what to write instead.

    python .ci/check_words.py [FILE ...]

Without arguments, all text files that git tracks are checked. The exit status is 1 if a word was found.
"""

import re
import subprocess
import sys
from pathlib import Path

# What to write instead of a word: patterns are word-bounded; those in lower case find capitals too.
RETIRED = {
    "meetings?": "synchronization point, barrier",
    "fewer products|n_products": "Winograd, transformed weights",
    "n_ways|list_ways": "Winograd plans",
    "ways? (forward|back)": "forward or backward pass",
    "settle[sd]?|settling|settle_dy": "resolve, prepare",
    "rooms?": "module; space",
    "twins?|add_twin": "reference implementation; add_like",
    "walks?|walked|walking": "region, pass",
    "(kept|predicting|training|arena)_lanes": "the field of sizes",
    "company": "batch composition; batch-invariant",
    "deposits?": "accumulate",
    "blends?|n_blend": "output-transform coefficients; mix",
    "begun": "accumulate, started",
    "occupied": "lane mask",
    "keep_gradient|_crossing": "persistent gradient",
    "NOWHERE": "an offset of -1",
    "precisions": "inverse variances",
    "number_draw": "allocate_stream",
    "note_state": "snapshot",
    "afresh": "newly initialized",
    "thaws?": "unwrap_frozen",
    "takes? over|took over|taken over|taking over": "transfer",
    "go(es)? on|went on|going on": "continue, resume",
    "spoilt": "clobbered",
    "same bits": "bitwise identical",
    "anybody|nobody|somebody": "if required, not required; name who",
    "(as|so) many": "n; the number of; an equal number of",
    "shares? of": "fraction of; part of",
    "behind": "after",
    "get_machine": "get_engine",
    '"""Give': '"""Return',
}

# Uses that are right: a file, a pattern of the line, and why.
ALLOWED = [
    (".ci/check_words.py", ".", "this list"),
    ("skconvnet/kernels/(__init__|dispatch).py", "get_machine", "an older public name, which stays"),
    ("doc/design.md|CHANGELOG.md", "get_machine", "what they say of that name"),
    ("tests/.*test_(imports|dispatch).py", "get_machine", "the test of that name"),
    ("tests/test_imports.py", "ast.walk", "a function of Python"),
    ("skconvnet/plotting/diagram.py", "behind the boxes", "a line drawn below boxes"),
]

PATTERNS = {
    # words may stand on two lines, of a comment too
    re.compile(
        rf"(?<![^\W_])(?:{word})(?![^\W_])".replace(" ", r"[\s#*]+"), re.IGNORECASE * word.islower()
    ): use
    for word, use in RETIRED.items()
}
SUFFIXES = {"", ".py", ".pyi", ".pyx", ".pxd", ".c", ".h", ".md"} | {
    ".toml",
    ".yml",
    ".yaml",
    ".build",
    ".options",
    ".cfg",
}


def list_files() -> list[str]:
    """Return the text files that git tracks."""
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout
    return [name for name in listed.splitlines() if Path(name).suffix in SUFFIXES and Path(name).is_file()]


def is_allowed(file: str, line: str) -> bool:
    """Whether a use is one of those that are right."""
    return any(re.fullmatch(where, file) and re.search(what, line) for where, what, _ in ALLOWED)


def check(file: str) -> int:
    """Print the retired words of a file, and return their number."""
    found = 0
    text = Path(file).read_text(encoding="utf-8")
    lines = text.splitlines()
    for pattern, use in PATTERNS.items():
        for match in pattern.finditer(text):
            number = text.count("\n", 0, match.start()) + 1
            if not is_allowed(file, lines[number - 1]):
                print(f"{file}:{number}: {match.group()!r}: write {use}")
                found += 1
    return found


if __name__ == "__main__":
    total = sum(check(file) for file in sys.argv[1:] or list_files())
    sys.exit(f"{total} retired words" if total else 0)
