"""Where things are, and how programs are run: with a limit of time, and named when they are missing."""

import pathlib
import shutil
import subprocess

DEPLOY = pathlib.Path(__file__).resolve().parent.parent
ROOT = DEPLOY.parent

# Longest time of one program, in seconds.
TIMEOUT = 60


class Missing(Exception):
    """A program that a check needs is not installed."""


def program(name, package):
    """Finds a program; Debian puts servers where not every user's PATH leads."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        raise Missing(f"no {name} found; install {package}")
    return found


def run(*command, **options):
    """Runs a program; answers what it wrote, and its failure or None."""
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT,
        **options,
    )
    failure = None
    if done.returncode != 0:
        failure = f"{pathlib.Path(command[0]).name} ended with {done.returncode}: {done.stdout}{done.stderr}".strip()
    return done.stdout, failure
