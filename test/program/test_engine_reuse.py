"""What ran before with the same program on the same data is not run again, and `why` says so."""
import hashlib
import os
import time

import pytest

from engine_support import JUDGE_INPUT, JUDGE_MOUNT, lab, wait_until  # noqa: F401

TWO_STEPS = '''
name: two
params:
  word: {default: one}
inputs:
  data: {type: directory}
steps:
  - id: copy
    foreach: {directories: inputs.data}
    command: 'cp /in/text /out/text; cat /proc/sys/kernel/random/uuid > /out/mark'
  - id: upper
    foreach: copy
    in: copy
    env: {WORD: "${params.word}"}
    command: 'tr a-z A-Z < /in/text > /out/text; echo $WORD >> /out/text'
  - id: side
    command: 'echo side > /out/side'
  - id: all
    in: {texts: upper, side: side}
    command: 'cat /in/texts/*/text /in/side/side > /out/all'
outputs: {all: all/all}
'''


@pytest.fixture
def subjects(lab):
    return lab.data({'s1/text': 'a\n', 's2/text': 'b\n'})


def go(lab, subjects, *options, text=TWO_STEPS, **more):
    return lab.run(text, '-i', 'data=%s' % subjects, *options, **more)


def test_the_same_run_again_is_reused_whole(lab, subjects):
    first = go(lab, subjects)
    assert lab.counts() == {'succeeded': 6}
    second = go(lab, subjects)
    assert lab.counts() == {'reused': 6}
    assert all(task['attempts'] == 0 for task in lab.tasks().values())
    assert 'reused' in lab.why('copy@s1') and first in lab.why('copy@s1')
    for name, task in lab.record(first).items():
        assert lab.record(second)[name]['output'] == task['output']
        assert lab.record(second)[name]['key'] == task['key']
    out = lab.home / 'runs' / second / 'outputs' / 'all'
    assert out.read_text() == 'A\none\nB\none\nside\n'


def test_a_new_subject_is_all_that_runs(lab, subjects):
    go(lab, subjects)
    lab.data({'s3/text': 'c\n'})
    go(lab, subjects)
    states = lab.states()
    assert {name for name, state in states.items() if state == 'succeeded'} == {
        'copy@s3', 'upper@s3', 'all'}
    assert {name for name, state in states.items() if state == 'reused'} == {
        'copy@s1', 'copy@s2', 'upper@s1', 'upper@s2', 'side'}
    assert lab.output('all', 'all') == 'A\none\nB\none\nC\none\nside\n'
    assert 'texts' in lab.why('all'), 'it says which input changed'


def test_a_subject_that_goes_away(lab, subjects):
    go(lab, subjects)
    (subjects / 's1/text').unlink()
    (subjects / 's1').rmdir()
    go(lab, subjects)
    assert lab.states() == {'copy@s2': 'reused', 'upper@s2': 'reused', 'side': 'reused',
                            'all': 'succeeded'}
    assert lab.output('all', 'all') == 'B\none\nside\n'


def test_an_edited_step_runs_with_what_depends_on_it(lab, subjects):
    go(lab, subjects)
    edited = TWO_STEPS.replace('>> /out/text', '>>/out/text')
    go(lab, subjects, text=edited)
    states = lab.states()
    assert states['upper@s1'] == states['upper@s2'] == 'succeeded'
    assert states['copy@s1'] == states['copy@s2'] == states['side'] == 'reused'
    assert states['all'] == 'reused', 'what upper left is the same, so is the work of all'
    assert 'command changed' in lab.why('upper@s1')
    go(lab, subjects, text=edited.replace('echo $WORD', 'echo +$WORD'))
    assert lab.states()['all'] == 'succeeded'
    assert lab.output('all', 'all') == 'A\n+one\nB\n+one\nside\n'


@pytest.mark.parametrize('before, after, says', [
    ('echo side >', 'echo Side >', 'command changed'),
    ("  - id: side\n", "  - id: side\n    env: {A: b}\n", 'environment changed'),
])
def test_why_says_which_part_changed(lab, subjects, before, after, says):
    go(lab, subjects)
    go(lab, subjects, text=TWO_STEPS.replace(before, after))
    assert lab.states()['side'] == 'succeeded'
    assert says in lab.why('side')


