"""The RO-Crate of a run: valid, silent about patients, and enough to run the same again."""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from engine_support import JUDGE_INPUT, JUDGE_MOUNT, lab, wait_until  # noqa: F401

SCANS = '''
name: counting
version: "1.2"
description: counts bytes
params:
  who: {default: world, help: whom to greet}
  times: {type: integer, default: 3}
  words: {type: list, default: [a]}
  table: {type: file}
inputs:
  scans: {type: directory, help: a folder each}
  extra: {type: directory, optional: true}
steps:
  - id: count
    foreach: {directories: inputs.scans}
    in: item
    command: cat /in/* | wc -c >/out/count.txt
  - id: join
    in: {counts: count, table: params.table}
    command: cat /in/counts/*/count.txt >/out/all.txt; echo ${params.who} ${params.times} >>/out/all.txt
  - id: never
    in: join
    when: "false"
    command: echo never
outputs:
  all: join/all.txt
  each: count
'''
FAILS = '''
name: fails
inputs: {scans: {type: directory}}
steps:
  - id: bad
    foreach: {directories: inputs.scans}
    in: item
    on_failure: continue
    command: 'echo "bad ${partition}" >&2; test "${partition}" != DOE_JOHN'
'''
PATIENTS = {'DOE_JOHN/one.dcm': 'first', 'ROE_JANE/two.dcm': 'second'}


def metadata_of(folder):
    return json.loads((folder / 'ro-crate-metadata.json').read_text())


def entities(folder):
    return {entity['@id']: entity for entity in metadata_of(folder)['@graph']}


def as_list(value):
    return value if isinstance(value, list) else [] if value is None else [value]


@pytest.fixture
def crated(lab):  # noqa: F811
    """A run of SCANS that has ended: its folder."""
    scans = lab.data(PATIENTS, 'scans-of-hospital')
    (lab.folder / 'table.csv').write_text('a,b\n')
    run = lab.run(SCANS, '-i', 'scans=%s' % scans, '-p', 'table=table.csv', '-p', 'who=Ada')
    return lab.home / 'runs' / run


def again(lab, crate, *options, home=None, status=0):  # noqa: F811
    """Runs a crate, in another home when that is given; returns the result and the status."""
    env = {'GLOVEBOX_HOME': str(home or lab.home)}
    done = lab.glovebox('run', crate, *options, status=status, env=env)
    return done, (lab.glovebox('status', 'last', '--json', env=env).json if status < 2 else None)


# ------------------------------------------------------------------- what it says

def test_it_tells_what_ran_on_what(crated):
    found = entities(crated)
    action, root = found['#run'], found['./']
    assert action['@type'] == 'CreateAction'
    assert action['actionStatus'] == 'http://schema.org/CompletedActionStatus'
    assert action['instrument'] == root['mainEntity'] == {'@id': 'workflow/pipeline.yaml'}
    assert action['startTime'] <= action['endTime'] and action['endTime'].endswith('+00:00')
    assert found[action['agent']['@id']]['@type'] == 'Person'
    values = {found[thing['@id']]['name']: found[thing['@id']] for thing in action['object']}
    assert values['who']['value'] == 'Ada' and values['times']['value'] == 3
    assert values['words']['value'] == ['a']
    record = json.loads((crated / 'run.json').read_text())
    assert values['scans']['identifier'].endswith(record['digests']['inputs.scans']['sha256'])
    assert values['table']['identifier'].endswith(record['digests']['params.table']['sha256'])
    assert 'extra' not in values
    results = {thing['@id'] for thing in action['result']}
    assert results == {'outputs/all.txt', 'outputs/each/'}
    for thing in as_list(action['object']) + as_list(action['result']):
        formal = found[found[thing['@id']]['exampleOfWork']['@id']]
        assert formal['@type'] == 'FormalParameter'
        assert formal['workExample'] == thing
    step = found['#action-count']
    assert step['description'].startswith('tasks: 2 succeeded')
    assert step['object'] == {'@id': '#input-scans'}
    assert found['#action-join']['object'] == [{'@id': '#result-count'}, {'@id': '#file-table'}]
    assert '#action-never' not in found and '#step-never' in found


