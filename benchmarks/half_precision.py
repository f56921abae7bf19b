"""A model file as those that come with dltool are kept: in half precision, and of the paths in it the last names only.

    python benchmarks/half_precision.py RUN_OR_FILE OUTPUT.safetensors

Networks compute with single precision all the same.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from dltool.training.model_file import load_model, model_path, save_model


def main() -> None:
    """Read, round, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    file = load_model(model_path(options.model))
    tensors = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in file.tensors.items()}
    save_model(options.output, replace(file, tensors=tensors, settings=_without_folders(file.settings)))
    print(f"{options.output}: {options.output.stat().st_size:,} bytes")


def _without_folders(value: Any) -> Any:
    match value:
        case dict():
            return {name: _without_folders(each) for name, each in value.items()}
        case list() | tuple():
            return [_without_folders(each) for each in value]
        case str() if Path(value).is_absolute():
            return Path(value).name
    return value


if __name__ == "__main__":
    main()
