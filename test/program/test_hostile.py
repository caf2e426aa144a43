"""Guests that want out: each attempt a task, as a program of the host and as an image, as root and as
an ordinary user, and as an image that may change user. Each fails or is bounded, says why, the run goes on, and nothing of the host changes."""
import os
import pathlib
import shutil
import socket
import stat
import subprocess

import pytest

from container_support import (containers, ordinary_containers,  # noqa: F401 (fixtures)
                               ranged_containers, root_containers)
from engine_support import processes_with

# Of each attempt: what it runs, what else its step says, the cause of its failure ('' where it ends
# well, bounded), and what its log says.
ATTEMPTS = {
    'write_inputs': ('echo x >/in/file', '', 'exit', 'Read-only'),
    'write_above': ('echo x >/out/../../x', '', 'exit', 'Read-only'),
    'remove_inputs': ('rm -f /in/file /in', '', 'exit', ''),
    'planted_link': ('ln -s %(secret)s /out/link; cat /out/link; ln -s / /out/root; ls /out/root%(home)s',
                     '', 'exit', 'No such file'),
    'link_above': ('ln -s ../../../glovebox.db /out/link; cat /out/link || echo kept inside', '', '', 'kept inside'),
    'device': ('mknod /out/null c 1 3', '', 'exit', 'not permitted'),
    'fifo': ('mkfifo /out/fifo', '', 'output', ''),
    'set_uid': ('cp /in/probe /out/sh && chmod 4755 /out/sh', '', 'exit', 'not permitted'),
    'set_gid': ('cp /in/probe /out/sh && chmod 2755 /out/sh', '', 'output', ''),
    'fake_exit': ('for f in exit status ../exit journal; do echo 0 >/out/$f; done; exit 9', '', 'exit', ''),
    'fork': ('i=0; while [ $i -lt 300 ]; do sleep 600 & i=$((i+1)); done; echo no end',
             'resources: {processes: 40}', 'exit', ''),
    'fill_scratch': ('head -c 50000000 /dev/zero >/tmp/x', 'resources: {scratch: 10m}', 'exit', 'head:'),
    'fill_shared': ('head -c 50000000 /dev/zero >/dev/shm/x', 'resources: {shm: 10m}', 'exit', 'head:'),
    'fill_output': ('i=0; while :; do i=$((i+1)); head -c 1000000 /dev/zero >/out/$i; done',
                    'resources: {output: 20m}', 'output', ''),
    'many_files': ('i=0; while :; do i=$((i+1)); mkdir -p /out/$((i%%2000)); done', 'resources: {files: 300}',
                   'output', ''),
    'long_log': ('i=0; while [ $i -lt 15 ]; do i=$((i+1)); head -c 10000000 /dev/zero; done', '', '', ''),
    'deaf': ("trap '' TERM INT HUP; while :; do sleep 0.1; done", 'timeout: 1s', 'timeout', ''),
    'leave_a_daemon': ('setsid sleep 87654 >/dev/null 2>&1 & echo gone', '', '', 'gone'),
    'kill_all': ('kill -9 -1; kill -9 1; sleep 0.1; echo alive', '', None, ''),
    'probe': ('exec /in/probe %(secret)s %(port)d /in /out %(users)s', '', '', 'done'),
}
# What an image that may change user tries besides.
USERS = {
    'other_set_uid': ('cp /in/probe /out/sh && chown 33 /out/sh && chmod 4755 /out/sh', '', 'exit', 'not permitted'),
    'other_set_gid': ('cp /in/probe /out/sh && chown 33:33 /out/sh && chmod 2755 /out/sh', '', '', ''),
    'given_away': ('mkdir -p /out/a/b; chown -R 33:33 /out; chmod 700 /out/a/b; chown 7:7 /dev/stdout', '', '', ''),
    'link_for_the_walk': ('ln -s %(home)s /out/link; chown -h 33:33 /out/link; mkdir /out/d; '
                          'chown 33:33 /out/d; ln -s %(secret)s /out/d/l; chown -h 1:1 /out/d/l', '', '', ''),
    'fifo_for_the_walk': ('mkfifo /out/fifo; chown 33:33 /out/fifo', '', 'output', ''),
    'deep': ('cd /out; i=0; while [ $i -lt 400 ]; do mkdir d; chown 33:33 d; cd d; i=$((i+1)); done', '', None, ''),
    'many_given': ('i=0; while [ $i -lt 400 ]; do i=$((i+1)); mkdir /out/$i; chown 33:33 /out/$i; done',
                   'resources: {files: 300}', 'output', ''),
    'inputs_given': ('chown 33 /in/file', '', 'exit', 'Read-only'),
    'other_fork': ('su -s /bin/sh nobody -c "while :; do sleep 600 & done" & '
                   'i=0; while [ $i -lt 300 ]; do sleep 600 & i=$((i+1)); done; echo no end',
                   'resources: {processes: 40}', 'exit', ''),
    'other_deaf': ('exec su -s /bin/sh nobody -c "trap : TERM INT HUP; while :; do sleep 0.1; done"', 'timeout: 1s',
                   'timeout', ''),
    'other_daemon': ('su -s /bin/sh nobody -c "setsid sleep 87654 >/dev/null 2>&1 &"; echo gone', '', '', 'gone'),
}
DETAILS = {'fork': 'it reached its limit of 40 processes', 'fill_output': 'beyond the bytes', 'many_files': 'beyond the files'}


