"""Pipelines and plugins of ChRIS run as they are; the plugins' containers are played."""
import json

import pytest

from conftest import ROOT
from play_support import playlab  # noqa: F401 (a fixture)
from test_crate import PROFILES, validate

FILES = ROOT / 'test' / 'chris'


@pytest.fixture
def chris(playlab):
    playlab.play(FILES / 'play')
    playlab.dicom = playlab.data({'a.dcm': 'A', 'notes.txt': 'n'}, 'scans')
    return playlab


def call_of(lab, step, plugin):
    return json.loads(lab.output(step, 'outgoing/%s.call' % plugin))


@pytest.mark.slow
def test_the_crate_of_a_tree_is_valid(chris):
    chris.run_file(FILES / 'tree.yaml', '-i', 'incoming=%s' % chris.dicom)
    done = validate(ROOT, *((profile, chris.folder_of()) for profile in PROFILES))
    assert done.returncode == 0, done.stdout


def test_a_tree_runs(chris):
    chris.run_file(FILES / 'tree.yaml', '-i', 'incoming=%s' % chris.dicom, '-o',
                   chris.folder / 'out')
    assert chris.states() == dict.fromkeys(
        ['root', 'Report-on-it', 'Convert-DICOM-to-JPG', 'Combine-PDF-and-DCM'], 'succeeded')
    # Arguments stand in the order of ChRIS: texts, integers, numbers, switches; then the folders.
    assert call_of(chris, 'root', 'pl-copy') == {
        'command': ['python3', '/usr/local/bin/copy', '--prefix', '', '--number', '3', '--sleep',
                    '1.1', '/share/incoming', '/share/outgoing'],
        'seen': ['a.dcm', 'notes.txt']}
    assert call_of(chris, 'Convert-DICOM-to-JPG', 'pl-convert') == {
        'command': ['python3', '/usr/local/bin/convert', '-f', "it's *.dcm", '--single',
                    '/share/incoming', '/share/outgoing'],
        'seen': ['a.dcm', 'pl-copy.call']}
    assert call_of(chris, 'Report-on-it', 'pl-report') == {
        'command': ['/usr/local/bin/report', '--folder', '/share/incoming', '--imagefile', 'a.jpg',
                    '/share/incoming', '/share/outgoing'],
        'seen': ['a.jpg', 'pl-convert.call']}
    # The join has what both of its parents left, each through its own filter.
    joined = chris.folder / 'out' / 'Combine-PDF-and-DCM'
    assert sorted(path.name for path in joined.iterdir()) == ['a.dcm', 'a.pdf']
    assert (joined / 'a.pdf').read_text() == 'pdf of jpg of A'


def test_parameters_of_a_node_are_given(chris):
    chris.run_file(FILES / 'tree.yaml', '-i', 'incoming=%s' % chris.dicom, '-p',
                   'root.keep=false', '-p', 'Convert-DICOM-to-JPG.single=false', '-p',
                   'Convert-DICOM-to-JPG.title=two words', '-p', 'root.sleep=0.9')
    assert call_of(chris, 'root', 'pl-copy')['command'][-5:] == [
        '--sleep', '0.9', '--drop', '/share/incoming', '/share/outgoing']
    assert call_of(chris, 'Convert-DICOM-to-JPG', 'pl-convert')['command'] == [
        'python3', '/usr/local/bin/convert', '-f', "it's *.dcm", '--title', 'two words',
        '/share/incoming', '/share/outgoing']


def test_a_value_means_itself(chris):
    """ChRIS has no templates."""
    odd = '${x} ${params.y} $(id) $HOME "q" \\ '
    path = chris.glovebox.pipeline(json.dumps({'name': 'odd', 'plugin_tree': [
        {'title': 'root', 'plugin': 'pl-copy v2.1.0', 'previous': None,
         'plugin_parameter_defaults': {'prefix': odd}}]}))
    path = path.rename(path.parent / 'odd.yaml')
    chris.run_file(path, '-i', 'incoming=%s' % chris.dicom, '--plugins', FILES / 'plugins')
    assert odd in call_of(chris, 'root', 'pl-copy')['command']
    chris.run('name: outer\ninputs: {a: {}}\nsteps: [{id: s, in: {incoming: inputs.a}, '
              'pipeline: odd.yaml}]\n', '-i', 'a=%s' % chris.dicom, '--plugins', FILES / 'plugins')
    assert odd in call_of(chris, 's.root', 'pl-copy')['command']


