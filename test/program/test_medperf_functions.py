"""MedPerf's `next` in all its forms, and the Python functions that it asks."""
import os
import sqlite3
import subprocess

import pytest

from engine_support import kill, wait_until
from play_support import PLAYER, playlab  # noqa: F401 (a fixture)

PLAY = '''#!/bin/sh
shift
echo "$@" >> /data/journal
'''

STEP = '''
  - id: {id}
    type: container
    image: example/any:1.0
    command: {id}
    mounts: {{output_volumes: {{output_path: {{mount_path: /data, type: directory}}}}}}
'''


def step(name, next=None, partition=False):
    text = STEP.format(id=name)
    text += '    partition: true\n' if partition else ''
    return text + ('    next: %s\n' % next if next else '')


def workflow(*steps, conditions=(), partitions=None):
    text = 'steps:' + ''.join(steps)
    if conditions:
        text += 'conditions:\n' + ''.join(
            '  - {id: %s, type: function, function_name: functions.%s}\n' % (name, name)
            for name in conditions)
    if partitions:
        text += 'partition_def: {type: function, function_name: functions.%s}\n' % partitions
    return text


@pytest.fixture
def lab(playlab):
    playlab.play(PLAY)
    playlab.out = playlab.folder / 'out'

    def run(text, functions='', status=0, *options):
        (playlab.folder / 'functions.py').write_text(functions)
        return playlab.run(text, '-i', 'output_path=%s' % playlab.out, *options, status=status)
    playlab.go = run
    playlab.journal = lambda: (playlab.out / 'journal').read_text().splitlines()
    return playlab


YES_NO = 'def yes(state):\n    return 1\ndef no(state):\n    return []\n'
PARTS = 'def parts(state):\n    return ["one", "two", "three"]\n'


# ----------------------------------------------------------------------------- next

def test_the_first_true_condition_is_taken_with_all_its_targets(lab):
    lab.go(workflow(
        step('a', '{if: [{condition: no, target: b}, {condition: yes, target: [c, d]}, '
                  '{condition: yes, target: b}], else: b}'), step('b'), step('c'), step('d'),
        conditions=['yes', 'no']), YES_NO)
    assert sorted(lab.journal()) == ['a', 'c', 'd']
    assert lab.states()['b'] == 'skipped'


def test_else_leads_to_another_step_at_once(lab):
    """In MedPerf's own program this ends in an exception."""
    lab.go(workflow(step('a', '{if: [{condition: no, target: b}], else: [c, d], wait: 60}'),
                    step('b'), step('c'), step('d'), conditions=['no']), YES_NO)
    assert sorted(lab.journal()) == ['a', 'c', 'd']


def test_a_condition_is_asked_until_it_holds(lab):
    lab.go(workflow(step('a', '{if: [{condition: later, target: b}], else: a, wait: 0.1}'),
                    step('b'), conditions=['later']), '''
import os, time
def later(state):
    path = os.path.join(state.host_output_data_path, 'journal')
    return time.time() > os.stat(path).st_mtime + 1.5
''')
    assert lab.journal() == ['a', 'b']
    # However often it was asked, it is said once that it sleeps.
    database = sqlite3.connect('file:%s?mode=ro' % (lab.home / 'glovebox.db'), uri=True)
    assert database.execute("SELECT count(*) FROM event WHERE data = 'sleeping'").fetchall() == [
        (1,)]
    database.close()


def test_a_jump_out_of_the_partitions_waits_for_all(lab):
    """In MedPerf's own program it waits for ever. Which partition ends last does not matter, nor
    does one that took another way; the ways without any partition are not gone."""
    lab.go(workflow(
        step('a', '{if: [{condition: short, target: join}, {condition: never, target: lost}], '
                  'else: b}', partition=True),
        step('b', 'join', partition=True), step('join', 'last'), step('lost'), step('last'),
        conditions=['short', 'never'], partitions='parts'), PARTS + '''
def short(state):
    return len(state.running_subject) == 3
def never(state):
    return False
''')
    lines = lab.journal()
    assert sorted(lines[:4]) == ['a --partition one', 'a --partition three', 'a --partition two',
                                 'b --partition three']
    assert lines[4:] == ['join', 'last']
    assert lab.states()['lost'] == 'skipped'


def test_partitions_that_come_late_are_fired(lab):
    """The first step is done long before the partitions are known."""
    lab.go(workflow(step('a', 'b'), step('b', 'c', partition=True), step('c'),
                    partitions='slow'), '''
import os, time
def slow(state):
    while not os.path.exists(os.path.join(state.host_output_data_path, 'journal')):
        time.sleep(0.01)
    time.sleep(0.5)
    return ['x', 'y']
''')
    assert sorted(lab.journal()) == ['a', 'b --partition x', 'b --partition y', 'c']