def test_digests_are_as_the_document_says(crated, lab):  # noqa: F811
    """doc/how-to/crate.md tells a stranger how to compare data with a crate."""
    scans = lab.folder / 'scans-of-hospital'
    whole = hashlib.sha256()
    for path in sorted(scans.rglob('*'), key=lambda path: path.relative_to(scans).parts):
        folder = path.is_dir()
        data = b'' if folder else path.read_bytes()
        whole.update(b'%s- %d %s%s\0' % (
            b'd' if folder else b'f', len(data),
            b'0' * 64 if folder else hashlib.sha256(data).hexdigest().encode(),
            str(path.relative_to(scans)).encode()))
    found = entities(crated)
    assert found['#input-scans']['identifier'] == 'glovebox-tree-sha256:' + whole.hexdigest()
    parts = hashlib.sha256()
    for name, task in sorted(lab.record().items()):
        if name.startswith('count@'):
            parts.update(task['partition'].encode() + b'\0' + bytes.fromhex(task['output']))
    for thing in ('outputs/each/', '#result-count'):
        assert found[thing]['identifier'] == 'glovebox-tree-sha256:' + parts.hexdigest()


def test_the_files_are_as_they_were(crated, lab):  # noqa: F811
    found = entities(crated)
    assert (crated / 'workflow/pipeline.yaml').read_text() == SCANS
    for name in ('workflow/pipeline.yaml', 'pipeline.json'):
        assert found[name]['sha256'] == hashlib.sha256((crated / name).read_bytes()).hexdigest()
    for part in found['./']['hasPart']:
        assert (crated / part['@id']).exists()
    mode = (crated / 'ro-crate-metadata.json').stat().st_mode & 0o777
    assert mode == 0o600


def test_every_reference_leads_somewhere(crated):
    found = entities(crated)
    assert len(found) == len(metadata_of(crated)['@graph'])

    def look(value):
        if isinstance(value, dict):
            if set(value) == {'@id'} and value['@id'].startswith(('#', './', 'w', 'p', 'o')):
                assert value['@id'] in found
            for member in value.values():
                look(member)
        elif isinstance(value, list):
            for member in value:
                look(member)
    look(metadata_of(crated)['@graph'])


def test_no_name_of_a_patient_and_no_path_is_in_it(lab):  # noqa: F811
    scans = lab.data(PATIENTS, 'scans-of-hospital')
    lab.secret('token', 'hush-hush')
    text = FAILS.replace('    command:', '    secrets: [token]\n    command:')
    run = lab.run(text, '-i', 'scans=%s' % scans, status=1)
    folder = lab.home / 'runs' / run
    text = (folder / 'ro-crate-metadata.json').read_text()
    for word in ('DOE', 'JANE', 'dcm', 'hospital', 'hush', str(lab.folder), str(lab.home)):
        assert word not in text
    action = entities(folder)['#action-bad']
    assert action['actionStatus'] == 'http://schema.org/FailedActionStatus'
    assert action['error'] == '1 failed: exit'
    # The words are where the document says that they are.
    assert 'DOE_JOHN' in (folder / 'tasks.jsonl').read_text()


def test_its_size_does_not_grow_with_the_data(lab):  # noqa: F811
    text = '''
name: many
inputs: {table: {type: file}}
steps:
  - {id: one, type: dummy, foreach: {csv: inputs.table, key: n}}
'''
    sizes = []
    for count in (2, 3000):
        table = lab.folder / 'table.csv'
        table.write_text('n\n' + ''.join('%d\n' % i for i in range(count)))
        run = lab.run(text, '-i', 'table=%s' % table)
        folder = lab.home / 'runs' / run
        sizes.append((folder / 'ro-crate-metadata.json').stat().st_size)
        assert '%d succeeded' % count in entities(folder)['#action-one']['description']
    assert sizes[1] - sizes[0] < 200


# --------------------------------------------------------------------- validity

PROFILES = ('process-run-crate', 'workflow-run-crate', 'provenance-run-crate')