@pytest.mark.parametrize('as_text', [False, True])
def test_the_older_form_runs(chris, as_text):
    """Nodes know each other by number; the tree may be the text of a list."""
    document = json.loads((FILES / 'old.json').read_text())
    if as_text:
        document['plugin_tree'] = json.dumps(document['plugin_tree'])
    path = chris.glovebox.pipeline(json.dumps(document), 'old.json')
    chris.run_file(path, '-i', 'incoming=%s' % chris.dicom, '--plugins', FILES / 'plugins')
    assert chris.states() == dict.fromkeys(['pl-copy', 'pl-convert', 'pl-convert-2'], 'succeeded')
    assert '--prefix x-' in ' '.join(call_of(chris, 'pl-copy', 'pl-copy')['command'])
    assert '--single' not in call_of(chris, 'pl-convert', 'pl-convert')['command']
    assert '--single' in call_of(chris, 'pl-convert-2', 'pl-convert')['command']
    # Nobody follows the leaves: what they left is the pipeline's.
    outputs = chris.folder_of() / 'outputs'
    assert sorted(path.name for path in outputs.iterdir()) == ['pl-convert', 'pl-convert-2']


def test_a_second_run_reuses(chris):
    for expected in 'succeeded', 'reused':
        chris.run_file(FILES / 'tree.yaml', '-i', 'incoming=%s' % chris.dicom)
        assert set(chris.states().values()) == {expected}


def test_a_plugin_runs_alone(chris):
    chris.run_file(FILES / 'plugins' / 'pl-report.json', '-i', 'incoming=%s' % chris.dicom, '-p',
                   'imagefile=b.png')
    assert call_of(chris, 'plugin', 'pl-report')['command'][3:5] == ['--imagefile', 'b.png']
    chris.run_file(FILES / 'plugins' / 'pl-fetch.json')
    assert call_of(chris, 'plugin', 'pl-fetch') == {
        'command': ['python3', '/usr/local/bin/fetch', '--count', '2', '/share/outgoing'],
        'seen': None}


def test_mistakes_of_a_tree(chris):
    path = chris.glovebox.pipeline('''
name: wrong
plugin_tree:
  - {title: root, plugin: pl-copy v2.1.0, previous: ~}
  - {title: two, plugin: pl-convert v1.2.2, previous: roots}
  - {title: three, plugin: pl-convert v1.2.2}
  - {title: join, plugin: pl-topologicalcopy v1.0.2, previous: root,
     plugin_parameter_defaults: {plugininstances: "root,four"}}
''')
    said = chris.glovebox('check', '--plugins', FILES / 'plugins', path, status=3).stderr
    assert '5:55: error: no node has the title `roots`' in said
    assert 'did you mean `root`?' in said
    assert 'the tree has two roots: `root` and `three`' in said
    path = chris.glovebox.pipeline('''
name: wrong
plugin_tree:
  - {title: root, plugin: pl-copy v9.9.9, previous: ~}
  - {title: two, plugin: pl-convert v1.2.2, previous: root,
     plugin_parameter_defaults: {singel: true}}
  - {title: two, plugin_id: 7, previous: root}
''')
    said = chris.glovebox('check', '--plugins', FILES / 'plugins', path, status=3).stderr
    assert 'there is no descriptor of plugin `pl-copy`, version 9.9.9' in said
    assert 'the plugin has no parameter `singel`' in said
    assert '`plugin_id` means something in one ChRIS only' in said


def test_a_missing_value_is_told(chris):
    path = chris.glovebox.pipeline('''
name: value
plugin_tree:
  - {title: report, plugin: pl-report v0.3.0, previous: ~}
''')
    said = chris.glovebox('run', path, '--plugins', FILES / 'plugins', '-i',
                          'incoming=%s' % chris.dicom, status=3).stderr
    assert 'parameter `report.imagefile` needs a value: -p report.imagefile=' in said


def test_a_tree_for_each_patient(chris):
    """A pipeline of ChRIS as a part of one of ours."""
    data = chris.data({'p1/a.dcm': 'A', 'p2/b.dcm': 'B'}, 'patients')
    chris.run('''
name: patients
inputs: {scans: {}}
outputs: {reports: each/Combine-PDF-and-DCM}
steps:
  - id: each
    foreach: {directories: inputs.scans}
    in: {incoming: item}
    params: {root.keep: false}
    pipeline: %s
''' % (FILES / 'tree.yaml'), '-i', 'scans=%s' % data)
    outputs = chris.folder_of() / 'outputs' / 'reports'
    assert (outputs / 'p1' / 'a.pdf').read_text() == 'pdf of jpg of A'
    assert (outputs / 'p2' / 'b.pdf').read_text() == 'pdf of jpg of B'
    assert '--drop' in call_of(chris, 'each.root@p1', 'pl-copy')['command']
