"""Whatever is killed, and whenever: nothing is lost, nothing that finished runs again."""
import collections
import os
import random
import signal
import time

import pytest

from engine_support import (JUDGE_INPUT, JUDGE_MOUNT, kill, lab, processes,  # noqa: F401
                            processes_with, wait_until)

# Each task says when it begins and ends; the judge's file is appended to in one write each.
WORK = ('name: work\ninputs:\n' + JUDGE_INPUT + '''
steps:
  - id: list
    command: 'echo "[0,1,2,3,4,5,6,7,8,9,10,11]" > /out/list.json'
  - id: each
    foreach: {json: list/list.json}
''' + JUDGE_MOUNT + '''
    command: |
      echo begin ${item} >> /judge/log
      sleep 0.15
      echo $((${item} * ${item})) > /out/square
      echo end ${item} >> /judge/log
  - id: double
    foreach: each
    in: each
''' + JUDGE_MOUNT + '''
    command: |
      echo $(( $(cat /in/square) * 2 )) > /out/double
      echo double ${item} >> /judge/log
  - id: sum
    in: double
    command: 'cat /in/*/double | sort -n | tr "\\n" " " > /out/sum'
outputs: {sum: sum/sum}
''')
ANSWER = ' '.join(str(2 * n * n) for n in range(12)) + ' '


def recorded(lab):
    """Names of tasks that the database has as finished, as another program sees them now."""
    done = lab.glovebox('tasks', 'last', '--json', status=None)
    return [] if done.returncode else [
        (task['step'], task['partition']) for task in done.json_lines
        if task['state'] == 'succeeded']


def line_of(step, partition):
    return {'each': 'end %s', 'double': 'double %s'}.get(step, '') % partition \
        if step in ('each', 'double') else None


def finish(lab):
    """Resumes until the run ends, and checks what the judge saw."""
    lab.glovebox('resume', 'last', timeout=120)
    assert lab.state() == 'succeeded'
    assert lab.counts() == {'succeeded': 26}
    assert lab.output('sum', 'sum') == ANSWER
    assert (lab.home / 'runs' / lab.newest() / 'outputs' / 'sum').read_text() == ANSWER
    return collections.Counter(lab.judged())


def test_a_run_that_nobody_disturbs(lab):
    lab.run(WORK, '-i', 'judge=%s' % lab.judge())
    counts = collections.Counter(lab.judged())
    assert set(counts.values()) == {1} and len(counts) == 36
    assert (lab.home / 'runs' / lab.newest() / 'outputs' / 'sum').read_text() == ANSWER


@pytest.mark.parametrize('seed', range(4))
def test_the_driver_is_killed(lab, seed):
    """The tasks go on under their keeper: all of them ran exactly once, in the end."""
    chance = random.Random(seed)
    program = lab.start(WORK, '-i', 'judge=%s' % lab.judge())
    for _ in range(3):
        time.sleep(chance.uniform(0.05, 0.5))
        program.kill()
        program.communicate()
        if lab.newest() is None:  # killed before there was a run
            program = lab.start(WORK, '-i', 'judge=%s' % lab.judge())
        else:
            program = lab.glovebox.start('resume', 'last')
    program.kill()
    program.communicate()
    if lab.newest() is None:
        lab.start(WORK, '-i', 'judge=%s' % lab.judge()).communicate(timeout=60)
    counts = finish(lab)
    assert {line: count for line, count in counts.items() if count != 1} == {}
    assert len(counts) == 36


@pytest.mark.parametrize('seed', range(3))
def test_the_keeper_is_killed(lab, seed):
    """Its tasks die with it and run again; what had been recorded does not."""
    chance = random.Random(100 + seed)
    program = lab.start(WORK, '-i', 'judge=%s' % lab.judge())
    wait_until(lambda: lab.judged(), message='no task began')
    before, killed = set(), []
    for _ in range(3):
        time.sleep(chance.uniform(0.02, 0.3))
        before = set(recorded(lab))
        killed += [(pid, kill(pid)) for pid in lab.keepers()]
    assert killed, 'there was a keeper to be killed'
    out, err = program.communicate(timeout=60)
    assert program.returncode == 0, out + err
    counts = finish(lab)
    for step, partition in before:
        if line_of(step, partition):
            assert counts[line_of(step, partition)] == 1, (step, partition)
    for number in range(12):
        assert 1 <= counts['begin %d' % number] <= 4
        assert counts['end %d' % number] >= 1
    assert max(task['attempts'] for task in lab.tasks().values()) <= 4


