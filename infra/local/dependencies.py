"""Licences, sources and advisories of the crate graph, as deny.toml asks. It runs in sam's environment.

cargo-deny does this too, and reads the same file, but building it takes longer than everything else that `make check`
does. Licences and sources come from `cargo metadata` and need no network. Advisories are asked of osv.dev, which carries
RustSec's database; out of reach, they are skipped, and that is said.
"""

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request

import tomlkit

import toolbox

OSV = "https://api.osv.dev/v1"
# Either it answers in seconds, or there is no network.
PATIENCE_SECONDS = 20


def main():
    rules = tomlkit.parse((toolbox.ROOT / "deny.toml").read_text()).unwrap()
    crates = list(crate_graph(rules["graph"]["targets"]))
    problems = [
        f"{crate['name']} {crate['version']}: {problem}"
        for crate in crates
        for problem in (licence_problem(crate, set(rules["licenses"]["allow"])), source_problem(crate, rules["sources"]))
        if problem
    ]
    if problems:
        print("\n".join(problems))
        return 1
    print(f"licences ok, sources ok: {len(crates)} crates")
    return advisories(crates)


def crate_graph(targets):
    """Every crate of others that is compiled for one of the targets."""
    platforms = [argument for target in targets for argument in ("--filter-platform", target)]
    answer = subprocess.run(["cargo", "metadata", "--format-version", "1", "--locked", *platforms],
                            cwd=toolbox.ROOT, check=True, stdout=subprocess.PIPE)
    metadata = json.loads(answer.stdout)
    used = {node["id"] for node in metadata["resolve"]["nodes"]} - set(metadata["workspace_members"])
    return (package for package in metadata["packages"] if package["id"] in used)


def source_problem(crate, rules):
    source = crate["source"] or "a path"
    if source.removeprefix("registry+") not in rules["allow-registry"]:
        return f"comes from {source}"


def licence_problem(crate, allowed):
    expression = crate["license"]
    if not expression:
        return "names no licence"
    try:
        accepted = Expression(expression).accepted(allowed)
    except ValueError as error:
        return f"`{expression}`: {error}"
    if not accepted:
        return f"`{expression}` is not among the licences that deny.toml allows"


class Expression:
    """An SPDX licence expression: names, WITH, AND, OR and brackets. AND binds tighter."""

    def __init__(self, text):
        # An old habit writes a slash for OR.
        self.tokens = re.findall(r"[()]|[\w.+-]+", text.replace("/", " OR "))

    def accepted(self, allowed):
        met = self._either(allowed)
        if self.tokens:
            raise ValueError(f"cannot read it from `{self.tokens[0]}` on")
        return met

    def _either(self, allowed):
        met = self._both(allowed)
        while self.tokens[:1] == ["OR"]:
            self.tokens.pop(0)
            met = self._both(allowed) or met
        return met

    def _both(self, allowed):
        met = self._one(allowed)
        while self.tokens[:1] == ["AND"]:
            self.tokens.pop(0)
            met = self._one(allowed) and met
        return met

    def _one(self, allowed):
        if not self.tokens:
            raise ValueError("it ends too early")
        token = self.tokens.pop(0)
        if token == "(":
            met = self._either(allowed)
            if self.tokens[:1] != [")"]:
                raise ValueError("a bracket stays open")
            self.tokens.pop(0)
            return met
        if self.tokens[:1] == ["WITH"]:
            # An exception only permits more than the licence does.
            del self.tokens[:2]
        return token in allowed


def advisories(crates):
    queries = [{"package": {"ecosystem": "crates.io", "name": crate["name"]}, "version": crate["version"]}
               for crate in crates]
    try:
        results = ask("/querybatch", {"queries": queries})["results"]
        found = [(crate, ask(f"/vulns/{hit['id']}"))
                 for crate, result in zip(crates, results) for hit in result.get("vulns", [])]
    except (OSError, ValueError) as error:
        print(f"advisories SKIPPED: {OSV} is out of reach ({error})")
        return 0
    status = 0
    for crate, advisory in found:
        # "unmaintained" and its kind are news; only a fault is a failure.
        kinds = [affected.get("database_specific", {}).get("informational") for affected in advisory["affected"]]
        kind = next(filter(None, kinds), None)
        status = status if kind else 1
        print(f"{crate['name']} {crate['version']}: {advisory['id']}{f' ({kind})' if kind else ''}: {advisory['summary']}")
    print(f"advisories {'FAILED' if status else 'ok'}")
    return status


def ask(path, body=None):
    request = urllib.request.Request(OSV + path, data=json.dumps(body).encode() if body else None,
                                     headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
        return json.load(answer)


if __name__ == "__main__":
    sys.exit(main())
