"""Steps that run in container images: what a run pins, reuses and tells of them."""
import json
import os
import shutil

import pytest
from engine_support import wait_until

from container_support import (containers, image_builder, ordinary_containers,  # noqa: F401 (fixtures)
                               ranged_containers, root_containers)

SAY = '''
name: say
outputs: {said: say/said}
steps:
  - {id: say, image: "example.org/say:1", command: [one, two words]}
'''


def load_say(lab, text):
    """An image whose entry point writes `text` and its arguments."""
    lab.load_made('example.org/say:1', {
        'say': '#!/bin/sh\necho %s "$#" "$@" > /out/said\n' % text}, {'Entrypoint': ['/say']})


def said(lab):
    return (lab.folder_of() / 'outputs' / 'said').read_text()


def test_an_image_is_known_by_its_digest(containers):
    """A name that points to another image makes other work; the first image makes the first."""
    load_say(containers, 'first')
    containers.run(SAY)
    assert said(containers) == 'first 2 one two words\n'
    first = containers.run_record()['images']['example.org/say:1']
    assert first.startswith('example.org/say@sha256:')
    load_say(containers, 'second')
    containers.run(SAY)
    assert said(containers) == 'second 2 one two words\n'
    second = containers.run_record()['images']['example.org/say:1']
    why = containers.why('say')
    assert 'image changed' in why
    assert first.split('@')[1][:19] in why and second.split('@')[1][:19] in why
    load_say(containers, 'first')
    containers.run(SAY)
    assert containers.states() == {'say': 'reused'}
    graph = json.loads((containers.folder_of() / 'ro-crate-metadata.json').read_text())['@graph']
    (image,) = [entity for entity in graph if entity['@type'] == 'ContainerImage']
    assert 'sha256:' + image['sha256'] == first.split('@')[1]


def test_a_crate_tells_whether_the_image_is_the_same(containers, tmp_path):
    load_say(containers, 'first')
    containers.run(SAY)
    crate = shutil.copytree(containers.folder_of(), tmp_path / 'crate')
    done = containers.glovebox('run', crate)
    assert 'as recorded in say-1: images.example.org/say:1, outputs.said' in done.stdout
    load_say(containers, 'second')
    done = containers.glovebox('run', crate)
    assert 'not as recorded: images.example.org/say:1, outputs.said' in done.stdout


def test_a_run_keeps_its_image(containers):
    """Whatever its name means by the time that the run goes on, and nobody removes it."""
    load_say(containers, 'first')
    containers.run(SAY.replace('steps:\n', 'steps:\n  - {id: ask, type: manual_approval}\n')
                   .replace('two words]', 'two words], needs: [ask]'), status=4)
    digest = containers.run_record()['images']['example.org/say:1'].split('@')[1]
    load_say(containers, 'second')
    containers.glovebox('image', 'gc')
    said_no = containers.glovebox('image', 'remove', digest, status=1).stderr
    assert 'in use by a run that is not over' in said_no
    containers.glovebox('decide', 'last', 'ask', 'approve')
    containers.wait_for_run('succeeded')
    assert said(containers) == 'first 2 one two words\n'
    containers.glovebox('image', 'gc')
    assert digest not in containers.glovebox('image', 'list', '--json').stdout


def test_an_image_that_is_gone_is_told(containers):
    load_say(containers, 'first')
    containers.run(SAY.replace('two words]', 'two words], out: [none]'), status=1)
    containers.glovebox('image', 'remove', 'example.org/say:1')
    done = containers.glovebox('retry', 'last', status=1)
    task = containers.record()['say']
    assert task['cause'] == 'image_not_found'
    assert 'glovebox image' in task['attempts'][-1]['detail'], done.stderr


@pytest.mark.parametrize('step, expected', [
    ('', ['/own', 'default']),
    ('command: [given, "${params.x}"]', ['/own', 'given', 'a b']),
    ('entrypoint: /other', ['/other']),
    ('entrypoint: [/other, "${params.x}"], command: [given]', ['/other', 'a b', 'given']),
    ('command: "sh -c true"', ['/own', 'sh', '-c', 'true']),
])
def test_entry_point_and_command(containers, step, expected):
    """As Docker has it: another entry point takes the image's own command away."""
    tell = '#!/bin/sh\nfor word in "$0" "$@"; do echo "$word"; done > /out/words\n'
    containers.load_made('example/words', {'own': tell, 'other': tell},
                         {'Entrypoint': ['/own'], 'Cmd': ['default']})
    containers.run('name: p\nparams: {x: {default: a b}}\nsteps:\n'
                   '  - {id: a, image: example/words%s}\n' % (', ' + step if step else ''))
    assert containers.output('a', 'words').splitlines() == expected


