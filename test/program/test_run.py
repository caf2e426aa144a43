"""Runs from the command line: what is printed, what the exit status says, what people can do."""
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import time

import pytest

HELLO = '''
name: hello
params:
  who: {default: world}
inputs:
  extra: {type: file, optional: true}
outputs:
  greeting: greet/greeting.txt
steps:
  - id: greet
    command: echo "Hello, ${params.who}" | tee /out/greeting.txt
'''

FAN = '''
name: fan
outputs:
  list: join/list.txt
steps:
  - id: make
    command: for i in 1 2 3; do mkdir /out/p$i; echo $i >/out/p$i/n; done
  - id: work
    foreach: {directories: make}
    command: cp /in/n /out/n; echo "worked on ${partition}"
  - id: join
    in: work
    command: cat /in/*/n >/out/list.txt
'''

FAILS = '''
name: fails
steps:
  - id: good
    command: echo fine
  - id: bad
    needs: [good]
    command: echo "this is why" >&2; exit 7
  - id: after
    needs: [bad]
    command: echo never
'''

ASKS = '''
name: asks
outputs:
  note: last/note
steps:
  - id: first
    command: echo first
  - id: look
    type: manual_approval
    message: Is it right?
    needs: [first]
  - id: last
    needs: [look]
    command: echo done >/out/note
'''

SLOW = '''
name: slow
steps:
  - id: one
    command: sleep 1
  - id: two
    needs: [one]
    command: sleep 0.1
'''

ENDLESS = '''
name: endless
steps:
  - id: sleep
    command: sleep 600
'''


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError('it did not happen in %d s' % seconds)


def state_of(glovebox, run='last'):
    return glovebox('status', run, '--json').json['state']


# ------------------------------------------------------------------------ running

def test_hello(glovebox):
    done = glovebox('run', glovebox.pipeline(HELLO), '-p', 'who=Ada')
    assert done.stdout.startswith('hello-1 succeeded in ')
    path = re.search(r'^  greeting: (/.*)$', done.stdout, re.M).group(1)
    with open(path, encoding='ascii') as greeting:
        assert greeting.read() == 'Hello, Ada\n'
    assert re.fullmatch(r'\d\d:\d\d:\d\d  greet  succeeded\n', done.stderr)


def test_output_folder(glovebox):
    glovebox('run', glovebox.pipeline(HELLO), '-o', 'results')
    assert (glovebox.folder / 'results' / 'greeting.txt').read_text() == 'Hello, world\n'


def test_quiet(glovebox):
    assert glovebox('run', '-q', glovebox.pipeline(HELLO)).stderr == ''


def test_json_of_a_run(glovebox):
    done = glovebox('run', '--json', glovebox.pipeline(HELLO))
    assert done.json['state'] == 'succeeded' and done.json['run'] == 'hello-1'


def test_dry_run(glovebox):
    done = glovebox('run', '-n', glovebox.pipeline(FAN))
    assert done.stdout.splitlines()[0] == 'fan: 3 steps would run'
    assert '2. work  command; a task for each directory of make; after make' in done.stdout
    assert not glovebox.home.exists()
    plan = glovebox('run', '-n', '--json', glovebox.pipeline(FAN)).json
    assert [step['step'] for step in plan['steps']] == ['make', 'work', 'join']
    assert [step['partitioned'] for step in plan['steps']] == [False, True, False]


def test_second_run_reuses(glovebox):
    pipeline = glovebox.pipeline(FAN)
    glovebox('run', pipeline)
    done = glovebox('run', pipeline)
    assert '5 reused' in done.stdout
    assert 'join  reused' in done.stderr
    assert glovebox('status', 'last', '--json').json['tasks']['reused'] == 5
    again = glovebox('run', '--no-reuse', pipeline, '--json').json
    assert again['tasks']['succeeded'] == 5 and again['tasks']['reused'] == 0


def test_from_and_only(glovebox):
    pipeline = glovebox.pipeline(FAN)
    glovebox('run', pipeline)
    anew = glovebox('run', pipeline, '--from', 'join', '--json').json
    assert (anew['tasks']['succeeded'], anew['tasks']['reused']) == (1, 4)
    only = glovebox('run', pipeline, '--only', 'work', '--json').json
    assert {step['step']: step['tasks']['skipped'] for step in only['steps']} == {
        'make': 0, 'work': 0, 'join': 1}
    done = glovebox('run', pipeline, '--only', 'wrok', status=3)
    assert 'wrok' in done.stderr


