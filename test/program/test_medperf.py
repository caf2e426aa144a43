"""MedPerf's files run as they are: their containers are played, all the rest is the program's."""
import json
import shutil
import signal

import pytest
import yaml

from conftest import ROOT
from engine_support import public_file, wait_until
from play_support import FILES, playlab  # noqa: F401 (a fixture)
from test_crate import PROFILES, validate

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
    wait_until(lambda: journal(review).count('prepare_review --partition A/2002') == 2)
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


def test_the_report_file_is_written_every_interval(review):
    """Also when somebody took it away."""
    running = review.glovebox.start('run', REVIEW / 'workflow.yaml', '--every', '1s', *review.options)
    finalize(review, 'A/2001')
    path = review.folder_of() / 'report.yaml'

    def shows(**steps):
        if not path.exists():
            return False
        progress = yaml.safe_load(path.read_text())['progress']
        return all(progress[name] == share for name, share in steps.items())

    wait_until(lambda: shows(setup=100.0, segment=100.0, count=33.333))
    path.unlink()
    wait_until(path.exists)
    assert yaml.safe_load(path.read_text())['execution_status'] == 'running'
    path.unlink()
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert shows(segment=100.0)  # written when the run is left
    review.glovebox('cancel', 'last')
    assert yaml.safe_load(path.read_text())['execution_status'] == 'failed'


@pytest.fixture
def container(playlab):
    playlab.play(FILES / 'container' / 'play')
    data, labels = playlab.data({'case': 'scan'}, 'raw'), playlab.data({'l': ''}, 'labels')
    parameters = playlab.folder / 'parameters.yaml'
    parameters.write_text('')
    playlab.options = [FILES / 'container' / 'container_config.yaml', '-i', 'data_path=%s' % data,
                       '-i', 'labels_path=%s' % labels, '-i', 'parameters_file=%s' % parameters,
                       '-i', 'output_path=%s' % (playlab.folder / 'prepared')]
    return playlab


def test_one_task_of_a_container_config(container):
    """prepare alone; then a check of what it left, without preparing anew."""
    labels = ['-i', 'output_labels_path=%s' % (container.folder / 'prepared-labels')]
    container.run_file(*container.options, *labels, '--only', 'prepare')
    others = {'sanity_check': 'skipped', 'statistics': 'skipped'}
    assert container.states() == dict(others, prepare='succeeded')
    container.run_file(*container.options, *labels, '--only', 'sanity_check')
    assert container.states() == dict(others, prepare='skipped', sanity_check='succeeded')


def test_a_container_config_runs(container):
    """prepare, sanity_check and statistics follow each other, on what prepare left."""
    playlab = container
    playlab.run_file(*container.options)
    assert playlab.states() == dict.fromkeys(['prepare', 'sanity_check', 'statistics'], 'succeeded')
    assert (playlab.folder / 'prepared' / 'case').read_text() == 'SCAN'
    assert playlab.volume('statistics_file').read_text() == 'cases: 1\n'
    # The container writes the report itself.
    assert playlab.volume('report_file').read_text() == 'status: {case: 1}\n'
    assert not (playlab.folder_of() / 'report.yaml').exists()


@pytest.mark.slow
def test_the_crate_of_a_container_config_is_valid(container):
    container.run_file(*container.options)
    done = validate(ROOT, *((profile, container.folder_of()) for profile in PROFILES))
    assert done.returncode == 0, done.stdout


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


# ---------------------------------------------------------------------------- volumes

def volumes(first, second):
    step = '''
  - {id: %s, type: container, image: example/any:1.0, command: %s, mounts: %s, next: %s}'''
    return 'steps:' + step % ('one', 'one', first, 'two') + step % ('two', 'two', second, 'null')


def test_an_input_that_a_step_writes_can_be_written(playlab):
    """With `from` or without: only what the site brought is read-only."""
    playlab.play('#!/bin/sh\ntest -e /raw && touch /raw/x && exit 1; echo $2 >> /data/journal\n')
    raw = playlab.data({'scan': ''}, 'raw')
    playlab.run(volumes(
        '{output_volumes: {output_path: {mount_path: /data}}}',
        '{input_volumes: {output_path: {mount_path: /data}, data_path: {mount_path: /raw}}}'),
        '-i', 'data_path=%s' % raw)
    assert (playlab.volume('output_path') / 'journal').read_text() == 'one\ntwo\n'


def test_mistakes_of_volumes(playlab):
    said = playlab.glovebox('check', playlab.glovebox.pipeline(volumes(
        '{output_volumes: {ouput_path: {mount_path: /data}, labels: {mount_path: /data}}}',
        '{}')), status=3).stderr
    assert 'warning: MedPerf has no volume `ouput_path`' in said
    assert 'did you mean `output_path`?' in said
    assert 'error: two volumes at `/data`' in said


# ------------------------------------------------------------------------------ crates

