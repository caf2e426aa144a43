"""The language: its schema, its manual, its mistakes, and MedPerf's own files."""
import json
import re
import subprocess

import pytest

jsonschema = pytest.importorskip('jsonschema', reason='python3-jsonschema is not installed')
yaml = pytest.importorskip('yaml', reason='python3-yaml is not installed')


@pytest.fixture(scope='module')
def validator(binary):
    schema = json.loads(subprocess.run([binary, 'schema'], check=True, capture_output=True).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def mistakes(validator, text):
    return [error.message for error in validator.iter_errors(yaml.safe_load(text))]


# ---------------------------------------------------------------- schema, manual

def test_schema_takes_every_pipeline_of_the_project(validator, root):
    files = sorted((root / 'pipelines').glob('*.yaml'))
    assert files
    for file in files:
        assert mistakes(validator, file.read_text()) == [], file


def test_schema_and_check_take_every_example_of_the_manual(validator, root, glovebox):
    examples = [block for block in
                re.findall(r'^```yaml\n(.*?)^```$', (root / 'doc/pipeline.md').read_text(),
                           re.MULTILINE | re.DOTALL) if re.search(r'^steps:', block, re.MULTILINE)]
    assert len(examples) >= 10
    for example in examples:
        assert mistakes(validator, example) == [], example


@pytest.mark.parametrize('name', ['unknown-key', 'wrong-types', 'params', 'step-kinds', 'flow',
                                  'empty', 'not-a-mapping', 'no-steps', 'ids', 'in-list'])
def test_schema_refuses_what_is_badly_built(validator, root, name):
    assert mistakes(validator, (root / 'test/bad-input' / name / 'pipeline.yaml').read_text())


@pytest.mark.parametrize('text', [
    'steps: [{id: a, command: x, timeout: soon}]',
    'steps: [{id: a, command: x, on_failure: ignore}]',
    'steps: [{id: a, type: robot}]',
    'steps: [{id: a}]',
    'steps: [{command: x}]',
    'steps: [{id: a, command: x, resources: {memory: much}}]',
    'steps: [{id: a, command: x}]\nstpes: []',
])
def test_schema_refuses(validator, text):
    assert mistakes(validator, text)


# -------------------------------------------------------------------- mistakes

def test_check_of_a_good_and_a_bad_file(glovebox):
    glovebox.pipeline('steps: [{id: a, command: x}]', 'good.yaml')
    glovebox.pipeline('steps: [{id: a, comand: x}]', 'bad.yaml')
    glovebox('check', 'good.yaml')
    done = glovebox('check', 'good.yaml', 'bad.yaml', status=3)
    assert 'bad.yaml:1:17: error: unknown key `comand` in step' in done.stderr
    assert 'hint: did you mean `command`?' in done.stderr


# ---------------------------------------------------------------------- graphs

def test_graph_formats(glovebox):
    glovebox.pipeline('steps: [{id: a, command: x}, {id: b, type: manual_approval, needs: a}]')
    assert '│ b                 │' in glovebox('graph', 'pipeline.yaml').stdout
    dot = glovebox('graph', '--format', 'dot', 'pipeline.yaml').stdout
    assert dot.startswith('digraph') and 's0 -> s1' in dot
    assert 'flowchart' in glovebox('graph', '--format', 'mermaid', 'pipeline.yaml').stdout


# --------------------------------------------------------------- MedPerf's files

RUNNER = 'test/unit/pipeline/check-runner'


@pytest.fixture(scope='module')
def runner(binary):
    path = binary.parent / RUNNER
    assert path.exists(), 'the build makes it'
    return lambda *arguments: subprocess.run([path, '--images', *map(str, arguments)], text=True,
                                             check=True, capture_output=True).stdout


def medperf(root, name):
    path = root.parent / 'shared/data/medperf/examples' / name
    if not path.exists():
        pytest.skip('no %s: MedPerf\'s files are not part of this project' % path)
    return path


WORKFLOWS = ['RANO/data_preparator_workflow/workflow.yaml',
             'RANO/data_preparator_workflow/workflow_dev.yaml',
             'HEMnet/data_preparator/workflow.yaml',
             'chestxray_tutorial/data_preparator_workflow/workflow.yaml']


@pytest.mark.parametrize('name', WORKFLOWS)
def test_medperf_workflow_loads(runner, root, name):
    path = medperf(root, name)
    nodes = json.loads(runner('--graph', 'json', path))['nodes']
    assert {node['id'] for node in nodes} == {
        step['id'] for step in yaml.safe_load(path.read_text())['steps']}


def graph_of(runner, path):
    graph = json.loads(runner('--graph', 'json', path))
    for node in graph['nodes']:
        del node['line']
    return graph


def reversed_keys(value):
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(list(value))}
    return [reversed_keys(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize('name', WORKFLOWS)
def test_medperf_workflow_in_other_clothes(runner, root, tmp_path, name):
    path = medperf(root, name)
    text = path.read_text()
    document = yaml.safe_load(text)
    shared = yaml.safe_dump(document, sort_keys=False)
    # MedPerf's server hands files back as PyYAML writes shared nodes.
    first = document['steps'][0]
    document['steps'][-1]['x-shared'] = first.get('mounts')
    aliased = yaml.safe_dump(document, sort_keys=False)
    assert '*id001' in aliased
    expected = graph_of(runner, path)
    clothes = {'dumped': shared, 'aliased': aliased, 'json': json.dumps(yaml.safe_load(text)),
               'reversed': yaml.safe_dump(reversed_keys(yaml.safe_load(text)), sort_keys=False),
               'windows': text.replace('\n', '\r\n'), 'mark': '\ufeff' + text}
    for kind, other in clothes.items():
        copy = tmp_path / kind / path.name
        copy.parent.mkdir()
        copy.write_bytes(other.encode())
        assert graph_of(runner, copy) == expected, kind


def oracle(text):
    """MedPerf's own expansion: {id: (command, {(input, target)})} and pools."""
    tasks = {}
    for line in text.splitlines():
        match = re.search(r"Docker (\S+) (?:outlets=|-> ).*?(?:pool=(\S+) )?cmd=(\[.*?\]) mounts=(\[.*\])",
                          line)
        if match:
            mounts = {(source.removeprefix('$host_'), target)
                      for source, target, _ in eval(match[4], {}, {})}
            tasks[match[1]] = (eval(match[3], {}, {}), mounts, match[2])
    return tasks


def test_rano_expands_as_in_medperf(runner, root):
    path = medperf(root, WORKFLOWS[0])
    facts = root.parent / 'shared/facts/medperf-rano-expansion.txt'
    if not facts.exists():
        pytest.skip('no %s: the expansion is not part of this project' % facts)
    expected = oracle(facts.read_text())
    partitions = ['AAAC_1/2008.03.31', 'AAAC_2/2001.01.01']
    found = {}
    for step in json.loads(runner('--steps', path)):
        mounts = {(mount['input'], mount['target']) for mount in step['mounts']}
        for partition in partitions if step['levels'] else [None]:
            command = [word.replace('${partition}', partition or '') for word in step['command']]
            suffix = '_' + re.sub(r'[^A-Za-z0-9_-]', '_', partition) if partition else ''
            pool = step['id'] + '_pool' if step['limit'] else None
            if command:
                found[step['id'] + suffix] = (command, mounts, pool)
    assert found == expected
