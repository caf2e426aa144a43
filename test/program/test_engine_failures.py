"""How tasks die and what becomes of it; what is refused; what is never exceeded."""
import hashlib
import json
import os
import signal
import sqlite3

import pytest

from engine_support import (JUDGE_INPUT, JUDGE_MOUNT, kill, lab, processes_with,  # noqa: F401
                            wait_until)


def one(lab, body, *options, status=1, **more):
    """A run of one step `x`; returns its task."""
    lab.run('name: one\nsteps:\n  - id: x\n' + ''.join('    %s\n' % line for line in
                                                       body.splitlines()),
            *options, status=status, **more)
    return lab.tasks()['x']


# -------------------------------------------------------------- causes of death


def test_exit_code(lab):
    task = one(lab, 'command: "echo out; echo err >&2; exit 42"')
    assert (task['state'], task['cause'], task['exit']) == ('failed', 'exit', 42)
    assert sorted(lab.log('x').split()) == ['err', 'out']
    assert '42' in lab.why('x')
    failed = lab.glovebox('status', 'last', '--json').json['failed']
    assert failed[0]['step'] == 'x' and failed[0]['exit'] == 42
    assert open(failed[0]['log']).read().split() == ['out', 'err']


def leave(result, more='exit 5'):
    """A command that leaves this result.json."""
    return json.dumps("printf '%%s' '%s' > /out/result.json; %s" % (result, more))


def test_what_a_failed_task_says_of_itself_is_kept(lab):
    one(lab, 'command: ' + leave('{"broken": [{"file": "#3", "reason": "it is cut off"}]}'))
    assert lab.record()['x']['result'] == {'broken': [{'file': '#3', 'reason': 'it is cut off'}]}
    assert 'result.json: {"broken":[{"file":"#3","reason":"it is cut off"}]}' in lab.why('x')
    one(lab, 'command: ' + leave('{"long": "%s"}' % ('ä' * 3000)))
    assert len(lab.record()['x']['result']['long']) == 3000
    assert lab.why('x').endswith('ä…') and len(lab.why('x')) < 1200


@pytest.mark.parametrize('result', ['{"half": ', '[1]', '{"a": 1, "a": 2}', '{"x": "%s"}' % ('x' * (257 << 10))],
                         ids=['half', 'list', 'twice', 'large'])
def test_a_bad_result_of_a_failed_task_is_left_alone(lab, result):
    (lab.folder / 'data').mkdir()
    (lab.folder / 'data' / 'r').write_text(result)
    lab.run("""
name: one
inputs: {data: {type: directory}}
steps:
  - {id: x, in: inputs.data, command: 'cp /in/r /out/result.json; exit 5'}
""", '-i', 'data=data', status=1)
    assert lab.record()['x']['result'] is None and lab.tasks()['x']['cause'] == 'exit'
    assert 'result.json' not in lab.why('x')


def test_the_result_is_that_of_the_last_attempt(lab):
    data = lab.judge()
    lab.run("""
name: one
inputs:
""" + JUDGE_INPUT + """
steps:
  - id: x
""" + JUDGE_MOUNT + """
    command: 'test -e /judge/log && exit 6; touch /judge/log; echo "{}" > /out/result.json; exit 5'
    retries: {count: 1}
""", '-i', 'judge=%s' % data, status=1)
    assert lab.tasks()['x']['exit'] == 6 and lab.record()['x']['result'] is None


def test_paths_of_logs_do_not_name_partitions(lab):
    """A partition may be the name of a patient, and paths get about."""
    data = lab.data({'CANARY-DOE/f': 'x', 'CANARY-ROE/f': 'y'})
    lab.run("""
name: one
inputs: {data: {type: directory}}
steps:
  - {id: x, foreach: {directories: inputs.data}, command: 'cat /in/f; test "$GLOVEBOX_PARTITION" != CANARY-ROE'}
""", '-i', 'data=%s' % data, status=1)
    assert lab.log('x@CANARY-DOE') == 'x' and lab.log('x@CANARY-ROE') == 'y'
    logs = [path for path in lab.home.rglob('*') if path.suffix == '.log' and 'runs' in path.parts]
    assert len(logs) == 2 and {path.read_text() for path in logs} == {'x', 'y'}
    assert not [path for path in lab.home.rglob('*') if 'CANARY' in str(path.relative_to(lab.home))]
    assert 'CANARY' not in lab.glovebox('status', 'last', '--json').json['failed'][0]['log']
    assert not grep(lab.home / 'compute', 'CANARY')


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_signal(lab, number):
    task = one(lab, 'command: "kill -%d $$"' % number)
    assert (task['state'], task['cause']) == ('failed', 'signal')
    assert lab.record()['x']['attempts'][0]['signal'] == number


