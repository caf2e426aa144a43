"""MedPerf's files run as they are: their containers are played, all the rest is the program's."""
import pathlib
import shutil

import pytest
import yaml

from engine_support import wait_until
from play_support import FILES, playlab  # noqa: F401 (a fixture)

REVIEW = FILES / 'review'
SUBJECTS = ['A/2001', 'A/2002', 'B/2001']


@pytest.fixture
def review(playlab):
    """The review workflow with data of its own; what people do is done by finalize()."""
    playlab.play(REVIEW / 'play')
    raw = playlab.data({'%s/scan' % subject: subject for subject in SUBJECTS}, 'raw')
    parameters = playlab.folder / 'parameters.yaml'
    parameters.write_text('seed: 7\n')
    playlab.options = ['-i', 'data_path=%s' % raw, '-i', 'parameters_file=%s' % parameters,
                       '-i', 'output_path=%s' % (playlab.folder / 'out')]
    playlab.out = playlab.folder / 'out'
    return playlab


def finalize(lab, subject, what='tumor', name=None):
    folder = lab.out / 'review' / what / subject / 'finalized'
    wait_until(folder.exists, message='%s never came to review' % subject)
    (folder / (name or subject.replace('/', '_') + '.nii.gz')).write_text('done')


def journal(lab):
    return (lab.out / 'journal').read_text().splitlines()


def test_a_workflow_runs_to_its_end(review):
    """Over subjects and timepoints, through the loop back, the join and the approval."""
    running = review.glovebox.start('run', REVIEW / 'workflow.yaml', *review.options)
    finalize(review, 'A/2001')
    finalize(review, 'A/2002', 'mask', 'mask.nii.gz')
    wait_until(lambda: journal(review).count('rollback --partition A/2002') == 1)
    finalize(review, 'A/2002')
    finalize(review, 'B/2001')
    assert running.wait(60) == 4
    assert set(journal(review)) == (
        {'setup'} | {'%s --partition %s' % (command, subject) for subject in SUBJECTS
                     for command in ('segment --fast', 'prepare_review', 'count')} |
        {'rollback --partition A/2002'})
    counts = {line: journal(review).count(line) for line in journal(review)}
    assert {line for line, count in counts.items() if count > 1} == {
        'segment --fast --partition A/2002', 'prepare_review --partition A/2002'}
    report = yaml.safe_load((review.folder_of() / 'report.yaml').read_text())
    assert report['progress']['count'] == 100.0 and report['progress']['statistics'] == 0.0
    assert report['execution_status'] == 'running'
    review.glovebox('decide', 'last', 'confirm', 'approve')
    review.wait_for_run('succeeded')
    assert journal(review)[-1] == 'statistics'
    assert (review.out / 'statistics.yaml').exists()
    # What was not named lies in the run's own folder.
    assert review.volume('statistics_file').read_text() == 'seed: 7\n'
    assert sorted(path.name for path in review.volume('output_labels_path').iterdir()) == [
        'A_2001', 'A_2002', 'B_2001']


def test_a_container_config_runs(playlab):
    """prepare, sanity_check and statistics follow each other, on what prepare left."""
    playlab.play(FILES / 'container' / 'play')
    data, labels = playlab.data({'case': 'scan'}, 'raw'), playlab.data({'l': ''}, 'labels')
    parameters = playlab.folder / 'parameters.yaml'
    parameters.write_text('')
    playlab.run_file(FILES / 'container' / 'container_config.yaml', '-i', 'data_path=%s' % data,
                     '-i', 'labels_path=%s' % labels, '-i', 'parameters_file=%s' % parameters,
                     '-i', 'output_path=%s' % (playlab.folder / 'prepared'))
    assert playlab.states() == dict.fromkeys(['prepare', 'sanity_check', 'statistics'], 'succeeded')
    assert (playlab.folder / 'prepared' / 'case').read_text() == 'SCAN'
    assert playlab.volume('statistics_file').read_text() == 'cases: 1\n'
    # The container writes the report itself.
    assert playlab.volume('report_file').read_text() == 'status: {case: 1}\n'
    assert not (playlab.folder_of() / 'report.yaml').exists()


@pytest.mark.parametrize('task, volumes, outputs', [
    ('infer', 'data_path', 'output_path: {mount_path: /out, type: directory}'),
    ('evaluate', 'predictions', 'output_path: {mount_path: /out/results.yaml, type: file}')])
def test_models_and_metrics_are_single_steps(playlab, task, volumes, outputs):
    playlab.play('#!/bin/sh\ntest -e /in/case && '
                 'if test -d /out && ! test -e /out/results.yaml; then touch /out/made; '
                 'else echo r: 1 > /out/results.yaml; fi\n')
    data = playlab.data({'case': 'scan'}, 'data')
    playlab.run('''
container_type: DockerImage
image: example/model:1.0
tasks:
  %s:
    input_volumes: {%s: {mount_path: /in, type: directory}}
    output_volumes: {%s}
''' % (task, volumes, outputs), '-i', '%s=%s' % (volumes, data))
    left = playlab.volume('output_path')
    assert (left / 'made').exists() if task == 'infer' else left.read_text() == 'r: 1\n'


def test_mistakes_of_a_container_config(playlab):
    path = playlab.glovebox.pipeline('''
container_type: DockerImag
tasks:
  prepare:
    run_args: {command: 'a "b', ports: 80}
    input_volumes: {data_path: {type: folder}}
''')
    said = playlab.glovebox('check', path, status=3).stderr
    for text in ('unknown container_type `DockerImag`', 'did you mean `DockerImage`?',
                 'a container config needs `image`', 'the command ends inside quotes',
                 '`ports` is not allowed in run_args'):
        assert text in said, said
    assert '2:17: error' in said and '5:' in said
