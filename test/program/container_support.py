"""Steps that run in real containers: images of test/images, loaded into the test's own home."""
import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

from conftest import ROOT, Glovebox
from engine_support import Lab

IMAGES = ROOT / 'test' / 'images'
sys.path.insert(0, str(IMAGES))
import image_builder  # noqa: E402

USER = 65533  # nobody in particular: no entry in /etc/passwd


class ContainerLab(Lab):
    """A Lab that loads images."""
    owner = (os.geteuid(), os.getegid())

    def build(self, image, name=None):
        """An archive of what test/images/IMAGE describes, under its own name or another."""
        archive = self.folder / ('%s.tar' % image)
        image_builder.build_described(str(IMAGES / image), str(archive), name=name)
        return archive

    def load(self, image, name=None):
        self.glovebox('image', 'load', self.build(image, name))

    def load_made(self, name, files=None, config=None, **more):
        """Loads an image that is described here."""
        archive = self.folder / 'made.tar'
        image_builder.build_archive(str(archive), name, files, config, **more)
        self.glovebox('image', 'load', archive)


class OrdinaryLab(ContainerLab):
    """A ContainerLab of an ordinary user, without any privilege."""
    owner = (USER, USER)

    def data(self, files, name='data'):
        folder = super().data(files, name)
        for path in (folder, *folder.rglob('*')):
            os.chown(path, *self.owner)
        return folder


@pytest.fixture
def containers(glovebox):
    return ContainerLab(glovebox)


AS_USER = ['setpriv', '--reuid=%d' % USER, '--regid=%d' % USER, '--clear-groups', '--inh-caps=-all']


@contextlib.contextmanager
def ordinary(glovebox):
    if os.geteuid() != 0:
        pytest.skip('the tests run as an ordinary user already')
    folder = pathlib.Path(tempfile.mkdtemp(prefix='glovebox-ordinary-'))
    for name in ('glovebox', 'glovebox-keeper'):
        shutil.copy(glovebox.binary.parent / name, folder / name)
    os.chown(folder, USER, USER)
    theirs = Glovebox(folder / 'glovebox', folder / 'home', folder)
    theirs.prefix = AS_USER
    theirs.environment['HOME'] = str(folder)
    yield OrdinaryLab(theirs)
    shutil.rmtree(folder)


@pytest.fixture
def root_containers(containers):
    if os.geteuid() != 0:
        pytest.skip('the tests run as an ordinary user, who may have no ids for users of images')
    return containers


@pytest.fixture
def ordinary_containers(glovebox):
    with ordinary(glovebox) as lab:
        yield lab


@pytest.fixture
def ranged_containers(glovebox):
    """Those of an ordinary user to whom an administrator gave ids: in an /etc that only he sees."""
    with ordinary(glovebox) as lab:
        etc = lab.folder / 'etc'
        subprocess.run(['cp', '-a', '/etc', etc], check=True)
        for name, line in (('passwd', 'guest:x:%d:%d::/:/bin/sh' % (USER, USER)), ('subuid', 'guest:200065536:65536'),
                           ('subgid', '%d:200131072:65536' % USER)):
            with open(etc / name, 'a') as file:
                file.write(line + '\n')
        lab.glovebox.prefix = ['unshare', '--mount', 'sh', '-c', 'mount --bind "$0" /etc && exec "$@"', str(etc),
                               *AS_USER]
        yield lab
