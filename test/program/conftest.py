"""Whole-program tests: the real binary, a fresh home for each test.

GLOVEBOX=path/to/glovebox chooses the binary; else it is build/glovebox.
"""
import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get('GLOVEBOX') or ROOT / 'build' / 'glovebox').resolve()


def pytest_addoption(parser):
    parser.addoption('--share', metavar='I/N', help='only the I-th (from 1) of N shares of the '
                     'modules, of about as many tests each')


def pytest_configure(config):
    config.addinivalue_line('markers', 'slow: takes more than a few seconds; left out by --fast')
    if not BINARY.exists():
        pytest.exit('there is no %s: script/build makes it' % BINARY, returncode=2)


# How many times as long this machine may take: one that is played by a program is slow.
PATIENCE = int(os.environ.get('TEST_PATIENCE', '1'))
# Modules that take long as a whole: retries, kills, timeouts need time to pass.
SLOW_MODULES = ('test_engine_commands', 'test_engine_failures', 'test_engine_fan',
                'test_engine_flow', 'test_engine_home', 'test_engine_power', 'test_engine_schedule',
                'test_engine_survival',
                'test_image_registry', 'test_medperf_functions')


def pytest_itemcollected(item):
    if item.module.__name__.rpartition('.')[2] in SLOW_MODULES:
        item.add_marker(pytest.mark.slow)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Keeps one share: modules whole, the largest first to the share with the fewest tests."""
    if not config.getoption('share'):
        return
    mine, count = map(int, config.getoption('share').split('/'))
    modules = {}
    for item in items:
        modules.setdefault(item.module.__name__, []).append(item)
    shares = [[] for _ in range(count)]
    for name in sorted(modules, key=lambda name: (-len(modules[name]), name)):
        min(shares, key=len).extend(modules[name])
    items[:] = shares[mine - 1]


@pytest.fixture(scope='session')
def root():
    """The folder of the checkout."""
    return ROOT


@pytest.fixture(scope='session')
def binary():
    return BINARY


class Result(subprocess.CompletedProcess):
    """What a command left; `json` parses its standard output."""

    @property
    def json(self):
        return json.loads(self.stdout)

    @property
    def json_lines(self):
        return [json.loads(line) for line in self.stdout.splitlines()]


class Glovebox:
    """Runs the program with a home of its own."""

    def __init__(self, binary, home, folder):
        self.binary, self.home, self.folder = binary, home, folder
        self.prefix = []  # a program that starts it
        self.environment = {name: value for name, value in os.environ.items()
                            if name not in ('GLOVEBOX_HOME', 'NO_COLOR', 'COLUMNS', 'LINES')}
        self.environment.update(GLOVEBOX_HOME=str(home), TERM='dumb', LC_ALL='C.UTF-8',
                                TZ='UTC')

    def __call__(self, *arguments, status=0, timeout=60, **options):
        """Runs and returns a Result; `status` is the exit status that is expected, or None."""
        environment = dict(self.environment, **options.pop('env', {}))
        done = subprocess.run([*self.prefix, str(self.binary), *map(str, arguments)], text=True,
                              stdin=options.pop('stdin', subprocess.DEVNULL),
                              stdout=options.pop('stdout', subprocess.PIPE),
                              stderr=options.pop('stderr', subprocess.PIPE),
                              cwd=options.pop('cwd', self.folder), env=environment,
                              timeout=timeout * PATIENCE, **options)
        if status is not None:
            assert done.returncode == status, (
                'glovebox %s ended with %d, not %d\n%s\n%s' %
                (' '.join(map(str, arguments)), done.returncode, status, done.stdout, done.stderr))
        return Result(done.args, done.returncode, done.stdout, done.stderr)

    def start(self, *arguments, **options):
        """Starts and returns a Popen."""
        environment = dict(self.environment, **options.pop('env', {}))
        return subprocess.Popen([*self.prefix, str(self.binary), *map(str, arguments)], text=True,
                                stdin=subprocess.DEVNULL,
                                stdout=options.pop('stdout', subprocess.PIPE),
                                stderr=options.pop('stderr', subprocess.PIPE),
                                cwd=self.folder, env=environment, **options)

    def pipeline(self, text, name='pipeline.yaml'):
        """Writes a pipeline file and returns its path."""
        path = self.folder / name
        path.write_text(text)
        return path


@pytest.fixture
def glovebox(binary, tmp_path):
    """The program, with a fresh home and working folder."""
    folder = tmp_path / 'work'
    folder.mkdir()
    program = Glovebox(binary, tmp_path / 'home', folder)
    yield program
    # Nothing that a test left running may outlive it.
    if program.home.exists():
        for run in program('runs', '--all', '--quiet', status=None).stdout.split():
            program('cancel', run, status=None)
