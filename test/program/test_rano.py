"""MedPerf's RANO workflow from its first step to its last, over four subjects with two timepoints
each; people, played by the test, review every case."""
import gzip
import itertools
import os
import threading
import time

import pytest
import yaml

from conftest import ROOT
from container_support import containers, ordinary_containers  # noqa: F401 (fixtures)
from engine_support import kill, public_file, wait_until

OWN = ROOT / 'pipelines' / 'rano'
SUBJECTS = ['AAAC_1', 'AAAC_2', 'BBBC_1', 'BBBC_2']
CASES = ['%s/%s' % case for case in itertools.product(SUBJECTS, ['2008.03.31', '2008.06.30'])]
MENDED = 'AAAC_2/2008.06.30'  # its brain mask is wrong at first
CHANGED = {MENDED, 'BBBC_1/2008.03.31'}  # whose segmentation a person changes
ONCE = ['make_csv', 'convert_nifti']
LOOPED = ['extract_brain', 'extract_tumor', 'prepare_for_manual_review']
AT_THE_END = ['calculate_changed_voxels', 'move_labeled_files', 'consolidation_stage',
              'sanity_check', 'metrics']


class Reviewer(threading.Thread):
    """A person who looks at each case that comes to review and moves a file."""

    def __init__(self, out):
        super().__init__(daemon=True)
        self.out, self.stopped, self.reviewed, self.mended = out, False, set(), set()

    def run(self):
        while not self.stopped:
            for case in CASES:
                self.look_at(case)
            time.sleep(0.01)

    def look_at(self, case):
        tumor = self.out / 'manual_review' / 'tumor_extraction' / case
        brain = self.out / 'manual_review' / 'brain_mask' / case
        name = case.replace('/', '_') + '_tumorMask_model_0.nii.gz'
        # The step that prepares the review comes last: only then is all of it there.
        lines = journal(self.out).count('prepare_for_manual_review ' + case)
        if lines == 1 and case == MENDED and case not in self.mended:
            self.mended.add(case)
            (brain / 'under_review' / 'brainMask_fused.nii.gz').write_text('brain 1 1 0 0\n')
            os.rename(brain / 'under_review' / 'brainMask_fused.nii.gz',
                      brain / 'finalized' / 'brainMask_fused.nii.gz')
        elif lines == (2 if case == MENDED else 1) and case not in self.reviewed:
            self.reviewed.add(case)
            if case in CHANGED:
                (tumor / 'under_review' / name).write_text(
                    (tumor / 'under_review' / name).read_text().replace('1', '2'))
            os.rename(tumor / 'under_review' / name, tumor / 'finalized' / name)


def journal(out):
    path = out / 'journal'
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture(params=['containers', 'ordinary_containers'])
def rano(request):
    containers = request.getfixturevalue(request.param)
    containers.load('rano')
    raw = containers.data({'%s/%s/1.dcm' % (case, kind): '%s %s\n' % (case, kind)
                           for case in CASES for kind in ('t1c', 't1n', 't2f', 't2w')}, 'raw')
    models = containers.data({'models/net.txt': 'net'}, 'additional_files')
    containers.out = containers.data({}, 'out')
    containers.labels = containers.data({}, 'labels')
    containers.parameters = containers.data(
        {'parameters.yaml': (OWN / 'parameters.yaml').read_text()}, 'parameters') / 'parameters.yaml'
    containers.options = ['-i', 'data_path=%s' % raw, '-i', 'additional_files=%s' % models,
                          '-i', 'parameters_file=%s' % containers.parameters,
                          '-i', 'output_path=%s' % containers.out,
                          '-i', 'output_labels_path=%s' % containers.labels,
                          '-i', 'report_file=%s' % (containers.folder / 'report.yaml')]
    return containers


def review_all(lab, workflow, timeout):
    """Runs it until only the approval is missing."""
    reviewer = Reviewer(lab.out)
    reviewer.start()
    lab.last = lab.glovebox('run', workflow, *lab.options, status=4, timeout=timeout)
    reviewer.stopped = True
    reviewer.join()
    return journal(lab.out)


def check_until_approval(lab, lines):
    assert lines[0] == 'initial_setup' and lines[-1] == 'calculate_changed_voxels'
    for case in CASES:
        done = [line.split()[0] for line in lines if line.endswith(' ' + case)]
        again = ['rollback_to_brain_extract', *LOOPED] if case == MENDED else []
        assert done == [*ONCE, *LOOPED, *again, 'segmentation_comparison'], case
    # Six of eight cases are as the model left them.
    assert (lab.out / 'changed_voxels.msg').read_text() == '75% of the cases were not changed\n'
    report = yaml.safe_load((lab.folder / 'report.yaml').read_text())
    assert report['execution_status'] == 'running'
    assert sorted(set(report['progress'].values())) == [0.0, 12.5, 100.0]