def test_timeout(lab):
    task = one(lab, 'command: "sleep 30 & sleep 31"\ntimeout: 1s')
    assert (task['state'], task['cause']) == ('failed', 'timeout')
    assert not processes_with('sleep 31')
    [attempt] = lab.record()['x']['attempts']
    assert attempt['ended'] > attempt['started']


def test_out_of_memory(lab):
    task = one(lab, '''resources: {memory: 40m}
command: ['/usr/bin/python3', '-c', 'x = bytearray(400 << 20); print(len(x))']''')
    assert (task['state'], task['cause']) == ('failed', 'out_of_memory')


def test_memory_that_is_enough(lab):
    one(lab, '''resources: {memory: 400m}
command: ['/usr/bin/python3', '-c', 'x = bytearray(60 << 20); print(len(x))']''', status=0)
    assert lab.record()['x']['attempts'][0]['peak_memory'] > 60 << 20


@pytest.mark.parametrize('program', ['/no/such/program', 'nosuchprogram', '/etc/passwd', '/'])
def test_a_program_that_is_not_there(lab, program):
    task = one(lab, "command: ['%s']" % program)
    assert (task['state'], task['cause']) == ('failed', 'not_started')
    assert program in lab.why('x')


def test_a_shell_that_finds_no_program(lab):
    assert one(lab, 'command: nosuchprogram')['exit'] == 127
    assert 'nosuchprogram' in lab.log('x')


# ---------------------------------------------------------------------- outputs


def test_a_declared_output_is_missing(lab):
    task = one(lab, 'command: "echo x > /out/other"\nout: [report.pdf]')
    assert (task['state'], task['cause'], task['exit']) == ('failed', 'output', 0)
    assert 'report.pdf' in lab.why('x')


def test_a_declared_output_that_is_there(lab):
    one(lab, 'command: "mkdir /out/a; echo x > /out/a/b"\nout: [a/b, a]', status=0)


@pytest.mark.parametrize('make, says', [
    ('cp /bin/true /out/t; chmod g+s /out/t', 'set-gid'),
    ('mkfifo /out/pipe', 'not a file, directory or link'),
    ('''python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("/out/s")' ''',
     'not a file, directory or link'),
])
def test_outputs_that_are_refused(lab, make, says):
    task = one(lab, 'command: |\n  %s' % make)
    assert (task['state'], task['cause']) == ('failed', 'output')
    assert says in lab.why('x')
    assert os.listdir(lab.home / 'work') == []


def test_a_device_cannot_be_made(lab):
    task = one(lab, 'command: "mknod /out/null c 1 3"')
    assert task['state'] == 'failed' and task['cause'] in ('exit', 'output')


def test_a_set_uid_file_cannot_be_made(lab):
    """Nor is one taken over that was made without the box."""
    assert one(lab, 'command: "cp /bin/true /out/t; chmod u+s /out/t"')['cause'] == 'exit'
    lab.policy(allow_box_off=True)
    task = one(lab, 'box: off\ncommand: "cp /bin/true ${out}/t; chmod u+s ${out}/t"')
    assert task['cause'] == 'output' and 'set-uid' in lab.why('x')


def test_links_in_outputs_do_not_lead_out(lab):
    """A link in an output is data: nobody follows it, neither when hashed nor when delivered."""
    secret = lab.folder / 'secret'
    secret.write_text('CANARY-LINK')
    lab.run('''
name: link
steps:
  - {id: x, command: 'ln -s %s /out/link; ln -s / /out/root; echo y > /out/y'}
  - {id: y, in: x, command: 'cat /in/link || true; ls -d /in/root/work* || true; cat /in/y'}
outputs: {all: x}
''' % secret)
    delivered = lab.home / 'runs' / 'link-1' / 'outputs' / 'all'
    assert os.path.islink(delivered / 'link') or not (delivered / 'link').exists()
    assert 'CANARY-LINK' not in lab.log('y')


