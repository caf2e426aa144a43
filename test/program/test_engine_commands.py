"""What people do to a run: every command, with its exit status and what stands in the record."""
import json
import os
import pwd
import sqlite3
import time

import pytest

from engine_support import (JUDGE_INPUT, JUDGE_MOUNT, lab, processes,  # noqa: F401
                            processes_with, wait_until)

HOLD = ('name: hold\ninputs:\n' + JUDGE_INPUT + '''
steps:
  - id: hold
    foreach: {json: list/l}
''' + JUDGE_MOUNT + '''
    command: 'echo ${item} >> /judge/log; until [ -e /judge/go ]; do sleep 0.02; done; echo x > /out/x'
  - id: list
    command: 'echo "[1,2,3,4]" > /out/l'
  - id: after
    in: hold
    command: 'ls /in > /out/ls'
''')
FLAKY = ('name: flaky\ninputs:\n' + JUDGE_INPUT + '''
steps:
  - id: list
    command: 'echo "[1,2,3]" > /out/l'
  - id: work
    foreach: {json: list/l}
    on_failure: continue
''' + JUDGE_MOUNT + '''
    command: 'echo ${item} >> /judge/log; [ ! -e /judge/fail${item} ] && echo ${item} > /out/n'
  - id: sum
    in: work
    command: 'cat /in/*/n > /out/sum'
''')
ASK = '''
name: ask
steps:
  - {id: make, command: 'echo made > /out/made'}
  - {id: look, type: manual_approval, needs: make, message: 'Is ${params.what} well?'}
  - {id: other, command: 'echo other > /out/o'}
  - {id: after, in: make, needs: look, command: 'cat /in/made > /out/after'}
params: {what: {default: it}}
'''


def started(lab, text=HOLD, tasks=1):
    program = lab.start(text, '-i', 'judge=%s' % lab.judge())
    wait_until(lambda: len(lab.judged()) >= tasks, message='nothing began')
    return program


def release(lab):
    (lab.folder / 'judge' / 'go').touch()


# ----------------------------------------------------------------------- retry


def test_a_run_that_a_command_wakes_is_driven_once(lab):
    """The program drives an older run; a command wakes a newer one, that had ended before it came."""
    text = ('name: twice\nparams: {who: {default: a}}\ninputs:\n' + JUDGE_INPUT + '''
steps:
  - {id: list, command: 'echo "[1,2,3,4,5,6]" > /out/l'}
  - id: work
    foreach: {json: list/l}
    cache: false
    on_failure: continue
''' + JUDGE_MOUNT + '''
    command: 'echo ${params.who}${item} >> /judge/log; [ -e /judge/may ] || exit 1;
      until [ -e /judge/go-${params.who} ]; do sleep 0.02; done; sleep 0.1; echo x > /out/x'
  - id: end
    needs: work
    resources: {cpus: 0.01}
''' + JUDGE_MOUNT + '''
    command: 'until [ -e /judge/end-${params.who} ]; do sleep 0.02; done'
''')
    judge = lab.judge()
    first, second = (lab.run(text, '-i', 'judge=%s' % judge, '-p', 'who=%s' % who, status=1) for who in 'ab')
    (judge / 'log').unlink()
    (judge / 'may').touch()
    driver = lab.glovebox.start('retry', first)
    wait_until(lambda: len(lab.judged()) == min(6, os.cpu_count()))  # the first takes all of a small machine
    other = lab.glovebox.start('retry', second)
    wait_until(lambda: lab.counts(second).get('ready') == 6)
    time.sleep(0.5)  # the driver looks for new runs ten times a second
    for name in ('go-a', 'go-b', 'end-b'):
        (judge / name).touch()
    lab.wait_for_run('succeeded', second)
    (judge / 'end-a').touch()
    driver.communicate(timeout=60)
    other.communicate(timeout=60)
    assert (driver.returncode, other.returncode) == (0, 0)
    assert sorted(lab.judged()) == sorted(who + item for who in 'ab' for item in '123456')


def test_retry_runs_only_what_failed(lab):
    judge = lab.judge()
    (judge / 'fail2').touch()
    run = lab.run(FLAKY, '-i', 'judge=%s' % judge, status=1)
    assert lab.state() == 'failed'
    assert lab.states() == {'list': 'succeeded', 'work@1': 'succeeded', 'work@2': 'failed',
                            'work@3': 'succeeded', 'sum': 'skipped'}
    assert 'exit' in lab.why('work@2') and 'fail' in lab.why('work@2')
    assert 'failed' in lab.why('sum')
    lab.glovebox('retry', run, status=1)
    assert lab.tasks()['work@2']['attempts'] == 2
    (judge / 'fail2').unlink()
    lab.glovebox('retry', run)
    assert lab.state() == 'succeeded'
    assert lab.output('sum', 'sum') == '1\n2\n3\n'
    assert sorted(lab.judged()) == ['1', '2', '2', '2', '3']
    assert [attempt['exit'] for attempt in lab.record()['work@2']['attempts']] == [1, 1, 0]