def test_functions_beside_the_file_are_in_the_crate(playlab, tmp_path):
    """A copy of the run's folder runs where neither the workflow nor its functions are."""
    playlab.play('#!/bin/sh\nshift; echo $@ >> /data/journal\n')
    functions = playlab.folder / 'additional_files' / 'functions.py'
    functions.parent.mkdir()
    functions.write_text('def parts(state):\n    return ["DOE"]\n'
                         'def yes(state):\n    return True\n')
    text = volumes('{output_volumes: {output_path: {mount_path: /data}}}',
                   '{output_volumes: {output_path: {mount_path: /data}}}')
    text = text.replace('next: two', 'next: {if: [{condition: yes, target: two}]}, partition: true')
    text += ('\nconditions: [{id: yes, type: function, function_name: functions.yes}]\n'
             'partition_def: {type: function, function_name: functions.parts}\n')
    playlab.run(text)
    crate = shutil.copytree(playlab.folder_of(), tmp_path / 'crate')
    shutil.rmtree(functions.parent)
    (playlab.folder / 'pipeline.yaml').unlink()
    for folder in crate, None:
        playlab.glovebox('run', folder or playlab.folder_of())
        assert (playlab.volume('output_path') / 'journal').read_text() == 'one --partition DOE\ntwo\n'
    graph = {entity['@id']: entity for entity in
             json.loads((crate / 'ro-crate-metadata.json').read_text())['@graph']}
    module = graph['workflow/additional_files/functions.py']
    assert module['programmingLanguage'] == 'Python' and 'sha256' in module
    (crate / 'workflow/additional_files/functions.py').write_text('def yes(state): return False\n')
    assert 'is not as it was' in playlab.glovebox('run', crate, status=3).stderr
    validated = validate(ROOT, *((profile, playlab.folder_of()) for profile in PROFILES))
    assert validated.returncode == 0, validated.stdout


# ------------------------------------------------------------------ the format to the letter

RANO_CONDITIONS = '''
import os

def finalized(state, what):
    return os.listdir(os.path.join(state.host_output_data_path, 'manual_review', what,
                                   state.running_subject, 'finalized'))

def annotation_done(state):
    name = state.running_subject.replace('/', '_') + '_tumorMask_model_0.nii.gz'
    return finalized(state, 'tumor_extraction') == [name]

def brain_mask_changed(state):
    return finalized(state, 'brain_mask') == ['brainMask_fused.nii.gz']
'''


def test_the_public_rano_workflow_runs(playlab):
    """Not a byte of the file is changed; its functions are ours, under their names."""
    workflow = public_file('data/medperf/examples/RANO/data_preparator_workflow/workflow.yaml')
    playlab.play(FILES / 'public' / 'play')
    functions = playlab.data({
        'conditions.py': RANO_CONDITIONS,
        'subject_definition.py': (REVIEW / 'additional_files/subjects.py').read_text().replace(
            'list_subjects', 'subject_definition')}, 'functions')
    subjects = ['AAAC_1/2008.03.31', 'AAAC_1/2009.01.02!', 'AAAC_2/2001.01.01']
    raw = playlab.data({'%s/scan' % subject: '' for subject in subjects}, 'raw')
    parameters = playlab.data({'p.yaml': 'seed: 1\n'}, 'parameters') / 'p.yaml'
    playlab.out = playlab.folder / 'out'
    playlab.run_file(workflow, '-i', 'data_path=%s' % raw, '-i', 'output_path=%s' % playlab.out,
                     '-i', 'parameters_file=%s' % parameters,
                     '-i', 'additional_files=%s' % functions,
                     '-i', 'report_file=%s' % (playlab.folder / 'report.yaml'), status=4)
    playlab.glovebox('decide', 'last', 'final_confirmation', 'approve')
    playlab.wait_for_run('succeeded')
    lines = journal(playlab)
    assert lines[0] == 'initial_setup'
    once = ['make_csv', 'convert_nifti', 'segmentation_comparison']
    looped = ['extract_brain', 'extract_tumor', 'prepare_for_manual_review']
    for subject in subjects:
        of_subject = [line.split()[0] for line in lines if line.endswith('--partition ' + subject)]
        again = ['rollback_to_brain_extract', *looped] if subject.endswith('!') else []
        assert of_subject == [*once[:2], *looped, *again, once[2]]
    assert lines[-5:] == ['calculate_changed_voxels', 'move_labeled_files', 'consolidation_stage',
                          'sanity_check', 'metrics']
    assert playlab.volume('statistics_file').read_text() == 'num_train_subjects: 2\n'
    report = yaml.safe_load((playlab.folder / 'report.yaml').read_text())
    assert report['execution_status'] == 'done'
    assert list(report['progress'])[:3] == ['setup', 'make_csv', 'nifti_conversion']
    assert report['progress'].pop('rollback_to_brain_extract') == 33.333
    assert set(report['progress'].values()) == {100.0}


def test_the_public_hemnet_workflow_runs(playlab):
    """The old names `per_subject` and `per_subject_def` mean what they meant."""
    workflow = public_file('data/medperf/examples/HEMnet/data_preparator/workflow.yaml')
    playlab.play(FILES / 'public' / 'play')
    functions = playlab.data({'slides_definition.py': 'def slides_definition(state):\n'
                                                      '    return ["one", "two"]\n'}, 'functions')
    raw = playlab.data({'one.svs': ''}, 'raw')
    playlab.out = playlab.folder / 'out'
    playlab.run_file(workflow, '-i', 'data_path=%s' % raw, '-i', 'output_path=%s' % playlab.out,
                     '-i', 'additional_files=%s' % functions)
    lines = journal(playlab)
    assert lines[0] == 'python normaliser_step.py' and lines[-1] == 'python cleanup.py'
    assert sorted(line for line in lines if 'affine' in line) == [
        'python affine_registration.py -v --partition one',
        'python affine_registration.py -v --partition two']
