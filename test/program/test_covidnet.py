"""The COVID-Net workflow as a pipeline: each step in its sealed box, on real images."""
import collections
import json
import os
import re
import shutil
import subprocess

import pytest

NOTICE = 'NOT FOR CLINICAL USE'


@pytest.fixture
def covidnet(glovebox, root):
    """Runs the pipeline with further arguments; returns the Result."""
    if not list((root / 'build' / 'lib' / 'onnxruntime').glob('libonnxruntime.so*')):
        pytest.skip('script/fetch-onnxruntime has not been run')
    runtime = next((root / 'build' / 'lib' / 'onnxruntime').glob('libonnxruntime.so*'))
    beside = glovebox.binary.parent / 'lib' / 'onnxruntime'
    if not (beside / runtime.name).exists():  # another build's binary; the box holds its folder only
        beside.mkdir(parents=True, exist_ok=True)
        os.link(runtime, beside / runtime.name)

    def run(*arguments, **options):
        return glovebox('run', root / 'pipelines' / 'covidnet.yaml', *arguments, timeout=300, **options)
    run.glovebox = glovebox
    return run


def states(glovebox, run):
    """step -> how many tasks in which state"""
    counts = collections.defaultdict(collections.Counter)
    for task in glovebox('tasks', run, '--json').json_lines:
        counts[task['step']][task['state']] += 1
    return counts


def newest(glovebox):
    return glovebox('runs', '--all', '--quiet').stdout.split()[0]