def test_a_parameter_reaches_only_the_steps_that_use_it(lab, subjects):
    go(lab, subjects)
    go(lab, subjects, '-p', 'word=two')
    states = lab.states()
    assert states['copy@s1'] == states['side'] == 'reused'
    assert states['upper@s1'] == states['all'] == 'succeeded'
    assert 'environment changed' in lab.why('upper@s1')
    assert lab.output('all', 'all') == 'A\ntwo\nB\ntwo\nside\n'


def test_an_edited_input_runs_its_own_partition(lab, subjects):
    go(lab, subjects)
    (subjects / 's2/text').write_text('x\n')
    go(lab, subjects)
    states = lab.states()
    assert states['copy@s1'] == states['upper@s1'] == 'reused'
    assert states['copy@s2'] == states['upper@s2'] == states['all'] == 'succeeded'
    assert 'inputs' in lab.why('copy@s2')


def test_an_edit_that_keeps_size_and_times_is_seen_when_it_is_recent(lab, subjects):
    """Times have a grain: a file read just after it was written may change unseen."""
    go(lab, subjects)
    status = (subjects / 's2/text').stat()
    (subjects / 's2/text').write_text('z\n')
    os.utime(subjects / 's2/text', ns=(status.st_atime_ns, status.st_mtime_ns))
    go(lab, subjects)
    assert lab.states()['copy@s2'] == 'succeeded'


def test_an_old_file_is_read_once_and_an_edit_is_seen(lab, subjects):
    """The digest cache: the change time betrays an edit that puts the other times back."""
    go(lab, subjects)
    time.sleep(2.1)  # the cache does not trust files younger than 2 s
    go(lab, subjects)
    go(lab, subjects)
    assert lab.counts() == {'reused': 6}
    status = (subjects / 's2/text').stat()
    (subjects / 's2/text').write_text('q\n')
    os.utime(subjects / 's2/text', ns=(status.st_atime_ns, status.st_mtime_ns))
    go(lab, subjects)
    assert lab.states()['copy@s2'] == 'succeeded'
    assert lab.states()['copy@s1'] == 'reused'


def test_touching_and_moving_change_nothing(lab, subjects):
    go(lab, subjects)
    os.utime(subjects / 's1/text', (1, 1))
    go(lab, subjects)
    assert lab.counts() == {'reused': 6}
    moved = subjects.rename(subjects.parent / 'elsewhere')
    go(lab, moved)
    assert lab.counts() == {'reused': 6}


def test_the_executable_bit_counts(lab, subjects):
    go(lab, subjects)
    (subjects / 's1/text').chmod(0o755)
    go(lab, subjects)
    assert lab.states()['copy@s1'] == 'succeeded'
    assert lab.states()['copy@s2'] == 'reused'


def test_no_reuse(lab, subjects):
    first = go(lab, subjects)
    go(lab, subjects, '--no-reuse')
    assert lab.counts() == {'succeeded': 6}
    assert 'asked' in lab.why('copy@s1')
    assert lab.record()['copy@s1']['output'] != lab.record(first)['copy@s1']['output'], \
        'the mark is random: it ran'


def test_cache_false_runs_each_time(lab):
    text = '''
name: clock
steps:
  - id: ask
    cache: false
    command: 'cat /proc/sys/kernel/random/uuid > /out/now'
  - id: use
    in: ask
    command: 'cp /in/now /out/'
'''
    lab.run(text)
    one = lab.output('use', 'now')
    lab.run(text)
    assert lab.counts() == {'succeeded': 2}
    assert 'cache: false' in lab.why('ask') and 'inputs in changed' in lab.why('use')
    assert lab.output('use', 'now') != one


def test_a_failed_result_is_never_reused(lab):
    text = 'name: bad\nsteps:\n  - id: bad\n    command: "echo x > /out/x; exit 3"\n'
    lab.run(text, status=1)
    lab.run(text, status=1)
    assert lab.tasks()['bad']['state'] == 'failed'
    assert lab.tasks()['bad']['attempts'] == 1


def test_reuse_of_a_step_whose_result_decides_a_fan(lab, subjects):
    text = '''
name: decide
steps:
  - id: list
    command: 'echo "{\\"items\\": [1, 2, 3]}" > /out/result.json'
  - id: each
    foreach: {json: list/result.json, items: ".items[]"}
    command: 'echo ${item} > /out/n'
'''
    lab.run(text)
    assert lab.counts() == {'succeeded': 4}
    lab.run(text)
    assert lab.counts() == {'reused': 4}