def test_surroundings_are_the_image_s(containers):
    """Its variables, its folder; the step's own variables go first."""
    containers.load_made('example/env', {'work/here': ''}, {
        'Env': ['PATH=/bin:/mine', 'COLOUR=red', 'SIZE=big'], 'WorkingDir': '/work',
        'Cmd': ['/bin/sh', '-c', '{ pwd; ls; echo $PATH $COLOUR $SIZE $LANG; } > $GLOVEBOX_OUT/x']})
    containers.run('name: p\nsteps:\n  - {id: a, image: example/env, env: {COLOUR: blue}}\n')
    assert containers.output('a', 'x').splitlines() == ['/work', 'here', '/bin:/mine blue big']


def test_outputs_belong_to_the_caller(containers):
    """Whoever the image says that it runs as."""
    containers.load_made('example/user', config={
        'User': '1234:567', 'Cmd': ['/bin/sh', '-c', 'id -u > /out/x && mkdir /out/y']})
    containers.run('name: p\nsteps:\n  - {id: a, image: example/user}\n')
    folder = containers.output_folder('a')
    assert (folder / 'x').read_text() == '1234\n'
    for path in (folder / 'x', folder / 'y'):
        assert (path.stat().st_uid, path.stat().st_gid) == (os.geteuid(), os.getegid())


@pytest.mark.parametrize('key, expected', [('', 'read-only'), (', writable_root: true', 'writable'),
                                           (', writable_root: false', 'read-only')])
def test_the_image_is_written_where_the_step_says_so(containers, key, expected):
    """And what was written there is seen by nobody else."""
    containers.load_made('example/root', {'etc/mine': 'as it was'})
    text = '''name: p
steps:
  - id: a
    image: example/root%s
    command: [sh, -c, "if echo new > /etc/mine; then echo writable; else echo read-only; fi > /out/x"]
  - {id: b, image: example/root, needs: [a], command: [cp, /etc/mine, /out/x]}
''' % ('\n    writable_root: ' + key.split(': ')[1] if key else '')
    containers.run(text)
    assert containers.output('a', 'x').strip() == expected
    assert containers.output('b', 'x') == 'as it was'


DATABASE = {'etc/passwd': 'root:x:0:0::/root:/bin/sh\ndatabase:x:1000:1000::/tmp:/bin/sh\n',
            'etc/group': 'root:x:0:\ndatabase:x:1000:\nstaff:x:50:root\n',
            'start': '#!/bin/sh -e\ncp -a /in /out/copy\nchown -R 33:33 /out/copy\nchown database /out\n'
                     'id -G >/out/groups\n'
                     'exec su database -c "$@"\n'}
CHANGING = '''name: p
inputs: {data: {type: directory}}
outputs: {all: a}
steps:
  - id: a
    image: example/database
    in: inputs.data
    command: ["id -u >/out/who; mkdir -p /out/d/e; echo x >/out/d/e/f; cat /out/copy/file && ls -ldn /out/d"]
'''


def change_user(lab):
    archive = lab.folder / 'database.tar'
    image_builder.build_archive(str(archive), 'example/database', DATABASE, {'Entrypoint': ['/start']})
    os.chown(archive, *lab.owner)
    lab.glovebox('image', 'load', archive)
    data = lab.data({'file': 'mine\n'})
    lab.run(CHANGING + '    users: image\n', '-i', 'data=%s' % data, status=3)
    refused = lab.last
    assert 'no policy of this site allows images that change user' in refused.stderr
    assert '"allow_image_users": true' in refused.stderr
    lab.policy(allow_image_users=True)
    os.chown(lab.home / 'policy.json', *lab.owner)
    lab.run(CHANGING, '-i', 'data=%s' % data, status=1)
    assert 'not permitted' in lab.log('a') or 'Invalid argument' in lab.log('a'), lab.log('a')
    return data


def check_changed(lab):
    data = change_user(lab)
    lab.run(CHANGING + '    users: image\n', '-i', 'data=%s' % data, '-o', lab.home / 'out')
    assert lab.output('a', 'who') == '1000\n' and lab.output('a', 'groups').split() == ['0', '50']
    assert lab.log('a').startswith('mine\n') and ' 1000 ' in lab.log('a')
    for path in lab.home.rglob('*'):
        assert (path.lstat().st_uid, path.lstat().st_gid) == lab.owner, path
    assert (lab.home / 'out').exists() and not list(lab.home.glob('compute/process/users/*'))


