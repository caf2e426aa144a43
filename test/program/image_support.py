"""For tests that need container images: where the builder lies, and shorter words for it."""
import os
import pathlib
import sys

IMAGES = pathlib.Path(__file__).resolve().parents[1] / 'images'
sys.path.insert(0, str(IMAGES))

import image_builder  # noqa: E402, F401
from image_builder import build_archive  # noqa: E402, F401


def store(glovebox):
    return pathlib.Path(glovebox.home) / 'images'


def root_of(glovebox, name):
    return pathlib.Path(glovebox('image', 'show', '--json', name).json['root'])


def tree(folder):
    """Everything below a folder, as texts."""
    return sorted(os.path.relpath(os.path.join(parent, name), folder)
                  for parent, folders, names in os.walk(folder) for name in folders + names)
