"""Lets torchvision be imported beside a CPU build of torch. Import this before transformers.

torchvision's wheel carries CUDA operators; without CUDA its extension does not load and the import fails with
"operator torchvision::nms does not exist". Image processing needs only its Python part, so the operators that
the Python part names are declared here, without implementations.
"""

import importlib.util
import pathlib
import re

import torch

_library = torch.library.Library("torchvision", "DEF")


def _declare() -> None:
    site = pathlib.Path(importlib.util.find_spec("torch").origin).parent.parent
    source = (site / "torchvision/_meta_registrations.py").read_text()
    names = set(re.findall(r'@register_meta\("(\w+)"', source)) | set(re.findall(r"torchvision::(\w+)", source))
    for name in sorted(names):
        _library.define(f"{name}(Tensor a) -> Tensor")


_declare()
