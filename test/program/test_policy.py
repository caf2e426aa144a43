"""What a site allows: its file holds for every home, and no home can loosen it.

The site's file is put into a private copy of /etc, seen by the program of the test alone.
"""
import json
import os
import shutil
import subprocess

import pytest

BOX_OFF = 'name: p\nsteps:\n  - {id: x, command: "true", box: off}\n'
NETWORK = 'name: p\nsteps:\n  - {id: x, command: "true", network: %s}\n'
FLAVOR = 'name: p\nsteps:\n  - {id: x, command: "true", resources: {flavor: small}}\n'
UNSHARE = ['unshare', '--mount'] + ([] if os.geteuid() == 0 else ['--map-root-user'])


@pytest.fixture
def site(glovebox, tmp_path):
    """site(site_rules, home_rules) sets both files; site.run(…) is glovebox under them."""
    if subprocess.run([*UNSHARE, 'mount', '-t', 'tmpfs', 'none', '/mnt'], check=False,
                      capture_output=True).returncode != 0:
        pytest.skip('no mount namespace is to be had: the site\'s file cannot be put in place')
    etc = tmp_path / 'etc'
    subprocess.run(['cp', '-a', '/etc', etc], check=False, capture_output=True)
    shutil.rmtree(etc / 'glovebox', ignore_errors=True)

    def put(path, rules):
        path.parent.mkdir(mode=0o755, exist_ok=True)
        path.write_text(rules if isinstance(rules, str) else json.dumps(rules))

    class Site:
        def __init__(self, rules=None, home=None):
            if rules is not None:
                put(etc / 'glovebox' / 'policy.json', rules)
            if home is not None:
                put(glovebox.home / 'policy.json', home)

        def __call__(self, command, text, *options, **more):
            status = more.pop('status', 0)
            done = subprocess.run(
                [*UNSHARE, 'sh', '-c', 'mount --bind "$0" /etc && exec "$@"', etc,
                 glovebox.binary, command, *([glovebox.pipeline(text)] if text else []), *options],
                env=dict(glovebox.environment, **more), text=True, capture_output=True,
                stdin=subprocess.DEVNULL, cwd=glovebox.folder, timeout=60, check=False)
            assert done.returncode == status, done.stderr + done.stdout
            return done
    return Site


def test_a_home_does_not_loosen_the_site(site, glovebox):
    strict = site({'allow_box_off': False, 'networks': ['hospital']},
                  {'allow_box_off': True, 'networks': ['hospital', 'internet']})
    for text, word in ((BOX_OFF, 'outside the box'), (NETWORK % 'internet', '"internet"')):
        error = strict('run', text, status=3).stderr
        assert '/etc/glovebox/policy.json does not allow' in error and word in error
        # Where the home is says nothing about what the site allows.
        strict('run', text, '--home', str(glovebox.folder / 'own'), status=3,
               XDG_CONFIG_HOME=str(glovebox.folder), HOME=str(glovebox.folder))
    warning = strict('check', BOX_OFF).stderr
    assert ':3:35: warning: step `x` cannot run here: /etc/glovebox/policy.json' in warning
    assert strict('check', NETWORK % 'hospital').stderr == ''


def test_a_site_does_not_loosen_the_home(site, glovebox):
    both = site({'allow_box_off': True, 'networks': ['internet']},
                {'allow_box_off': False, 'networks': []})
    for text in (BOX_OFF, NETWORK % 'internet'):
        error = both('run', text, status=3).stderr
        assert '%s does not allow' % (glovebox.home / 'policy.json') in error


def test_what_one_file_leaves_open_the_other_decides(site):
    one = site({'allow_box_off': True}, {'networks': ['internet']})
    one('run', BOX_OFF)
    assert one('check', NETWORK % 'internet').stderr == ''
    error = one('run', NETWORK % 'elsewhere', status=3).stderr
    assert 'elsewhere' in error and 'hint: an administrator may' in error


def test_images_change_user_where_both_files_say_so(site, glovebox):
    text = 'name: p\nsteps: [{id: x, image: "example/x:1", users: image}]\n'
    word = 'images that change user'
    assert 'no policy of this site allows ' + word in site()('check', text).stderr
    strict = site({'allow_image_users': False}, {'allow_image_users': True})
    assert '/etc/glovebox/policy.json does not allow ' + word in strict('check', text).stderr
    assert word not in site({'allow_image_users': True}, {'allow_image_users': True})('check', text).stderr
    assert 'must be true or false' in site({'allow_image_users': 'root'})('check', text, status=1).stderr