def test_from_a_step(lab, subjects):
    first = go(lab, subjects)
    go(lab, subjects, '--from', 'upper')
    states = lab.states()
    assert states == {'copy@s1': 'reused', 'copy@s2': 'reused', 'upper@s1': 'succeeded',
                      'upper@s2': 'succeeded', 'side': 'reused', 'all': 'succeeded'}
    assert first != lab.newest()


def test_from_a_partition(lab, subjects):
    go(lab, subjects)
    go(lab, subjects, '--from', 'copy@s2')
    assert lab.states() == {'copy@s1': 'reused', 'copy@s2': 'succeeded', 'upper@s1': 'reused',
                            'upper@s2': 'succeeded', 'side': 'reused', 'all': 'succeeded'}


def test_from_what_is_not_there(lab, subjects):
    go(lab, subjects, '--from', 'uper', status=3)
    assert 'upper' in lab.last.stderr, 'it says what was meant'


@pytest.mark.parametrize('given, says', [('copy@s11', 'copy@s1'), ('upper@S2', 'upper@s2'),
                                         ('side@s1', 'no partitions')])
def test_from_a_partition_that_is_not_there(lab, subjects, given, says):
    """Known from the names of the input: nothing starts."""
    go(lab, subjects, '--from', given, status=3)
    assert says in lab.last.stderr
    assert lab.newest() is None


DECIDED = '''
name: decided
steps:
  - id: list
    command: 'echo "[1, 2]" > /out/list.json'
  - id: each
    foreach: {json: list/list.json}
    command: 'echo ${item}a > /out/items; echo "[7, 8]" > /out/list.json'
  - id: deep
    foreach: {json: each/list.json}
    command: 'echo ${partition} > /out/n'
'''


@pytest.mark.parametrize('given', ['each@3', 'deep@1/9', 'deep@3/7', 'deep@1'])
def test_from_a_partition_that_never_comes(lab, given):
    """Known only when the fan is made: the run says so and fails."""
    lab.run(DECIDED, '--from', given, status=1)
    problem, = lab.glovebox('status', 'last', '--json').json['problems']
    assert problem['step'] == given.split('@')[0] and '--from' in problem['message']
    assert 'glovebox tasks' in problem['hint']
    assert given.split('@')[1] not in problem['message'], 'it may be the name of a patient'


@pytest.mark.parametrize('given', ['each@1', 'deep@2/8'])
def test_from_a_partition_that_comes_later(lab, given):
    lab.run(DECIDED)
    lab.run(DECIDED, '--from', given)
    assert [name for name, state in lab.states().items() if state == 'succeeded'][0] == given


def test_only(lab, subjects):
    go(lab, subjects, '--only', 'upper')
    assert lab.states() == {'copy@s1': 'succeeded', 'copy@s2': 'succeeded',
                            'upper@s1': 'succeeded', 'upper@s2': 'succeeded', 'side': 'skipped',
                            'all': 'skipped'}
    assert '--only' in lab.why('side')
    go(lab, subjects)
    assert lab.states()['upper@s1'] == 'reused' and lab.states()['all'] == 'succeeded'


def test_restart_from_a_step_runs_it_and_what_follows(lab, subjects):
    run = go(lab, subjects)
    before = lab.record()
    lab.glovebox('restart', run, '--from', 'copy')
    after = lab.record()
    for name in ('copy@s1', 'copy@s2', 'upper@s1', 'upper@s2', 'all'):
        assert len(after[name]['attempts']) == 2, name
        assert after[name]['state'] == 'succeeded'
    assert len(after['side']['attempts']) == 1
    assert 'asked' in lab.why('copy@s1') and 'asked' in lab.why('all')
    assert after['copy@s1']['output'] != before['copy@s1']['output']
    assert lab.state(run) == 'succeeded'
    assert lab.newest() == run, 'it is the same run'


def test_restart_of_one_partition(lab, subjects):
    run = go(lab, subjects)
    lab.glovebox('restart', run, '--from', 'copy@s2')
    made = {name: len(task['attempts']) for name, task in lab.record().items()}
    assert made == {'copy@s1': 1, 'copy@s2': 2, 'upper@s1': 1, 'upper@s2': 2, 'side': 1, 'all': 2}


def test_restart_of_what_was_reused(lab, subjects):
    go(lab, subjects)
    run = go(lab, subjects)
    lab.glovebox('restart', run, '--from', 'side')
    assert lab.states()['side'] == 'succeeded' and lab.states()['all'] == 'succeeded'
    assert lab.states()['copy@s1'] == 'reused'


