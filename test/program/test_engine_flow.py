"""What runs when: conditions, trigger rules, failures, `next` and its loops, time, sub-pipelines."""
import time

import pytest

from engine_support import JUDGE_INPUT, JUDGE_MOUNT, lab, wait_until  # noqa: F401

# -------------------------------------------------------------------------- when


def test_when_asks_the_result_of_what_it_reads(lab):
    lab.run('''
name: when
steps:
  - {id: list, command: 'echo "[1,2,3]" > /out/l'}
  - {id: score, foreach: {json: list/l}, command: 'echo "{\\"v\\": ${item}}" > /out/result.json'}
  - {id: high, foreach: score, in: score, when: .v > 1, command: 'echo x > /out/x'}
  - {id: after, foreach: score, in: high, command: 'echo y > /out/y'}
  - {id: needy, foreach: score, needs: high, command: 'echo z > /out/z'}
  - {id: all, in: high, command: 'ls /in > /out/ls'}
''')
    states = lab.states()
    assert [states['high@%d' % n] for n in (1, 2, 3)] == ['skipped', 'succeeded', 'succeeded']
    assert states['after@1'] == 'skipped', 'what it reads was never made'
    assert states['after@2'] == 'succeeded'
    assert states['needy@1'] == 'succeeded', 'its own `when` is no failure'
    assert lab.output('all', 'ls') == '2\n3\n'
    assert 'when' in lab.why('high@1') and 'skipped' in lab.why('after@1')
    assert lab.state() == 'succeeded'


@pytest.mark.parametrize('when, runs', [
    ('$params.n == 2', True), ('$params.n > 2', False), ('null', False), ('0', True),
    ('empty', False), ('$results.a.v == 5', True), ('.v == 5', True), ('.none.such', False),
])
def test_when(lab, when, runs):
    lab.run('''
name: when
params: {n: {type: integer, default: 2}}
steps:
  - {id: a, command: 'echo "{\\"v\\": 5}" > /out/result.json'}
  - {id: b, in: a, when: '%s', command: 'true'}
''' % when)
    assert lab.states()['b'] == ('succeeded' if runs else 'skipped')


def test_a_condition_that_cannot_be_asked_fails_the_task(lab):
    lab.run('''
name: when
steps:
  - {id: a, command: 'echo "{\\"v\\": 5}" > /out/result.json'}
  - {id: b, in: a, when: '.v | keys', command: 'true'}
''', status=1)
    assert lab.states()['b'] == 'failed' and 'when' in lab.why('b')


# ----------------------------------------------------------------- trigger rules

RULES = '''
name: rules
steps:
  - {id: good, command: "true"}
  - {id: bad, command: "%s", on_failure: continue}
  - {id: not, when: "false", command: "true"}
  - {id: join, needs: [%s], trigger_rule: %s, command: "true"}
'''


@pytest.mark.parametrize('rule, of_good, of_both, of_bad, of_not', [
    ('all_succeeded', True, False, False, True),
    ('none_failed', True, False, False, True),
    ('all_done', True, True, True, True),
    ('any_failed', False, True, True, False),
    ('any_succeeded', True, True, False, False),
    ('all_failed', False, False, True, False),
])
def test_trigger_rules(lab, rule, of_good, of_both, of_bad, of_not):
    for needs, expected in (('good', of_good), ('good, bad', of_both), ('bad', of_bad),
                            ('not', of_not)):
        lab.run(RULES % ('exit 1', needs, rule), status=1)
        state = lab.states()['join']
        assert (state in ('succeeded', 'reused')) == expected, (rule, needs, state)
        assert expected or state == 'skipped'
    lab.run(RULES % ('true', 'good, bad', rule))
    assert (lab.states()['join'] in ('succeeded', 'reused')) == (
        rule in ('all_succeeded', 'none_failed', 'all_done', 'any_succeeded'))