def test_retry_one_task(lab):
    judge = lab.judge()
    (judge / 'fail2').touch()
    (judge / 'fail3').touch()
    run = lab.run(FLAKY, '-i', 'judge=%s' % judge, status=1)
    (judge / 'fail2').unlink()
    (judge / 'fail3').unlink()
    lab.glovebox('retry', run, 'work@3', status=1)
    assert lab.states()['work@2'] == 'failed' and lab.states()['work@3'] == 'succeeded'
    lab.glovebox('retry', run)
    assert lab.state() == 'succeeded' and lab.output('sum', 'sum') == '1\n2\n3\n'


def test_retry_when_nothing_failed(lab):
    run = lab.run('name: fine\nsteps:\n  - {id: a, command: "true"}\n')
    lab.glovebox('retry', run)
    assert lab.state() == 'succeeded' and lab.tasks()['a']['attempts'] == 1


def test_retry_after_the_run_stopped_early(lab):
    """on_failure: fail leaves the rest waiting; a retry takes it up."""
    text = FLAKY.replace('    on_failure: continue\n', '')
    judge = lab.judge()
    (judge / 'fail1').touch()
    run = lab.run(text, '-i', 'judge=%s' % judge, status=1)
    assert lab.states()['sum'] in ('skipped', 'waiting')
    (judge / 'fail1').unlink()
    lab.glovebox('retry', run)
    assert lab.state() == 'succeeded' and lab.output('sum', 'sum') == '1\n2\n3\n'


# ---------------------------------------------------------------------- cancel


def test_cancel_a_run_that_is_driven(lab):
    program = started(lab, tasks=2)
    box = processes_with('/judge/go')
    assert box
    lab.glovebox('cancel', 'last')
    out, err = program.communicate(timeout=30)
    assert program.returncode == 1, out + err
    assert lab.state() == 'cancelled'
    assert not processes_with('until [ -e /judge/go ]'), 'nothing is left running'
    counts = lab.counts()
    assert counts.get('succeeded') == 1 and counts.get('cancelled', 0) >= 4, counts
    causes = {task['cause'] for task in lab.tasks().values() if task['state'] == 'cancelled'}
    assert causes == {'cancelled'}
    release(lab)
    lab.glovebox('retry', 'last')
    assert lab.state() == 'succeeded'
    assert lab.output('after', 'ls') == '1\n2\n3\n4\n'
    assert lab.tasks()['list']['attempts'] == 1


def test_cancel_a_run_that_nobody_drives(lab):
    program = started(lab, tasks=2)
    program.kill()
    program.communicate()
    assert processes_with('until [ -e /judge/go ]')
    lab.glovebox('cancel', 'last')
    assert lab.state() == 'cancelled'
    assert not processes_with('until [ -e /judge/go ]'), 'nothing is left running'


def test_cancel_a_task_that_ignores_sigterm(lab):
    text = ('name: deaf\ninputs:\n' + JUDGE_INPUT + 'steps:\n  - id: deaf\n' + JUDGE_MOUNT +
            '''    command: 'trap "" TERM; echo up >> /judge/log; while true; do sleep 0.1; done'
''')
    program = started(lab, text)
    begin = time.monotonic()
    lab.glovebox('cancel', 'last')
    program.communicate(timeout=30)
    assert time.monotonic() - begin < 20
    assert lab.states() == {'deaf': 'cancelled'}
    assert not processes_with('trap "" TERM')


def test_a_run_that_is_being_cancelled_is_not_paused(lab):
    """It would be forgotten that it was cancelled."""
    text = ('name: slow\ninputs:\n' + JUDGE_INPUT + 'steps:\n  - id: slow\n' + JUDGE_MOUNT +
            '''    command: 'trap "" TERM; echo up >> /judge/log; while true; do sleep 0.1; done'
''')
    program = started(lab, text)
    lab.glovebox('cancel', 'last')
    refused = lab.glovebox('pause', 'last', status=1)
    assert 'run slow-1 is being cancelled' in refused.stderr
    program.communicate(timeout=30)
    assert lab.state() == 'cancelled'


