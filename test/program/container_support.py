"""Steps that run in real containers: images of test/images, loaded into the test's own home."""
import os
import subprocess
import sys

import pytest

from conftest import BINARY, ROOT
from engine_support import Lab

IMAGES = ROOT / 'test' / 'images'
sys.path.insert(0, str(IMAGES))
import image_builder  # noqa: E402


class ContainerLab(Lab):
    """A Lab that loads images."""

    def load(self, image, name=None):
        """Loads what the folder test/images/IMAGE describes, under the name it has or another."""
        archive = self.folder.parent / ('%s.tar' % image)
        image_builder.build_described(str(IMAGES / image), str(archive), name=name)
        self.glovebox('image', 'load', archive)
        return archive

    def load_made(self, name, files=None, config=None, **more):
        """Loads an image that is described here."""
        archive = self.folder.parent / 'made.tar'
        image_builder.build_archive(str(archive), name, files, config, **more)
        self.glovebox('image', 'load', archive)
        return archive


@pytest.fixture
def containers(glovebox):
    return ContainerLab(glovebox)