@pytest.mark.parametrize('seed', range(3))
def test_both_are_killed(lab, seed):
    chance = random.Random(200 + seed)
    program = lab.start(WORK, '-i', 'judge=%s' % lab.judge())
    wait_until(lambda: lab.judged(), message='no task began')
    done = set()
    for _ in range(2):
        time.sleep(chance.uniform(0.02, 0.4))
        keepers = lab.keepers()
        victims = [program.pid, *keepers]
        chance.shuffle(victims)
        for pid in victims:
            kill(pid)
        program.communicate()
        done |= set(recorded(lab))
        program = lab.glovebox.start('resume', 'last')
    program.communicate(timeout=60)
    counts = finish(lab)
    for step, partition in done:
        if line_of(step, partition):
            assert counts[line_of(step, partition)] == 1, (step, partition)


def test_tasks_go_on_without_a_driver_and_their_ends_are_found(lab):
    """The exit of a task that ended while nobody drove is not lost, nor is its failure."""
    text = ('name: alone\ninputs:\n' + JUDGE_INPUT + '''
steps:
  - id: good
''' + JUDGE_MOUNT + '''
    command: 'echo here >> /judge/log; while [ ! -e /judge/go ]; do sleep 0.02; done; echo x > /out/x'
  - id: bad
''' + JUDGE_MOUNT + '''
    on_failure: continue
    command: 'echo here >> /judge/log; while [ ! -e /judge/go ]; do sleep 0.02; done; exit 7'
''')
    program = lab.start(text, '-i', 'judge=%s' % lab.judge())
    wait_until(lambda: len(lab.judged()) == 2)
    program.kill()
    program.communicate()
    (lab.folder / 'judge' / 'go').touch()
    wait_until(lambda: not processes_with('while [ ! -e /judge/go ]'))
    lab.glovebox('resume', 'last', status=1)
    tasks = lab.tasks()
    assert tasks['good']['state'] == 'succeeded' and tasks['good']['attempts'] == 1
    assert tasks['bad']['state'] == 'failed' and tasks['bad']['exit'] == 7
    assert tasks['bad']['attempts'] == 1
    assert lab.judged() == ['here', 'here']


def test_a_follower_takes_over(lab):
    """Two programs on one home: when the one that drives is killed, the other goes on."""
    judge = lab.judge()
    first = lab.start(WORK, '-i', 'judge=%s' % judge)
    wait_until(lambda: lab.judged())
    second = lab.glovebox.start('resume', 'last', '--follow')
    wait_until(lambda: len(lab.judged()) > 4)
    assert second.poll() is None, 'it follows'
    first.kill()
    first.communicate()
    out, err = second.communicate(timeout=60)
    assert second.returncode == 0, out + err
    counts = finish(lab)
    assert set(counts.values()) == {1} and len(counts) == 36


def test_another_run_goes_on_with_an_orphan(lab):
    """Who drives the home drives all its runs that are under way."""
    program = lab.start(WORK, '-i', 'judge=%s' % lab.judge())
    wait_until(lambda: lab.judged())
    program.kill()
    program.communicate()
    lab.glovebox('run', lab.glovebox.pipeline(
        'name: other\nsteps:\n  - id: slow\n    command: sleep 1\n', 'other.yaml'))
    tasks = lab.tasks('work-1')
    assert sum(task['state'] == 'succeeded' for task in tasks.values()) > 4
    lab.glovebox('resume', 'work-1')
    assert lab.state('work-1') == 'succeeded'
    assert set(collections.Counter(lab.judged()).values()) == {1}


@pytest.mark.parametrize('number, status', [(signal.SIGINT, 130), (signal.SIGTERM, 143),
                                            (signal.SIGHUP, 129)])
