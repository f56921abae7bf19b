"""`dltool ae sample`: images from a variational autoencoder, drawn as `gan sample` draws them."""

from dltool.autoencoder.sample import load_decoder
from dltool.autoencoder.sample_settings import DecoderSettings
from dltool.cli.console import Console
from dltool.cli.gan_sample import draw
from dltool.cli.options import Outputs, Processor
from dltool.settings import Typed


def run(console: Console, typed: Typed, settings: DecoderSettings, outputs: Outputs, machine: Processor) -> None:
    """Draw images, or say which."""
    draw(console, typed, settings, outputs, machine, load_decoder)
