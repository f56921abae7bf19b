"""dltool: the classic deep-learning jobs on images, from the command line and from Python."""

__version__ = "0.1.0"
