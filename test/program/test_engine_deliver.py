"""What lies in the folder for outputs after a run: its outputs, and what is somebody else's."""
import os

import pytest

from engine_support import lab  # noqa: F401

EACH = '''
name: each
inputs:
  data: {type: directory}
params:
  word: {default: hello}
steps:
  - id: each
    foreach: {directories: inputs.data}
    command: 'mkdir /out/deep; cp /in/* /out/deep/; echo ${params.word} > /out/word'
  - id: all
    in: each
    command: 'ls /in > /out/all.txt'
outputs: {each: each, all: all/all.txt}
'''


@pytest.fixture
def out(lab):
    lab.data({'s1/a': 'a', 's2/a': 'b', 's3/a': 'c'})
    folder = lab.folder / 'out'
    go(lab, folder)
    return folder


def go(lab, folder, *options, data='data', text=EACH):
    return lab.run(text, '-i', 'data=%s' % data, '-o', folder, *options)


def remove(lab, subject):
    (lab.folder / 'data' / subject / 'a').unlink()
    (lab.folder / 'data' / subject).rmdir()


def listed(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


def of(*subjects):
    return ['all.txt'] + [path for subject in subjects
                          for path in ('each/%s/deep/a' % subject, 'each/%s/word' % subject)]


def test_what_is_gone_is_gone_from_the_outputs(lab, out):
    assert listed(out) == of('s1', 's2', 's3')
    remove(lab, 's2')
    go(lab, out)
    assert listed(out) == of('s1', 's3')
    assert not (out / 'each/s2').exists(), 'no empty folder stays behind'
    assert (out / 'all.txt').read_text() == 's1\ns3\n'


def test_what_is_somebody_elses_stays(lab, out):
    (out / 'notes.txt').write_text('mine')
    (out / 'each/s2/notes.txt').write_text('mine')
    (out / 'each/s3/word').write_text('corrected\n')
    remove(lab, 's2')
    remove(lab, 's3')
    go(lab, out)
    assert listed(out) == ['all.txt', 'each/s1/deep/a', 'each/s1/word', 'each/s2/notes.txt',
                           'each/s3/word', 'notes.txt']
    assert (out / 'each/s3/word').read_text() == 'corrected\n'
    go(lab, out)
    assert (out / 'each/s3/word').exists(), 'it is not ours any more'


def test_other_inputs_and_other_pipelines_share_a_folder(lab, out):
    lab.data({'t1/a': 'x'}, 'more')
    go(lab, out, data='more')
    assert listed(out) == of('s1', 's2', 's3', 't1')
    go(lab, out, data='more', text=EACH.replace('name: each', 'name: other'))
    assert listed(out) == of('s1', 's2', 's3', 't1')


def test_other_parameters_are_the_same_work(lab, out):
    remove(lab, 's1')
    go(lab, out, '-p', 'word=bye')
    assert listed(out) == of('s2', 's3')
    assert (out / 'each/s2/word').read_text() == 'bye\n'


def test_a_part_of_a_run_takes_nothing_away(lab, out):
    go(lab, out, '--only', 'each')
    assert listed(out) == of('s1', 's2', 's3')
    remove(lab, 's1')
    go(lab, out)
    assert listed(out) == of('s2', 's3')


def test_a_failed_run_takes_nothing_away(lab, out):
    remove(lab, 's1')
    lab.run(EACH.replace('ls /in', 'ls /nowhere'), '-i', 'data=data', '-o', out, status=1)
    assert listed(out) == of('s1', 's2', 's3')


def test_a_restarted_run_tidies_after_itself(lab):
    lab.data({'list': '["a", "b"]'}, 'judge')
    text = '''
name: moving
inputs:
  judge: {type: directory, writable: true}
steps:
  - id: list
    mounts: [{name: judge, path: /judge, from: inputs.judge}]
    command: 'cp /judge/list /out/list.json'
  - id: each
    foreach: {json: list/list.json}
    command: 'echo ${item} > /out/n'
outputs: {each: each/n}
'''
    run = lab.run(text, '-i', 'judge=judge')
    folder = lab.home / 'runs' / run / 'outputs'
    assert listed(folder) == ['each/a/n', 'each/b/n']
    lab.data({'list': '["b"]'}, 'judge')
    lab.glovebox('restart', run, '--from', 'list')
    assert listed(folder) == ['each/b/n']


def test_nobody_sees_half_a_file(lab, out):
    """A new file takes the place of the old one: whoever reads the old one reads it to its end."""
    with open(out / 'each/s1/word') as reader:
        inode = os.fstat(reader.fileno()).st_ino
        go(lab, out, '-p', 'word=bye')
        assert os.stat(out / 'each/s1/word').st_ino != inode
        assert reader.read() == 'hello\n'
    assert [name for name in os.listdir(out) if name.startswith('.')] == []


def test_an_output_that_is_not_there_is_told(lab):
    lab.run('''
name: absent
outputs: {report: a/report.pdf, other: b/x}
steps:
  - {id: a, command: 'echo > /out/report.txt'}
  - {id: b, when: 'false', command: 'echo > /out/x'}
''')
    warnings = lab.glovebox('status', 'last', '--json').json['warnings']
    assert [each['message'] for each in warnings] == [
        'the output "report" is not there: step a left nothing of that name']
    assert 'name it in the step' in lab.last.stdout + lab.last.stderr