def test_a_task_may_tidy_up_when_it_is_cancelled(lab):
    text = ('name: tidy\ninputs:\n' + JUDGE_INPUT + 'steps:\n  - id: tidy\n' + JUDGE_MOUNT +
            '''    command: 'trap "echo bye >> /judge/log; exit 0" TERM; echo up >> /judge/log; while true; do sleep 0.02; done'
''')
    program = started(lab, text)
    lab.glovebox('cancel', 'last')
    program.communicate(timeout=30)
    assert lab.judged() == ['up', 'bye']
    assert lab.states() == {'tidy': 'cancelled'}, 'a tidy exit is still no success'


def test_cancel_one_task(lab):
    program = started(lab, tasks=2)
    running = [name for name, state in lab.states().items() if state == 'running']
    lab.glovebox('cancel', 'last', running[0])
    lab.wait_for_state(running[0], 'cancelled')
    release(lab)
    program.communicate(timeout=30)
    states = lab.states()
    assert program.returncode == 1
    assert states.pop(running[0]) == 'cancelled'
    assert states.pop('after') == 'skipped'
    assert set(states.values()) == {'succeeded'}
    lab.glovebox('retry', 'last')
    assert lab.state() == 'succeeded'


def test_cancel_what_has_ended(lab):
    run = lab.run('name: fine\nsteps:\n  - {id: a, command: "true"}\n')
    done = lab.glovebox('cancel', run, status=1)
    assert 'ended' in done.stderr
    assert lab.state() == 'succeeded'


def test_cancel_a_run_that_waits(lab):
    lab.run(ASK, status=4)
    lab.glovebox('cancel', 'last')
    assert lab.state() == 'cancelled'
    assert lab.states()['look'] == 'cancelled' and lab.states()['after'] in ('cancelled',
                                                                             'skipped')


def test_a_cancelled_run_stays_cancelled(lab):
    lab.run(ASK, status=4)
    lab.glovebox('cancel', 'last')
    lab.glovebox('resume', 'last', status=1)
    assert lab.state() == 'cancelled'
    done = lab.glovebox('decide', 'last', 'look', 'approve', status=1)
    assert 'cancelled' in done.stderr


# -------------------------------------------------------------- pause and resume


def test_pause_and_resume(lab):
    program = started(lab, tasks=2)
    lab.glovebox('pause', 'last')
    assert lab.state() == 'paused'
    release(lab)
    out, err = program.communicate(timeout=30)
    assert lab.state() == 'paused', out + err
    states = lab.states()
    assert sum(state == 'succeeded' for state in states.values()) == 3, 'list and the two'
    assert sum(state in ('ready', 'waiting') for state in states.values()) == 3
    time.sleep(0.3)
    assert len(lab.judged()) == 2, 'nothing new started'
    assert not lab.programs()
    lab.glovebox('resume', 'last')
    assert lab.state() == 'succeeded'
    assert sorted(lab.judged()) == ['1', '2', '3', '4']


def test_pause_a_run_that_nobody_drives(lab):
    program = started(lab, tasks=2)
    program.kill()
    program.communicate()
    lab.glovebox('pause', 'last')
    assert lab.state() == 'paused'
    release(lab)
    lab.run('name: other\nsteps:\n  - {id: a, command: "true"}\n')
    assert lab.state('hold-1') == 'paused', 'another program leaves it alone'
    assert len(lab.judged()) == 2
    lab.glovebox('resume', 'hold-1')
    assert lab.state('hold-1') == 'succeeded' and len(lab.judged()) == 4


def test_resume_what_has_ended(lab):
    run = lab.run('name: fine\nsteps:\n  - {id: a, command: "true"}\n')
    lab.glovebox('resume', run)
    assert lab.tasks()['a']['attempts'] == 1
    bad = lab.run('name: bad\nsteps:\n  - {id: a, command: "false"}\n', status=1)
    lab.glovebox('resume', bad, status=1)
    assert lab.tasks()['a']['attempts'] == 1


def test_pause_what_has_ended(lab):
    run = lab.run('name: fine\nsteps:\n  - {id: a, command: "true"}\n')
    assert 'ended' in lab.glovebox('pause', run, status=1).stderr


# ------------------------------------------------------------- skip and succeed


def test_skip_a_failed_task(lab):
    judge = lab.judge()
    (judge / 'fail2').touch()
    run = lab.run(FLAKY, '-i', 'judge=%s' % judge, status=1)
    lab.glovebox('skip', run, 'work@2', '--reason', 'the disk of subject 2 is broken')
    lab.glovebox('resume', run)
    assert lab.state() == 'succeeded'
    assert lab.states()['work@2'] == 'skipped'
    assert lab.output('sum', 'sum') == '1\n3\n'
    assert 'the disk of subject 2 is broken' in lab.why('work@2')
    assert 'the disk of subject 2 is broken' in lab.record()['work@2']['reason']
    [event] = lab.events('marked')
    assert event == {'as': 'skipped', 'reason': 'the disk of subject 2 is broken',
                     'who': pwd.getpwuid(os.getuid()).pw_name}


