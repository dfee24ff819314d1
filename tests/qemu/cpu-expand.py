#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""xl cpu-expand against QEMU itself: every CPU model that the installed QEMU
defines, in every version and under every alias, and some with features put on
and off, must have the same vendor, signature, levels and features as
query-cpu-model-expansion answers.

Left out are vme, which QEMU's emulator cannot give, hypervisor, which it
always gives, and what is no CPUID bit: vmx-*, which lie in MSRs, and kvm*.
"""

import json
import os
import re
import shutil
import subprocess
import sys

QEMU = "qemu-system-x86_64"
NOT_MODELS = ("base", "host", "max")        # what they are depends on the host
NUMBERS = ("family", "model", "stepping", "level", "xlevel")
SWITCHED = (                                # one of each kind of feature
    ("Haswell", {"pdpe1gb": True, "f16c": False}),
    ("Cascadelake-Server-v2", {"arch-capabilities": False}),
    ("EPYC-Milan-v1", {"svm": False, "3dnow": True}),
    ("Snowridge-v1", {"core-capability": False, "sgx": True, "sgx1": True}),
    ("qemu64", {"avx512-vpopcntdq": True, "sse4.2": True, "nx": False}),
)


class Qemu:
    def __init__(self):
        self.process = subprocess.Popen(
            [QEMU, "-M", "pc", "-accel", "tcg", "-S", "-nographic",
             "-nodefaults", "-qmp", "stdio"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        print(json.dumps({"execute": name, "arguments": arguments}),
              file=self.process.stdin, flush=True)
        while True:
            answer = json.loads(self.process.stdout.readline())
            if "error" in answer:
                raise RuntimeError(f"{name}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def expand(self, name, props):
        """As xl cpu-expand --json has it, without cpu_model."""
        both = {}
        for kind in ("full", "static"):
            answer = self.command("query-cpu-model-expansion", type=kind,
                                  model={"name": name, "props": props})
            both[kind] = answer["model"]["props"]
        full = both["full"]
        on = [n for n, value in both["static"].items() if value is True
              and not re.match(r"vmx-|kvm", n)]
        return {"vendor": full["vendor"], "features": sorted(on),
                **{n: full[n] for n in NUMBERS}}


def xl_expand(expression):
    run = os.path.join(os.environ["top_builddir"], "run")
    done = subprocess.run([run, "xl", "cpu-expand", "--json", expression],
                          capture_output=True, text=True)
    if done.returncode:
        return {"error": done.stderr.strip()}
    return json.loads(done.stdout)


def differences(wanted, got):
    """Lines that say what differs."""
    for key in ("vendor", *NUMBERS):
        if wanted[key] != got.get(key):
            yield f"{key}: QEMU {wanted[key]}, xl {got.get(key, got)}"
    left_out = {"vme", "hypervisor"}
    ours = set(got.get("features", ())) - left_out
    theirs = set(wanted["features"]) - left_out
    for name in sorted(theirs ^ ours):
        yield f"{name}: only " + ("QEMU" if name in theirs else "xl")


def main():
    if not shutil.which(QEMU):
        print(f"1..0 # SKIP no {QEMU}")
        return 0
    qemu = Qemu()
    names = [d["name"] for d in qemu.command("query-cpu-definitions")]
    cases = [(n, {}) for n in sorted(names) if n not in NOT_MODELS]
    cases += SWITCHED
    failed = 0
    print(f"1..{len(cases)}")
    for number, (name, props) in enumerate(cases, 1):
        expression = name + "".join(f",{'+' if on else '-'}{p}"
                                    for p, on in props.items())
        wrong = list(differences(qemu.expand(name, props),
                                 xl_expand(expression)))
        failed += bool(wrong)
        print(f"{'not ' if wrong else ''}ok {number} - {expression}")
        for line in wrong:
            print(f"# {line}")
    qemu.command("quit")
    qemu.process.wait()
    return 1 if failed else 0


sys.exit(main())
