"""What the tests of the engine share: a home with shortcuts, a judge that counts, processes."""
import json
import os
import pathlib
import signal
import sqlite3
import time

import pytest

from conftest import ROOT

FINAL = ('succeeded', 'reused', 'skipped', 'failed', 'cancelled')


def wait_until(what, timeout=20.0, message='it never came true'):
    """Polls until what() is true and returns that."""
    end = time.monotonic() + timeout
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < end, message
        time.sleep(0.01)


def processes():
    """{pid: (argv, parent)} of what lives; zombies are dead."""
    found = {}
    for entry in os.listdir('/proc'):
        if not entry.isdigit():
            continue
        try:
            state = pathlib.Path('/proc', entry, 'stat').read_text()
            argv = pathlib.Path('/proc', entry, 'cmdline').read_bytes().split(b'\0')
        except OSError:
            continue
        fields = state.rpartition(')')[2].split()
        if fields[0] != 'Z':
            found[int(entry)] = ([part.decode(errors='replace') for part in argv[:-1]],
                                 int(fields[1]))
    return found


def processes_with(text):
    """Pids of the living whose command line holds `text`."""
    return [pid for pid, (argv, _) in processes().items()
            if pid != os.getpid() and any(text in part for part in argv)]


def kill(pid, number=signal.SIGKILL):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


class Lab:
    """A home with a pipeline: runs it and asks about it."""

    def __init__(self, glovebox):
        self.glovebox, self.home, self.folder = glovebox, glovebox.home, glovebox.folder

    def policy(self, **rules):
        self.home.mkdir(mode=0o700, exist_ok=True)
        (self.home / 'policy.json').write_text(json.dumps(rules))

    def secret(self, name, value):
        folder = self.home / 'secrets'
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / name).write_text(value)
        (folder / name).chmod(0o600)

    def data(self, files, name='data'):
        """Makes a folder of {path: text}."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for path, text in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text if isinstance(text, bytes) else text.encode())
        return folder

    def judge(self):
        """A folder that tasks may write to as the writable input `judge`."""
        folder = self.folder / 'judge'
        folder.mkdir(exist_ok=True)
        return folder

    def judged(self):
        """The lines that tasks left with the judge."""
        log = self.folder / 'judge' / 'log'
        return log.read_text().splitlines() if log.exists() else []

    def run(self, text, *options, status=0, **more):
        """Writes the pipeline, runs it, and returns the name of the run."""
        path = self.glovebox.pipeline(text)
        self.last = self.glovebox('run', path, *options, status=status, **more)
        return self.newest()

    def run_file(self, path, *options, status=0, **more):
        self.last = self.glovebox('run', path, *options, status=status, **more)
        return self.newest()

    def folder_of(self, run='last'):
        return self.home / 'runs' / self.glovebox('status', run, '--json').json['run']

    def volume(self, name, run='last'):
        return self.folder_of(run) / 'volumes' / name

    def start(self, text, *options, **more):
        path = self.glovebox.pipeline(text)
        return self.glovebox.start('run', path, *options, **more)

    def newest(self):
        runs = self.glovebox('runs', '--json').json
        return runs[0]['run'] if runs else None

    def state(self, run='last'):
        return self.glovebox('status', run, '--json').json['state']

    def counts(self, run='last'):
        tasks = self.glovebox('status', run, '--json').json['tasks']
        return {state: count for state, count in tasks.items() if count}

    def tasks(self, run='last'):
        """{'STEP@PARTITION' or 'STEP': task}."""
        return {name_of(task): task
                for task in self.glovebox('tasks', run, '--json').json_lines}

    def states(self, run='last'):
        return {name: task['state'] for name, task in self.tasks(run).items()}

    def why(self, where, run='last'):
        answer = self.glovebox('why', run, where, '--json').json
        return '\n'.join([answer['because'], *map(str, answer['details'])])

    def record(self, run='last'):
        """The tasks of the run's record, by name."""
        name = self.glovebox('status', run, '--json').json['run']
        lines = (self.home / 'runs' / name / 'tasks.jsonl').read_text().splitlines()
        return {name_of(task): task for task in map(json.loads, lines)}

    def run_record(self, run='last'):
        name = self.glovebox('status', run, '--json').json['run']
        return json.loads((self.home / 'runs' / name / 'run.json').read_text())

    def output(self, where, path, run='last'):
        """The text of a file that a task left."""
        return (self.output_folder(where, run) / path).read_text()

    def output_folder(self, where, run='last'):
        key = self.record(run)[where]['key']
        return self.home / 'results' / key[:2] / key / 'output'

    def log(self, where, run='last'):
        return self.glovebox('logs', run, where).stdout

    def events(self, kind):
        """The events of a kind, of all runs, as the database has them."""
        database = sqlite3.connect('file:%s?mode=ro' % (self.home / 'glovebox.db'), uri=True)
        try:
            rows = database.execute('SELECT data FROM event WHERE kind = ? ORDER BY id', [kind])
            return [json.loads(data) if data else None for (data,) in rows]
        finally:
            database.close()

    def wait_for_state(self, where, state, run='last', timeout=20):
        wait_until(lambda: self.states(run).get(where) == state, timeout,
                   '%s never came to be %s' % (where, state))

    def wait_for_run(self, state, run='last', timeout=30):
        wait_until(lambda: self.state(run) == state, timeout,
                   'the run never came to be %s' % state)

    def programs(self):
        """Pids of the glovebox programs (not keepers) of this home, or of its folder."""
        found = []
        for pid, (argv, _) in processes().items():
            if not argv or pathlib.Path(argv[0]).name != 'glovebox' or 'tool' in argv[1:2]:
                continue
            try:
                environment = pathlib.Path('/proc/%d/environ' % pid).read_bytes()
            except OSError:
                continue
            if b'GLOVEBOX_HOME=' + str(self.home).encode() + b'\0' in environment:
                found.append(pid)
        return found

    def keepers(self):
        """Pids of the keepers of this home: those that hold its files open."""
        found = []
        for pid, (argv, _) in processes().items():
            if argv and 'glovebox-keeper' in argv[0] and self._opens_home(pid):
                found.append(pid)
        return found

    def _opens_home(self, pid):
        mark = str(self.home) + '/compute'
        try:
            for entry in os.listdir('/proc/%d/fd' % pid):
                if os.readlink('/proc/%d/fd/%s' % (pid, entry)).startswith(mark):
                    return True
        except OSError:
            pass
        return False


def name_of(task):
    return task['step'] + ('@' + task['partition'] if task['partition'] else '')


@pytest.fixture
def lab(glovebox):
    return Lab(glovebox)


JUDGE_INPUT = '  judge: {type: directory, writable: true}\n'
JUDGE_MOUNT = '    mounts: [{name: judge, path: /judge, from: inputs.judge, writable: true}]\n'


def public_file(path):
    """A file of another project, from the folder `shared` beside the checkout; skips without it.
    Such files are never ours to hand on, so they are not in the checkout."""
    for folder in ROOT.parents[:2]:
        if (folder / 'shared' / path).exists():
            return folder / 'shared' / path
    pytest.skip('there is no shared/%s beside the checkout' % path)
