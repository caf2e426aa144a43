"""Reports to a MedPerf server: what leaves the site, when, and what becomes of it when it cannot."""
import fcntl
import json
import os
import pathlib
import signal
import sqlite3

import pytest

from engine_support import JUDGE_INPUT, JUDGE_MOUNT, kill, lab, wait_until  # noqa: F401 (fixtures)
from medperf_server import MedPerf, make_authority, make_certificate

PATIENTS = ['SMITH-JOHN-19700101', 'DOE^JANE', 'Ünal']
TOKEN = 'token-of-owner'
FAN = '''
name: study
inputs:
  scans: {type: directory}
''' + JUDGE_INPUT + '''
steps:
  - id: prepare
    foreach: {directories: inputs.scans}
    command: |
      echo done > ${out}/x
  - id: hold-on
    foreach: prepare
''' + JUDGE_MOUNT + '''
    command: |
      while ! test -e /judge/go; do sleep 0.05; done
      echo done > ${out}/x
'''


@pytest.fixture(scope='session')
def authority(tmp_path_factory):
    return make_authority(tmp_path_factory.mktemp('authority'))


@pytest.fixture(scope='session')
def certificate(tmp_path_factory, authority):
    return make_certificate(tmp_path_factory.mktemp('server'), authority)


class Site:
    """A home with patients, and a server to report to."""

    def __init__(self, lab, medperf, ca):
        self.lab, self.medperf = lab, medperf
        self.glovebox = lab.glovebox
        self.data = lab.data({'%s/scan' % patient: patient for patient in PATIENTS}, 'scans')
        self.judge = lab.judge()
        self.token = lab.folder / 'token'
        self.say_token(TOKEN)
        self.to = ['--medperf', medperf.url, '--dataset', '7', '--token-file', self.token,
                   '--ca', ca]
        self.file = self.glovebox.pipeline(FAN)

    def say_token(self, text):
        self.token.write_text(text)
        self.token.chmod(0o600)

    def to_other(self, *options):
        """The same destination, but for what `options` say."""
        pairs = dict(zip(self.to[::2], self.to[1::2]))
        for name in options[::2]:
            pairs.pop(name, None)
        return [part for pair in pairs.items() for part in pair] + list(options)

    def go(self):
        (self.judge / 'go').touch()

    def arguments(self, *options):
        return ['run', self.file, '-i', 'scans=%s' % self.data, '-i', 'judge=%s' % self.judge,
                *options]

    def run(self, *options, status=0):
        self.go()
        return self.glovebox(*self.arguments(*options), status=status)

    def start(self, *options):
        return self.glovebox.start(*self.arguments(*options))

    def reporting(self):
        return self.glovebox('status', 'last', '--json').json['reporting']


@pytest.fixture
def site(lab, certificate, authority):
    medperf = MedPerf(certificate).start()
    lab.glovebox.environment.pop('https_proxy', None)
    yield Site(lab, medperf, authority[0])
    medperf.release()
    medperf.stop()


def assert_private(site):
    """No byte that left names a patient, a file or a folder of the site."""
    assert site.medperf.requests
    raw = site.medperf.raw
    for word in [*PATIENTS, 'SMITH', 'JANE', '\\u00dc', 'scan', str(site.lab.folder), '/tmp']:
        assert word.encode() not in raw, word
    for _, headers, body in site.medperf.requests:
        report = json.loads(body)
        assert set(report) == {'report'}
        assert set(report['report']) == {'progress', 'execution_status'}
        assert set(report['report']['progress']) <= {'prepare', 'hold-on'}
        assert set(headers) == {'Host', 'User-Agent', 'Authorization', 'Content-Type', 'Accept',
                                'Content-Length'}


# ------------------------------------------------------------------ what is sent

def test_a_run_reports_by_itself(site):
    """While it moves, with percentages that a person agreed to; then that it has finished."""
    running = site.start(*site.to, '--share-progress', '--every', '1s')
    half = {'progress': {'prepare': 100.0, 'hold-on': 0.0}, 'execution_status': 'running'}
    wait_until(lambda: half in site.medperf.accepted)
    site.go()
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    assert 'reported to %s/api/v0, dataset 7' % site.medperf.url in err
    assert site.medperf.accepted[-1] == {'progress': {'prepare': 100.0, 'hold-on': 100.0},
                                         'execution_status': 'finished'}
    assert site.medperf.datasets[7]['report'] == site.medperf.accepted[-1]
    assert_private(site)
    reporting = site.reporting()
    assert reporting['sent'] and reporting['sent_at'] and not reporting['failures']
    assert 'sent at' in site.glovebox('status', 'last').stdout


