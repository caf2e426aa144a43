"""The home: housekeeping, what lies in it, and what happens when it cannot be used."""
import os
import pathlib
import shutil
import sqlite3
import subprocess

import pytest

from engine_support import Lab, lab, wait_until  # noqa: F401

CHAIN = '''
name: chain
params: {tail: {default: "1"}}
inputs: {data: {type: directory}}
steps:
  - {id: a, foreach: {directories: inputs.data}, command: 'cp /in/f /out/a; head -c 100000 /dev/zero > /out/big'}
  - {id: b, foreach: a, in: a, command: 'cat /in/a /in/a > /out/b'}
  - {id: c, in: b, command: 'cat /in/*/b > /out/c; echo ${params.tail} >> /out/c'}
outputs: {c: c/c}
'''


@pytest.fixture
def chain(lab):
    data = lab.data({'s1/f': 'one\n', 's2/f': 'two\n'})
    lab.run(CHAIN, '-i', 'data=%s' % data)

    def again(*options, text=CHAIN):
        return lab.run(text, '-i', 'data=%s' % data, *options)
    return again


def kept(lab):
    """Bytes in results."""
    return sum(path.stat().st_size for path in (lab.home / 'results').rglob('*')
               if path.is_file() and path.name != 'manifest')


# -------------------------------------------------------------------------- gc


def test_a_dry_run_drops_nothing(lab, chain):
    before = kept(lab)
    done = lab.glovebox('gc', '--older-than', '0s', '--dry-run', '--json').json
    assert kept(lab) == before > 200000
    assert any(value and value >= 200000 for value in done.values() if isinstance(value, int))


def test_gc_drops_bytes_and_a_later_run_still_knows(lab, chain):
    record = lab.record()
    lab.glovebox('gc', '--older-than', '0s')
    assert kept(lab) == len('one\none\ntwo\ntwo\n1\n'), 'only what a run hands over'
    outputs = lab.home / 'runs' / 'chain-1' / 'outputs' / 'c'
    assert outputs.read_text() == 'one\none\ntwo\ntwo\n1\n', 'what was delivered stays'
    chain(text=CHAIN.replace('outputs: {c: c/c}', ''))
    assert lab.counts() == {'reused': 5} and kept(lab) < 100, 'nobody needs the bytes'
    assert lab.record()['a@s1']['output'] == record['a@s1']['output']


def test_what_a_run_hands_over_is_kept(lab, chain):
    lab.glovebox('gc', '--older-than', '0s')
    chain()
    assert lab.counts() == {'reused': 5}
    again = lab.home / 'runs' / 'chain-2' / 'outputs' / 'c'
    assert again.read_text() == 'one\none\ntwo\ntwo\n1\n'


def test_dropped_bytes_that_are_to_be_delivered(lab, chain):
    chain(text=CHAIN.replace('outputs: {c: c/c}', ''))
    lab.glovebox('rm', '--yes', 'chain-1')
    lab.glovebox('gc', '--older-than', '0s')
    assert kept(lab) == 0
    chain()
    assert lab.state() == 'succeeded'
    again = lab.home / 'runs' / 'chain-3' / 'outputs' / 'c'
    assert again.read_text() == 'one\none\ntwo\ntwo\n1\n'


def test_dropped_bytes_are_made_again_when_they_are_needed(lab, chain):
    lab.glovebox('gc', '--older-than', '0s')
    chain('-p', 'tail=2')
    assert lab.state() == 'succeeded'
    assert lab.output('c', 'c') == 'one\none\ntwo\ntwo\n2\n'
    assert (lab.home / 'runs' / 'chain-2' / 'outputs' / 'c').read_text() == \
        'one\none\ntwo\ntwo\n2\n'
    chain('-p', 'tail=2')
    assert lab.counts() == {'reused': 5}


def test_dropped_bytes_that_a_fan_lists(lab):
    text = '''
name: fan
params: {tail: {default: "1"}}
steps:
  - {id: split, command: 'for i in 1 2 3; do echo $i > /out/$i.t; done'}
  - {id: work, foreach: split/*.t, command: 'cat /in/* > /out/w; echo ${params.tail} >> /out/w'}
'''
    lab.run(text)
    lab.glovebox('gc', '--older-than', '0s')
    lab.run(text, '-p', 'tail=2')
    assert lab.state() == 'succeeded' and lab.output('work@2.t', 'w') == '2\n2\n'


