"""An ordinary user, without any privilege, runs pipelines in the sealed box."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

USER = 65533  # nobody in particular: no entry in /etc/passwd

PIPELINE = '''
name: ordinary
inputs: {data: {type: directory}}
outputs: {sum: sum/sum}
steps:
  - id: part
    foreach: inputs.data/*
    resources: {memory: 200MiB, cpus: 0.5}
    command: 'id -u > /out/uid; cat ${in} > /out/text; ! touch /usr/x /in/x 2>/dev/null'
  - {id: sum, in: part, command: 'cat /in/*/text > /out/sum'}
'''


@pytest.fixture
def place(binary):
    """A folder that the user owns, with a copy of the program."""
    if os.getuid() != 0:
        pytest.skip('the tests run as an ordinary user already')
    folder = pathlib.Path(tempfile.mkdtemp(prefix='glovebox-ordinary-'))
    for name in ('glovebox', 'glovebox-keeper'):
        shutil.copy(binary.parent / name, folder / name)
    (folder / 'data').mkdir()
    for name in 'abc':
        (folder / 'data' / name).write_text(name + '\n')
    (folder / 'pipeline.yaml').write_text(PIPELINE)
    for path in [folder, *folder.rglob('*')]:
        os.chown(path, USER, USER)
    yield folder
    shutil.rmtree(folder)


def run(place, *arguments):
    done = subprocess.run(
        ['setpriv', '--reuid=%d' % USER, '--regid=%d' % USER, '--clear-groups', '--inh-caps=-all',
         str(place / 'glovebox'), *arguments, '--home', str(place / 'home')],
        text=True, stdin=subprocess.DEVNULL, capture_output=True, cwd=place, timeout=60, check=False,
        env={'PATH': os.environ['PATH'], 'HOME': str(place), 'TERM': 'dumb'})
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_a_run_of_an_ordinary_user(place):
    done = run(place, 'run', 'pipeline.yaml', '-i', 'data=data')
    status = json.loads(run(place, 'status', 'last', '--json').stdout)
    assert status['tasks']['succeeded'] == 4
    output = pathlib.Path(status['outputs']['sum'])
    assert output.read_text() == 'a\nb\nc\n' and output.stat().st_uid == USER
    records = [json.loads(line) for line in
               (place / 'home' / 'runs' / status['run'] / 'tasks.jsonl').read_text().splitlines()]
    part = [record for record in records if record['step'] == 'part'][0]
    uid = (pathlib.Path(part['output_path']) / 'uid').read_text().strip()
    assert uid != '0'
    box = part['attempts'][0]['sandbox']
    assert 'namespaces: mount,pid,ipc,uts,net' in box and 'no capabilities' in box
    # Limits hold by cgroups, or the run says that they do not.
    warned = any('cgroup' in warning['message'] for warning in status['warnings'])
    assert warned == ('no cgroup to be had' in box)
    assert ('warning: ' in done.stdout + done.stderr) == warned


def test_an_ordinary_user_s_secret_is_made_and_read(place):
    (place / 'pipeline.yaml').write_text('''
name: secret
steps:
  - {id: use, secrets: [pseudonyms], command: 'wc -c < /run/secrets/pseudonyms > /out/size'}
outputs: {size: use/size}
''')
    run(place, 'run', 'pipeline.yaml')
    status = json.loads(run(place, 'status', 'last', '--json').stdout)
    assert pathlib.Path(status['outputs']['size']).read_text() == '32\n'
    assert (place / 'home' / 'secrets' / 'pseudonyms').stat().st_uid == USER
