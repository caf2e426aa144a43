"""The machine goes down: what was not synced may be lost, and must not be taken for a result.

A power cut is played: all programs are killed, the home is told that it was another boot, and bytes
that were not synced are taken away.
"""
import os
import shutil
import sqlite3

import pytest

from engine_support import JUDGE_INPUT, JUDGE_MOUNT, kill, lab, wait_until  # noqa: F401

CHAIN = ('name: chain\ninputs:\n' + JUDGE_INPUT + '''
steps:
  - id: one
''' + JUDGE_MOUNT + '''    command: 'echo one >> /judge/log; echo 1 > /out/one'
  - id: cached
    in: one
    command: 'cat /in/one > /out/cached'
  - id: two
    in: cached
''' + JUDGE_MOUNT + '''    command: 'echo two >> /judge/log; until [ -e /judge/go ]; do sleep 0.05; done;
      cat /in/cached > /out/two'
outputs: {two: two/two, cached: cached}
''')


def database(lab, *statement):
    connection = sqlite3.connect(lab.home / 'glovebox.db', timeout=30)
    try:
        rows = connection.execute(*statement).fetchall()
        connection.commit()
        return rows
    finally:
        connection.close()


def cut_power(lab, program=None):
    if program:
        program.kill()
        program.communicate()
    for pid in lab.keepers():
        kill(pid)
    wait_until(lambda: not lab.keepers())
    database(lab, "UPDATE home SET value = 'another' WHERE name = 'boot'")


@pytest.fixture
def half(lab):
    """A run whose last step is under way."""
    program = lab.start(CHAIN, '-i', 'judge=%s' % lab.judge())
    wait_until(lambda: 'two' in lab.judged())
    wait_until(lambda: lab.states().get('cached') == 'succeeded')
    return program


def folder_of(lab, step):
    (key,), = database(lab, "SELECT lower(hex(r.key)) FROM result r WHERE step = ?", [step])
    return lab.home / 'results' / key[:2] / key


@pytest.mark.parametrize('step, file', [('one', 'one'), ('cached', 'cached')])
@pytest.mark.parametrize('how', ['empty', 'zeros', 'missing', 'manifest'])
def test_lost_bytes_are_made_again(lab, half, step, file, how):
    folder = folder_of(lab, step)
    cut_power(lab, half)
    target = folder / ('manifest' if how == 'manifest' else 'output/' + file)
    if how == 'missing':
        target.unlink()
    else:
        target.write_bytes(b'\0\0' if how == 'zeros' else b'')
    (lab.folder / 'judge' / 'go').write_text('')
    lab.glovebox('resume', 'last')
    assert lab.state() == 'succeeded'
    outputs = lab.home / 'runs' / lab.newest() / 'outputs'
    assert (outputs / 'two').read_text() == (outputs / 'cached/cached').read_text() == '1\n'
    assert lab.judged().count('one') == (2 if step == 'one' else 1), 'only what was lost'
    record = lab.record()
    assert len(record[step]['attempts']) == 2
    assert [each['cause'] for each in record['two']['attempts']] == ['lost', '']


def test_what_nothing_happened_to_is_kept(lab, half):
    cut_power(lab, half)
    (lab.folder / 'judge' / 'go').write_text('')
    lab.glovebox('resume', 'last')
    assert lab.judged() == ['one', 'two', 'two']


def test_an_attempt_that_ended_unseen_is_not_trusted(lab, half):
    """The keeper saw it end; whether its outputs reached the disk, nobody knows."""
    out = end_unseen(lab, half)
    cut_power(lab)
    (out / 'two').write_text('')
    lab.glovebox('resume', 'last')
    assert_made_again(lab)


@pytest.mark.parametrize('left', ['nothing', 'torn'])
def test_nor_is_it_by_the_second_who_drives_after_the_cut(lab, half, left):
    """The first notices the power cut, and dies before it hears of the attempt."""
    out = end_unseen(lab, half)
    cut_power(lab)
    if left == 'nothing':
        shutil.rmtree(out.parent)
    else:
        (out / 'two').write_text('')
    database(lab, "CREATE TRIGGER die BEFORE UPDATE OF ended ON attempt BEGIN SELECT RAISE(ABORT, 'died'); END")
    assert 'died' in lab.glovebox('resume', 'last', status=None).stderr
    assert database(lab, "SELECT value = 'another' FROM home WHERE name = 'boot'") == [(0,)]
    database(lab, 'DROP TRIGGER die')
    lab.glovebox('resume', 'last')
    assert_made_again(lab)


def end_unseen(lab, program):
    program.kill()
    program.communicate()
    out, = (lab.home / 'work').glob('*/out')
    journal = lab.home / 'compute'
    size = sum(path.stat().st_size for path in journal.rglob('*.journal'))
    (lab.folder / 'judge' / 'go').write_text('')
    wait_until(lambda: (out / 'two').exists() and (out / 'two').stat().st_size)
    wait_until(lambda: sum(path.stat().st_size for path in journal.rglob('*.journal')) > size or
               not lab.keepers())
    return out


def assert_made_again(lab):
    attempts = lab.record()['two']['attempts']
    assert [each['cause'] for each in attempts] == ['lost', '']
    assert (lab.home / 'runs' / lab.newest() / 'outputs/two').read_text() == '1\n'


def test_the_results_of_a_run_that_ended_are_safe(lab):
    (lab.judge() / 'go').write_text('')
    lab.run(CHAIN, '-i', 'judge=%s' % lab.judge())
    assert database(lab, 'SELECT count(*) FROM result WHERE unsafe IS NOT NULL') == [(0,)]
    cut_power(lab)
    lab.run(CHAIN, '-i', 'judge=%s' % lab.judge())
    assert lab.states()['cached'] == 'reused'


def test_work_that_nobody_remembers_is_swept(lab, half):
    cut_power(lab, half)
    stray = lab.home / 'work' / 'chain-9.9.9'
    (stray / 'out').mkdir(parents=True)
    (lab.folder / 'judge' / 'go').write_text('')
    lab.glovebox('resume', 'last')
    assert os.listdir(lab.home / 'work') == []


def test_an_attempt_that_the_database_forgot_is_made_again(lab, half):
    """The commit before a launch was lost with the power; the keeper's journal was not."""
    cut_power(lab, half)
    database(lab, "DELETE FROM attempt WHERE task = (SELECT id FROM task WHERE step = 2)")
    database(lab, "UPDATE task SET state = 1, attempts = 0, tries = 0 WHERE step = 2")
    (lab.folder / 'judge' / 'go').write_text('')
    lab.glovebox('resume', 'last')
    assert lab.state() == 'succeeded'
    assert [each['number'] for each in lab.record()['two']['attempts']] == [1]
