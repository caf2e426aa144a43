"""Every mistake is answered well: a message that says what to do, the right exit status, nothing
lost, no crash.

test/bad-input has a folder for each mistake that files can hold: pipeline.yaml alone is checked;
a file `command` says how glovebox is called instead. expected.txt has what is said on standard
error, after the exit status where there is a command. UPDATE_EXPECTED=1 writes it anew: look at
the difference. What needs setting up stands in the table below.
"""
import os
import pathlib
import re
import shlex
import shutil
import socket
import sqlite3
import stat
import subprocess
import tempfile

import pytest

from engine_support import lab, wait_until  # noqa: F401

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = sorted(path.parent for path in (ROOT / 'test/bad-input').glob('*/pipeline.yaml'))
CHECKED = [path for path in FOLDERS if not (path / 'command').exists()]
CALLED = [path for path in FOLDERS if (path / 'command').exists()]
CRASH = ('Sanitizer', 'runtime error', 'Segmentation', 'core dumped', 'Assertion')


def name(folder):
    return folder.name


@pytest.mark.parametrize('folder', CHECKED, ids=name)
def test_check(glovebox, folder):
    """The same answers from the program as from the library, which is given tools of its own."""
    done = glovebox('check', 'pipeline.yaml', status=3, cwd=folder)
    assert done.stdout == ''
    for line in (folder / 'expected.txt').read_text().splitlines():
        if 'error:' in line and 'tool' not in line and 'container' not in line:
            assert line in done.stderr


@pytest.mark.parametrize('folder', CALLED, ids=name)
def test_call(glovebox, folder):
    for path in folder.iterdir():
        shutil.copy(path, glovebox.folder)
    done = glovebox(*shlex.split((folder / 'command').read_text()), status=None)
    said = done.stderr.replace(str(glovebox.home), 'HOME').replace(str(glovebox.folder), 'HERE')
    answer = 'exit %d\n%s' % (done.returncode, said)
    if os.environ.get('UPDATE_EXPECTED'):
        (folder / 'expected.txt').write_text(answer)
    assert answer == (folder / 'expected.txt').read_text()
    assert done.returncode in (1, 2, 3) and 'error: ' in answer or 'failed\n' in answer
    assert not any(word in answer for word in CRASH)
    assert 'Smi' not in answer and 'ller' not in answer, 'patient data'


def test_there_are_many():
    assert len(CHECKED) > 60 and len(CALLED) > 45


# ------------------------------------------------------- what needs setting up

FAN = '''name: fan
inputs: {data: {type: directory}}
steps:
  - {id: a, foreach: {directories: inputs.data}, command: 'cat /in/* > /out/x'}
'''
WHOLE = '''name: whole
inputs: {data: {type: directory}}
steps:
  - {id: a, in: inputs.data, command: 'cat /in/x > /out/x'}
'''
TABLE = '''name: table
inputs: {data: {type: directory}}
steps:
  - {id: a, foreach: {csv: inputs.data/list.csv, key: id}, command: 'true'}
'''
HELLO = 'name: hello\nsteps:\n  - {id: a, command: "echo hello > /out/x"}\n'


def large_pipeline(lab):
    with open(lab.folder / 'pipeline.yaml', 'wb') as file:
        file.write(HELLO.encode() + b'# ')
        file.truncate(50 << 20)


def large_list(lab):
    with open(lab.folder / 'pipeline.yaml', 'w', encoding='ascii') as file:
        file.write(HELLO)
        for number in range(200000):
            file.write('  - {id: s%d, command: "true"}\n' % number)


def bomb(lab):
    """A billion laughs, by lists and by merges."""
    lines = ['x-a: &a {k: laugh}']
    for before, name in zip('abcdefghi', 'bcdefghij'):
        lines.append('x-%s: &%s [%s]' % (name, name, ', '.join(['*' + before] * 10)))
    lab.glovebox.pipeline('\n'.join(lines) + '\nsteps: *j\n')


def nothing(lab):
    lab.glovebox.pipeline(HELLO)


def fifo(lab):
    lab.data({'x': 'x', 'p/x': 'x'})
    os.mkfifo(lab.folder / 'data' / 'pipe')
    socket.socket(socket.AF_UNIX).bind(str(lab.folder / 'data' / 'socket'))


def fifo_for_table(lab):
    lab.data({})
    os.mkfifo(lab.folder / 'data' / 'list.csv')


def device_for_table(lab):
    lab.data({})
    os.mknod(lab.folder / 'data' / 'list.csv', 0o666 | stat.S_IFCHR, os.makedev(1, 5))