def pages(pdf):
    text = subprocess.run(['pdftotext', '-layout', str(pdf), '-'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=True, text=True).stdout
    return text.split('\f')[:-1]


def test_from_images_to_a_report(covidnet):
    glovebox = covidnet.glovebox
    covidnet('-o', 'results')
    counts = states(glovebox, newest(glovebox))
    assert counts == {step: {'succeeded': number} for step, number in (
        ('fetch', 4), ('anonymize', 4), ('tags', 4), ('slice', 4), ('classify', 4), ('report', 1))}
    shown = pages(glovebox.folder / 'results' / 'report.pdf')
    assert len(shown) == 5 and all(NOTICE in page for page in shown)
    tags = json.loads(next((glovebox.folder / 'results' / 'tags').glob('CT-*.json')).read_text())
    assert re.fullmatch('ANON-[0-9A-F]{10}', tags['00100020']['Value'][0])
    table = (glovebox.folder / 'results' / 'tags' / 'tags.csv').read_text().splitlines()
    assert table.count('file,tag,keyword,vr,value') == 1
    assert {row.partition(',')[0] for row in table[1:]} == {
        path.stem + '.dcm' for path in (glovebox.folder / 'results' / 'tags').glob('*.json')}


def test_no_name_of_a_patient_leaves_the_first_steps(covidnet):
    glovebox = covidnet.glovebox
    covidnet('-o', 'results')
    left = b''.join(path.read_bytes() for path in (glovebox.folder / 'results').rglob('*') if path.is_file())
    for name in (b'1CT1', b'CompressedSamples', b'JFK IMAGING'):
        assert name not in left
    names = ' '.join(str(path) for path in (glovebox.folder / 'results').rglob('*'))
    for task in glovebox('tasks', newest(glovebox), '--json').json_lines:
        if task['partition']:  # the instance UID from before
            assert task['partition'] not in names and task['partition'].encode() not in left


def test_the_same_again_is_reused(covidnet):
    glovebox = covidnet.glovebox
    covidnet('-o', 'one')
    first = newest(glovebox)
    covidnet('-o', 'two')
    second = newest(glovebox)
    assert first != second
    assert all(set(counts) == {'reused'} for counts in states(glovebox, second).values())
    assert ((glovebox.folder / 'one' / 'report.pdf').read_bytes()
            == (glovebox.folder / 'two' / 'report.pdf').read_bytes())


def pseudonyms(glovebox, folder):
    """patient's pseudonym, study and series of each image, by its name"""
    found = {}
    for path in (glovebox.folder / folder / 'tags').glob('*.json'):
        tags = json.loads(path.read_text())
        found[path.name] = [tags[tag]['Value'][0] for tag in ('00100020', '0020000D', '0020000E')]
    return found


def test_a_slice_that_is_added_costs_its_own_tasks_and_a_report(covidnet, root):
    glovebox = covidnet.glovebox
    scans = glovebox.folder / 'scans'
    scans.mkdir()
    for name in ('chest-ct-a.dcm', 'chest-ct-b.dcm'):
        shutil.copy(root / 'pipelines' / 'data' / 'lung' / name, scans)
    covidnet('-i', 'scans=scans', '-o', 'one')
    shutil.copy(root / 'pipelines' / 'data' / 'lung' / 'chest-ct-c.dcm', scans)
    covidnet('-i', 'scans=scans', '-o', 'two')
    counts = states(glovebox, newest(glovebox))
    assert counts.pop('report') == {'succeeded': 1}
    assert counts == {step: {'reused': 2, 'succeeded': 1} for step in ('fetch', 'anonymize', 'tags', 'slice',
                                                                       'classify')}
    assert len(pages(glovebox.folder / 'two' / 'report.pdf')) == 4
    before, after = pseudonyms(glovebox, 'one'), pseudonyms(glovebox, 'two')
    assert len(before) == 2 and len(after) == 3
    assert all(after[name] == known for name, known in before.items())


def test_a_series_stays_together_and_homes_differ(covidnet, root, tmp_path):
    """The slices of one series go through tasks of their own and still agree on its new UIDs; another
    home makes other ones."""
    pydicom = pytest.importorskip('pydicom')
    glovebox = covidnet.glovebox
    scans = glovebox.folder / 'scans'
    scans.mkdir()
    for number in range(3):
        image = pydicom.dcmread(root / 'pipelines' / 'data' / 'lung' / 'chest-ct-c.dcm')
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = '1.2.3.4.%d' % number
        image.save_as(scans / ('%d.dcm' % number))
    covidnet('-i', 'scans=scans', '-o', 'one')
    here = pseudonyms(glovebox, 'one')
    assert len(here) == 3 and len({tuple(values) for values in here.values()}) == 1
    covidnet('-i', 'scans=scans', '-o', 'two', '--home', tmp_path / 'elsewhere')
    there = pseudonyms(glovebox, 'two')
    assert len(there) == 3 and not set(here) & set(there)
    assert not set(next(iter(here.values()))) & set(next(iter(there.values())))


def test_a_broken_image_fails_the_run_with_its_reason(covidnet, root):
    glovebox = covidnet.glovebox
    scans = glovebox.folder / 'scans'
    shutil.copytree(root / 'pipelines' / 'data' / 'lung', scans)
    whole = (scans / 'chest-ct-c.dcm').read_bytes()
    (scans / 'chest-ct-c.dcm').write_bytes(whole[:-1000])
    covidnet('-i', 'scans=%s' % scans, '-o', 'results', status=1)
    assert states(glovebox, newest(glovebox))['anonymize']['failed'] == 1
    failed = [task['partition'] for task in glovebox('tasks', newest(glovebox), '--json').json_lines
              if task['state'] == 'failed']
    assert 'all 1 files are broken' in glovebox('logs', newest(glovebox), 'anonymize@' + failed[0]).stdout


@pytest.mark.slow
def test_the_lungs_of_the_chris_project(covidnet, root):
    archive = root.parent / 'shared' / 'data' / 'dicom' / 'corpus.tar.xz'
    if not archive.exists():
        pytest.skip('there is no %s' % archive)
    glovebox = covidnet.glovebox
    wanted = ['files/github_FNNDSC_pl-lungct', 'files/github_FNNDSC_pl-lung_cnp']
    subprocess.run(['tar', '-xJf', str(archive), '-C', str(glovebox.folder), *wanted], check=True)
    count = sum(path.is_file() for path in (glovebox.folder / 'files').rglob('*'))
    covidnet('-i', 'scans=files', '-o', 'results')
    assert states(glovebox, newest(glovebox))['classify'] == {'succeeded': count}
    shown = pages(glovebox.folder / 'results' / 'report.pdf')
    assert len(shown) == count + 1 and all(NOTICE in page for page in shown)