def validate(root, *wanted, severity='REQUIRED'):
    packages = root / 'build' / 'lib' / 'roc-validator'
    if not (packages / 'SOURCE').exists():
        pytest.skip('%s is not there: script/install-roc-validator fetches it' % packages)
    done = subprocess.run(
        [sys.executable, str(root / 'test/program/validate-crate.py'), str(packages), severity,
         *('%s=%s' % pair for pair in wanted)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, check=False)
    assert done.returncode in (0, 1), done.stdout
    return done


def test_it_is_valid(crated, root):
    done = validate(root, *((profile, crated) for profile in PROFILES))
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_validator_finds_faults(crated, root, tmp_path):
    """A validator that says yes to everything would prove nothing."""
    for name, spoil in (
            ('no-licence', lambda graph: graph['./'].pop('license')),
            ('no-language', lambda graph: graph['workflow/pipeline.yaml'].pop(
                'programmingLanguage')),
            ('no-instrument', lambda graph: graph['#run'].pop('instrument'))):
        copy = tmp_path / name
        shutil.copytree(crated, copy)
        whole = metadata_of(copy)
        spoil({entity['@id']: entity for entity in whole['@graph']})
        (copy / 'ro-crate-metadata.json').write_text(json.dumps(whole))
        done = validate(root, ('workflow-run-crate', copy))
        assert done.returncode == 1 and 'REQUIRED' in done.stdout, done.stdout


@pytest.mark.slow
def test_what_is_recommended_and_left_out(crated, root):
    """Each has its reason: see doc/how-to/crate.md."""
    done = validate(root, ('provenance-run-crate', crated), severity='RECOMMENDED')
    left = {line.split('RECOMMENDED ')[1].split(': ')[0] + ': ' + line.split(': ')[-1]
            for line in done.stdout.splitlines() if 'RECOMMENDED' in line}
    words = ('SHOULD have a url', 'SHOULD have a version or softwareVersion',
             'SHOULD be an absolute URI', 'README.md', '`publisher`', 'affiliation',
             'singleton array', 'exampleOfWork')
    assert [line for line in left if not any(word in line for word in words)] == []


@pytest.mark.slow
def test_runs_that_did_not_succeed_are_valid_too(lab, root):  # noqa: F811
    scans = lab.data(PATIENTS)
    failed = lab.run(FAILS, '-i', 'scans=%s' % scans, status=1)
    waiting = lab.run('name: asks\nsteps:\n- {id: first, command: echo}\n'
                      '- {id: look, type: manual_approval, needs: [first]}\n', status=4)
    nothing = lab.run('name: nothing\nparams: {no: {type: boolean, default: false}}\nsteps:\n'
                      '- {id: skipped, when: "false", command: echo}\n')
    program = lab.start('name: long\nsteps:\n- {id: first, command: sleep 600}\n')
    wait_until(lambda: lab.newest().startswith('long'))
    stopped = lab.newest()
    lab.wait_for_state('first', 'running', stopped)
    lab.glovebox('cancel', stopped)
    program.communicate(timeout=60)
    lab.wait_for_run('cancelled', stopped)
    runs = lab.home / 'runs'
    status = {run: entities(runs / run)['#run']['actionStatus'].rsplit('/')[-1]
              for run in (failed, waiting, nothing, stopped)}
    assert status == {failed: 'FailedActionStatus', waiting: 'ActiveActionStatus',
                      nothing: 'CompletedActionStatus', stopped: 'FailedActionStatus'}
    assert entities(runs / stopped)['#run']['error'] == 'cancelled by a person'
    assert entities(runs / failed)['#run']['error'] == '1 of its tasks failed'
    assert 'endTime' not in entities(runs / waiting)['#run']
    assert not (runs / waiting / 'tasks.jsonl').exists()
    done = validate(root, *(('workflow-run-crate', runs / run) for run in status),
                    *(('provenance-run-crate', runs / run) for run in (failed, waiting, stopped)))
    assert done.returncode == 0, done.stdout
    # Once it is over, the crate of a run that waited says so.
    lab.glovebox('decide', waiting, 'look', 'approve', status=None)
    lab.wait_for_run('succeeded', waiting)
    wait_until(lambda: entities(runs / waiting)['#run'].get('endTime'))
    assert entities(runs / waiting)['#run']['actionStatus'].endswith('/CompletedActionStatus')
    assert (runs / waiting / 'tasks.jsonl').exists()


def test_a_run_that_was_retried_is_told_anew(lab):  # noqa: F811
    scans = lab.data(PATIENTS)
    text = FAILS.replace('"${partition}" != DOE_JOHN', '-e /judge/good')
    text = text.replace('steps:\n', JUDGE_INPUT + 'steps:\n').replace(
        'inputs: {scans: {type: directory}}', 'inputs:\n  scans: {type: directory}')
    run = lab.run(text + JUDGE_MOUNT, '-i', 'scans=%s' % scans, '-i', 'judge=%s' % lab.judge(),
                  status=1)
    folder = lab.home / 'runs' / run
    assert entities(folder)['#action-bad']['error'] == '2 failed: exit'
    (lab.folder / 'judge' / 'good').touch()
    lab.glovebox('retry', run)
    action = entities(folder)['#action-bad']
    assert action['actionStatus'].endswith('/CompletedActionStatus') and 'error' not in action
    assert action['description'] == 'tasks: 2 succeeded; launched 4 times'


# ---------------------------------------------------------------------- running it

def verdicts(status):
    return {item['name']: item['same'] for item in status['recorded']['items']}


SAME = {'inputs.scans': True, 'params.table': True, 'outputs.all': True, 'outputs.each': True}


def test_in_the_same_home_everything_is_reused(lab, crated):  # noqa: F811
    done, status = again(lab, crated)
    assert status['tasks']['reused'] == 3 and verdicts(status) == SAME
    assert 'as recorded in %s: ' % crated.name in done.stdout and 'not as' not in done.stdout
    assert status['recorded']['run'] == crated.name
    # What it leaves is a crate like the first.
    folder = lab.home / 'runs' / status['run']
    first, second = entities(crated), entities(folder)
    assert (folder / 'workflow/pipeline.yaml').read_text() == SCANS
    for name in ('outputs/all.txt', 'outputs/each/', '#input-scans', '#file-table'):
        assert first[name]['identifier'] == second[name]['identifier']
    assert again(lab, folder)[1]['tasks']['reused'] == 3


def test_a_copy_in_a_fresh_home_gives_the_same(lab, crated, tmp_path):  # noqa: F811
    copy = tmp_path / 'copy'
    shutil.copytree(crated, copy)
    shutil.rmtree(lab.home)
    _, status = again(lab, copy / 'ro-crate-metadata.json', home=tmp_path / 'fresh')
    assert status['tasks']['succeeded'] == 3 and verdicts(status) == SAME


def test_without_paths_they_are_asked_for(lab, crated, tmp_path):  # noqa: F811
    copy = tmp_path / 'copy'
    shutil.copytree(crated, copy)
    (copy / 'run.json').unlink()
    (copy / 'tasks.jsonl').unlink()
    done, _ = again(lab, copy, status=3)
    assert '-i scans=PATH' in done.stderr and '-p table=' in done.stderr
    other = lab.data(dict(PATIENTS, **{'DOE_JOHN/one.dcm': 'changed'}), 'other')
    done, status = again(lab, copy, '-i', 'scans=%s' % other, '-p', 'table=table.csv',
                         home=tmp_path / 'fresh')
    assert verdicts(status) == {'inputs.scans': False, 'params.table': True,
                                'outputs.all': False, 'outputs.each': False}
    assert 'not as recorded: inputs.scans, ' in done.stdout
    # The same bytes in another place are the same.
    elsewhere = lab.data(PATIENTS, 'elsewhere')
    assert verdicts(again(lab, copy, '-i', 'scans=%s' % elsewhere, '-p', 'table=table.csv',
                          home=tmp_path / 'fresh')[1]) == SAME


def test_parameters_can_be_given(lab, crated):  # noqa: F811
    _, status = again(lab, crated, '-p', 'who=Bob')
    assert verdicts(status) == dict(SAME, **{'outputs.all': False})
    assert entities(lab.home / 'runs' / status['run'])['#value-who']['value'] == 'Bob'
    assert entities(lab.home / 'runs' / status['run'])['#value-times']['value'] == 3


def test_in_the_background_it_is_compared_too(lab, crated):  # noqa: F811
    lab.glovebox('run', '--detach', crated)
    lab.wait_for_run('succeeded')
    status = lab.glovebox('status', 'last', '--json').json
    assert verdicts(status) == SAME
    assert 'as recorded in' in lab.glovebox('status', 'last').stdout


def test_subpipelines_come_along(lab, tmp_path):  # noqa: F811
    (lab.folder / 'parts').mkdir()
    (tmp_path / 'far').mkdir()
    inner = 'name: inner\nparams: {word: {default: x}}\nsteps:\n' \
            '- {id: say, command: "echo ${params.word} >/out/word"}\noutputs: {word: say/word}\n'
    (lab.folder / 'parts' / 'near.yaml').write_text(inner)
    (tmp_path / 'far' / 'far.yaml').write_text(inner)
    run = lab.run('''
name: outer
params: {word: {default: hello}}
steps:
  - id: near
    pipeline: parts/near.yaml
    params: {word: "${params.word} there"}
  - id: far
    pipeline: ../far/far.yaml
outputs: {word: near/word}
''')
    folder = lab.home / 'runs' / run
    assert (folder / 'workflow/parts/near.yaml').read_text() == inner
    assert (folder / 'workflow/elsewhere/2-far.yaml').read_text() == inner
    shutil.rmtree(tmp_path / 'far')
    shutil.rmtree(lab.folder / 'parts')
    _, status = again(lab, folder)
    assert verdicts(status) == {'outputs.word': True}
    new = lab.home / 'runs' / status['run']
    assert (new / 'workflow/parts/near.yaml').read_text() == inner
    # What a sub-pipeline's parameter is made of may change.
    _, status = again(lab, folder, '-p', 'word=bye')
    assert pathlib.Path(status['outputs']['word']).read_text() == 'bye there\n'


def test_the_steps_that_were_asked_for_are_asked_for_again(lab):  # noqa: F811
    run = lab.run('name: two\nsteps:\n- {id: a, command: echo}\n- {id: b, command: echo b}\n',
                  '--only', 'a')
    folder = lab.home / 'runs' / run
    _, status = again(lab, folder)
    assert status['tasks']['reused'] == 1 and status['tasks']['skipped'] == 1
    _, status = again(lab, folder, '--only', 'b')
    assert status['tasks']['succeeded'] == 1


def test_what_is_written_to_must_be_given(lab):  # noqa: F811
    judge = lab.judge()
    run = lab.run('name: writes\ninputs:\n  judge: {type: directory, writable: true}\nsteps:\n'
                  '- id: a\n  mounts: [{name: judge, path: /judge, from: inputs.judge, '
                  'writable: true}]\n  command: echo ran >>/judge/log\n',
                  '-i', 'judge=%s' % judge)
    folder = lab.home / 'runs' / run
    done, _ = again(lab, folder, status=3)
    assert '-i judge=PATH' in done.stderr and lab.judged() == ['ran']
    again(lab, folder, '-i', 'judge=%s' % judge)
    assert lab.judged() == ['ran', 'ran']


def test_check_and_graph_take_crates(lab, crated):  # noqa: F811
    assert lab.glovebox('check', crated).stdout.endswith(': ok, 3 steps\n')
    plain = lab.glovebox('graph', lab.folder / 'pipeline.yaml').stdout
    assert lab.glovebox('graph', crated).stdout == plain
    assert lab.glovebox('run', '-n', crated, '--json').json['parameters']['who'] == 'Ada'


def test_the_policy_holds_for_crates(lab, crated):  # noqa: F811
    before = len(lab.glovebox('runs', '--json').json)
    whole = json.loads((crated / 'pipeline.json').read_text())
    whole['steps'][0]['box'] = 'off'
    rewrite(crated, 'pipeline.json', json.dumps(whole))
    done, _ = again(lab, crated, status=3)
    assert 'no policy of this site allows steps outside the box' in done.stderr
    assert len(lab.glovebox('runs', '--json').json) == before


# ------------------------------------------------------------------------ bad ones

def rewrite(folder, name, text):
    """Changes a file and what the crate says of it."""
    (folder / name).write_text(text)
    whole = metadata_of(folder)
    for entity in whole['@graph']:
        if entity['@id'] == name:
            entity['sha256'] = hashlib.sha256(text.encode()).hexdigest()
    (folder / 'ro-crate-metadata.json').write_text(json.dumps(whole))


def change(**members):
    """Sets members of an entity; None takes one away."""
    identity = members.pop('of')

    def apply(folder):
        whole = metadata_of(folder)
        for entity in whole['@graph']:
            if entity['@id'] == identity:
                entity.update(members)
                for name in [name for name, value in entity.items() if value is None]:
                    del entity[name]
        (folder / 'ro-crate-metadata.json').write_text(json.dumps(whole))
    return apply


def add(entity):
    def apply(folder):
        whole = metadata_of(folder)
        whole['@graph'].append(entity)
        (folder / 'ro-crate-metadata.json').write_text(json.dumps(whole))
    return apply


def write(name, text):
    return lambda folder: (folder / name).write_text(text)


def without(name):
    return lambda folder: (folder / name).unlink()


def linked(name, target):
    def apply(folder):
        (folder / name).unlink()
        (folder / name).symlink_to(target)
    return apply


def source(path):
    return add({'@id': path, '@type': ['File', 'SoftwareSourceCode'], 'sha256': '0' * 64})


METADATA = 'ro-crate-metadata.json'
BAD = {
    'no JSON': (write(METADATA, 'hello'), METADATA),
    'a list': (write(METADATA, '[]'), 'no @graph'),
    'no graph': (write(METADATA, '{"@graph": {}}'), 'no @graph'),
    'an empty graph': (write(METADATA, '{"@graph": []}'), 'nothing says what it is about'),
    'no objects': (write(METADATA, '{"@graph": [1]}'), 'entity 1 of @graph has no @id'),
    'deep': (write(METADATA, '[' * 100000), METADATA),
    'not UTF-8': (lambda folder: (folder / METADATA).write_bytes(b'{"@graph": "\xff"}'), METADATA),
    'a key twice': (write(METADATA, '{"@graph": [], "@graph": []}'), METADATA),
    'an entity twice': (add({'@id': '#run'}), 'two entities have the @id "#run"'),
    'controls': (add({'@id': '#run\x1b[2J'}), None),
    'controls twice': (lambda folder: [add({'@id': '#\x1b[2J'})(folder) for _ in '12'],
                       'two entities have the @id "#\\x1b[2J"'),
    'no root': (change(of=METADATA, about=None), 'nothing says what it is about'),
    'root elsewhere': (change(of=METADATA, about={'@id': 'http://example.org/'}),
                       'nothing says what it is about'),
    'no workflow': (change(of='./', mainEntity=None), 'no workflow'),
    'a number for a workflow': (change(of='./', mainEntity=7), 'no workflow'),
    'another language': (change(of='workflow/pipeline.yaml', programmingLanguage={'@id': '#cwl'}),
                         'not written for Glovebox but for #cwl'),
    'no action': (change(of='#run', instrument=None), 'no action'),
    'no document': (without('pipeline.json'), 'pipeline.json'),
    'another document': (write('pipeline.json', '{}'), 'pipeline.json is not as it was'),
    'no digest': (change(of='pipeline.json', sha256=None), 'pipeline.json is not as it was'),
    'a strange digest': (change(of='pipeline.json', sha256=[1]), 'pipeline.json is not as it was'),
    'a broken document': (lambda folder: rewrite(folder, 'pipeline.json', '{"name":'),
                          'pipeline.json: '),
    'an invalid document': (lambda folder: rewrite(folder, 'pipeline.json', '{"name": 3}'),
                            'mistake'),
    'a list for a document': (lambda folder: rewrite(folder, 'pipeline.json', '[1]'), 'mistake'),
    'another source': (write('workflow/pipeline.yaml', 'name: x\n'), 'is not as it was'),
    'no source': (without('workflow/pipeline.yaml'), 'workflow/pipeline.yaml'),
    'a link that leaves': (linked('workflow/pipeline.yaml', '/etc/passwd'),
                           'workflow/pipeline.yaml'),
    'a document that leaves': (linked('pipeline.json', '../../../secret'), 'pipeline.json'),
    'a record that leaves': (linked('run.json', '/etc/passwd'), 'run.json'),
    'up': (source('../../../etc/passwd'), 'is no path inside of it'),
    'up, encoded': (source('%2e%2E/%2e%2e/etc/passwd'), 'is no path inside of it'),
    'from the root': (source('/etc/passwd'), 'is no path inside of it'),
    'a URL': (source('file:///etc/passwd'), 'file:'),
    'bad encoding': (source('a%zz'), 'is no path'),
    'cut encoding': (source('a%2'), 'is no path'),
    'a NUL': (source('a%00b'), 'is no path'),
    'no such file': (source('workflow/none.yaml'), 'workflow/none.yaml'),
    'a folder for a file': (source('outputs'), 'outputs is not a file'),
    'objects that are none': (change(of='#run', object='x'), 'is no reference'),
    'nobody knows it': (change(of='#run', object={'@id': '#none'}), 'not described'),
    'numbers for objects': (change(of='#run', object=[1, 2]), 'not described'),
    'no parameter': (change(of='#value-who', exampleOfWork=None), 'belongs to no parameter'),
    'a name that is none': (change(of='#param-who', name=['x']), 'belongs to no parameter'),
    'a value that is none': (change(of='#value-who', value={'a': 1}), 'the value of "who"'),
    'no value': (change(of='#value-who', value=None), 'the value of "who"'),
    'a list of lists': (change(of='#value-words', value=[['a']]), 'the value of "words"'),
    'a wrong type': (change(of='#value-times', value='many'), 'parameter `times`'),
    'a digest that is none': (change(of='#input-scans', identifier='glovebox-tree-sha256:xyz'),
                              'is no digest'),
    'steps that are none': (lambda folder: (
        change(of='#run', object={'@id': '#only'})(folder),
        add({'@id': '#only', '@type': 'PropertyValue', 'value': 'a'})(folder)), 'list of names'),
    'a step that is not there': (lambda folder: (
        change(of='#run', object=[*entities(folder)['#run']['object'], {'@id': '#only'}])(folder),
        add({'@id': '#only', '@type': 'PropertyValue', 'value': ['a', 'b']})(folder)),
        'there is no step'),
    'no record': (write('run.json', 'x'), 'run.json'),
    'a record of something else': (write('run.json', '{}'), 'run.json does not say'),
    'a relative path': (write('run.json', '{"inputs": {"scans": "x"}, "parameters": {}}'),
                        'no absolute path'),
    'a path that is none': (write('run.json', '{"inputs": {"scans": 1}, "parameters": {}}'),
                            'no absolute path'),
}


def test_bad_crates_get_an_answer(lab, crated, tmp_path):  # noqa: F811
    (tmp_path / 'secret').write_text('{}')
    before = lab.glovebox('runs', '--json').json
    problems = []
    for number, (name, (spoil, words)) in enumerate(sorted(BAD.items())):
        if words is None:
            continue
        copy = tmp_path / ('bad%d' % number)
        shutil.copytree(crated, copy)
        spoil(copy)
        done = lab.glovebox('run', copy, status=None)
        if done.returncode != 3 or words not in done.stderr or '\x1b' in done.stderr:
            problems.append((name, done.returncode, done.stderr))
        if 'root:' in done.stdout + done.stderr:
            problems.append((name, 'told what is outside', done.stderr))
        if lab.glovebox('check', copy, status=None).returncode not in (0, 3):
            problems.append((name, 'check', done.stderr))
    assert problems == []
    assert lab.glovebox('runs', '--json').json == before


def test_a_folder_that_is_no_crate(lab, tmp_path):  # noqa: F811
    done = lab.glovebox('run', tmp_path, status=3)
    assert 'error' in done.stderr
    os.mkdir(tmp_path / 'odd')
    os.mkdir(tmp_path / 'odd' / METADATA)
    assert METADATA in lab.glovebox('run', tmp_path / 'odd', status=3).stderr