def folder_for_table(lab):
    lab.data({'list.csv/x': 'x'})


def link_to_itself(lab):
    (lab.folder / 'data').symlink_to('data')


def links_in_a_circle(lab):
    lab.data({'p/x': 'x'})
    (lab.folder / 'data' / 'x').symlink_to('y')
    (lab.folder / 'data' / 'y').symlink_to('x')


def deep(lab):
    folder = lab.data({})
    for _ in range(70):
        folder = folder / 'd'
        folder.mkdir()


def not_utf8(lab):
    os.mkdir(os.fsencode(lab.data({})) + b'/M\xfcller')


def long_names(lab):
    """Names of 250 bytes, four levels deep: each is allowed, together they are too long."""
    folder = lab.data({})
    for letter in 'abcde':
        folder = folder / (letter * 250)
        folder.mkdir()


def home_is_a_file(lab):
    lab.glovebox.pipeline(HELLO)
    lab.home.write_text('')


def home_is_newer(lab):
    lab.run(HELLO)
    database = sqlite3.connect(lab.home / 'glovebox.db')
    database.execute('PRAGMA user_version = 9999')
    database.commit()
    database.close()


def policy(text):
    def make(lab):
        lab.glovebox.pipeline(HELLO)
        lab.home.mkdir(mode=0o700)
        (lab.home / 'policy.json').write_text(text)
    return make


def policy_is_a_folder(lab):
    lab.glovebox.pipeline(HELLO)
    (lab.home / 'policy.json').mkdir(parents=True)


def file_as_output(lab):
    lab.glovebox.pipeline(HELLO)
    (lab.folder / 'file').write_text('mine')


DATA = ['run', '--quiet', 'pipeline.yaml', '-i', 'data=data']
# name: pipeline (None: the set-up writes it), set-up, command, exit status, words on stderr
CASES = {
    '50-MB-file': (None, large_pipeline, ['check', 'pipeline.yaml'], 3, ['larger than', 'hint']),
    'too-many-steps': (None, large_list, ['check', 'pipeline.yaml'], 3, ['more than', 'error']),
    'bomb': (None, bomb, ['check', 'pipeline.yaml'], 3, ['aliases written out', 'hint']),
    'fifo-in-a-folder': (FAN, fifo, DATA, 0, ['warning: data', ': 2', 'hint']),
    'fifo-as-table': (TABLE, fifo_for_table, DATA, 1, ['list.csv is not a file', 'hint']),
    'device-as-table': (TABLE, device_for_table, DATA, 1, ['list.csv is not a file', 'hint']),
    'folder-as-table': (TABLE, folder_for_table, DATA, 1, ['list.csv is not a file', 'hint']),
    'no-table': (TABLE, lambda lab: lab.data({'x': ''}), DATA, 1, ['list.csv', 'No such file']),
    'device-as-input': (FAN, lambda lab: None, [*DATA[:-1], 'data=/dev/zero'], 3, ['not a directory']),
    'link-to-itself': (WHOLE, link_to_itself, DATA, 3, ['Too many levels', 'hint']),
    'links-in-a-circle': (WHOLE, links_in_a_circle, DATA, 1, ['failed', 'a: exit']),
    'too-deep': (FAN, deep, DATA, 1, ['deeper than 64', 'hint']),
    'name-not-utf8': (FAN, not_utf8, DATA, 1, ['not UTF-8', 'hint']),
    'long-path-of-names': (FAN.replace('inputs.data}', 'inputs.data, depth: 5}'), long_names, DATA,
                           1, ['longer than 1000', 'hint']),
    'home-is-a-file': (None, home_is_a_file, ['run', 'pipeline.yaml'], 1, ['home']),
    'home-is-newer': (None, home_is_newer, ['run', 'pipeline.yaml'], 1, ['newer', 'hint']),
    'ask-newer-home': (None, home_is_newer, ['status', 'last'], 1, ['newer', 'hint']),
    'home-below-a-file': (None, nothing, ['run', 'pipeline.yaml', '--home', 'pipeline.yaml/h'], 1,
                          ['pipeline.yaml/h', 'Not a directory']),
    'home-in-proc': (None, nothing, ['run', 'pipeline.yaml', '--home', '/proc/home'], 1,
                     ['/proc/home']),
    'home-too-long': (None, nothing, ['run', 'pipeline.yaml', '--home', 'h' * 300], 1,
                      ['File name too long']),
    'policy-cut': (None, policy('{"allow_box_off": '), ['run', 'pipeline.yaml'], 1,
                   ['policy.json', 'not JSON', 'hint']),
    'policy-word': (None, policy('{"allow_box_of": true}'), ['run', 'pipeline.yaml'], 1,
                    ['allow_box_of', 'did you mean']),
    'policy-folder': (None, policy_is_a_folder, ['run', 'pipeline.yaml'], 1, ['policy.json']),
    'output-is-a-file': (HELLO + 'outputs: {x: a/x}\n', file_as_output,
                         ['run', 'pipeline.yaml', '-o', 'file'], 3, ['file']),
}