# ------------------------------------------------------------------------- the state

def test_the_state_object(lab):
    """The documented attributes; None where nothing was given."""
    raw = lab.data({'x': ''}, 'raw')
    (lab.folder / 'additional_files').mkdir()
    (lab.folder / 'additional_files' / 'functions.py').write_text('''
import os
def check(state):
    assert state.running_subject is None
    assert state.airflow_kwargs == {}
    assert os.listdir(state.host_input_data_path) == ['x']
    assert os.listdir(state.host_output_data_path) == ['journal']
    assert state.host_labels_path is None
    assert state.host_output_labels_path is None
    for path in state.host_input_data_path, state.host_output_data_path:
        try:
            open(os.path.join(path, 'new'), 'w')
        except OSError:
            continue
        raise AssertionError('it can be written')
    return True
''')
    lab.run(workflow(step('a', '{if: [{condition: check, target: b}]}').replace(
        'mounts: {', 'mounts: {input_volumes: {data_path: {mount_path: /raw}}, '),
        step('b'), conditions=['check']), '-i', 'output_path=%s' % lab.out, '-i',
        'data_path=%s' % raw)
    assert lab.journal() == ['a', 'b']


# --------------------------------------------------------------------------- mistakes

ASKS = workflow(step('a', '{if: [{condition: f, target: b}]}'), step('b'), conditions=['f'])
LISTS = workflow(step('a', 'b', partition=True), step('b'), partitions='f')

MISTAKES = {
    'raised': ('def f(state):\n    return open("/secret-of-Jane")\n',
               'the function functions.f raised FileNotFoundError'),
    'ended': ('def f(state):\n    raise SystemExit(0)\n',
              'the function functions.f raised SystemExit'),
    'killed': ('import os\ndef f(state):\n    os.kill(os.getpid(), 9)\n',
               'the Python function ended without an answer'),
    'syntax': ('def f(state)\n', 'the function functions.f raised SyntaxError'),
    'missing': ('def g(state): pass\n', 'the function functions.f is not in its module'),
    'import': ('import no_such_thing_here\ndef f(state): pass\n',
               "needs a module that this machine's python3 does not have: no_such_thing_here"),
}
LIST_MISTAKES = {
    'type': ('def f(state):\n    return "one"\n',
             'must return a list of texts, and returned a value of type str'),
    'item': ('def f(state):\n    return ["one", 2]\n',
             'must return a list of texts, and has in it a value of type int'),
    'twice': ('def f(state):\n    return ["one", "one"]\n', 'two partitions have the same key'),
    'none': ('def f(state):\n    return []\n', 'it found nothing to work on'),
    'not UTF-8': ('def f(state):\n    return ["ab\\udcfc"]\n', 'whose name is not UTF-8'),
    'empty': ('def f(state):\n    return [""]\n', 'a partition has an empty name'),
}


def assert_secret(lab):
    """What an exception says of a patient is in the function's own log, nowhere else."""
    logs = [path for path in (lab.home / 'runs').rglob('*.log')
            if 'secret-of-Jane' in path.read_text()]
    assert len(logs) == 1 and logs[0].name.endswith(('.next.log', 'partitions.log'))
    assert 'Jane' not in lab.last.stdout + lab.last.stderr + lab.glovebox('status', 'last').stdout
    assert b'Jane' not in (lab.home / 'glovebox.db').read_bytes()
    assert b'Jane' not in (lab.home / 'glovebox.db-wal').read_bytes() if (
        lab.home / 'glovebox.db-wal').exists() else True


@pytest.mark.parametrize('kind', MISTAKES)
def test_a_condition_that_cannot_be_asked_fails_its_step(lab, kind):
    functions, message = MISTAKES[kind]
    lab.go(ASKS, functions, status=1)
    assert lab.states()['a'] == 'failed'
    assert message in lab.why('a')
    if kind == 'raised':
        assert '.next.log' in lab.why('a')
        assert 'secret-of-Jane' in lab.log('a') # to whoever may read the data
        assert_secret(lab)
    # Mended, it goes on.
    (lab.folder / 'functions.py').write_text('def f(state):\n    return True\n')
    lab.glovebox('retry', 'last')
    lab.wait_for_run('succeeded')