def test_succeed_a_failed_task(lab):
    text = '''
name: mark
steps:
  - {id: a, command: "false"}
  - {id: b, needs: a, command: 'echo b > /out/b'}
'''
    run = lab.run(text, status=1)
    lab.glovebox('succeed', run, 'a', '--reason', 'done by hand')
    lab.glovebox('resume', run)
    assert lab.states() == {'a': 'succeeded', 'b': 'succeeded'}
    assert 'done by hand' in lab.why('a')
    assert 'done by hand' in lab.record()['a']['reason']


def test_a_refused_restart_leaves_nothing_for_the_next(lab):
    """Both are applied by the same program; the first was refused when some tasks were on its list."""
    text = ('name: twice\ninputs:\n' + JUDGE_INPUT + '''
steps:
  - {id: list, command: 'echo "[1,2,3,4,5]" > /out/l'}
  - {id: make, foreach: {json: list/l}, command: 'echo ${item} > /out/m'}
  - id: hold
    foreach: make
    in: make
''' + JUDGE_MOUNT + '''
    command: 'echo ${item} >> /judge/log; until [ -e /judge/go ]; do sleep 0.02; done'
    resources: {cpus: 0.1}
  - id: last
''' + JUDGE_MOUNT + '''
    command: 'until [ -e /judge/end ]; do sleep 0.02; done'
    resources: {cpus: 0.1}
''')
    program = started(lab, text, tasks=5)
    for _ in range(3):
        assert 'running' in lab.glovebox('restart', 'last', '--from', 'make', status=1).stderr
    release(lab)
    wait_until(lambda: lab.counts()['succeeded'] == 11)
    lab.glovebox('restart', 'last', '--from', 'make')
    wait_until(lambda: lab.tasks()['hold@5']['attempts'] == 2 and lab.counts()['succeeded'] == 11)
    (lab.folder / 'judge' / 'end').touch()
    program.communicate(timeout=30)
    assert program.returncode == 0
    assert sorted(lab.judged()) == sorted('1234512345')


def test_what_has_not_begun_waits_for_what_a_mark_opens_again(lab):
    text = ('name: marked\ninputs:\n' + JUDGE_INPUT + '''
steps:
  - {id: list, command: 'echo "[1,2]" > /out/l'}
  - {id: bad, command: "false", on_failure: continue}
  - id: middle
    foreach: {json: list/l}
    needs: bad
''' + JUDGE_MOUNT + '''
    command: 'until [ -e /judge/go ]; do sleep 0.02; done; echo ${item} > /out/m'
  - id: last
    foreach: middle
    in: middle
    trigger_rule: all_done
    limit: 1
''' + JUDGE_MOUNT + '''
    command: 'echo ${item} >> /judge/log; until [ -e /judge/go ]; do sleep 0.02; done;
      cp /in/m /out/m || echo none > /out/m'
''')
    program = started(lab, text)
    lab.glovebox('succeed', 'last', 'bad', '--reason', 'done by hand')
    first, = lab.judged()
    second = {'1': '2', '2': '1'}[first]
    lab.wait_for_state('last@%s' % second, 'waiting')
    release(lab)
    program.communicate(timeout=30)
    assert program.returncode == 0
    assert lab.output('last@%s' % first, 'm') == 'none\n', 'it had begun'
    assert lab.output('last@%s' % second, 'm') == second + '\n'


def test_a_reason_is_required(lab):
    run = lab.run('name: bad\nsteps:\n  - {id: a, command: "false"}\n', status=1)
    for command in ('skip', 'succeed'):
        assert 'reason' in lab.glovebox(command, run, 'a', status=2).stderr
    assert lab.states()['a'] == 'failed'


def test_mark_what_has_succeeded_or_runs(lab):
    program = started(lab, tasks=2)
    running = [name for name, state in lab.states().items() if state == 'running'][0]
    assert 'running' in lab.glovebox('skip', 'last', running, '-r', 'x', status=1).stderr
    assert 'succeeded' in lab.glovebox('skip', 'last', 'list', '-r', 'x', status=1).stderr
    release(lab)
    program.communicate(timeout=30)
    assert program.returncode == 0


