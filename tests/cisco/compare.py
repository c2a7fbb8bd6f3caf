"""What hier_config makes of pairs of configurations: reads `[{"os", "running", "intended"}]`, prints a list of commands for each as JSON.

It is used as well as it can be: with its whole loader (which knows banners), its driver for IOS, its exits of sections, and for ASA, which it
has no driver for, with repeated sections put together first.
"""
import json
import sys

from hier_config import Platform, get_hconfig


def together(text):
    """ASA prints an object's NAT in a second section of the same name."""
    sections, order, last = {}, [], None
    for line in text.splitlines():
        if line.startswith(" ") and last is not None:
            sections[last].append(line)
        elif line.strip() and not line.startswith((":", "!", "Cryptochecksum")):
            last = line.rstrip()
            if last not in sections:
                sections[last] = []
                order.append(last)
    return "\n".join("\n".join([head, *sections[head]]) for head in order)


def commands(case):
    platform = Platform.GENERIC if case["os"] == "asa" else Platform.CISCO_IOS
    texts = [case["running"], case["intended"]]
    if case["os"] == "asa":
        texts = [together(text) for text in texts]
    running, intended = (get_hconfig(platform, text) for text in texts)
    remediation = running.config_to_get_to(intended)
    return {"commands": "\n".join(remediation.dump_simple(sectional_exiting=True))}


def main():
    answers = []
    for case in json.load(sys.stdin):
        try:
            answers.append(commands(case))
        except Exception as error:  # What it cannot read is an answer, too.
            answers.append({"error": type(error).__name__})
    json.dump(answers, sys.stdout)


main()