@pytest.mark.parametrize('text, words', [
    ('name: x\nsteps:\n  - id: a\n    comand: echo\n', ['pipeline.yaml:4:', 'error:', 'command']),
    ('name: x\nsteps:\n  - id: a\n    image: a b\n', ['pipeline.yaml:', 'error:']),
])
def test_an_invalid_pipeline_starts_nothing(glovebox, text, words):
    pipeline = glovebox.pipeline(text)
    for command in (['run', pipeline], ['check', pipeline], ['graph', pipeline]):
        done = glovebox(*command, status=3)
        assert done.stdout == ''
        for word in words:
            assert word in done.stderr
    assert not glovebox.home.exists()


def test_an_image_that_is_not_here_is_told(glovebox):
    """A pipeline may be meant for another place, so a check only warns."""
    pipeline = glovebox.pipeline('name: x\nsteps:\n  - id: a\n    type: container\n'
                                 '    image: docker.io/library/debian:12\n    command: ls\n')
    said = glovebox('check', pipeline).stderr
    assert ':5:12: warning: step `a` cannot run here: there is no image' in said
    assert 'glovebox image load FILE' in said
    assert ':5:12: error:' in glovebox('run', pipeline, status=3).stderr
    assert not glovebox.home.exists()


@pytest.mark.parametrize('arguments, word', [
    (['-p', 'whoo=x'], 'whoo'),
    (['-i', 'extra=/nonexistent'], '/nonexistent'),
    (['-i', 'extras=/etc/hosts'], 'extras'),
])
def test_bad_parameters_and_inputs(glovebox, arguments, word):
    done = glovebox('run', glovebox.pipeline(HELLO), *arguments, status=3)
    assert word in done.stderr and not glovebox.home.exists()


def test_a_pipeline_that_is_not_there(glovebox):
    for command in ('run', 'check', 'graph'):
        done = glovebox(command, 'nosuch.yaml', status=3)
        assert 'nosuch.yaml' in done.stderr and done.stdout == ''


# -------------------------------------------------------------------------- check

def test_check(glovebox):
    good, bad = glovebox.pipeline(FAN), glovebox.pipeline('name: [\n', 'bad.yaml')
    assert glovebox('check', good).stdout == '%s: ok, 3 steps\n' % good
    done = glovebox('check', good, bad, status=3)
    assert '%s: ok' % good in done.stdout and 'bad.yaml:' in done.stderr
    answer = glovebox('check', good, bad, 'none.yaml', '--json', status=3).json
    assert answer['ok'] is False
    assert [entry['ok'] for entry in answer['files']] == [True, False, False]
    assert answer['files'][0]['steps'] == 3 and answer['files'][0]['pipeline'] == 'fan'
    for entry in answer['files'][1:]:
        assert set(entry['diagnostics'][0]) >= {'severity', 'file', 'line', 'column', 'message'}


def test_graph(glovebox):
    pipeline = glovebox.pipeline(FAN)
    text = glovebox('graph', pipeline).stdout
    for step in ('make', 'work', 'join'):
        assert step in text
    assert glovebox('graph', '-f', 'dot', pipeline).stdout.startswith('digraph')
    assert glovebox('graph', '-f', 'mermaid', pipeline).stdout.startswith('flowchart')
    assert glovebox('graph', '--json', pipeline).stdout == \
        glovebox('graph', '--format', 'json', pipeline).stdout
    glovebox('run', pipeline)
    assert 'succeeded' in glovebox('graph', '--run', 'last', '-f', 'json').stdout


def test_schema(glovebox):
    schema = glovebox('schema').json
    assert schema['$schema'] == 'https://json-schema.org/draft/2020-12/schema'


# ------------------------------------------------------------------------- asking

COUNTS = {'waiting', 'ready', 'running', 'deciding', 'sleeping', 'succeeded', 'reused', 'skipped',
          'failed', 'cancelled'}
TIME = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z')


def test_status_json(glovebox):
    glovebox('run', glovebox.pipeline(FAN))
    status = glovebox('status', 'last', '--json').json
    assert status['run'] == 'fan-1' and status['pipeline'] == 'fan'
    assert status['state'] == 'succeeded'
    assert set(status['tasks']) == COUNTS and status['tasks']['succeeded'] == 5
    for key in ('created', 'started', 'ended'):
        assert TIME.fullmatch(status[key])
    assert [step['step'] for step in status['steps']] == ['make', 'work', 'join']
    assert set(status['steps'][0]['tasks']) == COUNTS
    assert status['waiting'] == status['failed'] == status['running'] == []