def test_trigger_rules_over_partitions(lab):
    lab.run('''
name: join
steps:
  - {id: list, command: 'echo "[0,1]" > /out/l'}
  - {id: work, foreach: {json: list/l}, on_failure: continue, command: 'exit ${item}'}
  - {id: alarm, needs: work, trigger_rule: any_failed, type: dummy}
  - {id: report, needs: work, trigger_rule: all_done, type: dummy}
  - {id: any, needs: work, trigger_rule: any_succeeded, type: dummy}
  - {id: strict, needs: work, command: "true"}
  - {id: own, foreach: work, needs: work, trigger_rule: any_failed, type: dummy}
''', status=1)
    states = lab.states()
    assert [states[name] for name in ('alarm', 'report', 'any', 'strict', 'own@0', 'own@1')] == [
        'succeeded', 'succeeded', 'succeeded', 'skipped', 'skipped', 'succeeded']


def test_all_done_waits_for_all(lab):
    lab.run('''
name: late
steps:
  - {id: bad, command: "exit 1", on_failure: continue}
  - {id: slow, command: "sleep 0.4; date +%s.%N > /out/t"}
  - {id: report, needs: [bad, slow], trigger_rule: all_done, command: "date +%s.%N > /out/t"}
''', status=1)
    assert float(lab.output('report', 't')) > float(lab.output('slow', 't'))


# -------------------------------------------------------------------- on_failure


def test_fail_stops_the_run(lab):
    """What runs goes on; nothing new starts."""
    text = ('name: fail\ninputs:\n' + JUDGE_INPUT + '''
steps:
  - {id: list, command: 'echo "[1,2,3,4,5,6]" > /out/l'}
  - id: work
    foreach: {json: list/l}
    limit: 1
''' + JUDGE_MOUNT + '''
    command: 'echo ${item} >> /judge/log; [ ${item} != 2 ]'
  - {id: after, foreach: work, needs: work, command: "true"}
''')
    lab.run(text, '-i', 'judge=%s' % lab.judge(), status=1)
    assert lab.judged() == ['1', '2']
    assert lab.state() == 'failed'
    assert lab.counts()['failed'] == 1
    assert not {'running', 'deciding', 'sleeping'} & set(lab.counts())


def test_continue_goes_on_and_fails_at_the_end(lab):
    lab.run('''
name: go
steps:
  - {id: list, command: 'echo "[1,2,3]" > /out/l'}
  - {id: work, foreach: {json: list/l}, on_failure: continue, command: '[ ${item} != 2 ]'}
  - {id: after, foreach: work, needs: work, command: "true"}
  - {id: all, needs: after, command: "true"}
''', status=1)
    states = lab.states()
    assert [states['after@%d' % n] for n in (1, 2, 3)] == ['succeeded', 'skipped', 'succeeded']
    assert states['all'] == 'skipped' and lab.state() == 'failed'
    assert 'failed' in lab.why('after@2')


def test_skip_partition_succeeds_without_it(lab):
    lab.run('''
name: skip
steps:
  - {id: list, command: 'echo "[1,2,3]" > /out/l'}
  - {id: work, foreach: {json: list/l}, on_failure: skip_partition, command: '[ ${item} != 2 ] && echo ${item} > /out/n'}
  - {id: after, foreach: work, in: work, command: 'cp /in/n /out/'}
  - {id: all, in: after, command: 'cat /in/*/n > /out/all'}
''')
    states = lab.states()
    assert states['work@2'] == 'failed' and states['after@2'] == 'skipped'
    assert lab.output('all', 'all') == '1\n3\n'
    assert lab.state() == 'succeeded'


def test_every_partition_is_skipped(lab):
    lab.run('''
name: none
steps:
  - {id: list, command: 'echo "[1,2]" > /out/l'}
  - {id: work, foreach: {json: list/l}, on_failure: skip_partition, command: 'exit 1'}
  - {id: all, in: work, command: "true"}
''')
    assert lab.states()['all'] == 'skipped'