def test_skip_while_the_run_is_driven(lab):
    """A task that waits for room is skipped while others of its step run."""
    program = started(lab, tasks=2)
    waiting = [name for name, state in lab.states().items()
               if state == 'ready' and name.startswith('hold')]
    assert waiting
    lab.glovebox('skip', 'last', waiting[0], '--reason', 'not this one')
    assert lab.states()[waiting[0]] == 'skipped'
    release(lab)
    out, err = program.communicate(timeout=30)
    assert program.returncode == 0, out + err
    assert len(lab.judged()) == 3 and sorted(set(lab.judged())) == sorted(lab.judged())
    assert lab.output('after', 'ls').count('\n') == 3


def test_skip_a_decision(lab):
    run = lab.run(ASK, status=4)
    lab.glovebox('skip', run, 'look', '--reason', 'nobody is in')
    lab.glovebox('resume', run)
    assert lab.states()['after'] == 'succeeded' and lab.states()['look'] == 'skipped'


# ---------------------------------------------------------------------- decide


def test_approval(lab):
    run = lab.run(ASK, status=4)
    assert lab.state() == 'waiting'
    assert lab.states() == {'make': 'succeeded', 'look': 'deciding', 'other': 'succeeded',
                            'after': 'waiting'}
    [waiting] = lab.glovebox('status', run, '--json').json['waiting']
    assert waiting['step'] == 'look' and waiting['message'] == 'Is it well?'
    assert 'look' in lab.why('after')
    assert lab.programs() == [], 'waiting costs no process'
    assert lab.keepers() == [] or wait_until(lambda: not lab.keepers(), 10)
    assert 'Is it well?' in lab.last.stdout + lab.last.stderr
    lab.glovebox('decide', run, 'look', 'approve', '--note', 'looks right')
    lab.wait_for_run('succeeded')
    assert lab.output('after', 'after') == 'made\n'
    record = lab.record()['look']
    assert 'looks right' in record['reason'] and 'approved' in record['reason']
    [event] = lab.events('decided')
    assert event['approved'] is True and event['note'] == 'looks right' and event['who']
    assert record['attempts'] == []


def test_rejection(lab):
    run = lab.run(ASK, status=4)
    lab.glovebox('decide', run, 'look', 'reject', '--note', 'blurred')
    lab.wait_for_run('failed')
    task = lab.tasks()['look']
    assert task['state'] == 'failed' and task['cause'] == 'rejected'
    assert 'blurred' in lab.why('look')
    assert lab.states()['after'] in ('skipped', 'waiting')


def test_decide_twice_or_in_the_wrong_place(lab):
    run = lab.run(ASK, status=4)
    assert 'nothing is to be decided' in lab.glovebox(
        'decide', run, 'make', 'approve', status=1).stderr
    assert 'look' in lab.glovebox('decide', run, 'lok', 'approve', status=1).stderr
    lab.glovebox('decide', run, 'look', 'maybe', status=2)
    lab.glovebox('decide', run, 'look', 'approve', '--no-resume')
    lab.glovebox('decide', run, 'look', 'reject', status=1)
    assert lab.states()['look'] == 'succeeded'


def test_the_decision_reaches_later_steps_as_a_result(lab):
    text = ASK.replace("command: 'cat /in/made > /out/after'}",
                       "when: '$results.look.decision == \"approved\"', "
                       "command: 'echo \"${results.look.note}\" > /out/after'}")
    run = lab.run(text, status=4)
    lab.glovebox('decide', run, 'look', 'approve', '--note', 'a "quoted" $(note)', '--no-resume')
    lab.glovebox('resume', run)
    assert lab.output('after', 'after') == 'a "quoted" $(note)\n'


def test_run_wait_goes_on_after_the_decision(lab):
    program = lab.start(ASK, '--wait')
    wait_until(lambda: lab.newest() and lab.state() == 'waiting')
    assert program.poll() is None
    lab.glovebox('decide', 'last', 'look', 'approve')
    out, err = program.communicate(timeout=20)
    assert program.returncode == 0, out + err
    assert lab.state() == 'succeeded'


def test_decisions_of_partitions(lab):
    text = '''
name: each
steps:
  - {id: list, command: 'echo "[\\"a\\",\\"b\\"]" > /out/l'}
  - {id: make, foreach: {json: list/l}, command: 'echo ${item} > /out/n'}
  - {id: look, type: manual_approval, foreach: make, on_failure: skip_partition, message: 'ok ${partition}?'}
  - {id: use, foreach: make, in: make, needs: look, command: 'cat /in/n > /out/n'}
  - {id: all, in: use, command: 'cat /in/*/n > /out/all'}
'''
    run = lab.run(text, status=4)
    asked = {item['partition']: item['message']
             for item in lab.glovebox('status', run, '--json').json['waiting']}
    assert asked == {'a': 'ok a?', 'b': 'ok b?'}
    lab.glovebox('decide', run, 'look@a', 'approve', '--no-resume')
    lab.glovebox('resume', run, status=4)
    assert lab.states()['use@a'] == 'succeeded', 'it did not wait for b'
    assert lab.states()['look@b'] == 'deciding'
    lab.glovebox('decide', run, 'look@b', 'reject', '--no-resume')
    lab.glovebox('resume', run)
    assert lab.states()['use@b'] == 'skipped'
    assert lab.output('all', 'all') == 'a\n'