def check_end(lab):
    assert journal(lab.out)[-5:] == AT_THE_END
    for case in CASES:
        name = case.replace('/', '_')
        scan = gzip.decompress((lab.out / case / ('%s_t2w.nii.gz' % name)).read_bytes())
        assert scan.decode() == '%s t2w\n' % case
        label = (lab.labels / case / ('%s_tumorMask_model_0.nii.gz' % name)).read_text()
        mask = 'tumor 1 1 0 0\n' if case == MENDED else 'tumor 1 1 1 1\n'
        assert label == (mask.replace('1', '2') if case in CHANGED else mask)
    assert (lab.out / 'splits.csv').read_text().splitlines() == [
        'subject,split', *('%s,train' % subject for subject in SUBJECTS[:3]),
        '%s,val' % SUBJECTS[3]]
    assert not (lab.out / 'staging').exists() and not (lab.out / 'manual_review').exists()
    assert yaml.safe_load(lab.volume('statistics_file').read_text()) == {
        'num_train_subjects': 3, 'num_val_subjects': 1, 'num_invalid_subjects': 0}
    metadata = yaml.safe_load((lab.volume('metadata_path') / 'metadata.yaml').read_text())
    assert set(metadata) == {case.replace('/', '_') for case in CASES}
    report = yaml.safe_load((lab.folder / 'report.yaml').read_text())
    assert report['execution_status'] == 'done'
    for root, folders, names in os.walk(lab.out):
        for one in (root, *(os.path.join(root, name) for name in folders + names)):
            status = os.lstat(one)
            assert (status.st_uid, status.st_gid) == lab.owner, one


def most_at_once(lab, step):
    """How many attempts of a step were ever under way together, by their own times."""
    times = []
    for task in lab.record().values():
        for attempt in task['attempts'] if task['step'] == step else []:
            times += [(attempt['started'], 1), (attempt['ended'], -1)]
    return max(itertools.accumulate(change for _, change in sorted(times)))


def test_our_workflow_runs_to_its_end(rano):
    lines = review_all(rano, OWN / 'workflow.yaml', 120)
    check_until_approval(rano, lines)
    rano.glovebox('decide', 'last', 'approve', 'approve')
    rano.wait_for_run('succeeded', timeout=60)
    check_end(rano)
    assert most_at_once(rano, 'find_brain') <= 2 and most_at_once(rano, 'find_tumor') <= 2
    name = 'mlcommons/rano-data-prep-workflow:0.0.2'
    (pinned,) = rano.run_record()['images'].values()
    assert list(rano.run_record()['images']) == [name] and '@sha256:' in pinned


def test_what_a_case_lacks_is_told(rano):
    """Once the scans are there, a retry takes the case up."""
    scan = rano.folder / 'raw' / CASES[0] / 't2w' / '1.dcm'
    scan.rename(scan.parent / 'x')
    done = rano.glovebox('run', OWN / 'workflow.yaml', *rano.options, status=1)
    assert 'check_scans@' + CASES[0] in done.stdout + done.stderr
    assert 'missing modality t2w' in rano.log('check_scans@' + CASES[0])
    (scan.parent / 'x').rename(scan)
    reviewer = Reviewer(rano.out)
    reviewer.start()
    rano.glovebox('retry', 'last', status=4, timeout=120)
    reviewer.stopped = True
    lines = journal(rano.out)
    assert lines.count('make_csv ' + CASES[0]) == 1 and lines.count('initial_setup') == 1
    assert lines[-1] == 'calculate_changed_voxels'


def test_nothing_is_done_twice_when_the_program_is_killed(rano):
    """Again and again, while containers run; they go on under their keeper."""
    reviewer = Reviewer(rano.out)
    reviewer.start()
    rano.glovebox.start('run', '--detach', OWN / 'workflow.yaml', *rano.options).wait()
    for lines in 3, 12, 20, 31:
        wait_until(lambda: len(journal(rano.out)) >= lines, 60)
        for pid in rano.programs():
            kill(pid)
        rano.glovebox.start('resume', 'last', '--detach').wait()
    rano.wait_for_run('waiting', timeout=120)
    reviewer.stopped = True
    lines = journal(rano.out)
    check_until_approval(rano, lines)
    assert len(lines) == 2 + 6 * len(CASES) + 4


@pytest.mark.slow
def test_the_public_workflow_runs_to_its_end(rano):
    """Not a byte of the file is changed; its functions are ours, under their names."""
    workflow = public_file('data/medperf/examples/RANO/data_preparator_workflow/workflow.yaml')
    functions = (OWN / 'additional_files' / 'conditions.py').read_text()
    rano.data({
        'conditions.py': functions.replace('def tumor_reviewed', 'def annotation_done').replace(
            'def brain_corrected', 'def brain_mask_changed'),
        'subject_definition.py': (OWN / 'additional_files' / 'subjects.py').read_text().replace(
            'def timepoints', 'def subject_definition')}, 'additional_files')
    lines = review_all(rano, workflow, 400)
    check_until_approval(rano, lines)
    rano.glovebox('decide', 'last', 'final_confirmation', 'approve')
    rano.wait_for_run('succeeded', timeout=60)
    check_end(rano)
    assert most_at_once(rano, 'brain_extraction') <= 2
