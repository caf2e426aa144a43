"""The judge of script/torture can find fault, and a short torture passes."""
import subprocess

import pytest

ANSWER = 'result last - L 30'


def good_journal():
    """What four items and a loop of three rounds leave when nobody disturbs them."""
    lines = ['started list - A', 'finished list - A']
    for n in '1234':
        lines += ['started each %s E%s list:-:A' % (n, n), 'finished each %s E%s' % (n, n),
                  'started flaky %s X%s each:%s:E%s' % (n, n, n, n), 'failed flaky %s X%s' % (n, n),
                  'started flaky %s F%s each:%s:E%s' % (n, n, n, n), 'finished flaky %s F%s' % (n, n)]
    lines += ['started sum - S ' + ' '.join('flaky:%s:F%s' % (n, n) for n in '1234'),
              'finished sum - S']
    for n in '123':
        lines += ['started work - W%s list:-:A' % n, 'finished work - W%s' % n,
                  'started check - C%s work:-:W%s' % (n, n), 'finished check - C%s' % n]
    return lines + ['started done - D list:-:A', 'finished done - D',
                    'started last - L sum:-:S done:-:D', ANSWER, 'finished last - L']


def after(line, *more):
    """The journal with lines after another one."""
    lines = good_journal()
    at = lines.index(line) + 1
    return lines[:at] + list(more) + lines[at:]


def without(line):
    return [other for other in good_journal() if other != line]


def instead(line, other):
    return [other if one == line else one for one in good_journal()]


@pytest.fixture
def judge(root, tmp_path):
    def ask(lines, *options):
        (tmp_path / 'log').write_text(''.join(line + '\n' for line in lines))
        return subprocess.run([root / 'test' / 'torture' / 'judge', tmp_path / 'log', *options],
                              stdout=subprocess.PIPE, text=True)
    return ask


def test_the_judge_accepts_what_is_right(judge):
    assert judge(good_journal(), '--strict').returncode == 0


def test_an_attempt_that_was_killed_is_no_fault(judge):
    """It had begun, or even written that it finished: nobody read its outputs."""
    begun = after('started list - A', 'started list - Z')
    assert judge(begun).returncode == 0 and judge(begun, '--strict').returncode == 1
    ended = after('started each 2 E2 list:-:A', 'started each 2 Z list:-:A', 'finished each 2 Z')
    assert judge(ended).returncode == 0 and judge(ended, '--strict').returncode == 1


@pytest.mark.parametrize('name, lines, words', [
    ('lost', without('finished each 3 E3'), 'each of 3 finished 0 times'),
    ('two attempts accepted',
     after('finished each 1 E1', 'started each 1 Z list:-:A', 'finished each 1 Z',
           'started flaky 1 Y each:1:Z', 'finished flaky 1 Y'), 'each of 1 was accepted 2 times'),
    ('again after it was read', after('finished sum - S', 'started each 1 Z list:-:A'),
     'starts again after its outputs were read'),
    ('half an output read', after('finished list - A', 'started each 1 Z list:-:Q'),
     'did not finish'),
    ('one finish twice', after('finished sum - S', 'finished sum - S'), 'ended twice'),
    ('one start twice', after('started sum - S ' + ' '.join('flaky:%s:F%s' % (n, n) for n in '1234'),
                              'started sum - S'), 'started twice'),
    ('an end without a start', after('finished list - A', 'finished done - Q'), 'never started'),
    ('a round too many', after('finished check - C3', 'started work - W4 list:-:A',
                               'finished work - W4', 'started check - C4 work:-:W4',
                               'finished check - C4'), 'work of - was accepted 4 times'),
    ('a round too few', [line for line in good_journal() if 'W3' not in line and 'C3' not in line],
     'work of - finished 2 times'),
    ('an unknown task', after('finished list - A', 'started each 5 Z list:-:A'), 'nobody asked'),
    ('rubbish', after('finished list - A', 'finis'), 'not understood'),
    ('a wrong result', instead(ANSWER, 'result last - L 29'), 'the result is'),
    ('no result', without(ANSWER), 'the result is'),
    ('nothing at all', [], 'list of - finished 0 times')])
def test_the_judge_finds_fault(judge, name, lines, words):
    done = judge(lines)
    assert done.returncode == 1 and words in done.stdout, done.stdout


@pytest.mark.slow
def test_a_short_torture(root, binary):
    done = subprocess.run([root / 'script' / 'torture', '4', '--binary', binary],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
    assert '4 rounds' in done.stdout and '0 failed' in done.stdout


@pytest.mark.slow
def test_a_torture_that_finds_fault_says_so(root, tmp_path):
    """A program that does nothing leaves no journal; the round fails, with its seed and home."""
    idle = tmp_path / 'idle'
    idle.write_text('#!/bin/sh\nmkdir -p "$GLOVEBOX_HOME/work" "$GLOVEBOX_HOME/compute/process"\n'
                    '[ "$1" = runs ] && echo run-1\nexit 0\n')
    idle.chmod(0o755)
    done = subprocess.run([root / 'script' / 'torture', '1', '--seed', '77', '--binary', idle],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
                          env={'PATH': '/usr/bin:/bin', 'TMPDIR': str(tmp_path)})
    assert done.returncode == 1 and 'seed 77' in done.stdout, done.stdout
    assert str(tmp_path) in done.stdout