def test_restart_errors(lab, subjects):
    run = go(lab, subjects)
    done = lab.glovebox('restart', run, '--from', 'cpoy', status=None)
    assert done.returncode in (1, 2) and 'copy' in done.stderr
    done = lab.glovebox('restart', run, '--from', 'copy@s9', status=None)
    assert done.returncode in (1, 2) and 'partition' in done.stderr
    assert lab.state(run) == 'succeeded', 'a mistake changes nothing'
    assert lab.counts(run) == {'succeeded': 6}


def test_restart_where_the_fan_turns_out_different(lab):
    """The step whose result decides how many tasks follow gives another list the second time."""
    judge = lab.judge()
    (judge / 'list').write_text('[1, 2, 3]')
    text = ('name: moving\ninputs:\n' + JUDGE_INPUT + '''
steps:
  - id: list
    mounts: [{name: judge, path: /judge, from: inputs.judge, writable: true}]
    command: 'cp /judge/list /out/list.json'
  - id: each
    foreach: {json: list/list.json}
    command: 'echo ${item} > /out/n'
  - id: sum
    in: each
    command: 'cat /in/*/n > /out/sum'
''')
    run = lab.run(text, '-i', 'judge=%s' % judge)
    assert lab.output('sum', 'sum') == '1\n2\n3\n'
    (judge / 'list').write_text('[3, 4]')
    lab.glovebox('restart', run, '--from', 'list')
    assert lab.output('sum', 'sum') == '3\n4\n'
    assert set(lab.states()) == {'list', 'each@3', 'each@4', 'sum'}
    assert lab.state() == 'succeeded'
    # Every attempt stays on record, with a log of its own.
    record = lab.record()
    numbers = {name: [each['number'] for each in task['attempts']]
               for name, task in record.items()}
    assert numbers == {'list': [1, 2], 'each@1': [1], 'each@2': [1], 'each@3': [1, 2],
                       'each@4': [1], 'sum': [1, 2]}
    assert record['each@1']['state'] == 'gone'
    assert all(os.path.exists(each['log']) for task in record.values()
               for each in task['attempts'])
    assert 'not made again' in lab.why('each@1')
    (judge / 'list').write_text('[1, 3]')
    lab.glovebox('restart', run, '--from', 'list')
    assert set(lab.states()) == {'list', 'each@1', 'each@3', 'sum'}
    assert [each['number'] for each in lab.record()['each@1']['attempts']] == [1, 2]
    assert sum(lab.counts().values()) == 4


def test_restart_above_what_made_partitions_numbers_their_attempts_on(lab):
    text = """
name: again
steps:
  - id: list
    command: 'echo "[1, 2]" > /out/list.json; cat /proc/sys/kernel/random/uuid > /out/mark'
  - id: each
    foreach: {json: list/list.json}
    cache: false
    command: 'echo here is ${item}'
"""
    run = lab.run(text)
    for number in (2, 3):
        lab.glovebox('restart', run, '--from', 'list')
        attempts = lab.record(run)['each@1']['attempts']
        assert [each['number'] for each in attempts] == list(range(1, number + 1))
        assert len({each['log'] for each in attempts}) == number
        for each in attempts:
            with open(each['log']) as log:
                assert log.read() == 'here is 1\n'
    assert lab.tasks(run)['each@1']['attempts'] == 3


def test_restart_above_what_runs_is_refused(lab):
    """Its partitions would be made anew beside those that run."""
    judge = lab.judge()
    text = ('name: busy\ninputs:\n' + JUDGE_INPUT + """
steps:
  - id: list
    command: 'echo "[1, 2]" > /out/list.json'
  - id: each
    foreach: {json: list/list.json}
""" + JUDGE_MOUNT + """    command: 'until [ -e /judge/go ]; do sleep 0.05; done'
""")
    program = lab.start(text, '-i', 'judge=%s' % judge)
    wait_until(lambda: lab.newest())
    lab.wait_for_state('each@1', 'running')
    done = lab.glovebox('restart', 'last', '--from', 'list', '--detach', status=None)
    assert done.returncode != 0 and 'running' in done.stderr
    (judge / 'go').write_text('')
    assert program.wait(30) == 0
    assert lab.state() == 'succeeded'