def test_progress_is_shared_only_by_agreement(site):
    site.run(*site.to)
    assert site.medperf.accepted[-1] == {'progress': {}, 'execution_status': 'finished'}
    assert all(report['progress'] == {} for report in site.medperf.accepted)
    assert site.lab.events('reporting') == [{
        'server': site.medperf.url + '/api/v0', 'dataset': 7, 'progress': False,
        'who': site.reporting()['agreed_by']}]
    # Agreed later, then taken back: what the server shows follows.
    site.glovebox('report', 'last', '--share-progress')
    assert site.medperf.accepted[-1]['progress'] == {'prepare': 100.0, 'hold-on': 100.0}
    said = site.glovebox('report', 'last', '--no-share-progress').stderr
    assert site.medperf.accepted[-1]['progress'] == {} and '--share-progress agrees' in said
    assert [event['progress'] for event in site.lab.events('reporting')] == [False, True, False]
    assert_private(site)


def test_the_same_is_not_sent_again(site):
    site.run(*site.to, '--share-progress')
    count = len(site.medperf.requests)
    assert 'nothing new' in site.glovebox('report', 'last').stderr
    assert site.glovebox('report', 'last', '--json').json == {
        'run': 'study-1', 'server': site.medperf.url + '/api/v0', 'dataset': 7, 'sent': False}
    site.glovebox('report')
    assert len(site.medperf.requests) == count
    # Another dataset has not heard of it.
    site.medperf.datasets[9] = dict(site.medperf.datasets[7], id=9)
    site.glovebox('report', 'last', '--dataset', '9')
    assert len(site.medperf.requests) == count + 1


def test_a_dry_run_shows_every_byte_but_the_token(site):
    site.run()
    shown = site.glovebox('report', '--dry-run', *site.to, '--share-progress').stdout
    as_json = site.glovebox('report', '-n', *site.to, '--share-progress', '--json').json
    assert not site.medperf.requests and TOKEN not in shown
    assert 'reporting' not in site.glovebox('status', 'last', '--json').json
    site.glovebox('report', *site.to, '--share-progress')
    line, headers, body = site.medperf.requests[-1]
    head, _, shown_body = shown.partition('\n\n')
    assert shown_body == body.decode() + '\n' and as_json['body'] == body.decode()
    assert head.splitlines()[0] == 'PUT %s/api/v0/datasets/7/' % site.medperf.url
    assert line == 'PUT /api/v0/datasets/7/ HTTP/1.1'
    assert head.splitlines()[1:] == as_json['headers'] == [
        'Authorization: Bearer (what %s holds)' % site.token.resolve(),
        'Content-Type: application/json', 'Accept: application/json']
    assert headers['Authorization'] == 'Bearer ' + TOKEN


def test_failed_runs_and_runs_that_wait_say_so(site):
    site.file = site.glovebox.pipeline('name: bad\nsteps: [{id: a, command: "exit 3"}]\n')
    site.glovebox('run', site.file, *site.to, status=1)
    assert site.medperf.statuses()[-1] == 'failed'
    asks = site.glovebox.pipeline('name: asks\nsteps: [{id: a, type: manual_approval}]\n')
    site.glovebox('run', asks, *site.to, status=4)
    assert site.medperf.statuses()[-1] == 'running'
    site.glovebox('decide', 'last', 'a', 'approve')  # goes on in the background
    wait_until(lambda: site.medperf.statuses()[-1] == 'finished')


def test_a_run_that_is_left_is_interrupted(site):
    running = site.start(*site.to, '--share-progress')
    wait_until(lambda: 'running' in site.medperf.statuses())
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert site.medperf.statuses()[-1] == 'interrupted'
    site.go()
    site.glovebox('resume', 'last')
    assert site.medperf.statuses()[-1] == 'finished'


def test_who_looks_is_not_taken_for_who_drives(site):
    """Else the last report of a run stays unsent when somebody asks at that moment who drives the home."""
    running = site.start(*site.to)
    wait_until(lambda: 'running' in site.medperf.statuses())
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    with open(site.lab.home / 'lock', 'rb') as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        assert 'nobody drives it' in site.glovebox('status', 'last').stdout
        done = site.glovebox('report', 'last', '--dry-run').stdout
        assert 'interrupted' in done, done


