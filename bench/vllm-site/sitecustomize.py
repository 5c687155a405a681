"""At the start of every Python of vllm.sh: vLLM inspects models in processes of its own, and they need the shim too."""

import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).parents[2] / "oracle"))
import tvshim  # noqa: E402, F401  (before torchvision)
