"""Plugins of ChRIS in real containers: from nothing but an image to a pipeline of it."""
import json

import pytest

from container_support import IMAGES, containers  # noqa: F401 (a fixture)

IMAGE = 'example/pl-mark:1.2.0'
TREE = '''
name: marks
plugin_tree:
  - {title: root, plugin: pl-mark v1.2.0, previous: ~,
     plugin_parameter_defaults: {where: /data/somewhere, prefix: a-}}
  - {title: second, plugin: pl-mark v1.2.0, previous: root, cpu_limit: 1000m, memory_limit: 200Mi,
     plugin_parameter_defaults: {where: "${x} 'y'", loud: true, level: 2}}
'''


@pytest.fixture
def chris(containers):
    containers.load('chris-plugin')
    containers.scans = containers.data({'one.dcm': '1', 'two.dcm': '2'}, 'scans')
    return containers


def test_an_image_tells_its_descriptor(chris):
    """Once for each image: then the answer is known."""
    said = chris.glovebox('image', 'plugin', IMAGE).json
    assert said['name'] == 'pl-mark' and said['dock_image'] == IMAGE
    assert len(said['parameters']) == 5
    saved = chris.glovebox('image', 'plugin', IMAGE, '--save', 'plugins').stdout.strip()
    assert saved == 'plugins/pl-mark-1.2.0.json'
    assert json.loads((chris.folder / saved).read_text()) == said
    assert chris.states() == {'ask': 'reused'}


def test_an_older_plugin_is_asked_by_its_program(containers):
    info = (IMAGES / 'chris-plugin/root/usr/local/bin/chris_plugin_info').read_text()
    containers.load_made('example/old:1', {
        'bin/old': '#!/bin/sh\ntest "$1" = --json && shift && set -- -d none\n' +
                   info.split('\n', 1)[1]}, {'Cmd': ['old', '--man']})
    assert containers.glovebox('image', 'plugin', 'example/old:1').json['dock_image'] == \
        'example/old:1'


@pytest.mark.parametrize('program, words', [
    ('exit 1', ['does not say what plugin it is', 'glovebox logs']),
    ('echo nothing', ['descriptor.json']),
    ('echo "{}"', ['what the image says of itself'])])
def test_an_image_that_is_no_plugin_is_told(containers, program, words):
    containers.load_made('example/none:1', {'bin/chris_plugin_info': '#!/bin/sh\n%s\n' % program})
    said = containers.glovebox('image', 'plugin', 'example/none:1', status=None)
    assert said.returncode in (1, 3) and said.stdout == ''
    for word in words:
        assert word in said.stderr
    assert 'error: there is no image' in containers.glovebox(
        'image', 'plugin', 'example/other', status=1).stderr


def test_a_plugin_runs_by_its_descriptor(chris):
    chris.glovebox('image', 'plugin', IMAGE, '--save', 'plugins')
    chris.run_file('plugins/pl-mark-1.2.0.json', '-i', 'incoming=%s' % chris.scans, '-p',
                   'where=/any', '-o', 'out')
    out = chris.folder / 'out' / 'outgoing'
    assert sorted(path.name for path in out.iterdir()) == ['called', 'm-one.dcm', 'm-two.dcm']
    assert (out / 'called').read_text().splitlines() == [
        '--where', '/any', '--folder', '/share/incoming', '--prefix', 'm-', '--level', '1',
        '/share/incoming', '/share/outgoing']


def test_a_tree_of_plugins_runs(chris):
    chris.glovebox('image', 'plugin', IMAGE, '--save', 'plugins')
    path = chris.glovebox.pipeline(TREE)
    chris.run_file(path, '-i', 'incoming=%s' % chris.scans, '-o', 'out')
    out = chris.folder / 'out' / 'second'
    assert sorted(path.name for path in out.iterdir()) == ['called', 'm-a-one.dcm', 'm-a-two.dcm']
    assert (out / 'called').read_text().splitlines() == [
        '--where', "${x} 'y'", '--folder', '/share/incoming', '--prefix', 'm-', '--level', '2',
        '--loud', '/share/incoming', '/share/outgoing']
    box = chris.record()['second']['attempts'][0]['box']
    assert (box['cpus'], box['memory']) == (1.0, 200 << 20)
    assert chris.record()['root']['attempts'][0]['box']['cpus'] == 0.5
    chris.run_file(path, '-i', 'incoming=%s' % chris.scans, '-p', 'second.level=1')
    assert chris.states() == {'root': 'reused', 'second': 'succeeded'}
    said = chris.glovebox('run', path, '-i', 'incoming=%s' % chris.scans, '-p', 'second.level=3',
                          status=3).stderr
    assert 'is not one of: 1, 2' in said
