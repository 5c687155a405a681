"""At the start of every Python of sglang.sh: SGLang has processes of its own, and they need what is replaced too."""

import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).parents[2] / "oracle"))
import tvshim  # noqa: E402, F401  (before torchvision)

import sgl_kernel  # noqa: E402, F401
