"""What the functions of a local AWS logged, searched for what no log may hold: addresses, tokens, and the word that the
end-to-end tests put into every body, prompt, header and file that they send."""

import re

# tests/e2e/logs.rs plants it.
PLANTED = "c0nf1dential"

SECRETS = {
    "an address": re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    "a token": re.compile(r"\beyJ[\w-]{8,}"),
    "a token of a link": re.compile(r"[?&]token=[0-9a-zA-Z]"),
    "a word that was planted": re.compile(PLANTED),
}

# The local AWS writes lines of its own into the same file, addresses of mail among them.
OF_THE_LOCAL_AWS = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]+ +\[")


def search(log):
    """How many lines the functions wrote, and those of them that hold a secret, each with what it is."""
    lines = 0
    found = []
    with log.open(errors="replace") as file:
        for line in file:
            if OF_THE_LOCAL_AWS.match(line):
                continue
            lines += 1
            found.extend((name, line.rstrip()) for name, secret in SECRETS.items() if secret.search(line))
    return lines, found
