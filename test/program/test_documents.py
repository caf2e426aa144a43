"""What the documents say is true: pipelines check, links lead somewhere, the tutorial works."""
import json
import re

import pytest

from container_support import containers  # noqa: F401 (a fixture)


def documents(root):
    found = [path for path in root.glob('*.md')] + [path for path in (root / 'doc').rglob('*.md')]
    assert len(found) > 8
    return found


def blocks(path, kind):
    return re.findall(r'^```%s\n(.*?)^```$' % kind, path.read_text(), re.M | re.S)


def test_links_lead_somewhere(root):
    broken = []
    for path in documents(root):
        for target in re.findall(r'\]\(([^)#\s]+)', path.read_text()):
            if '://' not in target and not (path.parent / target).exists():
                broken.append('%s: %s' % (path.relative_to(root), target))
    assert broken == []


def test_pipelines_in_documents_are_good(glovebox, root):
    seen = 0
    for path in documents(root):
        for text in blocks(path, 'yaml'):
            if text.startswith('name:'):
                glovebox('check', glovebox.pipeline(text))
                seen += 1
    assert seen >= 3


def test_commands_in_documents_exist(glovebox, root):
    known = {command['name'] for command in glovebox('help', '--json').json['commands']}
    for path in documents(root):
        for block in blocks(path, 'sh') + blocks(path, 'console'):
            for name, second in re.findall(r'^(?:\$ )?glovebox ([a-z]+)\b(?: ([a-z]+)\b)?',
                                               block, re.M):
                    assert name in known or name + ' ' + second in known, (path.name, name)


def test_shipped_pipelines_are_good(glovebox, root):
    pipelines = root / 'pipelines'
    shipped = sorted([*pipelines.glob('*.yaml'), *pipelines.glob('*/workflow.yaml')])
    assert len(shipped) > 2
    glovebox('check', *shipped)


def test_hello(glovebox, root):
    glovebox('run', root / 'pipelines' / 'hello.yaml', '-p', 'who=Ada')


def test_the_tutorial(glovebox, root):
    text = [block for block in blocks(root / 'doc' / 'tutorial.md', 'yaml')]
    first, sums, look, _ = text
    glovebox('run', glovebox.pipeline(first, 'first.yaml'))

    def patient(name, count):
        (glovebox.folder / 'data' / name).mkdir(parents=True)
        (glovebox.folder / 'data' / name / 'numbers').write_text(
            ''.join('%d\n' % n for n in range(1, count + 1)))
    for name, count in (('p1', 10), ('p2', 20), ('p3', 30)):
        patient(name, count)
    pipeline = glovebox.pipeline(sums, 'sums.yaml')
    done = glovebox('run', pipeline, '-i', 'data=data', '--json').json
    with open(done['outputs']['table'], encoding='ascii') as table:
        assert table.read() == 'p1,55\np2,210\np3,465\n'
    assert glovebox('run', pipeline, '-i', 'data=data', '--json').json['tasks']['reused'] == 4
    patient('p4', 5)
    done = glovebox('run', pipeline, '-i', 'data=data', '--json').json
    assert (done['tasks']['reused'], done['tasks']['succeeded']) == (3, 2)
    assert 'reused' in glovebox('why', 'last', 'total@p1').stdout
    assert 'succeeded' in glovebox('why', 'last', 'total@p4').stdout

    asking = sums.replace('  - id: collect\n', look + '  - id: collect\n    needs: [look]\n')
    glovebox('run', glovebox.pipeline(asking, 'sums.yaml'), '-i', 'data=data', status=4)
    waiting = glovebox('tasks', 'last', '--state', 'deciding', '--json').json
    assert (waiting['step'], waiting['partition']) == ('look', 'p3')
    assert 'p3 is large' in json.dumps(glovebox('status', 'last', '--json').json['waiting'])
    glovebox('decide', 'last', 'look@p3', 'approve', '--no-resume')
    glovebox('resume', 'last')


def test_the_tutorial_s_container(containers, root):
    count = blocks(root / 'doc' / 'tutorial.md', 'yaml')[3]
    containers.load_made('example/count:1.0')
    data = containers.data({'p1/numbers': '1\n2\n', 'p2/numbers': '3\n'}, 'data')
    containers.run(count, '-i', 'data=%s' % data)
    assert containers.output('count', 'lines') == '3\n'
    containers.load_made('example/count:1.0', {'x': 'another'})
    containers.run(count, '-i', 'data=%s' % data)
    assert 'image changed' in containers.why('count')


@pytest.mark.parametrize('step', ['fetch', 'anonymize', 'tags', 'slice', 'classify', 'report'])
def test_the_picture_shows_the_pipeline(root, step):
    assert '>%s<' % step in (root / 'doc' / 'images' / 'covidnet.svg').read_text()