def test_a_run_in_the_background_reports(site):
    site.glovebox(*site.arguments('--detach', *site.to, '--every', '1s'))
    wait_until(lambda: 'running' in site.medperf.statuses())
    site.go()
    wait_until(lambda: site.medperf.statuses()[-1] == 'finished')


# ------------------------------------------------------------------ kept for later

def test_what_cannot_be_sent_is_kept(site):
    site.medperf.stop()
    done = site.run(*site.to, '--share-progress')
    assert 'the report was not sent: localhost:%d cannot be reached: Connection refused' % (
        site.medperf.port) in done.stderr
    assert 'glovebox report study-1' in done.stderr
    reporting = site.reporting()
    assert not reporting['sent'] and reporting['failures'] >= 1
    assert 'refused' in reporting['problem'] and reporting['next']
    assert 'not sent: localhost' in site.glovebox('status', 'last').stdout
    assert 'cannot be reached' in site.glovebox('report', status=1).stderr
    assert site.reporting()['failures'] == reporting['failures'] + 1
    # What has ended stays until it was told.
    said = site.glovebox('rm', 'last', '--yes', status=1).stderr
    assert 'the last report of run study-1 has not been sent' in said and '--stop' in said
    site.medperf.start()
    assert 'reported to' in site.glovebox('report').stderr
    assert site.medperf.accepted == [{'progress': {'prepare': 100.0, 'hold-on': 100.0},
                                      'execution_status': 'finished'}]
    assert site.reporting()['sent'] and site.reporting()['problem'] is None
    site.glovebox('rm', 'last', '--yes')


def test_the_next_run_sends_what_was_kept(site):
    """After a while: a server that fails is left alone for longer and longer."""
    site.medperf.mode = 503
    site.run(*site.to, '--every', '1s')
    site.medperf.mode = None
    site.lab.start('name: other\nsteps: [{id: a, type: wait, for: 60s}]\n')
    wait_until(lambda: site.medperf.statuses() == ['finished'])
    site.glovebox('cancel', 'last')


def test_waits_grow_with_failures(site):
    site.medperf.mode = 503
    site.run(*site.to, '--every', '1s')
    waits = []
    for _ in range(8):
        site.glovebox('report', 'last', status=1)
        with sqlite3.connect(site.lab.home / 'glovebox.db') as database:
            waits += database.execute('SELECT next, tries FROM reporting').fetchall()
        count = len(site.medperf.requests)
        site.glovebox('report', '--due')  # leaves it alone
        assert len(site.medperf.requests) in (count, count + (waits[-1][1] < 4))
    steps = [later[0] - earlier[0] for earlier, later in zip(waits, waits[1:])]
    assert max(steps) > 30000 and max(steps) < 3700000, steps
    assert [tries for _, tries in waits] == sorted(tries for _, tries in waits)


def test_killed_between_accepted_and_recorded(site):
    """It is said again, and nothing is different for it."""
    site.run()
    site.medperf.mode = 'hold'
    sender = site.glovebox.start('report', 'last', *site.to, '--share-progress')
    wait_until(lambda: site.medperf.accepted)
    kill(sender.pid)
    sender.communicate()
    site.medperf.release()
    assert not site.reporting()['sent']
    site.glovebox('report')
    assert len(site.medperf.accepted) == 2
    assert site.medperf.accepted[0] == site.medperf.accepted[1]
    assert site.medperf.requests[0][2] == site.medperf.requests[1][2]
    assert site.reporting()['sent']


def test_a_server_that_hangs_holds_up_nothing(site):
    """Tasks start and end while a request of the run is open."""
    site.medperf.mode = 'hang'
    running = site.start(*site.to, '--every', '1s')
    wait_until(lambda: site.medperf.requests)
    site.go()
    site.lab.wait_for_run('succeeded')
    assert running.poll() is None  # says its last word, to a server that hangs still
    assert not site.medperf.accepted
    site.medperf.release()
    running.communicate(timeout=60)
    assert running.returncode == 0 and site.medperf.statuses()[-1] == 'finished'