def test_dropped_bytes_and_retry_of_an_old_run(lab):
    judge = lab.judge()
    text = '''
name: old
inputs: {judge: {type: directory, writable: true}}
steps:
  - {id: a, command: 'echo a > /out/a'}
  - id: b
    in: a
    mounts: [{name: judge, path: /judge, from: inputs.judge, writable: true}]
    command: '[ -e /judge/ok ] && cp /in/a /out/b'
'''
    run = lab.run(text, '-i', 'judge=%s' % judge, status=1)
    lab.glovebox('gc', '--older-than', '0s')
    (judge / 'ok').touch()
    lab.glovebox('retry', run)
    assert lab.state() == 'succeeded' and lab.output('b', 'b') == 'a\n'


def test_gc_keeps_what_is_young_when_asked(lab, chain):
    before = kept(lab)
    lab.glovebox('gc', '--older-than', '1h')
    lab.glovebox('gc')
    assert kept(lab) == before


def test_gc_keeps_what_a_waiting_run_stands_on(lab):
    run = lab.run('''
name: ask
steps:
  - {id: a, command: 'echo a > /out/a'}
  - {id: look, type: manual_approval, needs: a}
  - {id: b, in: a, needs: look, command: 'cp /in/a /out/b'}
''', status=4)
    lab.glovebox('gc', '--older-than', '0s')
    assert kept(lab) > 0
    lab.glovebox('decide', run, 'look', 'approve', '--no-resume')
    lab.glovebox('resume', run)
    assert lab.output('b', 'b') == 'a\n' and lab.tasks()['a']['attempts'] == 1


def test_gc_while_a_run_is_driven_is_refused(lab):
    program = lab.start('name: slow\nsteps:\n  - {id: a, command: sleep 5}\n')
    wait_until(lambda: lab.newest() and lab.states().get('a') == 'running')
    assert 'driven' in lab.glovebox('gc', '--older-than', '0s', status=1).stderr
    lab.glovebox('cancel', 'last')
    program.communicate(timeout=20)


def test_results_that_somebody_deleted(lab, chain):
    """By hand, behind our back: the work is done again."""
    shutil.rmtree(lab.home / 'results')
    (lab.home / 'results').mkdir()
    chain('-p', 'tail=3')
    assert lab.state() == 'succeeded'
    assert lab.output('c', 'c') == 'one\none\ntwo\ntwo\n3\n'


# -------------------------------------------------------------------------- rm


def test_rm(lab, chain):
    chain()
    lab.glovebox('rm', '--yes', 'chain-1')
    assert [run['run'] for run in lab.glovebox('runs', '--json').json] == ['chain-2']
    assert not (lab.home / 'runs' / 'chain-1').exists()
    assert lab.glovebox('status', 'chain-1', status=1).stderr
    chain()
    assert lab.newest() == 'chain-3' and lab.counts() == {'reused': 5}


def test_rm_of_a_run_under_way_is_refused(lab):
    program = lab.start('name: slow\nsteps:\n  - {id: a, command: sleep 5}\n')
    wait_until(lambda: lab.newest() and lab.states().get('a') == 'running')
    lab.glovebox('rm', '--yes', 'last', status=1)
    assert lab.newest()
    lab.glovebox('cancel', 'last')
    program.communicate(timeout=20)
    lab.glovebox('rm', '--yes', 'last')
    assert lab.newest() is None