@pytest.mark.parametrize('write, says', [
    (r"head -c 2000000 /dev/zero | tr '\0' 1 > /out/result.json", 'result.json'),
    (r"echo '{' > /out/result.json", 'result.json'),
    (r"echo '[1]' > /out/result.json", 'not an object'),
    (r"printf '{\"a\": \"\377\"}' > /out/result.json", 'result.json'),
])
def test_results_that_are_refused(lab, write, says):
    task = one(lab, 'command: |\n  ' + write)
    assert (task['state'], task['cause']) == ('failed', 'output')
    assert says in lab.why('x')


def test_deep_results(lab):
    task = one(lab, '''command: ['/usr/bin/python3', '-c', 'open("/out/result.json", "w").write("{\\"a\\":" + "[" * 100000 + "]" * 100000 + "}")']''')
    assert (task['state'], task['cause']) == ('failed', 'output')


def test_outputs_that_nobody_may_read(lab):
    """The owner is mapped; what a task locked away is still ours."""
    one(lab, 'command: "mkdir /out/d; echo x > /out/d/f; chmod 0 /out/d/f /out/d"', status=None)
    assert lab.tasks()['x']['state'] in ('succeeded', 'failed')
    assert lab.tasks()['x']['cause'] in ('', 'output')


# ---------------------------------------------------------------------- retries

FLAKY = ('name: flaky\ninputs:\n' + JUDGE_INPUT + 'steps:\n  - id: x\n' + JUDGE_MOUNT + '''
    command: 'date +%%s.%%N >> /judge/log; [ $(wc -l < /judge/log) -ge %d ]'
    retries: %s
''')


def test_retries(lab):
    lab.run(FLAKY % (3, 2), '-i', 'judge=%s' % lab.judge())
    assert lab.tasks()['x']['attempts'] == 3 and len(lab.judged()) == 3
    assert [attempt['exit'] for attempt in lab.record()['x']['attempts']] == [1, 1, 0]
    assert len({attempt['log'] for attempt in lab.record()['x']['attempts']}) == 3


def test_retries_come_to_an_end(lab):
    lab.run(FLAKY % (9, 2), '-i', 'judge=%s' % lab.judge(), status=1)
    assert lab.tasks()['x']['attempts'] == 3 and len(lab.judged()) == 3


def test_backoff_doubles_up_to_its_cap(lab):
    lab.run(FLAKY % (5, '{count: 4, backoff: 300ms, cap: 700ms}'), '-i', 'judge=%s' % lab.judge())
    times = [float(line) for line in lab.judged()]
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert len(gaps) == 4
    for gap, least in zip(gaps, (0.3, 0.6, 0.7, 0.7)):
        assert least <= gap < least + 2, gaps


@pytest.mark.parametrize('causes, attempts', [('[exit]', 3), ('[timeout, signal]', 1)])
def test_retries_of_some_causes(lab, causes, attempts):
    lab.run(FLAKY % (9, '{count: 2, causes: %s}' % causes), '-i', 'judge=%s' % lab.judge(),
            status=1)
    assert lab.tasks()['x']['attempts'] == attempts


def test_retries_are_counted_across_a_kill(lab):
    judge = lab.judge()
    program = lab.start(FLAKY % (9, '{count: 3, backoff: 500ms}'), '-i', 'judge=%s' % judge)
    wait_until(lambda: len(lab.judged()) == 2)
    program.kill()
    program.communicate()
    lab.glovebox('resume', 'last', status=1)
    assert len(lab.judged()) == 4


def test_a_retry_by_hand_starts_the_count_anew(lab):
    run = lab.run(FLAKY % (6, 2), '-i', 'judge=%s' % lab.judge(), status=1)
    lab.glovebox('retry', run)
    assert len(lab.judged()) == 6


# ---------------------------------------------------------- limits and resources

BUSY = ('name: busy\n%sinputs:\n' + JUDGE_INPUT + '''
steps:
  - {id: list, command: 'echo "[1,2,3,4,5,6,7,8]" > /out/l'}
  - id: work
    foreach: {json: list/l}
    %s
''' + JUDGE_MOUNT + '''
    command: 'echo "+ $(date +%%s%%N)" >> /judge/log; sleep 0.2; echo "- $(date +%%s%%N)" >> /judge/log'
''')


def most_at_once(lines):
    now = most = 0
    for line in sorted(lines, key=lambda line: (int(line.split()[1]), line[0] == '+')):
        now += 1 if line[0] == '+' else -1
        most = max(most, now)
    assert now == 0
    return most


