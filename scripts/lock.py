"""
Writes packages/torch/scripts/requirements.txt: what set-up takes from PyPI, and what that needs, each in one version and
with the hashes of its files for every platform and Python that set-up knows, and its licence. VENV_PYTHON has pip 25 or newer.

    python3 scripts/lock.py VENV_PYTHON torch==2.13.0 cmake==4.1.2 ninja==1.13.0
"""

import json
import os
import pathlib
import re
import subprocess
import sys

from pip._vendor.packaging.markers import default_environment
from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name

PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
PLATFORMS = {
    "linux x86_64": [f"manylinux_2_{n}_x86_64" for n in range(28, 4, -1)]
    + ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"],
    "linux aarch64": [f"manylinux_2_{n}_aarch64" for n in range(28, 16, -1)] + ["manylinux2014_aarch64"],
    "darwin arm64": [f"macosx_{n}_0_{a}" for n in (15, 14, 13, 12, 11) for a in ("arm64", "universal2")]
    + [f"macosx_10_{n}_universal2" for n in range(16, 8, -1)],
}


PROPRIETARY = "LicenseRef-NVIDIA-Proprietary"
# Of packages that do not say it as an SPDX expression.
LICENCES = {
    **{"cmake": "BSD-3-Clause", "ninja": "Apache-2.0", "jinja2": "BSD-3-Clause", "mpmath": "BSD-3-Clause"},
    **{"sympy": "BSD-3-Clause", "triton": "MIT", "nvidia-nvtx": "Apache-2.0"},
    **{"cuda-toolkit": PROPRIETARY, "nvidia-cusparselt-cu13": PROPRIETARY},
}


def environment(platform, python):
    system, machine = platform.split()
    return {
        **default_environment(),
        **{"sys_platform": system, "platform_system": system.capitalize(), "platform_machine": machine},
        **{"python_version": python, "python_full_version": f"{python}.0", "extra": ""},
    }


def resolve(requirements, platform, python):
    """What pip would install of them, without what they need."""
    command = [sys.argv[1], "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet"]
    command += ["--report", "-", "--only-binary=:all:", "--target", "/nowhere", "--python-version", python]
    command += [f"--platform={tag}" for tag in PLATFORMS[platform]] + requirements
    clean = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "PIP_CERT")}
    clean["PIP_CONFIG_FILE"] = os.devnull
    found = subprocess.run(command, capture_output=True, text=True, env=clean)
    if found.returncode != 0:
        raise SystemExit(f"{platform}, Python {python}: {found.stderr}")
    return json.loads(found.stdout)["install"]


def everything(roots, platform, python):
    """Version, hash and licence by name."""
    chosen, extras, specifiers = {}, {}, {}
    wanted = {canonicalize_name(Requirement(each).name): each for each in roots}
    while wanted:
        more = set()
        for item in resolve(list(wanted.values()), platform, python):
            metadata = item["metadata"]
            name = canonicalize_name(metadata["name"])
            licence = metadata.get("license_expression") or LICENCES.get(name) or metadata.get("license", "NOASSERTION")
            chosen[name] = (metadata["version"], item["download_info"]["archive_info"]["hashes"]["sha256"], licence)
            for needed in map(Requirement, metadata.get("requires_dist", [])):
                places = [{**environment(platform, python), "extra": each} for each in {"", *extras.get(name, ())}]
                if needed.marker and not any(map(needed.marker.evaluate, places)):
                    continue
                key = canonicalize_name(needed.name)
                known = extras.setdefault(key, set())
                bounds = specifiers.setdefault(key, set())
                # Once more where more is asked of it than before.
                if key not in chosen or not needed.extras <= known or str(needed.specifier) not in bounds:
                    more.add(key)
                bounds.add(str(needed.specifier))
                known |= needed.extras
        wanted = {name: name + ",".join(sorted(specifiers[name] - {""})) for name in more}
    return chosen


def main():
    roots = sys.argv[2:]
    files, licences = {}, {}
    for platform in PLATFORMS:
        for python in PYTHONS:
            for name, (version, digest, licence) in everything(roots, platform, python).items():
                licences[name] = licence
                files.setdefault((name, version), {}).setdefault(digest, set()).add((platform, python))
            print(platform, python, file=sys.stderr)
    lines = []
    for (name, version), digests in sorted(files.items()):
        places = set().union(*digests.values())
        hashes = "".join(f" \\\n    --hash=sha256:{digest}" for digest in sorted(digests))
        lines.append(f"{name}=={version}{marker(places)}{hashes}\n    # {licences[name]}\n")
    head = "# Written by scripts/lock.py: what set-up takes from PyPI where a machine has no libtorch, CMake or Ninja.\n"
    root = pathlib.Path(__file__).resolve().parent.parent
    (root / "packages/torch/scripts/requirements.txt").write_text(head + "".join(lines))


def marker(places):
    """Where a version is for: nothing where that is everywhere."""
    if len(places) == len(PLATFORMS) * len(PYTHONS):
        return ""
    platforms = {platform for platform, _ in places}
    pythons = sorted({python for _, python in places}, key=PYTHONS.index)
    if len(places) != len(platforms) * len(pythons):
        raise SystemExit(f"no marker for {sorted(places)}")
    parts = []
    if platforms == {platform for platform in PLATFORMS if platform.startswith("linux")}:
        parts.append("sys_platform == 'linux'")
    elif len(platforms) < len(PLATFORMS):
        raise SystemExit(f"no marker for {sorted(platforms)}")
    if pythons == PYTHONS[PYTHONS.index(pythons[0]) :] and pythons != PYTHONS:
        parts.append(f"python_version >= '{pythons[0]}'")
    elif pythons != PYTHONS:
        parts.append("(" + " or ".join(f"python_version == '{each}'" for each in pythons) + ")")
    return " ; " + " and ".join(parts)


main()