def test_tasks(glovebox):
    glovebox('run', glovebox.pipeline(FAN))
    tasks = glovebox('tasks', 'fan-1', '--json').json_lines
    assert [(task['step'], task['partition']) for task in tasks] == [
        ('make', ''), ('work', 'p1'), ('work', 'p2'), ('work', 'p3'), ('join', '')]
    for task in tasks:
        assert set(task) >= {'step', 'partition', 'state', 'attempts', 'exit', 'cause', 'started',
                             'ended'}
        assert task['state'] == 'succeeded' and task['attempts'] == 1 and task['exit'] == 0
        assert task['cause'] == '' and TIME.fullmatch(task['ended'])
    assert len(glovebox('tasks', 'last', '--step', 'work', '--json').json_lines) == 3
    assert glovebox('tasks', 'last', '--state', 'failed', '--json').stdout == ''
    assert glovebox('tasks', 'last').stdout.count('\n') == 5
    done = glovebox('tasks', 'last', '--step', 'wrok', status=1)
    assert 'hint: did you mean "work"?' in done.stderr


def test_ways_to_name_a_run(glovebox):
    pipeline = glovebox.pipeline(HELLO)
    glovebox('run', pipeline)
    glovebox('run', glovebox.pipeline(FAN, 'fan.yaml'))
    for name in ('hello-1', 'hell', '1'):
        assert glovebox('status', name, '--json').json['run'] == 'hello-1'
    assert glovebox('status', 'last', '--json').json['run'].startswith('fan-')
    assert 'did you mean "hello-1"? `glovebox runs`' in glovebox('status', 'helo-1', status=1).stderr
    assert 'hint: `glovebox runs` lists them' in glovebox('status', 'other', status=1).stderr


def test_runs(glovebox):
    pipeline = glovebox.pipeline(HELLO)
    for _ in range(3):
        glovebox('run', pipeline)
    assert glovebox('runs', '-q').stdout.split() == ['hello-3', 'hello-2', 'hello-1']
    assert glovebox('runs', '-q', '-n', '2').stdout.split() == ['hello-3', 'hello-2']
    listed = glovebox('runs', '--json').json
    assert [run['run'] for run in listed] == ['hello-3', 'hello-2', 'hello-1']
    assert all(run['state'] == 'succeeded' and run['tasks'] for run in listed)
    assert len(glovebox('runs').stdout.splitlines()) == 3


def test_logs(glovebox):
    glovebox('run', glovebox.pipeline(FAN))
    assert glovebox('logs', 'last', 'work@p2').stdout == 'worked on p2\n'
    assert glovebox('logs', 'last', 'work@p2', '-f').stdout == 'worked on p2\n'
    where = glovebox('logs', 'last', 'work@p2', '--json').json
    assert where['attempt'] == 1 and os.path.exists(where['log'])
    done = glovebox('logs', 'last', 'work@p9', status=1)
    assert done.stdout == '' and done.stderr.startswith('glovebox: error: ')
    assert 'attempt 4' in glovebox('logs', 'last', 'make', '--attempt', '4', status=1).stderr


def test_logs_of_a_task_that_never_started(glovebox):
    glovebox('run', glovebox.pipeline(FAILS), status=1)
    done = glovebox('logs', 'last', 'after', status=1)
    assert 'never started' in done.stderr and 'skipped' in done.stderr
    assert 'glovebox why fails-1 after' in done.stderr


def test_a_task_that_printed_nothing(glovebox):
    glovebox('run', glovebox.pipeline('name: mute\nsteps:\n  - {id: x, command: "true"}\n'))
    done = glovebox('logs', 'last', 'x')
    assert (done.stdout, done.stderr) == ('', 'x printed nothing\n')
    assert glovebox('logs', 'last', 'x', '--quiet').stderr == ''


def test_logs_follow(glovebox):
    pipeline = glovebox.pipeline(
        'name: talks\nsteps:\n  - id: talk\n    command: for i in 1 2 3; do echo $i; sleep 0.4; done\n')
    glovebox('run', '--detach', pipeline)
    wait_for(lambda: state_of(glovebox) == 'running')
    assert glovebox('logs', '-f', 'last', 'talk').stdout == '1\n2\n3\n'