@pytest.mark.parametrize('of_run, of_step, most', [
    ('', 'limit: 1', 1), ('limit: 1\n', 'cache: false', 1),
    ('', 'resources: {cpus: %d}' % os.cpu_count(), 1),
    ('', 'resources: {cpus: 0.25}\n    limit: 3', 3),
    ('limit: 4\n', 'resources: {cpus: 0.1}', 4),
    ('', 'resources: {cpus: %s}' % (os.cpu_count() / 2), 2),
])
def test_limits_are_kept_and_used(lab, of_run, of_step, most):
    lab.run(BUSY % (of_run, of_step), '-i', 'judge=%s' % lab.judge())
    assert len(lab.judged()) == 16
    assert most_at_once(lab.judged()) == most


def test_limits_are_kept_across_a_kill(lab):
    program = lab.start(BUSY % ('', 'limit: 2\n    resources: {cpus: 0.1}'),
                        '-i', 'judge=%s' % lab.judge())
    for count in (3, 7):
        wait_until(lambda: len(lab.judged()) >= count)
        program.kill()
        program.communicate()
        program = lab.glovebox.start('resume', 'last')
    program.communicate(timeout=30)
    assert len(lab.judged()) == 16 and most_at_once(lab.judged()) <= 2


def test_limits_count_the_runs_of_a_home_together(lab):
    """Two runs at once do not take the machine twice."""
    path = lab.glovebox.pipeline(BUSY % ('', 'resources: {cpus: %d}' % os.cpu_count()))
    programs = [lab.glovebox.start('run', path, '-i', 'judge=%s' % lab.judge()) for _ in range(2)]
    for program in programs:
        out, err = program.communicate(timeout=60)
        assert program.returncode == 0, out + err
    assert len(lab.judged()) == 32 and most_at_once(lab.judged()) == 1


@pytest.mark.parametrize('resources', ['{cpus: 10000}', '{memory: 900t}'])
def test_more_than_the_machine_has(lab, resources):
    task = one(lab, 'command: "true"\nresources: %s' % resources)
    assert (task['state'], task['attempts']) == ('failed', 0)
    assert 'more than this machine has' in lab.why('x')


def test_gpus_are_for_containers(lab):
    task = one(lab, 'command: "true"\nresources: {gpus: 1}')
    assert task['cause'] == 'not_started' and 'GPUs to containers only' in lab.why('x')


def test_flavors(lab):
    lab.policy(flavors={'small': {'cpus': 0.5, 'memory': '64MiB'},
                        'huge': {'cpus': 100000, 'memory': '64MiB'}})
    one(lab, 'command: "true"\nresources: {flavor: small}', status=0)
    box = lab.record()['x']['attempts'][0]['box']
    assert box['cpus'] == 0.5 and box['memory'] == 64 << 20
    task = one(lab, 'command: "true"\nresources: {flavor: huge}')
    assert 'more than this machine has' in lab.why('x') and task['attempts'] == 0
    one(lab, 'command: "true"\nresources: {flavor: huge, cpus: 1}', status=0)


def test_a_flavor_that_is_not_there(lab):
    lab.policy(flavors={'small': {'cpus': 1}})
    lab.run('name: one\nsteps:\n  - {id: x, command: "true", resources: {flavor: smal}}\n',
            status=None)
    assert lab.last.returncode in (1, 3)
    assert 'flavor' in lab.last.stderr and 'smal' in lab.last.stderr


# ----------------------------------------------------------------------- policy


def test_the_network_is_refused_unless_the_policy_allows_it(lab):
    pipeline = '''name: one
steps:
  - {id: ask, type: manual_approval, message: go on?}
  - {id: x, needs: ask, command: "true", network: internet}
'''
    lab.run(pipeline, status=3)
    assert ':4:51: error:' in lab.last.stderr and '"internet"' in lab.last.stderr
    assert 'policy.json' in lab.last.stderr and not (lab.home / 'runs').exists()
    lab.policy(networks=['internet'])
    lab.run(pipeline, status=4)
    lab.policy(networks=['intranet'])  # it may be another one by the time that the step runs
    lab.glovebox('decide', 'last', 'ask', 'approve', '--no-resume')
    lab.glovebox('resume', 'last', status=1)
    task = lab.tasks()['x']
    assert (task['state'], task['cause'], task['attempts']) == ('failed', 'policy', 0)
    assert 'network' in lab.why('x') and str(lab.home / 'policy.json') in lab.why('x')


def test_no_network_in_the_box(lab):
    one(lab, 'command: "tail -n +3 /proc/net/dev | cut -d: -f1; tail -n +2 /proc/net/route"', status=0)
    assert lab.log('x').split() == ['lo']