def test_of_two_flavors_the_smaller_one_holds(site, glovebox):
    site({'flavors': {'small': {'cpus': 0.5, 'memory': '128MiB'}}},
         {'flavors': {'small': {'cpus': 1, 'memory': '64MiB'}}})('run', FLAVOR)
    box = glovebox('status', 'last', '--json').json['run']
    lines = (glovebox.home / 'runs' / box / 'tasks.jsonl').read_text().splitlines()
    limits = json.loads(lines[0])['attempts'][0]['box']
    assert (limits['cpus'], limits['memory']) == (0.5, 64 << 20)


def box_of(glovebox):
    run = glovebox('status', 'last', '--json').json['run']
    lines = (glovebox.home / 'runs' / run / 'tasks.jsonl').read_text().splitlines()
    return json.loads(lines[0])['attempts'][0]['box']


def test_defaults_hold_for_who_does_not_say(site, glovebox):
    """Of two files the smaller holds; what a step says itself, or its flavor, goes first."""
    both = site({'defaults': {'cpus': 0.5, 'memory': '128MiB'},
                 'flavors': {'small': {'memory': '32MiB'}}},
                {'defaults': {'memory': '64MiB', 'processes': 1000}})
    both('run', 'name: p\nsteps: [{id: x, command: "true"}]\n', '--no-reuse')
    assert (box_of(glovebox)['cpus'], box_of(glovebox)['memory']) == (0.5, 64 << 20)
    both('run', 'name: q\nsteps: [{id: x, command: "true", resources: {memory: 256m}}]\n', '--no-reuse')
    assert (box_of(glovebox)['cpus'], box_of(glovebox)['memory']) == (0.5, 256 << 20)
    both('run', FLAVOR, '--no-reuse')
    assert (box_of(glovebox)['cpus'], box_of(glovebox)['memory']) == (0.5, 32 << 20)


def test_a_task_that_asks_nothing_is_held_to_the_defaults(site, glovebox):
    held = site({'defaults': {'output': '1MiB', 'output_files': 100}})
    held('run', 'name: p\nsteps: [{id: x, command: "head -c 5M /dev/zero > ${out}/x; sleep 40"}]\n',
         status=1)
    assert glovebox('tasks', 'last', '--json').json_lines[0]['cause'] == 'output'
    held('run', 'name: q\nsteps: [{id: x, command: "cd ${out}; seq 200 | xargs touch; sleep 40"}]\n', status=1)
    assert glovebox('tasks', 'last', '--json').json_lines[0]['cause'] == 'output'
    held('run', 'name: r\nsteps: [{id: x, command: "echo > ${out}/x"}]\n')


@pytest.mark.parametrize('rules, words', [
    ('{"defaults": {"memroy": "1g"}}', ['defaults have an unknown key', 'did you mean "memory"?']),
    ('{"defaults": {"processes": "many"}}', ['"processes" must be a number']),
    ('{"defaults": []}', ['"defaults" must be an object']),
    ('{"allow_box_of": false}', ['unknown key "allow_box_of"', 'did you mean "allow_box_off"?']),
    ('{"color": 1}', ['unknown key "color"', 'the keys are: allow_box_off, networks, flavors']),
    ('{"networks": "internet"}', ['"networks" must be a list of names', 'for example']),
    ('{"networks": [1]}', ['"networks" must be a list of names']),
    ('{"flavors": {"s": {"cpu": 1}}}', ['unknown key "cpu"', 'did you mean "cpus"?']),
    ('{"flavors": {"s": {"memory": "much"}}}', ['"memory" must be a size']),
    ('{', []),
])
def test_a_mistake_in_the_site_s_file_stops_everything(site, rules, words):
    wrong = site(rules)
    for command in ('run', 'check'):
        error = wrong(command, FLAVOR, status=1).stderr
        assert '/etc/glovebox/policy.json' in error
        assert all(word in error for word in words), error
    doctor = json.loads(wrong('doctor', None, '--json', status=1).stdout)
    found = [check for check in doctor['checks'] if check['name'] == 'policy'][0]
    assert found['verdict'] == 'missing' and '/etc/glovebox/policy.json' in found['finding']


def test_doctor_says_which_policy_applies(site, glovebox):
    def finding(program):
        checks = json.loads(program('doctor', None, '--json', status=0).stdout)['checks']
        return [check for check in checks if check['name'] == 'policy'][0]['finding']
    assert 'neither /etc/glovebox/policy.json nor' in finding(site())
    text = finding(site({'networks': ['internet', 'hospital']},
                        {'networks': ['hospital'], 'allow_box_off': True}))
    assert '/etc/glovebox/policy.json and %s' % (glovebox.home / 'policy.json') in text
    assert 'outside the box are allowed' in text and '; networks: hospital; images: all' in text