def test_an_image_that_changes_user_as_root(root_containers):
    check_changed(root_containers)


def test_an_image_that_changes_user_of_an_ordinary_user(ranged_containers):
    check_changed(ranged_containers)


def test_without_ids_for_its_users_a_step_says_so(ordinary_containers):
    """/etc/subuid has nothing for a user who is nobody."""
    lab = ordinary_containers
    data = change_user(lab)
    lab.run(CHANGING + '    users: image\n', '-i', 'data=%s' % data, status=1)
    detail = lab.record()['a']['attempts'][-1]['detail']
    assert '"users: image" needs 65536 subordinate ids, and /etc/subuid gives this user none' in detail
    assert 'usermod --add-subuids 100000-165535 --add-subgids 100000-165535 65533' in detail
    assert '"users: image" needs 65536 subordinate ids' in lab.glovebox('doctor', '--json').stdout.replace('\\"', '"')


SHARED = """name: shared
inputs: {place: {type: directory, writable: true}}
steps:
"""


def step_in_place(name, command):
    return """  - id: %s
    image: example/database
    users: image
    entrypoint: [sh, -c]
    mounts: [{name: place, path: /place, from: inputs.place, writable: true}]
    command: ['%s']
""" % (name, command)


def load_database(lab, users=''):
    archive = lab.folder / 'database.tar'
    files = dict(DATABASE, **{'etc/passwd': DATABASE['etc/passwd'] + users})
    image_builder.build_archive(str(archive), 'example/database', files, {'Entrypoint': ['/start']})
    os.chown(archive, *lab.owner)
    lab.glovebox('image', 'load', archive)
    lab.policy(allow_image_users=True)
    os.chown(lab.home / 'policy.json', *lab.owner)


def test_what_users_leave_in_anothers_folder_is_the_callers(ranged_containers):
    """The folder's owner has no number in the keeper's user namespace."""
    lab = ranged_containers
    load_database(lab)
    place = lab.folder / 'place'
    place.mkdir()
    os.chmod(place, 0o777)
    lab.run(SHARED + step_in_place('a', 'mkdir /place/d && chown 33:33 /place/d && chmod 700 /place/d'),
            '-i', 'place=%s' % place)
    status = (place / 'd').stat()
    assert (status.st_uid, status.st_gid) == lab.owner


def test_users_of_two_tasks_in_one_folder(root_containers):
    """The end of one does not take away what the other's still need."""
    lab = root_containers
    load_database(lab)
    place = lab.data({'file': ''}, 'place')
    own = 'mkdir /place/%s && chown database /place/%s && chmod 700 /place/%s'
    wait = 'until [ -e /place/%s ]; do sleep 0.1; done; '
    both = (SHARED
            + step_in_place('long', own.replace('%s', 'l') + ' && touch /place/began && ' + wait % 'go'
                            + 'su database -c "touch /place/l/x"')
            + step_in_place('short', wait % 'began' + own.replace('%s', 's')))
    program = lab.start(both, '-i', 'place=%s' % place)
    wait_until(lambda: lab.newest())
    lab.wait_for_state('short', 'succeeded', timeout=60)
    (place / 'go').write_text('')
    assert program.wait(60) == 0, lab.log('long')
    for path in place.rglob('*'):
        assert path.lstat().st_uid == lab.owner[0], path


def test_users_of_an_image_share_one_bound_of_processes(root_containers):
    """Where no control group counts them: root is exempt from limits of processes, its guests are not."""
    lab = root_containers
    lab.glovebox.prefix = ['unshare', '--mount', 'sh', '-c', 'umount -l /sys/fs/cgroup/pids /sys/fs/cgroup/unified '
                           '2>/dev/null; exec "$@"', 'sh']
    load_database(lab, ''.join('u%d:x:%d:%d::/tmp:/bin/sh\n' % (n, n, n) for n in range(2001, 2005)))
    lab.run("""name: bomb
steps:
  - id: a
    image: example/database
    users: image
    entrypoint: [sh, -c]
    resources: {processes: 20}
    command: ['for n in 1 2 3 4; do su u200$n -c "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 60 & done; wait" & done;
      IFS=". "; read up rest </proc/uptime; end=$((up + 5));
      while read up rest </proc/uptime; [ $up -lt $end ]; do :; done;
      set -- /proc/[0-9]*; echo $# >/out/count']
""")
    assert 10 < int(lab.output('a', 'count')) <= 30