def test_the_box_stays_unless_the_policy_allows_it(lab):
    lab.run('name: one\nsteps:\n  - {id: x, command: "true", box: off}\n', status=3)
    assert 'allow_box_off' in lab.last.stderr
    lab.policy(allow_box_off=True)
    one(lab, 'command: "pwd; echo $$GLOVEBOX_OUT; echo x > $$GLOVEBOX_OUT/x"\nbox: off'.replace(
        '$$', '$'), status=0)
    assert lab.output('x', 'x') == 'x\n'
    assert lab.record()['x']['attempts'][0]['box']['mode'] == 'off'
    one(lab, 'command: "pwd; echo $$GLOVEBOX_OUT; echo x > $$GLOVEBOX_OUT/x"\nbox: off'.replace(
        '$$', '$'), status=0)
    assert lab.tasks()['x']['state'] == 'reused', 'where it works is not part of the work'


@pytest.mark.parametrize('policy', ['{"allow_box_of": true}', 'not json', '[]',
                                    '{"allow_box_off": "no"}', '{"networks": "internet"}',
                                    '{"flavors": ["small"]}'])
def test_a_policy_with_a_mistake_stops_everything(lab, policy):
    lab.home.mkdir(mode=0o700)
    (lab.home / 'policy.json').write_text(policy)
    done = lab.glovebox('run', lab.glovebox.pipeline(
        'name: one\nsteps:\n  - {id: x, command: "true"}\n'), status=None)
    assert done.returncode in (1, 3) and 'policy.json' in done.stderr


# ---------------------------------------------------------------------- secrets


def grep(folder, needle):
    needle = needle.encode()
    return [str(path) for path in folder.rglob('*')
            if path.is_file() and not path.is_symlink() and needle in path.read_bytes()]


def test_secrets_are_seen_by_the_task_and_by_nobody_else(lab):
    canary = 'CANARY-5f1c2b'
    lab.secret('pacs', canary)
    lab.run('''
name: secret
steps:
  - id: use
    secrets: [pacs]
    command: 'md5sum < /run/secrets/pacs > /out/sum; ls -l /run/secrets; echo x > /run/secrets/pacs || true'
  - {id: other, command: 'ls /run/secrets && exit 1 || true'}
''')
    assert lab.output('use', 'sum').split()[0] == hashlib.md5(canary.encode()).hexdigest()
    assert grep(lab.home, canary) == [str(lab.home / 'secrets' / 'pacs')]
    assert (lab.home / 'secrets' / 'pacs').read_text() == canary
    lab.secret('pacs', canary + '2')
    lab.glovebox('run', lab.folder / 'pipeline.yaml')
    assert lab.states() == {'use': 'succeeded', 'other': 'reused'}
    assert 'secrets pacs changed' in lab.why('use')
    lab.glovebox('run', lab.folder / 'pipeline.yaml')
    assert lab.states() == {'use': 'reused', 'other': 'reused'}


def test_what_the_home_keeps_of_a_secret_does_not_let_it_be_guessed(lab):
    """Recipes hold a digest of it, but not one that a list of passwords can be tried against."""
    lab.secret('pacs', 'hunter2')
    recipe = json.dumps(recipe_of(lab, 'secrets: [pacs]'))
    assert '"pacs": "' in recipe and hashlib.sha256(b'hunter2').hexdigest() not in recipe
    other = lab.home / 'salt'
    other.write_bytes(bytes(32))
    assert json.dumps(recipe_of(lab, 'secrets: [pacs]')) != recipe


def recipe_of(lab, more):
    lab.run('name: one\nsteps:\n  - {id: x, command: "true", %s}\n' % more)
    database = sqlite3.connect('file:%s?mode=ro' % (lab.home / 'glovebox.db'), uri=True)
    try:
        return json.loads(database.execute('SELECT recipe FROM attempt ORDER BY launched DESC').fetchone()[0])
    finally:
        database.close()


@pytest.mark.parametrize('mode', [0o640, 0o604, 0o660, 0o610])
def test_a_secret_that_others_may_read_is_refused(lab, mode):
    lab.secret('pacs', 'x')
    (lab.home / 'secrets' / 'pacs').chmod(mode)
    task = one(lab, 'command: "true"\nsecrets: [pacs]')
    assert (task['state'], task['cause']) == ('failed', 'policy')
    assert '%04o' % mode in lab.why('x') and 'chmod 600' in lab.why('x')
    lab.secret('pacs', 'x')
    lab.glovebox('retry', 'last')
    assert lab.states() == {'x': 'succeeded'}