def test_a_clean_up_step_runs_before_the_run_fails(lab):
    text = ('name: tidy\ninputs:\n' + JUDGE_INPUT + '''
steps:
  - id: work
    on_failure: {run: tidy}
    command: '%s'
  - id: tidy
''' + JUDGE_MOUNT + '''
    command: 'echo tidied >> /judge/log'
  - {id: after, needs: work, command: "true"}
''')
    lab.run(text % 'exit 1', '-i', 'judge=%s' % lab.judge(), status=1)
    assert lab.judged() == ['tidied'] and lab.states()['tidy'] == 'succeeded'
    assert lab.state() == 'failed' and lab.states()['after'] != 'succeeded'
    lab.run(text % 'true', '-i', 'judge=%s' % lab.judge())
    assert lab.judged() == ['tidied'], 'nothing failed: nothing is cleaned up'
    assert lab.states()['tidy'] == 'skipped' and lab.state() == 'succeeded'


def test_a_clean_up_of_each_partition(lab):
    text = ('name: tidy\ninputs:\n' + JUDGE_INPUT + '''
steps:
  - {id: list, command: 'echo "[1,2]" > /out/l'}
  - id: work
    foreach: {json: list/l}
    on_failure: {run: tidy}
    command: '[ ${item} = 1 ]'
  - id: tidy
    foreach: work
''' + JUDGE_MOUNT + '''
    command: 'echo ${item} >> /judge/log'
''')
    lab.run(text, '-i', 'judge=%s' % lab.judge(), status=1)
    assert lab.judged() == ['2']


def test_a_clean_up_for_all_partitions_runs_once(lab):
    """When what runs has ended, however many failed; and again when they failed again."""
    text = ('name: tidy\ninputs:\n' + JUDGE_INPUT + '''
steps:
  - {id: list, command: 'echo "[1,2,3,4]" > /out/l'}
  - id: work
    foreach: {json: list/l}
    on_failure: {run: tidy}
    resources: {cpus: 0.1}
''' + JUDGE_MOUNT + '''
    command: |
      touch /judge/began-${item}
      if [ ${item} != 4 ]; then
        for i in 1 2 3 4; do until test -e /judge/began-$i; do sleep 0.05; done; done
        [ ${item} = 1 ] || until test -e /judge/go; do sleep 0.05; done
        echo failed >> /judge/log; exit 1
      fi
  - id: tidy
''' + JUDGE_MOUNT + '''
    command: 'echo tidied >> /judge/log'
''')
    judge = lab.judge()
    running = lab.start(text, '-i', 'judge=%s' % judge)
    wait_until(lambda: lab.judged() == ['failed'])
    lab.wait_for_state('work@1', 'failed')
    assert lab.states()['tidy'] == 'waiting'  # two more are about to fail
    (judge / 'go').touch()
    running.communicate(timeout=60)
    assert lab.judged() == ['failed'] * 3 + ['tidied'] and lab.state() == 'failed'
    lab.glovebox('retry', 'last', status=1)
    assert lab.judged() == (['failed'] * 3 + ['tidied']) * 2
    assert lab.states()['tidy'] == 'succeeded'


# -------------------------------------------------------------------------- next


def test_next_with_conditions(lab):
    text = '''
name: next
params: {n: {type: integer, default: 1}}
steps:
  - id: ask
    command: 'echo "{\\"n\\": ${params.n}}" > /out/result.json'
    next: {if: [{jq: .n == 1, target: one}, {jq: .n == 2, target: [two, three]}], else: other}
  - {id: one, command: "true"}
  - {id: two, command: "true"}
  - {id: three, command: "true"}
  - {id: other, command: "true"}
'''
    for n, taken in ((1, {'one'}), (2, {'two', 'three'}), (3, {'other'})):
        lab.run(text, '-p', 'n=%d' % n, '--no-reuse')
        states = lab.states()
        assert states.pop('ask') == 'succeeded'
        assert {name for name, state in states.items() if state == 'succeeded'} == taken
        assert {state for name, state in states.items() if name not in taken} == {'skipped'}
        assert lab.state() == 'succeeded'