@pytest.mark.parametrize('case', CASES)
def test_case(lab, case):
    text, prepare, command, status, words = CASES[case]
    if text:
        lab.glovebox.pipeline(text)
    prepare(lab)
    done = lab.glovebox(*command, status=None, timeout=60)
    if lab.home.is_file():
        lab.home.unlink()
    assert done.returncode == status, done
    for word in words:
        assert word in done.stderr, done.stderr
    assert not any(word in done.stderr for word in CRASH)
    assert len(done.stderr) < 20000 and 'ller' not in done.stderr


# ----------------------------------------------------- what happens meanwhile

SLOW = '''name: slow
inputs: {data: {type: directory}, judge: {type: directory, writable: true}}
outputs: {x: a/x}
steps:
  - id: a
    in: inputs.data
    mounts: [{name: judge, path: /judge, from: inputs.judge, writable: true}]
    command: 'cp /in/x /out/x; touch /judge/began; while [ ! -e /judge/end ]; do sleep 0.02; done'
'''


def change(path):
    path.write_text('two')


def grow(path):
    with open(path, 'a', encoding='ascii') as file:
        file.write('more')


def swap(path):
    path.unlink()
    path.symlink_to('/etc/passwd')


@pytest.mark.parametrize('what', [change, grow, pathlib.Path.unlink, swap])
def test_an_input_that_changes_while_it_is_read(lab, what):
    """What was made of it is not kept under the name of what it was, and a retry makes it well."""
    data, judge = lab.data({'x': 'one', 'y': 'y'}), lab.judge()
    program = lab.start(SLOW, '-i', 'data=%s' % data, '-i', 'judge=%s' % judge, '--quiet')
    wait_until((judge / 'began').exists)
    what(data / 'x')
    (judge / 'end').touch()
    _, said = program.communicate(timeout=60)
    assert program.returncode == 1 and 'changed while the run read it' in said, said
    (data / 'x').unlink(missing_ok=True)
    (data / 'x').write_text('three')
    lab.glovebox('retry', 'last')
    assert lab.state() == 'succeeded' and lab.output('a', 'x') == 'three'


USER = 65533  # nobody in particular


def test_a_folder_that_this_user_may_not_read(glovebox, tmp_path):
    """Tests run as root, whom no mode stops: so as somebody else."""
    if os.getuid() != 0:
        pytest.skip('the tests run as an ordinary user: the program cannot be run as another')
    with tempfile.TemporaryDirectory(prefix='glovebox-unreadable-') as name:
        folder = pathlib.Path(name)
        for program in ('glovebox', 'glovebox-keeper'):
            shutil.copy(glovebox.binary.parent / program, folder / program)
        (folder / 'data' / 'open').mkdir(parents=True)
        (folder / 'data' / 'closed').mkdir()
        (folder / 'pipeline.yaml').write_text(FAN)
        for path in [folder, *folder.rglob('*')]:
            os.chown(path, USER, USER)

        def run(path, *command):
            return subprocess.run(
                ['setpriv', '--reuid=%d' % USER, '--regid=%d' % USER, '--clear-groups',
                 '--inh-caps=-all', folder / 'glovebox', *command, '--home', folder / path],
                text=True, stdin=subprocess.DEVNULL, capture_output=True, cwd=folder, timeout=60,
                check=False, env={'PATH': os.environ['PATH'], 'HOME': name, 'TERM': 'dumb'})

        for mode, part, status, words in [
                (0o000, 'data/closed', 1, ['Permission denied', 'data']),
                (0o000, 'data', 3, ['cannot be read by this user', 'hint']),
                (0o400, 'data', 3, ['cannot be read by this user', 'hint']),
                (0o000, 'pipeline.yaml', 3, ['Permission denied', 'hint'])]:
            (folder / part).chmod(mode)
            done = run('home', 'run', '--quiet', 'pipeline.yaml', '-i', 'data=data')
            assert done.returncode == status, (part, done)
            assert all(word in done.stderr for word in words), (part, done)
            (folder / part).chmod(0o755)
        shutil.rmtree(folder / 'data' / 'closed')
        (folder / 'data' / 'open' / 'x').write_text('x')
        assert run('home', 'run', '--quiet', 'pipeline.yaml', '-i', 'data=data').returncode == 0
        (folder / 'home').chmod(0o500)
        (folder / 'closed').mkdir(mode=0o700)
        for path, command in [('home', ['run', 'pipeline.yaml', '-i', 'data=data']),
                              ('closed/home', ['run', 'pipeline.yaml', '-i', 'data=data'])]:
            done = run(path, *command)
            assert done.returncode == 1 and str(path) in done.stderr, done
        (folder / 'home').chmod(0o700)


