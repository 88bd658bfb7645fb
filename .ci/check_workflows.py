"""Hold the workflows to what .ci/run runs, and cibuildwheel's settings to their schema.

A command is known if .ci/run has a line of it, perhaps with more arguments: a workflow runs nothing untried.
Exit 1 if one is not known.
"""

import doctest
import json
import sys
import tomllib
from importlib import resources
from pathlib import Path

import jsonschema
import yaml


def list_commands(workflow):
    """The lines that a workflow's steps run."""
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    return [line for step in steps for line in step.get("run", "").splitlines()]


def find_unknown(commands, script):
    """Those of some commands that no line of a script has; comments do not count.

    >>> find_unknown(["spin test", "spin tes", "make"], "# make\\nCC=gcc spin test --quick")
    ['spin tes', 'make']
    """
    lines = [f" {line} " for line in script.splitlines() if not line.startswith("#")]
    return [command for command in commands if not any(f" {command} " in line for line in lines)]


def main():
    """Check all of it."""
    assert doctest.testmod().failed == 0
    settings = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["cibuildwheel"]
    schema = resources.files("cibuildwheel").joinpath("resources/cibuildwheel.schema.json")
    jsonschema.validate(settings, json.loads(schema.read_text()))

    commands = [settings["test-command"].removeprefix("cd {project} && ")]
    for path in sorted(Path(".github/workflows").glob("*.yml")):
        commands += list_commands(yaml.safe_load(path.read_text()))
    script = Path(".ci/run").read_text()
    unknown = find_unknown([command for command in commands if command != "bash .ci/run"], script)
    for command in unknown:
        print(f"{command!r} is in a workflow or test-command, but no line of .ci/run.")
    sys.exit(bool(unknown))


if __name__ == "__main__":
    main()