def test_a_loop_that_ends(lab):
    """Roll back until it is good: the loop runs as often as the condition says."""
    text = ('name: loop\ninputs:\n' + JUDGE_INPUT + '''
steps:
  - {id: start, type: dummy, next: work}
  - id: work
''' + JUDGE_MOUNT + '''
    command: 'echo work >> /judge/log'
    next: check
  - id: check
''' + JUDGE_MOUNT + '''
    command: 'echo "{\\"n\\": $(grep -c work /judge/log)}" > /out/result.json'
    next: {if: [{jq: .n < 4, target: work}], else: done}
  - id: done
''' + JUDGE_MOUNT + '''
    command: 'echo done >> /judge/log'
''')
    lab.run(text, '-i', 'judge=%s' % lab.judge())
    assert lab.judged() == ['work'] * 4 + ['done']
    assert lab.tasks()['check']['attempts'] == 4 and lab.tasks()['done']['attempts'] == 1
    assert lab.state() == 'succeeded'


def test_a_retry_within_a_loop_keeps_what_came_before(lab):
    """The jump back does not make a step of the loop one that was never named."""
    text = ('name: loop\ninputs:\n' + JUDGE_INPUT + '''
steps:
  - {id: start, type: dummy, next: work}
  - id: work
''' + JUDGE_MOUNT + '''
    command: 'echo work >> /judge/log; echo w > /out/w'
    next: check
  - id: check
''' + JUDGE_MOUNT + '''
    command: 'n=$(grep -c work /judge/log); [ $n -lt 2 ] || [ -e /judge/well ] || exit 3;
      echo "{\\"n\\": $n}" > /out/result.json'
    next: {if: [{jq: .n < 2, target: work}], else: done}
  - {id: done, command: 'echo d > /out/d'}
''')
    judge = lab.judge()
    run = lab.run(text, '-i', 'judge=%s' % judge, status=1)
    assert lab.states() == {'start': 'succeeded', 'work': 'succeeded', 'check': 'failed', 'done': 'waiting'}
    (judge / 'well').touch()
    lab.glovebox('retry', run)
    assert set(lab.states().values()) == {'succeeded'}
    assert lab.judged() == ['work'] * 2, 'it was not done again'
    assert lab.output('work', 'w') == 'w\n'
    lab.glovebox('restart', run, '--from', 'work')
    assert lab.judged() == ['work'] * 3 and set(lab.states().values()) <= {'succeeded', 'reused'}


def test_a_loop_of_each_partition(lab):
    text = ('name: loop\ninputs:\n' + JUDGE_INPUT + '''
steps:
  - {id: list, command: 'echo "[1,2,3]" > /out/l'}
  - {id: start, foreach: {json: list/l}, type: dummy, next: work}
  - id: work
    foreach: start
    in: list
''' + JUDGE_MOUNT + '''
    command: 'echo x >> /judge/${item}'
    next: check
  - id: check
    foreach: work
    in: list
''' + JUDGE_MOUNT + '''
    command: 'echo "{\\"n\\": $(wc -l < /judge/${item})}" > /out/result.json'
    next: {if: [{jq: '.n < ($partition | tonumber)', target: work}], else: done}
  - id: done
    foreach: work
    in: list
''' + JUDGE_MOUNT + '''
    command: 'echo ${item} >> /judge/log'
''')
    judge = lab.judge()
    lab.run(text, '-i', 'judge=%s' % judge)
    assert [(judge / str(n)).read_text().count('x') for n in (1, 2, 3)] == [1, 2, 3]
    assert sorted(lab.judged()) == ['1', '2', '3']


def test_next_asks_again_until_a_condition_holds(lab):
    judge = lab.judge()
    text = ('name: poll\ninputs:\n' + JUDGE_INPUT + '''
steps:
  - id: ask
''' + JUDGE_MOUNT + '''
    command: 'echo asked >> /judge/log; echo "{\\"v\\": 1}" > /out/result.json'
    next: {if: [{jq: 'now > $params.at', target: go}], wait: 1s}
  - {id: go, command: "true"}
params: {at: {type: number}}
''')
    at = time.time() + 2
    lab.run(text, '-i', 'judge=%s' % judge, '-p', 'at=%f' % at)
    assert time.time() > at
    assert lab.judged() == ['asked'], 'asking again is no work'
    assert lab.states() == {'ask': 'succeeded', 'go': 'succeeded'}


