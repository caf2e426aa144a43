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


JOINING = '''
name: gathers
plugin_tree:
  - {title: root, plugin: pl-mark v1.2.0, previous: ~,
     plugin_parameter_defaults: {where: /data, prefix: ""}}
  - {title: second, plugin: pl-mark v1.2.0, previous: root,
     plugin_parameter_defaults: {where: /data, prefix: "s-"}}
  - {title: The join, plugin: pl-gather v0.3.0, previous: root, cpu_limit: 1000m,
     plugin_parameter_defaults: {plugininstances: "root,second", level: 2%s}}
  - {title: last, plugin: pl-mark v1.2.0, previous: The join,
     plugin_parameter_defaults: {where: /data, prefix: "l-"}}
'''


@pytest.fixture
def joining(chris):
    chris.load('chris-join')
    for image in IMAGE, 'example/pl-gather:0.3.0':
        chris.glovebox('image', 'plugin', image, '--save', 'plugins')
    (chris.scans / 'called-by').write_text('of the root')
    return chris


def run_joining(lab, more, *options):
    lab.run_file(lab.glovebox.pipeline(JOINING % more), '-i', 'incoming=%s' % lab.scans, '-o',
                 'out', *options)
    return lab.folder / 'out' / 'last'


def test_a_plugin_that_joins_runs(joining):
    """It finds what its parents left, through their filters. What it wrote itself goes before
    what it found; the first parent's before the second's."""
    out = run_joining(joining, r", filter: 'dcm$|by$,\.dcm$|called$'")
    assert set(joining.states().values()) == {'succeeded'}
    assert joining.output('The-join', 'outgoing/called').splitlines() == [
        '--plugininstances', 'root,second', '--filter', r'dcm$|by$,\.dcm$|called$', '--level', '2',
        '/share/outgoing']
    assert joining.output('The-join', 'outgoing/seen').splitlines() == [
        './called', './called-by', './one.dcm', './s-one.dcm', './s-two.dcm', './two.dcm']
    assert joining.output('The-join-incoming', 'called').startswith('--where')
    assert sorted(path.name for path in out.iterdir()) == ['called'] + [
        'l-' + name for name in ('called-by', 'one.dcm', 's-one.dcm', 's-two.dcm', 'seen',
                                 'two.dcm')]
    assert (out / 'l-called-by').read_text() == 'gathered\n'
    assert joining.record()['The-join']['attempts'][0]['box']['cpus'] == 1.0


def test_a_plugin_that_joins_keeps_parents_apart(joining):
    run_joining(joining, ', groupByInstance: true')
    assert joining.output('The-join', 'outgoing/called').splitlines()[-4:] == [
        '--level', '2', '--groupByInstance', '/share/outgoing']
    seen = joining.output('The-join', 'outgoing/seen').splitlines()
    assert './root/one.dcm' in seen and './second/s-one.dcm' in seen


def test_a_plugin_that_joins_may_find_and_leave_nothing(joining):
    out = run_joining(joining, ", silent: true, filter: '^none$,^none$'")
    assert joining.states()['last'] == 'succeeded'
    assert sorted(path.name for path in out.iterdir()) == ['called']


def test_parameters_of_a_plugin_that_joins_are_checked(joining):
    said = joining.glovebox('run', joining.glovebox.pipeline(JOINING % ''), '-i',
                            'incoming=%s' % joining.scans, '-p', 'The-join.level=3',
                            status=3).stderr
    assert 'is not one of: 1, 2' in said
    said = joining.glovebox('check', joining.glovebox.pipeline(
        JOINING % ", groupByInstance: perhaps, filter: 'a,(', silnt: true"), status=3).stderr
    assert 'the plugin has no parameter `silnt`' in said
    said = joining.glovebox('check', joining.glovebox.pipeline(
        JOINING % ", groupByInstance: perhaps, filter: 'a,('"), status=3).stderr
    assert '`groupByInstance` is true or false' in said
    assert '`(` is not a regular expression' in said


def test_a_plugin_that_joins_runs_alone(joining):
    joining.run_file('plugins/pl-gather-0.3.0.json', '-i', 'incoming=%s' % joining.scans, '-o',
                     'out')
    out = joining.folder / 'out' / 'outgoing'
    assert sorted(path.name for path in out.iterdir()) == [
        'called', 'called-by', 'one.dcm', 'seen', 'two.dcm']
    assert (out / 'called-by').read_text() == 'gathered\n'