def test_leaving_a_run(lab, number, status):
    """Ctrl-C leaves: what runs goes on, nothing new starts, and resume takes it up."""
    program = lab.start(WORK, '-i', 'judge=%s' % lab.judge())
    wait_until(lambda: lab.judged())
    program.send_signal(number)
    out, err = program.communicate(timeout=20)
    assert program.returncode == status, out + err
    assert 'resume' in out + err
    wait_until(lambda: not processes_with('echo begin'))
    begun = sum('begin' in line for line in lab.judged())
    assert begun < 12 and lab.judged().count('begin 0') == 1
    counts = finish(lab)
    assert set(counts.values()) == {1}


def test_killed_while_outputs_are_stored(lab):
    """Big outputs: the kill hits hashing, storing, or delivering; the bytes are right after."""
    text = '''
name: big
steps:
  - id: make
    foreach: {json: list/l}
    command: 'for i in $(seq 200); do echo ${item} $i > /out/f$i; done; head -c 3000000 /dev/zero > /out/z'
  - id: list
    command: 'echo "[1,2,3,4]" > /out/l'
  - id: count
    in: make
    command: 'find /in -type f | wc -l > /out/n; cat /in/*/f* | sort | md5sum >> /out/n'
outputs: {all: make, n: count/n}
'''
    program = lab.start(text)
    program.communicate(timeout=60)
    expected = lab.output('count', 'n')
    assert expected.startswith('804\n')
    chance = random.Random(5)
    program = lab.start(text, '--no-reuse')
    for _ in range(8):
        time.sleep(chance.uniform(0.01, 0.25))
        program.kill()
        program.communicate()
        program = lab.glovebox.start('resume', 'last')
    program.communicate(timeout=60)
    lab.glovebox('resume', 'last')
    assert lab.state() == 'succeeded'
    assert lab.output('count', 'n') == expected
    outputs = lab.home / 'runs' / lab.newest() / 'outputs'
    assert (outputs / 'n').read_text() == expected
    assert sum(len(files) for _, _, files in os.walk(outputs / 'all')) == 804
    assert os.listdir(lab.home / 'work') == [], 'no work folder stays behind'


def test_killed_between_commands(lab):
    """A command is durable when it returns, driven or not."""
    lab.run('name: ask\nsteps:\n  - {id: ask, type: manual_approval, message: well?}\n'
            '  - {id: after, needs: ask, command: "true"}\n', status=4)
    lab.glovebox('decide', 'last', 'ask', 'approve', '--no-resume')
    assert lab.states()['ask'] == 'succeeded'
    lab.glovebox('resume', 'last')
    assert lab.states() == {'ask': 'succeeded', 'after': 'succeeded'}


def test_no_zombies_and_no_keeper_stays_for_ever(lab):
    """When all is done, neither the program nor a task is left."""
    lab.run(WORK, '-i', 'judge=%s' % lab.judge())
    assert lab.programs() == []
    mine = str(lab.home)
    assert [argv for argv, _ in processes().values() if any(mine in part for part in argv)] == []


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(12))
def test_everything_is_killed_many_times(lab, seed):
    chance = random.Random(1000 + seed)
    program = lab.start(WORK, '-i', 'judge=%s' % lab.judge())
    done = {}  # how often the judge had seen what was recorded as finished
    for _ in range(8):
        time.sleep(chance.expovariate(6))
        victims = lab.keepers() if chance.random() < 0.5 else []
        if chance.random() < 0.7:
            victims.append(program.pid)
        for pid in victims:
            kill(pid)
        seen = recorded(lab)
        so_far = collections.Counter(lab.judged())
        for name in seen:
            if line_of(*name):
                done.setdefault(name, so_far[line_of(*name)])
        if program.poll() is not None or program.pid in victims:
            program.communicate()
            program = (lab.glovebox.start('resume', 'last') if lab.newest() else
                       lab.start(WORK, '-i', 'judge=%s' % lab.judge()))
    program.communicate(timeout=120)
    if lab.state() != 'succeeded':
        lab.glovebox('retry', 'last', status=None, timeout=120)
    counts = finish(lab)
    record = lab.record()
    for (step, partition), times in done.items():
        # A keeper killed between a task's last line and its record costs it a second attempt, but
        # what was recorded as finished never runs again.
        lost = [one for one in record['%s@%s' % (step, partition)]['attempts']
                if one['cause'] == 'lost']
        assert counts[line_of(step, partition)] == times <= 1 + len(lost), (step, partition)