def test_logs_cannot_drive_a_terminal(glovebox):
    pipeline = glovebox.pipeline(
        "name: nasty\nsteps:\n  - id: talk\n    command: printf '\\033[31mred\\033[0m\\033]0;x\\007\\n'\n")
    glovebox('run', pipeline)
    assert glovebox('logs', 'last', 'talk').stdout == '\x1b[31mred\x1b[0m\x1b]0;x\x07\n'
    shown = on_terminal(glovebox, ['logs', 'last', 'talk'])[1]
    assert '\x1b[31mred\x1b[0m\\x1b]0;x\\x07' in shown


def test_why(glovebox):
    pipeline = glovebox.pipeline(FAN)
    glovebox('run', pipeline)
    glovebox('run', pipeline)
    assert 'work@p1 reused: ' in glovebox('why', 'last', 'work@p1').stdout
    answer = glovebox('why', 'fan-1', 'join', '--json').json
    assert answer['state'] == 'succeeded' and answer['because'] and 'details' in answer


# ------------------------------------------------------------------------ failing

def test_a_failed_run(glovebox):
    done = glovebox('run', glovebox.pipeline(FAILS), status=1)
    assert done.stdout.startswith('fails-1 failed in ')
    assert '  bad: exit status 7\n' in done.stderr
    assert '  glovebox logs fails-1 bad\n' in done.stderr
    assert '  glovebox retry fails-1\n' in done.stderr and 'after an edit' in done.stderr
    log = re.search(r'^    log: (/.*)$', done.stderr, re.M).group(1)
    with open(log, encoding='ascii') as text:
        assert text.read() == 'this is why\n'
    assert glovebox('logs', 'last', 'bad').stdout == 'this is why\n'
    task = glovebox('tasks', 'last', '--state', 'failed', '--json').json
    assert (task['step'], task['exit'], task['cause']) == ('bad', 7, 'exit')


def test_retry(glovebox):
    flag = glovebox.folder / 'data'
    flag.mkdir()
    pipeline = glovebox.pipeline('''
name: fixable
inputs:
  data: {type: directory, writable: true}
steps:
  - id: first
    command: echo once
  - id: bad
    needs: [first]
    in: inputs.data
    command: test -e /in/fixed
''')
    glovebox('run', pipeline, '-i', 'data=data', status=1)
    glovebox('retry', 'last', status=1)
    (flag / 'fixed').touch()
    done = glovebox('retry', 'last')
    assert done.stdout.startswith('fixable-1 succeeded')
    tasks = {task['step']: task['attempts'] for task in glovebox('tasks', 'last', '--json').json_lines}
    assert tasks == {'first': 1, 'bad': 3}


def test_restart(glovebox):
    glovebox('run', glovebox.pipeline(FAN))
    glovebox('restart', 'last', '--from', 'work@p2')
    tasks = {(task['step'], task['partition']): task['attempts']
             for task in glovebox('tasks', 'last', '--json').json_lines}
    assert tasks == {('make', ''): 1, ('work', 'p1'): 1, ('work', 'p2'): 2, ('work', 'p3'): 1,
                     ('join', ''): 2}


def test_skip_and_succeed(glovebox):
    pipeline = glovebox.pipeline(FAILS)
    glovebox('run', pipeline, status=1)
    glovebox('succeed', 'last', 'bad', '--reason', 'checked by hand')
    glovebox('retry', 'last')
    assert 'checked by hand' in json.dumps(glovebox('why', 'last', 'bad', '--json').json)
    done = glovebox('skip', 'last', 'badd', '--reason', 'x', status=1)
    assert 'bad' in done.stderr


# ------------------------------------------------------------------------- people

def test_approval(glovebox):
    done = glovebox('run', glovebox.pipeline(ASKS), status=4)
    assert 'Is it right?' in done.stdout
    assert '  glovebox decide asks-1 look approve|reject\n' in done.stdout.replace('    ', '  ')
    status = glovebox('status', 'last', '--json').json
    assert status['state'] == 'waiting'
    assert [(one['step'], one['message']) for one in status['waiting']] == [('look', 'Is it right?')]
    done = glovebox('decide', 'last', 'look', 'approve', '--note', 'good')
    assert 'look: approved' in done.stderr
    wait_for(lambda: state_of(glovebox) == 'succeeded')
    assert 'good' in json.dumps(glovebox('why', 'last', 'look', '--json').json)


