"""One pipeline, however its file was written down: the same steps."""
import json
import re
import subprocess

import pytest
import yaml

from conftest import BINARY, ROOT

FILES = ['medperf/review/workflow.yaml', 'medperf/container/container_config.yaml',
         'chris/tree.yaml']


@pytest.fixture
def steps_of():
    """All that is known of a file's steps, without their places."""
    runner = BINARY.parent / 'test' / 'unit' / 'pipeline' / 'check-runner'

    def read(path):
        answers = [subprocess.run([runner, '--images', *options, path], text=True, check=True,
                                  capture_output=True).stdout
                   for options in (['--steps'], ['--graph', 'json'])]
        steps, graph = map(json.loads, answers)
        for node in graph['nodes']:
            del node['line']
        for step in steps: # the order of mounts is no part of a pipeline
            step['mounts'].sort(key=lambda mount: mount['target'])
        return steps, graph
    return read


def reversed_keys(value):
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(list(value))}
    return [reversed_keys(item) for item in value] if isinstance(value, list) else value


def aliased(text):
    """As PyYAML writes a document whose nodes are shared: with &id001 and *id001."""
    document = yaml.safe_load(text)
    kept = {}

    def share(value):
        if isinstance(value, dict):
            value = {key: share(item) for key, item in value.items()}
        elif isinstance(value, list):
            value = [share(item) for item in value]
        else:
            return value
        return kept.setdefault(json.dumps(value), value)
    return yaml.safe_dump(share(document), sort_keys=False)


def with_tabs(text):
    """Tabs everywhere that YAML allows them: after a key's colon, before comments, at line ends,
    in empty lines; never in the indentation. (Where a value may go on in the next line libfyaml 0.7
    takes a tab that stands there alone for indentation, and says so.)"""
    lines = []
    for line in text.splitlines():
        line = re.sub(r'^( *(?:- )?\w+:) (?=[\w"\'~])', '\\1\t', line)
        quoted = '"' in line or "'" in line
        lines += [line] if quoted else [line + '\t# a comment', '' if '}' in line else '\t']
    return '\n'.join(lines) + '\n'


CLOTHES = {
    'dumped': lambda text: yaml.safe_dump(yaml.safe_load(text), sort_keys=False),
    'sorted': lambda text: yaml.safe_dump(yaml.safe_load(text)),
    'reversed': lambda text: yaml.safe_dump(reversed_keys(yaml.safe_load(text)), sort_keys=False),
    'flow': lambda text: yaml.safe_dump(yaml.safe_load(text), default_flow_style=True, width=60),
    'aliased': aliased,
    'json': lambda text: json.dumps(yaml.safe_load(text), indent=2),
    'windows': lambda text: text.replace('\n', '\r\n'),
    'old mac': lambda text: text.replace('\n', '\r'),
    'mark': lambda text: '\ufeff' + text,
    'mark, windows, aliased': lambda text: '\ufeff' + aliased(text).replace('\n', '\r\n'),
    'tabs': with_tabs,
    'document marks': lambda text: '%YAML 1.2\n---\n' + text + '...\n',
}


@pytest.mark.parametrize('kind', CLOTHES)
@pytest.mark.parametrize('name', FILES)
def test_the_same_steps_in_other_clothes(steps_of, tmp_path, name, kind):
    path = ROOT / 'test' / name
    other = CLOTHES[kind](path.read_text())
    if kind == 'aliased' and 'chris' not in name:
        assert '*id001' in other
    if (path.parent / 'plugins').exists():
        (tmp_path / 'plugins').symlink_to(path.parent / 'plugins')
    copy = tmp_path / path.name
    copy.write_bytes(other.encode())
    assert steps_of(copy) == steps_of(path)