def test_stop(site):
    site.medperf.mode = 503
    site.run(*site.to)
    site.glovebox('report', 'last', '--stop')
    assert 'reporting' not in site.glovebox('status', 'last', '--json').json
    assert 'reports to no server' in site.glovebox('report', 'last', status=1).stderr
    site.glovebox('rm', 'last', '--yes')


# ------------------------------------------------------------------ refusals

@pytest.mark.parametrize('change, words', [
    ({'token': 'expired'}, ['status 401', 'Given token not valid', 'put a new one into']),
    ({'token': 'token-of-other'}, ['status 403', 'do not have permission', 'only the owner']),
    ({'dataset': '99'}, ['status 403', 'do not have permission', 'one that is not there has none']),
    ({'dataset': '99', 'token': 'token-of-admin'}, ['status 404', 'is there a dataset 99']),
    ({'dataset': '8'}, ['status 400', 'Operation mode', 'takes no reports any more', '--stop']),
    ({'mode': 503}, ['status 503', 'Service Unavailable', 'kept and sent later']),
    ({'mode': 'html'}, ['did not answer as a MedPerf server does']),
    ({'mode': 'other'}, ['did not answer as a MedPerf server does']),
    ({'mode': 'redirect'}, ['status 307', 'give the new address']),
    ({'mode': 'huge'}, ['answered more than']),
    ({'mode': 'close'}, ['no answer from localhost']),
    ({'mode': 'cut'}, ['no answer from localhost']),
    ({'mode': 'rubbish'}, ['no answer from localhost']),
    ({'mode': 'echo'}, ['status 400: bad header Bearer (…)\\x1b[31m']),
])
def test_refusals_are_explained_and_the_report_kept(site, change, words):
    site.run()
    if 'token' in change:
        site.say_token(change['token'] + '\n')
    site.medperf.mode = change.get('mode')
    to = site.to_other('--dataset', change.get('dataset', '7'))
    said = site.glovebox('report', *to, status=1)
    for word in words:
        assert word in said.stderr, said.stderr
    assert TOKEN not in said.stderr and '\x1b' not in said.stderr
    assert not site.medperf.accepted
    assert len(site.medperf.requests) == 1
    # A new token, the right dataset, a server that is well: the kept report goes.
    assert site.reporting()['problem'] in said.stderr
    site.medperf.mode = None
    site.say_token(TOKEN)
    site.glovebox('report', 'last', '--dataset', '7')
    assert site.medperf.statuses() == ['finished']


@pytest.mark.slow
@pytest.mark.parametrize('mode', ['slow', 'hang'])
def test_an_answer_that_never_ends_is_not_waited_for(site, mode):
    site.run()
    site.medperf.mode = mode
    said = site.glovebox('report', *site.to, status=1)
    assert 'did not answer in time' in said.stderr


def test_certificates_are_verified(site, tmp_path, certificate):
    site.run()
    plain = [part for part in site.to[:-2]]
    said = site.glovebox('report', *plain, status=1).stderr
    assert 'the certificate of localhost:%d cannot be trusted' % site.medperf.port in said
    assert '--ca FILE' in said
    other, _ = make_authority(tmp_path / 'other', 'other')
    said = site.glovebox('report', *plain, '--ca', other, status=1).stderr
    assert 'cannot be trusted' in said and str(other) in said
    said = site.glovebox('report', *plain, '--ca', site.token, status=1).stderr
    assert 'cannot be trusted' in said
    # The right authority, another name.
    numbered = [part.replace('localhost', '[::1]') if isinstance(part, str) else part
                for part in site.to]
    site.glovebox('report', *numbered, status=1)
    authority = make_authority(tmp_path / 'mine', 'mine')
    elsewhere = MedPerf(make_certificate(tmp_path / 'mine', authority, 'DNS:example.org')).start()
    said = site.glovebox('report', '--medperf', elsewhere.url, '--dataset', '7', '--token-file',
                         site.token, '--ca', authority[0], status=1).stderr
    elsewhere.stop()
    assert 'cannot be trusted' in said and not elsewhere.requests
    assert not site.medperf.requests