def test_rejection(glovebox):
    glovebox('run', glovebox.pipeline(ASKS), status=4)
    glovebox('decide', 'last', 'look', 'reject', '--no-resume')
    glovebox('resume', 'last', status=1)
    assert state_of(glovebox) == 'failed'


def test_no_resume_only_records(glovebox):
    glovebox('run', glovebox.pipeline(ASKS), status=4)
    glovebox('decide', 'last', 'look', 'approve', '--no-resume')
    time.sleep(0.5)
    assert state_of(glovebox) != 'succeeded'
    glovebox('resume', 'last')


def test_deciding_what_does_not_wait(glovebox):
    glovebox('run', glovebox.pipeline(ASKS), status=4)
    assert 'first' in glovebox('decide', 'last', 'first', 'approve', status=1).stderr


def test_waiting_run(glovebox):
    running = glovebox.start('run', '--wait', glovebox.pipeline(ASKS))
    wait_for(lambda: glovebox('runs', '-q').stdout and state_of(glovebox) == 'waiting')
    glovebox('decide', 'last', 'look', 'approve')
    assert running.wait(20) == 0


# ----------------------------------------------------------------- in the background

def test_detach(glovebox):
    done = glovebox('run', '--detach', glovebox.pipeline(SLOW))
    assert done.stdout == 'slow-1\n'
    assert state_of(glovebox) in ('planned', 'running')
    done = glovebox('status', '--follow', 'slow-1')
    assert done.stdout.startswith('slow-1  succeeded')
    assert glovebox('runs', '-q').stdout == 'slow-1\n'


def test_commands_while_somebody_drives(glovebox):
    glovebox('run', glovebox.pipeline(FAILS, 'fails.yaml'), status=1)
    glovebox('run', '--detach', glovebox.pipeline(ENDLESS))
    wait_for(lambda: glovebox('status', 'last', '--json').json['tasks']['running'] == 1)
    done = glovebox('retry', 'fails-1')
    assert 'the program that drives this home goes on with it' in done.stderr
    wait_for(lambda: state_of(glovebox, 'fails-1') == 'failed' and
             glovebox('tasks', 'fails-1', '--step', 'bad', '--json').json['attempts'] == 2)
    glovebox('cancel', 'last')
    wait_for(lambda: state_of(glovebox) == 'cancelled')


def test_pause_and_resume(glovebox):
    glovebox('run', '--detach', glovebox.pipeline(SLOW))
    wait_for(lambda: glovebox('status', 'last', '--json').json['tasks']['running'] == 1)
    glovebox('pause', 'last')
    wait_for(lambda: state_of(glovebox) == 'paused')
    time.sleep(1.5)
    status = glovebox('status', 'last', '--json').json
    assert status['tasks']['succeeded'] == 1 and status['state'] == 'paused'
    assert 'glovebox resume slow-2' not in glovebox('status', 'last').stdout
    assert 'glovebox resume slow-1' in glovebox('status', 'last').stdout
    assert glovebox('resume', 'last', status=None).returncode == 0
    assert state_of(glovebox) == 'succeeded'


def test_cancel_a_task(glovebox):
    glovebox('run', '--detach', glovebox.pipeline(ENDLESS))
    wait_for(lambda: glovebox('status', 'last', '--json').json['tasks']['running'] == 1)
    answer = glovebox('cancel', 'last', 'sleep', '--json').json
    assert answer == {'run': 'endless-1', 'command': 'cancel', 'where': 'sleep'}
    wait_for(lambda: state_of(glovebox) in ('failed', 'cancelled'))
    task = glovebox('tasks', 'last', '--json').json
    assert task['cause'] == 'cancelled'


@pytest.mark.parametrize('number, status', [(signal.SIGINT, 130), (signal.SIGTERM, 143),
                                            (signal.SIGHUP, 129)])
def test_a_signal_leaves_the_run(glovebox, number, status):
    running = glovebox.start('run', glovebox.pipeline(SLOW))
    wait_for(lambda: glovebox('runs', '-q').stdout and
             glovebox('status', 'last', '--json').json['tasks']['running'] == 1)
    running.send_signal(number)
    _, said = running.communicate(timeout=10)
    assert running.returncode == status
    assert 'glovebox resume slow-1' in said and 'glovebox cancel slow-1' in said
    assert 'nobody drives it' in glovebox('status', 'last').stdout
    glovebox('resume', 'last')
    tasks = glovebox('tasks', 'last', '--json').json_lines
    assert [task['attempts'] for task in tasks] == [1, 1]