CLOCK = '''
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *ret) {
    char text[32] = "";
    int result = (int)syscall(SYS_clock_gettime, id, ret);
    int fd = id == CLOCK_REALTIME ? open(getenv("CLOCK_FILE"), O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0)
        ret->tv_sec += atoi(text);
    if (fd >= 0)
        close(fd);
    return result;
}
'''


def test_a_clock_that_is_set_back(lab):
    """By hours, while a run runs, sleeps and tries again: it goes on, no time is negative, and the
    order of what happened stays."""
    (lab.folder / 'clock.c').write_text(CLOCK)
    subprocess.run(['cc', '-shared', '-fPIC', '-o', lab.folder / 'clock.so',
                    lab.folder / 'clock.c'], check=True)
    clock = lab.folder / 'offset'
    clock.write_text('36000')
    environment = {'LD_PRELOAD': str(lab.folder / 'clock.so'), 'CLOCK_FILE': str(clock),
                   'ASAN_OPTIONS': 'verify_asan_link_order=0'}
    judge = lab.judge()
    program = lab.start('''
name: clock
inputs: {judge: {type: directory, writable: true}}
steps:
  - {id: first, command: 'true'}
  - {id: sleep, type: wait, for: 3s, needs: first}
  - id: again
    needs: first
    retries: {count: 2, backoff: 2s}
    mounts: [{name: judge, path: /judge, from: inputs.judge, writable: true}]
    command: 'echo x >> /judge/log; [ $(wc -l < /judge/log) -ge 2 ]'
  - id: hold
    mounts: [{name: judge, path: /judge, from: inputs.judge, writable: true}]
    command: 'while [ ! -e /judge/end ]; do sleep 0.02; done'
''', '-i', 'judge=%s' % judge, env=environment)
    wait_until(lambda: lab.newest() and {'sleeping'} <= set(lab.states().values()))
    clock.write_text('0')
    wait_until(lambda: lab.states()['sleep'] == lab.states()['again'] == 'succeeded', 60)
    (judge / 'end').touch()
    _, said = program.communicate(timeout=60)
    assert program.returncode == 0, said
    record = lab.record()
    for task in [lab.run_record(), *record.values(),
                 *[attempt for task in record.values() for attempt in task.get('attempts', [])]]:
        assert task['started'] is None or task['ended'] >= task['started'], task
    for command in (['status', 'last'], ['tasks', 'last'], ['runs'], ['why', 'last', 'again']):
        assert '-' not in re.findall(r'-?[0-9.]+[smhd]\b', lab.glovebox(*command).stdout)
    lab.run(HELLO)
    assert [run['run'] for run in lab.glovebox('runs', '--json').json] == ['hello-2', 'clock-1']


def test_two_programs_on_one_home(lab):
    """Both want to drive: one does, the other follows; each task runs once; kill one, nothing is
    lost."""
    judge = lab.judge()
    text = '''
name: %s
inputs: {judge: {type: directory, writable: true}}
steps:
  - id: list
    command: 'echo "[1,2,3,4,5,6]" > /out/l'
  - id: each
    foreach: {json: list/l}
    cache: false
    mounts: [{name: judge, path: /judge, from: inputs.judge, writable: true}]
    command: 'echo %s ${item} >> /judge/log; sleep 0.2'
'''
    programs = []
    for name in ('one', 'two'):
        path = lab.glovebox.pipeline(text % (name, name), name + '.yaml')
        programs.append(lab.glovebox.start('run', path, '-i', 'judge=%s' % judge))
    wait_until(lambda: len(lab.judged()) >= 3)
    programs[0].kill()
    programs[0].communicate()
    assert programs[1].wait(60) == 0
    programs[1].communicate()
    runs = [run['run'] for run in lab.glovebox('runs', '--json').json]
    assert len(runs) == 2
    for run in runs:
        if lab.state(run) != 'succeeded':
            lab.glovebox('resume', run)
    assert sorted(lab.judged()) == sorted('%s %d' % (name, n) for name in ('one', 'two')
                                          for n in range(1, 7))