def test_a_work_folder_that_cannot_be_removed_keeps_no_other(lab, chain):
    """Both of `gc`, which says so, and of whoever drives, who goes on."""
    stuck = lab.home / 'work' / 'left-1.7.1' / 'out'
    stuck.mkdir(parents=True)
    if subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', stuck], stderr=subprocess.DEVNULL).returncode:
        pytest.skip('this user may not mount')
    try:
        for number in range(20):
            (lab.home / 'work' / ('left-1.%d.1' % (100 + number)) / 'out').mkdir(parents=True)
        done = lab.glovebox('gc', status=1)
        assert 'work/left-1.7.1: cannot remove out: Device or resource busy' in done.stderr
        assert 'is something mounted in it' in done.stderr
        assert [path.name for path in (lab.home / 'work').iterdir()] == ['left-1.7.1']
        lab.run(HELLO)
    finally:
        subprocess.run(['umount', '-l', stuck], check=True)
    lab.run(HELLO)
    assert not list((lab.home / 'work').iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can give a folder to another group')
def test_a_home_below_a_folder_that_hands_its_group_down(lab):
    """What tasks leave is not that group's while they are at work."""
    os.chown(lab.home.parent, -1, 4242)
    os.chmod(lab.home.parent, 0o2770)
    lab.run('name: p\nsteps: [{id: a, command: "stat -c %g /out > /out/group"}]\n')
    status = (lab.home / 'work').stat()
    assert lab.home.stat().st_gid == 4242
    assert (status.st_gid, status.st_mode & 0o7777) == (os.getegid(), 0o700)


# ------------------------------------------------------------------- in trouble

HELLO = 'name: hello\nsteps:\n  - {id: a, command: "echo hello > /out/a"}\n'


def fails(done, *words):
    assert done.returncode in (1, 3), done
    for word in words:
        assert word in done.stderr, done.stderr
    assert 'Sanitizer' not in done.stderr and len(done.stderr.splitlines()) < 6


@pytest.fixture
def mounted(glovebox):
    """A home on a file system of its own, 4 MiB small."""
    glovebox.home.mkdir(mode=0o700)
    done = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=4m,mode=700', 'tmpfs', glovebox.home],
                          stderr=subprocess.PIPE, text=True)
    if done.returncode:
        pytest.skip('this user may not mount: ' + done.stderr.strip())
    yield Lab(glovebox)
    for run in glovebox('runs', '--all', '--quiet', status=None).stdout.split():
        glovebox('cancel', run, status=None)
    subprocess.run(['umount', '-l', glovebox.home], check=True)


def test_a_full_disk(mounted):
    """The task fails in words, the home stays whole, and with room the run goes on."""
    lab = mounted
    text = '''
name: full
steps:
  - {id: a, command: 'echo a > /out/a'}
  - {id: b, in: a, command: 'head -c 20000000 /dev/zero > /out/big; ls -l /out >&2; test $(stat -c %s /out/big) = 20000000'}
'''
    path = lab.glovebox.pipeline(text)
    done = lab.glovebox('run', path, status=None)
    assert done.returncode == 1, done
    subprocess.run(['mount', '-o', 'remount,size=100m', lab.home], check=True)
    assert lab.state() in ('failed', 'running')
    lab.glovebox('retry', 'last')
    assert lab.state() == 'succeeded' and lab.tasks()['a']['attempts'] == 1


def test_a_disk_that_is_full_from_the_start(mounted):
    lab = mounted
    subprocess.run(['dd', 'if=/dev/zero', 'of=%s' % (lab.home / 'filler')],
                   stderr=subprocess.DEVNULL)
    fails(lab.glovebox('run', lab.glovebox.pipeline(HELLO), status=None))
    (lab.home / 'filler').unlink()
    lab.run(HELLO)
    assert lab.states() == {'a': 'succeeded'}


def test_a_disk_that_fills_while_many_tasks_run(mounted):
    lab = mounted
    path = lab.glovebox.pipeline('''
name: many
steps:
  - {id: list, command: 'echo "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]" > /out/l'}
  - {id: work, foreach: {json: list/l}, on_failure: continue, command: 'head -c 600000 /dev/zero > /out/z && test $(stat -c %s /out/z) = 600000'}
''')
    done = lab.glovebox('run', path, status=None)
    assert done.returncode == 1, done
    subprocess.run(['mount', '-o', 'remount,size=100m', lab.home], check=True)
    if lab.state() != 'failed':
        lab.glovebox('resume', 'last', status=None)
    if lab.state() == 'failed':
        lab.glovebox('retry', 'last')
    assert lab.counts() == {'succeeded': 17}
    for n in range(1, 17):
        assert (lab.output_folder('work@%d' % n) / 'z').stat().st_size == 600000