def blocks_signal(pid, number):
    """Whether it asks for the signal itself, once in each turn."""
    with open('/proc/%d/status' % pid, encoding='ascii') as status:
        return int(re.search(r'^SigBlk:\s*(\w+)', status.read(), re.M)[1], 16) >> number - 1 & 1


def test_a_follower_that_leaves_says_who_goes_on(glovebox):
    glovebox('run', '--detach', glovebox.pipeline(ENDLESS))
    wait_for(lambda: glovebox('status', 'last', '--json').json['tasks']['running'] == 1)
    follower = glovebox.start('resume', '--follow', 'last')
    wait_for(lambda: blocks_signal(follower.pid, signal.SIGINT))
    follower.send_signal(signal.SIGINT)
    _, said = follower.communicate(timeout=10)
    assert follower.returncode == 130
    assert 'another program drives this home and goes on with it' in said
    assert 'nothing new starts' not in said and 'glovebox status --follow endless-1' in said
    assert state_of(glovebox) == 'running'
    glovebox('cancel', 'last')
    wait_for(lambda: state_of(glovebox) == 'cancelled')


# -------------------------------------------------------------------------- house

def test_remove(glovebox):
    pipeline = glovebox.pipeline(FAN)
    glovebox('run', pipeline)
    folder = glovebox.home / 'runs' / 'fan-1'
    done = glovebox('rm', 'last', status=2)
    assert '--yes' in done.stderr and folder.exists()
    assert glovebox('rm', 'last', '--dry-run', '--json').json['dry_run'] is True
    assert folder.exists()
    glovebox('rm', 'last', '--yes')
    assert not folder.exists() and glovebox('runs', '-q').stdout == ''


def test_a_run_that_goes_on_is_not_removed(glovebox):
    glovebox('run', '--detach', glovebox.pipeline(ENDLESS))
    wait_for(lambda: glovebox('status', 'last', '--json').json['tasks']['running'] == 1)
    glovebox('rm', 'last', '--yes', status=1)
    assert glovebox('runs', '-q').stdout == 'endless-1\n'


def test_gc(glovebox):
    pipeline = glovebox.pipeline(FAN)
    glovebox('run', pipeline)
    would = glovebox('gc', '--older-than', '0', '--dry-run', '--json').json
    assert would['dry_run'] is True and would['results'] > 0
    did = glovebox('gc', '--older-than', '0', '--json').json
    assert did['results'] == would['results']
    assert glovebox('gc', '--older-than', '0', '--json').json['results'] == 0
    # What is needed again is made again.
    tasks = glovebox('run', pipeline, '--json').json['tasks']
    assert tasks['reused'] + tasks['succeeded'] == 5


def test_doctor(glovebox):
    answer = glovebox('doctor', '--json', status=None).json
    checks = {check['name']: check for check in answer['checks']}
    assert {'namespaces', 'home', 'space', 'clock', 'tools'} <= set(checks)
    for check in checks.values():
        assert check['verdict'] in ('ok', 'limited', 'missing') and check['finding']
    missing = [name for name, check in checks.items() if check['verdict'] == 'missing']
    assert answer['ready'] == (not missing)
    assert glovebox('doctor', status=None).returncode == (1 if missing else 0)
    assert not glovebox.home.exists()


def test_root_without_mapped_owners_is_told(glovebox):
    """ramfs cannot map owners: tasks of root run as uid 0 there, which must be no secret."""
    def inside(*arguments):
        return subprocess.run(
            ['unshare', '--mount', 'sh', '-c',
             'mount -t ramfs none "$0" && "$@" && cat "$0"/runs/*/tasks.jsonl', glovebox.home,
             *arguments], env=glovebox.environment, text=True, capture_output=True, timeout=60,
            cwd=glovebox.folder, check=False)
    glovebox.home.mkdir()
    if os.geteuid() != 0 or inside('true').stderr.startswith(('unshare', 'mount')):
        pytest.skip('only root in a mount namespace of its own can try this')
    pipeline = glovebox.pipeline('name: who\nsteps:\n  - {id: x, command: id -u}\n')
    script = '"$0" run "$1" && "$0" logs last x && "$0" doctor --json'
    done = inside('sh', '-c', script, glovebox.binary, pipeline)
    assert done.returncode == 0, done.stderr
    assert 'tasks run as uid 0, without capabilities' in done.stderr
    assert '\n0\n' in done.stdout and 'tasks run as root (uid 0)' in done.stdout
    assert 'uid 0 (no mapped owners to be had)' in done.stdout.splitlines()[-1]