def test_restart_above_a_task_that_runs_is_refused(lab):
    """It would end well on what is about to be replaced."""
    judge = lab.judge()
    text = ('name: busy\ninputs:\n' + JUDGE_INPUT + """
steps:
  - {id: first, command: "true"}
  - id: second
    needs: [first]
""" + JUDGE_MOUNT + """    command: 'until [ -e /judge/go ]; do sleep 0.05; done'
""")
    program = lab.start(text, '-i', 'judge=%s' % judge)
    wait_until(lambda: lab.newest())
    lab.wait_for_state('second', 'running')
    done = lab.glovebox('restart', 'last', '--from', 'first', '--detach', status=None)
    assert done.returncode != 0
    assert 'tasks of step second that depend on it are running' in done.stderr
    assert 'cancel busy-1 second' in done.stderr
    (judge / 'go').write_text('')
    assert program.wait(30) == 0
    assert lab.tasks()['first']['attempts'] == 1


def test_restart_above_a_task_that_waits_to_be_tried_again(lab):
    judge = lab.judge()
    text = ('name: patient\ninputs:\n' + JUDGE_INPUT + """
steps:
  - id: first
""" + JUDGE_MOUNT + """    command: 'echo first >> /judge/log'
  - id: second
    needs: [first]
    retries: {count: 1, backoff: 1h}
""" + JUDGE_MOUNT + """    command: 'echo second >> /judge/log; test "$(grep -c first /judge/log)" = 2'
""")
    program = lab.start(text, '-i', 'judge=%s' % judge)
    wait_until(lambda: lab.newest())
    lab.wait_for_state('second', 'sleeping')
    lab.glovebox('restart', 'last', '--from', 'first', '--detach')
    assert program.wait(30) == 0
    assert lab.judged() == ['first', 'second', 'first', 'second']


def test_a_file_parameter_counts_by_its_content(lab):
    text = '''
name: model
params:
  model: {type: file}
steps:
  - id: use
    command: ['/bin/cp', "${params.model}", /out/model]
  - id: other
    command: ['/bin/true']
'''
    model = lab.folder / 'net.onnx'
    side = lab.folder / 'net.json'
    model.write_text('one')
    side.write_text('{}')
    lab.run(text, '-p', 'model=%s' % model)
    lab.run(text, '-p', 'model=%s' % model)
    assert lab.counts() == {'reused': 2}
    model.write_text('two')
    lab.run(text, '-p', 'model=%s' % model)
    assert lab.states() == {'use': 'succeeded', 'other': 'reused'}
    assert lab.output('use', 'model') == 'two'
    side.write_text('{"labels": []}')
    lab.run(text, '-p', 'model=%s' % model)
    assert lab.states()['use'] == 'succeeded', 'the description beside it counts'


def test_two_runs_at_once_share_a_home(lab, subjects):
    """Both are driven by one program or the other; both end well."""
    path = lab.glovebox.pipeline(TWO_STEPS)
    programs = [lab.glovebox.start('run', path, '-i', 'data=%s' % subjects) for _ in range(3)]
    for program in programs:
        out, err = program.communicate(timeout=60)
        assert program.returncode == 0, out + err
    runs = lab.glovebox('runs', '--json').json
    assert [run['state'] for run in runs] == ['succeeded'] * 3
    for run in runs:
        folder = lab.home / 'runs' / run['run'] / 'outputs'
        assert (folder / 'all').read_text() == 'A\none\nB\none\nside\n'


def test_the_record_of_a_result_holds_for_its_bytes(lab, subjects):
    """Whatever ran twice, what lies under a key is what the manifest beside it says."""
    go(lab, subjects)
    go(lab, subjects, '--no-reuse')
    for task in lab.record().values():
        folder = lab.home / 'results' / task['key'][:2] / task['key']
        lines = (folder / 'manifest').read_text().splitlines()
        listed = {line.split(' ', 4)[4]: line.split()[3] for line in lines}
        assert set(listed) == set(os.listdir(folder / 'output'))
        for name, digest in listed.items():
            assert hashlib.sha256((folder / 'output' / name).read_bytes()).hexdigest() == digest
    go(lab, subjects)
    assert lab.counts() == {'reused': 6}


def test_the_same_outputs_made_anew_stay_where_they_lie(lab, subjects):
    """Somebody may be reading them."""
    go(lab, subjects)
    before = lab.output_folder('side').stat().st_ino
    go(lab, subjects, '--no-reuse')
    assert lab.states()['side'] == 'succeeded'
    assert lab.output_folder('side').stat().st_ino == before