def pipeline(image, facts, attempts):
    lines = ['name: hostile', 'inputs: {data: {type: directory}}', 'steps:']
    for name, (script, more, _, _) in attempts.items():
        lines += ['  - id: %s' % name, '    in: inputs.data', '    on_failure: continue',
                  '    command: [sh, -c, %s]' % quoted(script % facts)]
        lines += ['    image: %s' % image] if image else []
        lines += ['    users: image'] if facts['users'] else []
        lines += ['    ' + more] if more else []
    lines += ['  - id: last', '    needs: [%s]' % ', '.join(attempts), '    trigger_rule: all_done',
              '    command: [sh, -c, "echo still here"]']
    return '\n'.join(lines) + '\n'


def quoted(text):
    return '"%s"' % text.replace('\\', '\\\\').replace('"', '\\"').replace('$', '$')


def fingerprint(lab):
    """What must be the same afterwards."""
    mounts = [line for line in pathlib.Path('/proc/self/mountinfo').read_text().splitlines()
              if str(lab.folder) in line or 'overlay' in line]
    devices = [(name, os.stat(name).st_mode, os.stat(name).st_uid) for name in ('/dev/null', '/dev/zero', '/tmp')]
    found = subprocess.run(['find', str(lab.folder / 'data'), '-printf', '%p %m %U %s\n'], check=True,
                           capture_output=True).stdout
    return mounts, devices, found, sorted(os.listdir('/')), sorted(os.listdir('/etc'))


def check(name, lab, attempts):
    _, _, cause, said = attempts[name]
    task = lab.record()[name]
    attempt = task['attempts'][-1]
    log = lab.glovebox('logs', 'last', name, status=None).stdout
    told = '%s: %s\n%s' % (name, attempt, log[-2000:])
    if cause is not None:
        assert attempt['cause'] == cause, told
    assert said in log, told
    assert DETAILS.get(name, '') in str(attempt), told
    assert not [line for line in log.splitlines() if 'POSSIBLE' in line or 'no end' in line], told[:600]


def attack(lab, image, users=False):
    attempts = dict(ATTEMPTS, **USERS) if users else ATTEMPTS
    probe = lab.glovebox.binary.parent / 'test/unit/compute/hostile'
    built = pathlib.Path(os.environ.get('HOSTILE', probe))
    if not built.exists():
        built = pathlib.Path(__file__).resolve().parents[2] / 'build/test/unit/compute/hostile'
    if not built.exists():
        pytest.skip('test/unit/compute/hostile is not built beside the program')
    folder = lab.data({'file': 'x\n'})
    shutil.copy(built, folder / 'probe')
    for path in (folder, *folder.rglob('*')):
        os.chown(path, *lab.owner)
    before = fingerprint(lab)
    with socket.create_server(('127.0.0.1', 0)) as listener:
        facts = {'secret': lab.home / 'glovebox.db', 'home': lab.home, 'port': listener.getsockname()[1],
                 'users': 'users' if users else ''}
        lab.run(pipeline(image, facts, attempts), '-i', 'data=%s' % folder, status=1, timeout=110)
    assert lab.log('last') == 'still here\n'
    for name in attempts:
        check(name, lab, attempts)
    assert fingerprint(lab) == before
    assert not processes_with('87654') and not processes_with('sleep 600')
    assert not os.path.exists('/x') and not os.path.exists('/exit')
    for path in lab.home.rglob('*'):
        if not path.is_symlink() and 'roots' not in path.parts:
            assert not path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID) or path.is_dir(), path
    for path in lab.home.rglob('*'):
        assert (path.lstat().st_uid, path.lstat().st_gid) == lab.owner, path
    assert not list((lab.home / 'work').iterdir()) and not list(lab.home.glob('compute/process/users/*'))
    log = max(path.lstat().st_blocks * 512 for path in lab.home.rglob('*') if path.is_file())
    assert log < 200 << 20


@pytest.mark.slow
def test_programs_as_root(containers):  # noqa: F811
    attack(containers, None)


@pytest.mark.slow
def test_images_as_root(containers):  # noqa: F811
    containers.load('busybox', 'glovebox.test/guest:1')
    attack(containers, 'glovebox.test/guest:1')


@pytest.mark.slow
def test_programs_of_an_ordinary_user(ordinary_containers):  # noqa: F811
    attack(ordinary_containers, None)


@pytest.mark.slow
def test_images_of_an_ordinary_user(ordinary_containers):  # noqa: F811
    lab = ordinary_containers
    archive = lab.build('busybox', 'glovebox.test/guest:1')
    os.chown(archive, *lab.owner)
    lab.glovebox('image', 'load', archive)
    attack(lab, 'glovebox.test/guest:1')


@pytest.mark.slow
def test_images_that_change_user_as_root(root_containers):  # noqa: F811
    root_containers.load('busybox', 'glovebox.test/guest:1')
    root_containers.policy(allow_image_users=True)
    attack(root_containers, 'glovebox.test/guest:1', True)


@pytest.mark.slow
def test_images_that_change_user_of_an_ordinary_user(ranged_containers):  # noqa: F811
    lab = ranged_containers
    archive = lab.build('busybox', 'glovebox.test/guest:1')
    os.chown(archive, *lab.owner)
    lab.glovebox('image', 'load', archive)
    lab.policy(allow_image_users=True)
    os.chown(lab.home / 'policy.json', *lab.owner)
    attack(lab, 'glovebox.test/guest:1', True)
