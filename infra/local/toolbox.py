"""The pinned tools: virtual environments under `.local/tools`, made from complete lock files.

An environment is made once. Its folder carries a stamp with the hash of the lock that it was made from,
so that a later start costs one comparison.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / ".local"
TOOLS = LOCAL / "tools"
SAM = TOOLS / "sam"
MINISTACK = TOOLS / "ministack"
MCP = TOOLS / "mcp"
LLAMA = TOOLS / "llama"
CONTRACT = TOOLS / "contract"
CHECKOV = TOOLS / "checkov"

# ministack pins botocore, and so does sam: one environment cannot hold both. Only tests start what is in `mcp`, `llama`
# and `contract`, and only `make check` what is in `checkov`.
LOCKS = {
    SAM: ROOT / "infra/local/requirements-sam.txt",
    MINISTACK: ROOT / "infra/local/requirements-ministack.txt",
    MCP: ROOT / "infra/local/requirements-mcp.txt",
    LLAMA: ROOT / "infra/local/requirements-llama.txt",
    CHECKOV: ROOT / "infra/local/requirements-checkov.txt",
    CONTRACT: ROOT / "infra/local/requirements-contract.txt",
}

NAMES = [environment.name for environment in LOCKS]


@contextmanager
def exclusive(path):
    """Hold a lock file, so that two starts at the same moment do not write one folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def outdated(names):
    """The environments of these that are missing, or that another lock file or Python made."""
    return [
        environment for environment in LOCKS
        if environment.name in names and _stamp(environment) != _wanted(environment)
    ]


def install(environment, log):
    """Make one environment anew. Raises `CalledProcessError`; what pip said is in the log."""
    with exclusive(TOOLS / "lock"):
        if _stamp(environment) == _wanted(environment):
            return
        shutil.rmtree(environment, ignore_errors=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as output:
            for command in (
                [sys.executable, "-m", "venv", environment],
                # The locks are complete, so nothing is resolved. cargo-lambda's 100 MB Zig compiler stays out this way:
                # only building for another processor needs it.
                [environment / "bin/python", "-m", "pip", "install", "--no-deps", "--disable-pip-version-check",
                 "--requirement", LOCKS[environment]],
            ):
                subprocess.run(command, check=True, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        (environment / "stamp").write_text(_wanted(environment))


def path():
    """`PATH` with the tools first."""
    return os.pathsep.join([str(SAM / "bin"), os.environ.get("PATH", os.defpath)])


def _wanted(environment):
    return hashlib.sha256(LOCKS[environment].read_bytes() + sys.version.encode()).hexdigest()


def _stamp(environment):
    try:
        return (environment / "stamp").read_text()
    except FileNotFoundError:
        return None