REVIEW = '''
name: review
steps:
  - {id: make, command: 'echo draft > /out/contour'}
  - {id: look, type: manual_review, in: make, out: [contour], message: please correct, every: 1s}
  - {id: use, in: look, command: 'cat /in/contour > /out/final'}
'''


def review_folder(lab):
    found = [path for path in (lab.home / 'runs').rglob('out') if path.is_dir()
             and 'outputs' not in path.parts]
    assert len(found) == 1, found
    return found[0]


def test_review_by_files(lab):
    """The reviewer sees what is to be reviewed, leaves files, and the run goes on with them."""
    run = lab.run(REVIEW, status=4)
    folder = review_folder(lab)
    assert (folder.parent / 'in' / 'data' / 'contour').read_text() == 'draft\n'
    assert str(folder.parent) in (lab.last.stdout + lab.last.stderr +
                                  lab.glovebox('why', run, 'look').stdout +
                                  lab.glovebox('status', run).stdout), 'people are told where'
    lab.glovebox('resume', run, status=4)
    (folder / 'contour').write_text('corrected\n')
    lab.glovebox('resume', run)
    assert lab.states()['look'] == 'succeeded'
    assert lab.output('use', 'final') == 'corrected\n'
    assert lab.output('look', 'contour') == 'corrected\n'


def test_review_by_files_while_the_run_is_watched(lab):
    program = lab.start(REVIEW, '--wait')
    wait_until(lambda: lab.newest() and lab.state() == 'waiting')
    (review_folder(lab) / 'contour').write_text('live\n')
    out, err = program.communicate(timeout=20)
    assert program.returncode == 0, out + err
    assert lab.output('use', 'final') == 'live\n'


def test_review_by_decision(lab):
    run = lab.run(REVIEW.replace('out: [contour], ', ''), status=4)
    (review_folder(lab) / 'contour').write_text('by hand\n')
    lab.glovebox('resume', run, status=4)
    assert lab.states()['look'] == 'deciding', 'no declared file: only a decision ends it'
    lab.glovebox('decide', run, 'look', 'approve', '--no-resume')
    lab.glovebox('resume', run)
    assert lab.output('use', 'final') == 'by hand\n'


def test_approving_a_review_without_its_declared_files(lab):
    run = lab.run(REVIEW, status=4)
    done = lab.glovebox('decide', run, 'look', 'approve', '--no-resume', status=1)
    assert 'contour' in done.stderr and str(review_folder(lab)) in done.stderr
    assert lab.states()['look'] == 'deciding'
    (review_folder(lab) / 'contour').write_text('late\n')
    lab.glovebox('decide', run, 'look', 'approve', '--note', 'fine', '--no-resume')
    lab.glovebox('resume', run)
    assert lab.output('use', 'final') == 'late\n'
    assert 'approved' in lab.record()['look']['reason'] and 'fine' in lab.why('look')


def test_a_review_must_leave_nothing_that_outputs_may_not_be(lab):
    run = lab.run(REVIEW, status=4)
    os.mkfifo(review_folder(lab) / 'pipe')
    (review_folder(lab) / 'contour').write_text('x\n')
    lab.glovebox('resume', run, status=1)
    task = lab.tasks()['look']
    assert task['state'] == 'failed' and task['cause'] == 'output'
    assert 'file, directory or link' in lab.why('look')


def test_a_review_asked_again_shows_what_is_new(lab):
    run = lab.run(REVIEW.replace('draft', '$(cat /proc/sys/kernel/random/uuid)'), status=4)
    first = (review_folder(lab).parent / 'in' / 'data' / 'contour').read_text()
    (review_folder(lab) / 'contour').write_text('x\n')
    lab.glovebox('resume', run)
    lab.glovebox('restart', run, '--from', 'make', status=4)
    assert lab.states()['look'] == 'deciding' and os.listdir(review_folder(lab)) == []
    second = (review_folder(lab).parent / 'in' / 'data' / 'contour').read_text()
    assert second != first


def test_a_rejected_review_can_be_retried(lab):
    run = lab.run(REVIEW, status=4)
    lab.glovebox('decide', run, 'look', 'reject', '--no-resume')
    lab.glovebox('resume', run, status=1)
    lab.glovebox('retry', run, status=4)
    (review_folder(lab) / 'contour').write_text('second\n')
    lab.glovebox('resume', run)
    assert lab.output('use', 'final') == 'second\n'