def test_a_loop_is_stopped_by_cancel(lab):
    text = '''
name: forever
steps:
  - {id: start, type: dummy, next: a}
  - {id: a, command: "sleep 0.05", next: b}
  - {id: b, command: "true", next: a}
'''
    program = lab.start(text)
    wait_until(lambda: lab.newest() and lab.tasks().get('a', {}).get('attempts', 0) > 2)
    lab.glovebox('cancel', 'last')
    program.communicate(timeout=20)
    assert lab.state() == 'cancelled'


def test_a_loop_goes_on_after_a_kill(lab):
    judge = lab.judge()
    text = ('name: loop\ninputs:\n' + JUDGE_INPUT + '''
steps:
  - {id: start, type: dummy, next: work}
  - id: work
''' + JUDGE_MOUNT + '''
    command: 'sleep 0.1; echo work >> /judge/log; echo "{\\"n\\": $(grep -c work /judge/log)}" > /out/result.json'
    next: {if: [{jq: .n < 8, target: work}], else: done}
  - {id: done, command: "true"}
''')
    program = lab.start(text, '-i', 'judge=%s' % judge)
    for count in (2, 4, 6):
        wait_until(lambda: len(lab.judged()) >= count)
        program.kill()
        program.communicate()
        program = lab.glovebox.start('resume', 'last')
    out, err = program.communicate(timeout=30)
    assert program.returncode == 0, out + err
    assert lab.judged() == ['work'] * 8


# ---------------------------------------------------------- time, notes, dummies


def test_wait_for_a_time(lab):
    lab.run('''
name: wait
steps:
  - {id: a, command: 'date +%s%N > /out/t'}
  - {id: pause, type: wait, for: 1s, needs: a}
  - {id: b, needs: pause, command: 'date -u +%s%N > /out/t'}
''')
    waited = int(lab.output('b', 't')) - int(lab.output('a', 't'))
    assert 1e9 <= waited < 10e9
    assert lab.states()['pause'] == 'succeeded'


def test_a_wait_outlives_its_driver(lab):
    program = lab.start('''
name: wait
steps:
  - {id: pause, type: wait, for: 2s}
''')
    wait_until(lambda: lab.newest() and lab.states().get('pause') == 'sleeping')
    begin = time.monotonic()
    assert 'time' in lab.why('pause')
    program.kill()
    program.communicate()
    time.sleep(0.8)
    lab.glovebox('resume', 'last')
    assert time.monotonic() - begin < 3.5, 'the time went on'
    assert lab.state() == 'succeeded'


def test_wait_for_a_file(lab):
    inbox = lab.data({}, 'inbox')
    program = lab.start('''
name: wait
inputs: {inbox: {type: directory, writable: true}}
steps:
  - {id: ready, type: wait, file: "${inputs.inbox}/READY", every: 1s}
  - {id: go, needs: ready, command: "true"}
''', '-i', 'inbox=%s' % inbox)
    wait_until(lambda: lab.newest() and lab.states().get('ready') == 'sleeping')
    assert lab.state() == 'running' and not lab.keepers()
    (inbox / 'READY').touch()
    out, err = program.communicate(timeout=20)
    assert program.returncode == 0, out + err
    assert lab.states()['go'] == 'succeeded'


def test_wait_until(lab):
    at = time.time() + 1.5
    lab.run('''
name: wait
params: {at: {type: number}}
steps:
  - {id: ready, type: wait, until: 'now > $params.at', every: 1s}
''', '-p', 'at=%f' % at)
    assert time.time() > at and lab.states()['ready'] == 'succeeded'


def test_notify_and_dummy(lab):
    lab.run('''
name: note
params: {who: {default: you}}
steps:
  - {id: a, type: dummy}
  - {id: tell, type: notify, needs: a, message: "hello ${params.who}: ${results.b.n}", in: b}
  - {id: b, command: 'echo "{\\"n\\": 7}" > /out/result.json'}
''')
    assert lab.events('notice') == [{'message': 'hello you: 7'}]
    assert lab.tasks()['a']['state'] == lab.tasks()['tell']['state'] == 'succeeded'
    assert lab.tasks()['a']['attempts'] == 0 == lab.tasks()['tell']['attempts']
    assert 'hello you: 7' in lab.why('tell')


