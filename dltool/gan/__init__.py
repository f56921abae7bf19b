"""`dltool gan`: generators that train without collapsing, images drawn from them, figures of how good they are."""

from dltool.lazy import lazy_names

__all__ = ["GanSettings", "GanStep", "generate", "load_generator", "train_gan"]

__getattr__ = lazy_names(
    __name__,
    {
        "GanSettings": "dltool.gan.settings",
        "GanStep": "dltool.gan.step",
        "generate": "dltool.gan.sample",
        "load_generator": "dltool.gan.generator_file",
        "train_gan": "dltool.gan.train",
    },
)
