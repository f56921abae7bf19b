"""The command lines that `soak.py` runs, in folders beside its workshop's data, photos and models."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A command line that is killed and continued: what to add when there is something to go on with."""

    name: str
    words: str
    again: str


TRAINING = [
    Case("finetune", "finetune digits -o out --limit 120 --backbone cnn --epochs 6 --threads 1", "--resume"),
    Case("finetune photos", "finetune ../data -o out --strategy features --single-scale --threads 1", "--resume"),
    Case("ae train", "ae train digits -o out --limit 200 --arch conv --epochs 12 --noise gaussian:0.2", "--resume"),
    Case(
        "gan train",
        "gan train digits -o out --limit 60 --arch mlp --batch-size 200 --epochs 4 --figure-every 0",
        "--resume",
    ),
    Case(
        "cluster deep-kmeans",
        "cluster digits -o out --limit 200 -k 4 --method deep-kmeans --epochs 6 --threads 1",
        "--resume",
    ),
    Case(
        "style train",
        "style train ../style.jpg --photos ../photos -o out --size 64 --crop 32 --steps 40 --threads 1",
        "--resume",
    ),
]
FILES = [
    Case("stylize", "stylize ../photos -s ../style.jpg -o out --size 48 --steps 6 --threads 1", "--skip-existing"),
    Case("ae denoise", "ae denoise ../photos -o out --compare --threads 1", "--skip-existing"),
    Case("featmap", "featmap ../photos -o out --channels 4 --threads 1", "--skip-existing"),
    Case("predict", "predict ../models/finetune.safetensors ../photos --sort out --csv out.csv", "--overwrite"),
    Case("gan sample", "gan sample ../models/gan.safetensors -o out --seeds 0-19", "--skip-existing"),
    Case("cluster", "cluster ../data -o out -k 3 --sort copy --features pixels", "--overwrite"),
    Case("ae reconstruct", "ae reconstruct ../models/ae.safetensors ../photos -o out.png --csv out.csv", "--overwrite"),
]
# Over a folder `in` of damaged images.
IMAGES = {
    "predict": "predict ../models/finetune.safetensors in --sort sorted",
    "stylize": "stylize in -s ../style.jpg -o out --size 32 --steps 2",
    "style train": "style train ../style.jpg --photos in -o out --size 64 --crop 32 --steps 2",
    "stylize by a style": "stylize in -s ../models/style.safetensors -o out --size 32",
    "ae denoise": "ae denoise in -o out",
    "featmap": "featmap in -o out --channels 1",
    "ae reconstruct": "ae reconstruct ../models/ae.safetensors in -o out.png",
    "cluster": "cluster in -o out -k 2 --features pixels",
    "finetune": "finetune in -o out --backbone cnn --size 32 --epochs 1",
    "ae train": "ae train in -o out --arch conv --size 32 --epochs 1",
    "gan train": "gan train in -o out --size 28 --arch mlp --batch-size 200 --epochs 1 --figure-every 0",
    "evaluate": "evaluate ../models/finetune.safetensors in --split all",
}
# One damaged file: what of the workshop is damaged, and the commands that read it.
SINGLE = {
    "models/finetune.safetensors": (
        "predict {} ../photos",
        "featmap --model {} ../photos -o out --channels 1",
        "evaluate {} ../data",
        "export {} -o out.onnx",
    ),
    "models/gan.safetensors": ("gan sample {} -o out.png", "gan evaluate {} digits --limit 60 -n 60"),
    "models/ae.safetensors": (
        "ae reconstruct {} ../photos -o out.png",
        "ae denoise ../photos --model {} -o out",
        "featmap --model {} ../photos -o out --channels 1",
    ),
    "models/style.safetensors": ("stylize ../photos -s {} -o out --size 48", "export {} -o out.onnx"),
    "models/cluster.safetensors": ("cluster ../data --model {} -o out",),
    "weights.pt": ("featmap --backbone squeezenet1_1 --weights {} ../photos/0.png -o out.png --channels 1",),
    "weights.safetensors": (
        "stylize ../photos/0.png -s ../style.jpg -o out.png --backbone squeezenet1_1 --weights {} --size 48 --steps 1",
    ),
    "style.jpg": ("stylize ../photos/0.png -s {} -o out.png --size 32 --steps 1",),
    "photos/1.png": ("stylize ../photos/0.png -s ../style.jpg --mask {} -o out.png --size 32 --steps 1",),
    "table.csv": ("cluster {} -o out -k 2", "cluster {} -o out --method manifold"),
    "settings.toml": (
        "stylize ../photos/0.png -s ../style.jpg -o out.png --config {}",
        "cluster ../table.csv -o out --config {}",
        "finetune ../data -o out --config {} --dry-run",
        "stylize ../photos/0.png -s ../style.jpg -o out.png --recipe {}",
    ),
    "models/splits.csv": ("finetune ../data -o out --backbone cnn --size 32 --epochs 1 --splits {}",),
}