# -------------------------------------------------------- detach, status, exits


def test_detach(lab):
    path = lab.glovebox.pipeline(HOLD)
    done = lab.glovebox('run', path, '-i', 'judge=%s' % lab.judge(), '--detach')
    assert done.stdout.strip() == 'hold-1'
    wait_until(lambda: lab.judged())
    assert lab.state() == 'running' and lab.programs()
    release(lab)
    lab.wait_for_run('succeeded')
    wait_until(lambda: not lab.programs())
    assert sorted(lab.judged()) == ['1', '2', '3', '4']


def test_exit_statuses(lab):
    lab.run('name: a\nsteps:\n  - {id: a, command: "true"}\n', status=0)
    lab.run('name: a\nsteps:\n  - {id: a, command: "false"}\n', status=1)
    lab.run('name: a\nsteps:\n  - {id: a, command: "true", colour: red}\n', status=3)
    lab.run(ASK, status=4)
    before = lab.newest()
    lab.run(ASK, '-p', 'no=1', status=3)
    lab.run(ASK, '-i', 'no=/', status=3)
    lab.run(ASK, '--nonsense', status=2)
    assert lab.newest() == before, 'nothing was started'
    lab.glovebox('status', 'nothere', status=1)


def test_an_error_is_said_when_the_question_is_wrong(lab):
    lab.run('name: a\nsteps:\n  - {id: alpha, command: "true"}\n')
    assert 'alpha' in lab.glovebox('why', 'last', 'alpa', status=1).stderr
    assert 'nothere' in lab.glovebox('status', 'nothere', status=1).stderr
    assert lab.glovebox('logs', 'last', 'alpha@x', status=1).stderr


def test_status_and_tasks_json(lab):
    run = lab.run('name: a\nversion: "2"\nsteps:\n  - {id: x, command: "exit 3"}\n', status=1)
    status = lab.glovebox('status', run, '--json').json
    assert status['run'] == run and status['pipeline'] == 'a' and status['state'] == 'failed'
    assert set(status['tasks']) == {'waiting', 'ready', 'running', 'deciding', 'sleeping',
                                    'succeeded', 'reused', 'skipped', 'failed', 'cancelled'}
    [task] = lab.glovebox('tasks', run, '--json').json_lines
    assert {key: task[key] for key in ('step', 'partition', 'state', 'attempts', 'exit',
                                       'cause')} == {
        'step': 'x', 'partition': '', 'state': 'failed', 'attempts': 1, 'exit': 3,
        'cause': 'exit'}
    assert task['started'] < task['ended']


def test_why_of_each_state(lab):
    run = lab.run(HOLD.replace('[1,2,3,4]', '[1]'), '-i', 'judge=%s' % lab.judge(), '--detach')
    lab.wait_for_state('hold@1', 'running')
    assert 'running' in lab.why('hold@1', run)
    assert 'wait' in lab.why('after', run) and 'hold' in lab.why('after', run)
    release(lab)
    lab.wait_for_run('succeeded')
    assert 'ran' in lab.why('hold@1', run)


def test_commands_are_recorded_with_who_gave_them(lab):
    run = lab.run(ASK, status=4)
    lab.glovebox('pause', run)
    lab.glovebox('cancel', run)
    database = sqlite3.connect(lab.home / 'glovebox.db')
    rows = database.execute('SELECT verb, who, applied, problem FROM command ORDER BY id')
    rows = rows.fetchall()
    assert [row[0] for row in rows] == ['pause', 'cancel']
    assert all(row[1] and row[2] and row[3] is None for row in rows)
    database.close()