def test_a_home_on_a_read_only_disk(mounted):
    lab = mounted
    lab.run(HELLO)
    wait_until(lambda: subprocess.run(['mount', '-o', 'remount,ro', lab.home],
                                      stderr=subprocess.DEVNULL).returncode == 0)
    fails(lab.glovebox('run', lab.folder / 'pipeline.yaml', status=None))
    assert lab.glovebox('status', 'hello-1', '--json').json['state'] == 'succeeded'
    assert lab.glovebox('runs').stdout and lab.glovebox('tasks', 'last').stdout
    fails(lab.glovebox('retry', 'last', status=None))
    subprocess.run(['mount', '-o', 'remount,rw', lab.home], check=True)


def test_a_home_by_a_newer_version(lab):
    lab.run(HELLO)
    database = sqlite3.connect(lab.home / 'glovebox.db')
    database.execute('PRAGMA user_version = 9999')
    database.commit()
    database.close()
    for command in (['run', lab.folder / 'pipeline.yaml'], ['status', 'last'], ['runs']):
        fails(lab.glovebox(*command, status=None), 'newer')


@pytest.mark.parametrize('damage', ['text', 'cut', 'middle'])
def test_a_broken_database(lab, damage):
    lab.run(HELLO)
    path = lab.home / 'glovebox.db'
    whole = path.read_bytes()
    if damage == 'text':
        path.write_text('this is no database ' * 400)
    elif damage == 'cut':
        path.write_bytes(whole[:len(whole) // 2])
    else:
        path.write_bytes(whole[:4096] + os.urandom(len(whole) - 4096))
    for command in (['run', lab.folder / 'pipeline.yaml'], ['status', 'last'], ['runs']):
        done = lab.glovebox(*command, status=None)
        assert done.returncode in (1, 3), (command, done)
        assert 'database' in done.stderr or 'corrupt' in done.stderr, done.stderr


def test_a_home_that_is_a_file(lab):
    lab.home.write_text('')
    fails(lab.glovebox('run', lab.glovebox.pipeline(HELLO), status=None), 'home')
    lab.home.unlink()


def test_a_home_that_is_not_there(lab):
    fails(lab.glovebox('status', 'last', status=None), str(lab.home))
    assert not lab.home.exists(), 'asking makes none'


def test_the_home_is_private(lab):
    lab.run(HELLO)
    assert lab.home.stat().st_mode & 0o077 == 0


def test_an_input_that_is_not_there(lab):
    text = 'name: i\ninputs: {d: {type: directory}}\nsteps:\n  - {id: a, in: inputs.d, command: "true"}\n'
    lab.run(text, '-i', 'd=/no/such', status=3)
    assert '/no/such' in lab.last.stderr
    lab.run(text, status=3)
    assert lab.newest() is None


def test_an_input_that_goes_away_before_it_is_read(lab):
    data = lab.data({'f': 'x'})
    run = lab.run('''
name: gone
inputs: {d: {type: directory}}
steps:
  - {id: ask, type: manual_approval}
  - {id: a, in: inputs.d, needs: ask, command: "true"}
''', '-i', 'd=%s' % data, status=4)
    shutil.rmtree(data)
    lab.glovebox('decide', run, 'ask', 'approve', '--no-resume')
    done = lab.glovebox('resume', run, status=None)
    assert done.returncode == 1
    assert lab.state() == 'failed'
    said = done.stdout + done.stderr + lab.glovebox('status', run).stdout
    assert 'd' in said and str(data) in said, 'it says which input'
    lab.data({'f': 'x'})
    lab.glovebox('retry', run)
    assert lab.state() == 'succeeded'


def test_an_input_that_cannot_be_read(lab):
    """Root reads every mode, but not /proc/self/mem."""
    text = 'name: i\ninputs: {d: {type: file}}\nsteps:\n  - {id: a, in: inputs.d, command: "true"}\n'
    lab.run(text, '-i', 'd=/proc/self/mem', status=None)
    assert lab.last.returncode in (1, 3)
    assert lab.newest() is None or lab.state() == 'failed'
    assert 'mem' in lab.last.stdout + lab.last.stderr


def test_outputs_into_a_folder_of_ones_own(lab, chain):
    chain('-o', str(lab.folder / 'mine'))
    assert (lab.folder / 'mine' / 'c').read_text() == 'one\none\ntwo\ntwo\n1\n'
    chain('-o', str(lab.folder / 'mine'))
    assert os.listdir(lab.folder / 'mine') == ['c']


def test_an_output_folder_that_cannot_be_written(lab, chain):
    (lab.folder / 'file').write_text('')
    data = lab.folder / 'data'
    lab.run(CHAIN, '-i', 'data=%s' % data, '-o', str(lab.folder / 'file'), status=None)
    assert lab.last.returncode in (1, 3)
    assert str(lab.folder / 'file') in lab.last.stdout + lab.last.stderr


def test_two_homes_know_nothing_of_each_other(lab, chain, tmp_path):
    other = tmp_path / 'other'
    lab.glovebox('run', lab.folder / 'pipeline.yaml', '-i', 'data=%s' % (lab.folder / 'data'),
                 '--home', other)
    runs = lab.glovebox('runs', '--home', other, '--json').json
    assert [run['run'] for run in runs] == ['chain-1'] and runs[0]['tasks']['succeeded'] == 5


def test_many_programs_make_one_home_at_once(lab):
    path = lab.glovebox.pipeline(HELLO)
    for round in range(4):
        home = lab.folder / ('home%d' % round)
        programs = [lab.glovebox.start('run', path, '--home', home) for _ in range(6)]
        for program in programs:
            out, err = program.communicate(timeout=60)
            assert program.returncode == 0, out + err
        assert len(lab.glovebox('runs', '--home', home, '--json').json) == 6


# ----------------------------------------------------------------------- scale


def peak_of(program):
    """Peak resident memory in KiB, while it lives."""
    try:
        status = pathlib.Path('/proc/%d/status' % program.pid).read_text()
    except OSError:
        return 0
    lines = [line for line in status.splitlines() if line.startswith('VmHWM')]
    return int(lines[0].split()[1]) if lines else 0


@pytest.mark.slow
def test_a_hundred_thousand_tasks(lab):
    (lab.folder / 'many.csv').write_text('n\n' + ''.join('%d\n' % n for n in range(100000)))
    program = lab.start('''
name: many
inputs: {list: {type: file}}
steps:
  - {id: each, type: dummy, foreach: {csv: inputs.list, key: n}}
  - {id: all, type: dummy, needs: each}
''', '-i', 'list=%s' % (lab.folder / 'many.csv'), '--quiet', stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL)
    peak = 0

    def ended():
        nonlocal peak
        peak = max(peak, peak_of(program))
        return program.poll() is not None
    wait_until(ended, 120)
    assert program.returncode == 0
    assert lab.counts() == {'succeeded': 100001}
    # AddressSanitizer's own shadow and quarantine come on top in a build with it.
    sanitized = b'__asan_init' in lab.glovebox.binary.read_bytes()
    assert 0 < peak < (1024 if sanitized else 200) * 1024, 'peak memory of %d KiB' % peak


def test_a_database_that_is_none(lab):
    lab.home.mkdir(mode=0o700)
    (lab.home / 'glovebox.db').write_text('not one, but long enough to be looked at\n' * 100)
    said = lab.glovebox('status', 'last', status=1).stderr
    assert 'file is not a database' in said and "hint: it is damaged, or somebody else's" in said
    assert (lab.home / 'glovebox.db').read_text().startswith('not one')


def test_unknown_steps_are_told_which_there_are(lab):
    text = 'name: x\nsteps: [{id: prepare, command: "true"}, {id: report, command: "true"}]\n'
    for option in ('--only', '--from'):
        lab.run(text, option, 'prepaer', status=3)
        assert 'did you mean "prepare"?' in lab.last.stderr
        lab.run(text, option, 'zzz', status=3)
        assert 'its steps are prepare, report' in lab.last.stderr