# -------------------------------------------------------------------- pipelines


def test_sub_pipelines(lab):
    lab.glovebox.pipeline('''
name: part
params: {suffix: {default: "-"}}
inputs: {text: {type: directory}}
outputs: {result: second}
steps:
  - {id: first, in: inputs.text, command: 'tr a-z A-Z < /in/t > /out/t'}
  - {id: second, in: first, command: 'echo "$(cat /in/t)${params.suffix}" > /out/t'}
''', 'part.yaml')
    data = lab.data({'a/t': 'one', 'b/t': 'two'})
    lab.run('''
name: whole
params: {mark: {default: "!"}}
inputs: {data: {type: directory}}
steps:
  - {id: copy, foreach: {directories: inputs.data}, command: 'cp /in/t /out/t'}
  - {id: part, foreach: copy, pipeline: part.yaml, in: {text: copy}, params: {suffix: "${params.mark}"}}
  - {id: all, in: part/result, command: 'cat /in/*/t > /out/all'}
''', '-i', 'data=%s' % data)
    assert lab.output('all', 'all') == 'ONE!\nTWO!\n'
    assert lab.states()['part.first@a'] == 'succeeded'
    assert lab.states()['part.second@b'] == 'succeeded'


# -------------------------------------------------------------------- templates


def test_templates_and_parameters_of_every_type(lab):
    (lab.folder / 'list.txt').write_text('L')
    lab.data({'x': 'X'}, 'folder')
    lab.run('''
name: types
params:
  s: {default: 'a "b" $c'}
  i: {type: integer, default: 3, minimum: 1, maximum: 9}
  n: {type: number, default: 0.5}
  b: {type: boolean, default: true}
  l: {type: list, default: [x, y z]}
  f: {type: file}
  d: {type: directory}
steps:
  - id: show
    env: {S: "${params.s}", LIST: "${params.l}", RUN: "${run}", STEP: "${step}", LIT: "$${x}"}
    command:
      - /bin/sh
      - -c
      - 'printf "%s|" "$S" "$LIST" "$RUN" "$STEP" "$LIT" "$@"; cat "$6" "$7/x"'
      - sh
      - "${params.s}"
      - "${params.i}"
      - "${params.n}"
      - "${params.b}"
      - "${$params.l | join(\\",\\")}"
      - "${params.f}"
      - "${params.d}"
''', '-p', 'f=%s' % (lab.folder / 'list.txt'), '-p', 'd=%s' % (lab.folder / 'folder'), '-p', 'i=4')
    parts = lab.log('show').split('|')
    assert parts[0] == 'a "b" $c' and parts[1] == '["x","y z"]' and parts[2] == 'types-1'
    assert parts[3:5] == ['show', '${x}']
    assert parts[5:10] == ['a "b" $c', '4', '0.5', 'true', 'x,y z']
    assert parts[-1] == 'LX'


@pytest.mark.parametrize('given', ['i=0', 'i=10', 'i=x', 'i=1.5', 'b=maybe', 'n=abc', 'c=no',
                                   'p=lower', 'f=/none/such', 'd=/etc/passwd', 'zz=1'])
def test_parameters_that_do_not_fit(lab, given):
    lab.run('''
name: types
params:
  i: {type: integer, default: 3, minimum: 1, maximum: 9}
  n: {type: number, default: 0.5}
  b: {type: boolean, default: true}
  c: {default: yes it is, choices: [yes it is, other]}
  p: {default: ABC, pattern: "[A-Z]+"}
  f: {type: file, default: pipeline.yaml}
  d: {type: directory, default: "."}
steps:
  - {id: a, command: "true"}
''', '-p', given, status=3)
    assert given.split('=')[0] in lab.last.stderr
    assert lab.newest() is None