def test_record_of_a_run(lab):
    """run.json, pipeline.json and tasks.jsonl tell a stranger all of it."""
    data = lab.data({'f': 'x\n'})
    run = lab.run('''
name: record
version: "1.5"
params: {n: {type: integer, default: 4}}
inputs: {data: {}}
steps:
  - id: burn
    in: inputs.data
    resources: {memory: 200m, cpus: 1}
    timeout: 1m
    command: 'i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; cat /in/f; exit 5'
    retries: 1
    on_failure: continue
  - {id: fine, command: ['/bin/echo', "${params.n}"]}
''', '-i', 'data=%s' % data, status=1)
    record = lab.run_record()
    assert record['run'] == run and record['state'] == 'failed'
    assert record['version'] == '1.5' and record['parameters'] == {'n': 4}
    assert record['inputs'] == {'data': str(data)}
    [digest] = record['digests'].values()
    assert len(json.dumps(digest)) > 64
    assert record['started_by'] and record['started'] < record['ended']
    resolved = json.loads((lab.home / 'runs' / run / 'pipeline.json').read_text())
    assert [step['id'] for step in resolved['steps']] == ['burn', 'fine']
    burn = lab.record()['burn']
    assert [attempt['number'] for attempt in burn['attempts']] == [1, 2]
    for attempt in burn['attempts']:
        assert attempt['exit'] == 5 and attempt['cause'] == 'exit' and attempt['signal'] == 0
        assert 'i=$((i+1))' in attempt['command'][2]
        assert 'no capabilities' in attempt['sandbox']
        assert attempt['box']['mode'] == 'sealed' and attempt['box']['network'] == 'none'
        assert attempt['box']['memory'] == 200 * 1024 * 1024 or attempt['box']['memory'] == 2e8
        assert attempt['box']['cpus'] == 1 and attempt['box']['timeout'] == 60000
        assert {'target': '/in', 'writable': False} in attempt['box']['mounts']
        assert len(attempt['inputs']['in']['digest']) == 64
        assert attempt['started'] <= attempt['ended']
        assert attempt['peak_memory'] > 100000
        assert attempt['cpu_user'] + attempt['cpu_system'] > 1000
        assert os.path.getsize(attempt['log']) == 2 and open(attempt['log']).read() == 'x\n'
    [attempt] = lab.record()['fine']['attempts']
    assert attempt['command'] == ['/bin/echo', '4']
    assert lab.log('fine') == '4\n'


@pytest.mark.parametrize('which', ['1', 'last', 'hold', 'hold-1'])
def test_names_of_runs(lab, which):
    lab.run('name: hold\nsteps:\n  - {id: a, command: "true"}\n')
    assert lab.glovebox('status', which, '--json').json['run'] == 'hold-1'


def test_an_ambiguous_name(lab):
    text = 'name: hold\nsteps:\n  - {id: a, command: "true"}\n'
    lab.run(text)
    lab.run(text)
    done = lab.glovebox('status', 'hold', status=None)
    assert done.returncode != 0 and 'hold-1' in done.stderr and 'hold-2' in done.stderr


def test_a_storm_of_commands_while_tasks_end(lab):
    """Each command rebuilds the run in memory, while outputs are hashed and stored beside it."""
    program = lab.start('''
name: storm
steps:
  - {id: list, command: 'echo "[1,2,3,4,5,6,7,8,9,10,11,12]" > /out/l'}
  - {id: bad, on_failure: continue, command: 'exit 1'}
  - {id: look, type: manual_approval}
  - id: work
    foreach: {json: list/l}
    resources: {cpus: 0.5}
    command: 'for i in $(seq 150); do echo ${item} $i > /out/$i; done'
  - {id: sum, in: work, command: 'cat /in/*/* | wc -l > /out/n'}
''')
    wait_until(lambda: lab.newest() and lab.states().get('bad') == 'failed')
    retries = 0
    while program.poll() is None and lab.states().get('sum') != 'succeeded':
        # Who finds nobody that drives, drives: and meanwhile all but `look` may have ended.
        assert lab.glovebox('retry', 'last', 'bad', status=None).returncode in (0, 4)
        lab.glovebox('pause', 'last')
        lab.glovebox('resume', 'last', '--detach', status=None)
        retries += 1
    lab.glovebox('decide', 'last', 'look', 'approve', '--no-resume')
    program.communicate(timeout=30)
    lab.glovebox('resume', 'last', '--follow', status=1)
    wait_until(lambda: not lab.programs())
    tasks = lab.tasks()
    assert lab.output('sum', 'n') == '1800\n'
    assert all(tasks['work@%d' % n]['attempts'] == 1 for n in range(1, 13)), 'nothing ran twice'
    assert tasks['sum']['attempts'] == tasks['look']['attempts'] + 1 == 1
    assert retries and tasks['bad']['attempts'] > 1 and tasks['bad']['state'] == 'failed'


@pytest.mark.parametrize('command', ['skip', 'succeed'])
def test_a_mark_that_lets_a_failed_run_go_on_goes_on(lab, command):
    lab.run('''
name: marked
steps:
  - {id: a, command: 'exit 1'}
  - {id: b, needs: a, trigger_rule: all_done, command: 'echo b'}
  - {id: c, needs: a, trigger_rule: none_failed, command: 'echo c'}
''', status=1)
    lab.glovebox(command, 'last', 'a', '-r', 'seen by hand')
    wait_until(lambda: lab.state() == 'succeeded')
    assert lab.states()['c'] == 'succeeded'