@pytest.mark.parametrize('options, words', [
    (['--medperf', 'http://api.example.org'], ['must be encrypted']),
    (['--medperf', 'https://me:pass-word@api.example.org'], ['a user has no place']),
    (['--medperf', 'https://api.example.org/?token=pass-word'], ['a query']),
    (['--medperf', 'api.example.org'], ['neither with https']),
    (['--medperf', 'https://'], ['no host']),
    (['--medperf', 'https://a:99999/'], ['port']),
    (['--medperf', 'https://a/\n'], ['escaped']),
    (['--dataset', 'seven'], ['number of a dataset']),
    (['--every', '1ms'], ['between a second and a day']),
    (['--share-progress', '--no-share-progress'], ['exclude each other']),
    (['--token-file', 'nowhere'], ['nowhere']),
    (['--ca', 'nowhere'], ['nowhere']),
])
def test_mistakes_are_told_before_anything_starts(site, options, words):
    said = site.glovebox(*site.arguments(*site.to_other(*options)), status=None)
    assert said.returncode in (1, 2), said.stderr
    for word in words:
        assert word in said.stderr, said.stderr
    assert 'pass-word' not in said.stderr
    assert not site.lab.home.exists()


def test_what_is_missing_is_named(site):
    for count, missing in ((2, '--dataset NUMBER'), (4, '--token-file FILE')):
        said = site.glovebox(*site.arguments(*site.to[:count]), status=2).stderr
        assert '%s is needed too' % missing in said
    said = site.glovebox(*site.arguments('--share-progress'), status=2).stderr
    assert '--medperf URL is needed too' in said


@pytest.mark.parametrize('mode', [0o644, 0o640, 0o604])
def test_a_token_that_others_may_read_is_refused(site, mode):
    site.token.chmod(mode)
    said = site.glovebox(*site.arguments(*site.to), status=1).stderr
    assert 'may be used by others than its owner: its mode is %04o' % mode in said
    assert not site.lab.home.exists()


@pytest.mark.parametrize('text', ['', '\n', 'two words', 'a\nb', 'a\r\nX-Evil: 1', '\x00', 'ü'])
def test_a_token_is_one_word(site, text):
    site.say_token(text)
    said = site.glovebox(*site.arguments(*site.to), status=None)
    assert said.returncode == 1 and 'holds no token' in said.stderr


def test_the_token_stands_nowhere_but_in_its_file(site):
    secret = 'eyJhbGciOiJSUzI1NiJ9.' + 'q' * 300 + '.sig_-'
    site.medperf.tokens[secret] = 'owner'
    site.say_token(secret)
    site.medperf.mode = 'hold'
    site.run()
    sender = site.glovebox.start('report', 'last', '-vv', *site.to)
    wait_until(lambda: site.medperf.accepted)
    for name in ('cmdline', 'environ'):
        assert secret.encode() not in pathlib.Path('/proc/%d' % sender.pid, name).read_bytes()
    site.medperf.release()
    out, err = sender.communicate(timeout=60)
    assert secret not in out + err and sender.returncode == 0
    site.medperf.mode = 'echo'
    site.glovebox('report', 'last', '--share-progress', status=1)
    for folder, _, names in os.walk(site.lab.home):
        for name in names:
            path = pathlib.Path(folder, name)
            if path.is_file():
                assert secret.encode() not in path.read_bytes(), path
    shown = site.glovebox('status', 'last').stdout + site.glovebox('runs', '--json').stdout
    assert secret not in shown


def test_redirects_are_not_followed(site, certificate):
    """The token goes to nobody who was not named."""
    other = MedPerf(certificate).start()
    site.medperf.elsewhere = other.url + '/api/v0/datasets/7/'
    site.medperf.mode = 'redirect'
    site.run()
    site.glovebox('report', *site.to, status=1)
    other.stop()
    assert not other.requests


def test_this_machine_may_be_spoken_to_in_the_clear(site):
    """And past any proxy, which would read the token."""
    plain = MedPerf().start()
    site.run()
    site.glovebox('report', '--medperf', plain.url + '/api/v0/', '--dataset', '7', '--token-file',
                  site.token, env={'http_proxy': 'http://127.0.0.1:9', 'ALL_PROXY':
                                   'http://127.0.0.1:9'})
    plain.stop()
    assert plain.statuses() == ['finished']


def test_a_host_that_is_none(site):
    site.run()
    said = site.glovebox('report', '--medperf', 'https://no-such-host.invalid', '--dataset', '7',
                         '--token-file', site.token, status=1).stderr
    assert 'there is no host no-such-host.invalid' in said and 'hint' in said