PSEUDONYMS = '''
name: secret
steps:
  - {id: use, secrets: [pseudonyms], command: 'sha256sum < /run/secrets/pseudonyms > /out/sum'}
'''


def test_the_home_makes_the_secret_for_pseudonyms_itself(lab):
    lab.run(PSEUDONYMS)
    path = lab.home / 'secrets' / 'pseudonyms'
    made = path.read_bytes()
    assert len(made) == 32 and len(set(made)) > 8
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    assert lab.output('use', 'sum').split()[0] == hashlib.sha256(made).hexdigest()
    assert not grep(lab.home / 'runs', made.hex()) and not grep(lab.home / 'runs', hashlib.sha256(made).hexdigest())
    lab.run(PSEUDONYMS)
    assert lab.states() == {'use': 'reused'} and path.read_bytes() == made
    path.write_bytes(bytes(32))
    lab.run(PSEUDONYMS)
    assert lab.states() == {'use': 'succeeded'} and path.read_bytes() == bytes(32)
    path.unlink()
    lab.run(PSEUDONYMS)
    assert lab.states() == {'use': 'succeeded'} and path.read_bytes() not in (made, bytes(32))


def test_a_secret_that_is_not_there(lab):
    task = one(lab, 'command: "true"\nsecrets: [pacs]')
    assert task['state'] == 'failed' and 'pacs' in lab.why('x') and 'secrets' in lab.why('x')


def test_a_secret_is_no_path(lab):
    lab.run('name: one\nsteps:\n  - {id: x, command: "true", secrets: [../glovebox.db]}\n',
            status=3)


# ------------------------------------------------------------------- the box


def test_inputs_cannot_be_changed(lab):
    data = lab.data({'f': 'kept'})
    lab.run('''
name: ro
inputs: {data: {type: directory}}
steps:
  - {id: a, command: 'echo made > /out/f'}
  - {id: x, in: {d: inputs.data, a: a}, command: '(echo bad > /in/d/f; rm /in/d/f; touch /in/d/new; echo bad > /in/a/f; chmod 777 /in/d) 2>/dev/null; true'}
''', '-i', 'data=%s' % data)
    assert (data / 'f').read_text() == 'kept' and os.listdir(data) == ['f']
    assert lab.output('a', 'f') == 'made\n'


def test_a_task_sees_neither_the_home_nor_the_data_of_others(lab):
    data = lab.data({'a/f': 'mine', 'b/f': 'theirs'})
    lab.run('''
name: see
inputs: {data: {type: directory}}
steps:
  - {id: x, foreach: {directories: inputs.data}, command: 'find / -xdev -name "glovebox.db" -o -xdev -path "*/data/*" -name f 2>/dev/null; ls %s %s 2>&1 | grep -v cannot; cat /in/f'}
''' % (lab.home, data), '-i', 'data=%s' % data)
    assert lab.log('x@a') == 'mine' and lab.log('x@b') == 'theirs'


def test_a_fork_bomb_and_what_a_task_leaves_running(lab):
    one(lab, 'command: "(setsid sleep 77 &) ; (nohup sleep 78 >/dev/null 2>&1 &); echo done"',
        status=0)
    assert not processes_with('sleep 77') and not processes_with('sleep 78')


def test_large_logs_do_not_pass_through_the_engine(lab):
    one(lab, 'command: "head -c 20000000 /dev/zero | tr \'\\\\0\' x"', status=0)
    log = lab.record()['x']['attempts'][0]['log']
    assert os.path.getsize(log) >= 1 << 20


def test_lost_with_their_keeper_is_a_cause_and_not_a_failure(lab):
    judge = lab.judge()
    program = lab.start('name: lost\ninputs:\n' + JUDGE_INPUT + 'steps:\n  - id: x\n' +
                        JUDGE_MOUNT + '''
    command: 'echo up >> /judge/log; [ $(wc -l < /judge/log) -gt 1 ] || sleep 60'
''', '-i', 'judge=%s' % judge)
    wait_until(lambda: lab.judged())
    for pid in lab.keepers():
        kill(pid)
    out, err = program.communicate(timeout=30)
    assert program.returncode == 0, out + err
    causes = [attempt['cause'] for attempt in lab.record()['x']['attempts']]
    assert causes == ['lost', ''], causes
