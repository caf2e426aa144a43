"""build/test/play/glovebox: the program with a driver that plays containers by a program of the test."""
import os
import pathlib
import shutil

import pytest

from conftest import BINARY, ROOT
from engine_support import Lab

PLAYER = pathlib.Path(os.environ.get('GLOVEBOX_PLAYER') or
                      BINARY.parent / 'test' / 'play' / 'glovebox').resolve()
KEEPER = BINARY.parent / 'src' / 'compute' / 'keeper' / 'glovebox-keeper'
FILES = ROOT / 'test' / 'medperf'


class PlayLab(Lab):
    """A Lab whose container steps are played by a program."""

    def play(self, source):
        """`source`: the path of the program that plays, or its text."""
        folder = self.folder.parent / 'play'
        folder.mkdir(exist_ok=True)
        target = folder / 'play'
        if isinstance(source, pathlib.Path):
            shutil.copy(source, target)
        else:
            target.write_text(source)
        target.chmod(0o755)
        self.glovebox.environment.update(GLOVEBOX_PLAY=str(folder), GLOVEBOX_KEEPER=str(KEEPER))


@pytest.fixture
def playlab(glovebox):
    if not PLAYER.exists():
        pytest.skip('there is no %s: script/build makes it' % PLAYER)
    glovebox.binary = PLAYER
    return PlayLab(glovebox)
