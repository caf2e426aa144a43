"""Small promises: who did it, what was not started, runs that cannot be taken up."""
import sqlite3

from engine_support import JUDGE_INPUT, JUDGE_MOUNT, kill, lab, wait_until  # noqa: F401

FAILS = '''
name: fails
steps:
  - id: bad
    command: 'exit 3'
  - id: slow
    command: 'sleep 0.5'
  - id: after
    needs: [slow]
    command: 'true'
  - id: last
    needs: [after]
    command: 'true the last'
'''


def database(lab, *statement):
    connection = sqlite3.connect(lab.home / 'glovebox.db', timeout=30)
    try:
        connection.execute(*statement)
        connection.commit()
    finally:
        connection.close()


def test_what_was_not_started_says_so(lab):
    run = lab.run(FAILS, status=1)
    assert lab.states() == {'bad': 'failed', 'slow': 'succeeded', 'after': 'waiting',
                            'last': 'waiting'}
    for step in ('after', 'last'):
        assert lab.record()[step]['reason'] == 'the run ended before its turn came'
        assert 'ended before its turn' in lab.why(step) and 'retry' in lab.why(step)
    lab.glovebox('skip', run, 'bad', '--reason', 'known', '--no-resume')
    lab.glovebox('resume', run)
    assert lab.states(run) == {'bad': 'skipped', 'slow': 'succeeded', 'after': 'succeeded',
                               'last': 'succeeded'}
    assert lab.record(run)['after']['reason'] is None


def test_an_exit_status_that_is_none_is_null(lab):
    lab.run('name: no\nsteps:\n  - {id: no, command: [/nowhere/no]}\n', status=1)
    failed, = lab.glovebox('status', 'last', '--json').json['failed']
    assert failed['exit'] is None or failed['exit'] > 0
    lab.run('name: big\nsteps:\n  - {id: big, command: [true], resources: {cpus: 9999}}\n',
            status=1)
    failed, = lab.glovebox('status', 'last', '--json').json['failed']
    assert failed['exit'] is None


def test_the_record_names_who_asked_and_not_who_drives(lab):
    run = lab.run(FAILS, status=1)
    database(lab, "INSERT INTO command(run, verb, arguments, who, at) SELECT id, 'mark', "
             """'{"where":"bad","succeeded":false,"reason":"known"}', 'alice', 0 FROM run""")
    lab.glovebox('resume', run)
    assert 'by alice: known' in lab.record(run)['bad']['reason']
    event, = lab.events('marked')
    assert event['who'] == 'alice'


def test_a_run_that_cannot_be_taken_up_is_left_alone(lab):
    lab.data({'s%d/a' % i: '' for i in range(6)})
    text = ('name: broken\ninputs:\n  data: {type: directory}\n' + JUDGE_INPUT + '''
steps:
  - id: each
    foreach: {directories: inputs.data}
    limit: 1
''' + JUDGE_MOUNT + '''    command: 'echo x >> /judge/log; until [ -e /judge/go ]; do sleep 0.05; done'
''')
    program = lab.start(text, '-i', 'data=data', '-i', 'judge=%s' % lab.judge())
    wait_until(lab.judged)
    broken = lab.newest()
    program.kill()
    program.communicate()
    for pid in lab.keepers():
        kill(pid)
    database(lab, 'DELETE FROM attempt')
    (lab.judge() / 'go').write_text('')
    lab.run('name: other\nsteps:\n  - {id: a, command: [sleep, "1"]}\n')
    assert lab.state() == 'succeeded', 'others are not held up'
    assert lab.state(broken) == 'failed'
    assert 'attempt' in lab.glovebox('status', broken, '--json').json['note']
    assert lab.judged() == ['x'], 'none of its tasks was started'