def test_tool(glovebox):
    listed = glovebox('tool', '-q').stdout.split()
    assert 'dicom-tags' in listed and 'classify' in listed
    assert [tool['name'] for tool in glovebox('--json', 'tool').json] == listed
    assert glovebox('tool', 'dicom-tags', '--help').stdout.startswith('Usage: glovebox tool')
    glovebox('tool', 'dicom-tags', status=2)


# ----------------------------------------------------------------------- terminal

def on_terminal(glovebox, arguments, rows=24, columns=80, env=None, resize=None):
    """Runs on a terminal of its own; returns the exit status and all that was written."""
    leader, follower = pty.openpty()

    def set_size(height, width):
        import fcntl
        import termios
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack('HHHH', height, width, 0, 0))
    set_size(rows, columns)
    environment = {**glovebox.environment, 'TERM': 'xterm', **(env or {})}
    child = subprocess.Popen([str(glovebox.binary), *map(str, arguments)], stdin=follower,
                             stdout=follower, stderr=follower, cwd=glovebox.folder,
                             env=environment, start_new_session=True)
    written, end = b'', time.monotonic() + 60
    while time.monotonic() < end:
        if select.select([leader], [], [], 0.05)[0]:
            written += os.read(leader, 65536)
        elif child.poll() is not None:
            break
        if resize and b'\x1b[J' in written:
            set_size(*resize)
            resize = None
    os.close(follower)
    os.close(leader)
    return child.wait(10), written.decode().replace('\r\n', '\n')


def frames_of(written):
    """The blocks that stood on the terminal, one after another."""
    return [re.sub(r'\x1b\[\d+A\r$', '', frame) for frame in written.split('\x1b[J')[1:]]


def plain(text):
    return re.sub(r'\x1b\[[0-9;]*m', '', text)


def test_live_progress(glovebox):
    status, written = on_terminal(glovebox, ['run', glovebox.pipeline(FAN)])
    frames = frames_of(written)
    assert status == 0 and len(frames) >= 2
    last = plain(frames[-1])
    assert re.search(r'✓ make +█+ +1/1', last) and re.search(r'✓ work +█+ +3/3', last)
    assert 'fan-1 succeeded in' in last
    assert '\x1b[32m' in written
    for frame in frames[:-1]:
        assert len(frame.splitlines()) < 24
        assert max(map(len, plain(frame).splitlines())) < 80


def test_live_progress_without_colour(glovebox):
    written = on_terminal(glovebox, ['run', glovebox.pipeline(FAN)], env={'NO_COLOR': '1'})[1]
    assert '\x1b[J' in written and not re.search(r'\x1b\[[0-9;]*m', written)


def test_live_progress_in_ascii(glovebox):
    written = on_terminal(glovebox, ['run', glovebox.pipeline(FAN)], env={'LC_ALL': 'C'})[1]
    assert '+ make' in plain(written) and '####' in plain(written)
    assert written.isascii()


def test_a_dumb_terminal_gets_lines(glovebox):
    written = on_terminal(glovebox, ['run', glovebox.pipeline(FAN)], env={'TERM': 'dumb'})[1]
    assert '\x1b' not in written and 'work@p1  succeeded' in written


def test_live_progress_follows_a_resize(glovebox):
    pipeline = glovebox.pipeline(SLOW)
    status, written = on_terminal(glovebox, ['run', pipeline], rows=30, columns=120,
                                  resize=(6, 40))
    assert status == 0
    frame = plain(frames_of(written)[-1]).split('slow-1 succeeded')[0]
    assert len(frame.splitlines()) <= 5 and max(map(len, frame.splitlines())) < 40


def test_many_partitions_are_told_by_tenths(glovebox):
    done = glovebox('run', glovebox.pipeline('''
name: many
steps:
  - id: make
    command: for i in $(seq 60); do mkdir /out/$i; done
  - id: work
    foreach: {directories: make}
    command: "true"
'''), status=None)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if '  work' in line]
    assert 1 <= len(lines) <= 11
    assert re.fullmatch(r'\d\d:\d\d:\d\d  work  60 of 60 done', lines[-1])