@pytest.mark.parametrize('kind', [*MISTAKES, *LIST_MISTAKES])
def test_partitions_that_cannot_be_listed_fail_the_run(lab, kind):
    functions, message = dict(MISTAKES, **LIST_MISTAKES)[kind]
    lab.go(LISTS, functions, status=1)
    [problem] = lab.glovebox('status', 'last', '--json').json['problems']
    assert message in problem['message']
    assert problem['step'] == 'a'
    assert not lab.out.exists() or not (lab.out / 'journal').exists()
    if kind == 'raised':
        assert_secret(lab)


def test_a_function_that_leaves_a_mess(lab):
    """A thread that goes on, and no standard output: its answer holds all the same."""
    lab.go(ASKS, '''
import os, sys, threading, time
def f(state):
    threading.Thread(target=time.sleep, args=(1000,)).start()
    sys.stdout.close()
    os.close(2)
    return True
''')
    assert lab.journal() == ['a', 'b']


def test_a_module_that_is_nowhere(lab):
    lab.go(ASKS.replace('functions.f', 'elsewhere.f'), status=1)
    assert 'the function elsewhere.f is in no module that was found' in lab.why('a')
    assert '-i additional_files=DIR' in lab.why('a')


def test_a_function_that_takes_too_long_is_stopped(lab):
    lab.policy(function_timeout=1)
    lab.go(ASKS, 'import time\ndef f(state):\n    time.sleep(1000)\n', status=1)
    assert 'the Python function took too long and was stopped' in lab.why('a')


def test_no_python(lab):
    """Hidden by a mount of our own; only root may."""
    python = os.path.realpath('/usr/bin/python3')
    program = ['unshare', '--mount', 'sh', '-c',
               'mount --bind /dev/null %s && exec "$0" "$@"' % python, str(PLAYER)]
    if os.geteuid() or subprocess.run([*program[:-1], '/bin/true']).returncode:
        pytest.skip('only root can hide python3')
    (lab.folder / 'functions.py').write_text('def f(state): return True\n')
    path = lab.glovebox.pipeline(ASKS)
    done = subprocess.run([*program, 'run', path, '-i', 'output_path=%s' % lab.out],
                          env=lab.glovebox.environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert 'python3 does not start here' in lab.why('a')
    assert 'install python3' in lab.why('a')


# --------------------------------------------------------------------------- survival

def test_a_question_is_asked_again_after_a_kill(lab):
    """Killed while a function runs; what it left behind is tidied up."""
    go = lab.folder / 'go'
    go.mkdir()
    text = workflow(step('a', '{if: [{condition: f, target: b}], wait: 0.1}').replace(
        'mounts: {', 'mounts: {input_volumes: {labels_path: {mount_path: /go}}, '), step('b'),
        conditions=['f'])
    (lab.folder / 'functions.py').write_text('''
import os, time
def f(state):
    print('asked', flush=True)
    while not os.path.exists(os.path.join(state.host_labels_path, 'on')):
        time.sleep(0.01)
    return True
''')
    running = lab.start(text, '-i', 'output_path=%s' % lab.out, '-i', 'labels_path=%s' % go)

    def asked():
        return [path for path in (lab.home / 'runs').rglob('*.next.log') if path.read_text()]
    wait_until(asked)
    kill(running.pid)
    running.wait()
    assert [name for name in os.listdir(lab.home / 'work') if '.call.' in name]
    (go / 'on').write_text('')
    lab.glovebox('resume', 'last')
    lab.wait_for_run('succeeded')
    assert lab.journal() == ['a', 'b']
    wait_until(lambda: not os.listdir(lab.home / 'work'))


def test_many_partitions_are_asked(lab):
    lab.go(workflow(step('a', '{if: [{condition: odd, target: b}], else: c}', partition=True),
                    step('b', partition=True), step('c', partition=True), conditions=['odd'],
                    partitions='parts'), '''
def parts(state):
    return ['%02d' % number for number in range(30)]
def odd(state):
    return int(state.running_subject) % 2
''')
    lines = lab.journal()
    assert len([line for line in lines if line.startswith('b')]) == 15
    assert all(int(line[-2:]) % 2 == line.startswith('b') for line in lines
               if not line.startswith('a'))


def test_names_that_no_id_can_hold(lab):
    """MedPerf puts an underscore in their place; so do we."""
    lab.go(workflow(step('one.step', '{if: [{condition: no, target: a/b}], else: [a/b]}'),
                    step('a/b', 'c d'), step('c d'), conditions=['no']), YES_NO)
    assert lab.journal() == ['one.step', 'a/b', 'c d']
    assert set(lab.states()) == {'one_step', 'a_b', 'c d'}