def test_work_done_anew_leaves_earlier_records_true(lab, subjects):
    """`copy` leaves a mark that is another each time."""
    first = go(lab, subjects)
    before, mark = lab.record(first)['copy@s1'], lab.output('copy@s1', 'mark', first)
    second = go(lab, subjects, '--no-reuse')
    assert lab.output('copy@s1', 'mark', first) == mark
    assert lab.record(second)['copy@s1']['output'] != before['output']
    assert lab.output('copy@s1', 'mark', second) != mark
    third = go(lab, subjects)
    assert lab.states(third)['copy@s1'] == 'reused'
    assert lab.record(third)['copy@s1']['output'] == lab.record(second)['copy@s1']['output'], (
        'the newest is what is reused')
    assert second in lab.why('copy@s1', third)


def test_the_record_of_what_was_reused_says_how_it_was_made(lab, subjects):
    first = go(lab, subjects)
    second = go(lab, subjects)
    task = lab.record(second)['upper@s1']
    assert task['state'] == 'reused' and task['attempts'] == []
    assert task['origin'] == {'run': first, 'step': 'upper', 'partition': 's1', 'attempt': 1}
    assert 'tr a-z A-Z' in ' '.join(task['recipe']['command'])
    assert [each['digest'] for each in task['recipe']['inputs'].values()] == [
        lab.record(first)['copy@s1']['output']]
    assert '%s: upper@s1, attempt 1' % first in lab.why('upper@s1', second)
    assert lab.record(first)['upper@s1']['origin'] is None


class Twin:
    """A step that waits for a sign from outside, in a pipeline that may be run twice at once."""

    def __init__(self, lab, after='true', options=''):
        lab.policy(allow_box_off=True)
        self.lab, self.log, self.sign = lab, lab.folder / 'log', lab.folder / 'sign'
        step = """
  - id: %%s
    box: off%s
    command: 'echo begun >> %s; until [ -e %s ]; do sleep 0.05; done; echo x > ${out}/x; %s'
""" % (options, self.log, self.sign, after)
        self.one = 'name: twin\nsteps:' + step % 'one'
        self.two = self.one + step % 'two'

    def begun(self):
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0

    def both(self, *options, status=0):
        """Runs it twice at once; returns how often the work was begun before it could end."""
        path = self.lab.glovebox.pipeline(self.one)
        programs = [self.lab.glovebox.start('run', path)]
        wait_until(self.begun)
        programs.append(self.lab.glovebox.start('run', path, *options))
        wait_until(lambda: len(self.lab.glovebox('runs', '--json').json) == 2)
        wait_until(lambda: self.begun() == 2 or self.lab.states().get('one') == 'ready' and
                   'same work' in self.lab.why('one'))
        begun = self.begun()
        self.sign.write_text('')
        for program in programs:
            out, err = program.communicate(timeout=60)
            assert program.returncode == status, out + err
        return begun


def test_the_same_work_in_two_runs_at_once_is_done_once(lab):
    twin = Twin(lab)
    assert twin.both() == 1
    assert twin.begun() == 1
    first, second = sorted(run['run'] for run in lab.glovebox('runs', '--json').json)
    assert lab.states(first) == {'one': 'succeeded'}
    assert lab.states(second) == {'one': 'reused'}


def test_the_same_work_twice_in_one_run_is_done_once(lab):
    twin = Twin(lab)
    twin.sign.write_text('')
    lab.run(twin.two)
    assert sorted(lab.states().values()) == ['reused', 'succeeded']
    assert twin.begun() == 1


def test_what_waited_for_work_that_failed_runs_itself(lab):
    twin = Twin(lab, 'exit 7')
    assert twin.both(status=1) == 1
    assert twin.begun() == 2


def test_what_is_asked_to_run_anew_runs(lab):
    twin = Twin(lab)
    twin.both('--no-reuse')
    assert twin.begun() == 2
    assert lab.states() == {'one': 'succeeded'}


def test_what_is_never_reused_waits_for_nobody(lab):
    twin = Twin(lab, options='\n    cache: false')
    assert twin.both() == 2


def test_a_cancelled_wait_for_the_same_work(lab):
    twin = Twin(lab)
    path = lab.glovebox.pipeline(twin.one)
    first = lab.glovebox.start('run', path)
    wait_until(twin.begun)
    second = lab.glovebox.start('run', path)
    wait_until(lambda: len(lab.glovebox('runs', '--json').json) == 2)
    lab.wait_for_state('one', 'ready')
    wait_until(lambda: 'same work' in lab.why('one'))
    lab.glovebox('cancel', 'last')
    assert second.wait(30) != 0
    twin.sign.write_text('')
    assert first.wait(30) == 0
    assert twin.begun() == 1
