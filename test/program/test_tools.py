"""The built-in tools, by hand: glovebox tool NAME INPUT OUTPUT."""
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

import png

LUNG = pathlib.Path(__file__).resolve().parents[2] / 'pipelines' / 'data' / 'lung'
MODEL = pathlib.Path(__file__).resolve().parents[2] / 'models' / 'covidnet-standin.onnx'
NOTICE = 'NOT FOR CLINICAL USE'
SECRET = 'Zebra^Unmistakable'


@pytest.fixture
def tool(glovebox):
    """tool(name, input, output, option...) -> what result.json says, with the process's Result."""
    def call(name, source, output, *options, **more):
        result = glovebox('tool', name, source, output, *options, **more)
        path = glovebox.folder / output / 'result.json'
        return (json.loads(path.read_text()) if path.exists() else None), result
    call.folder = glovebox.folder
    return call


@pytest.fixture(scope='session')
def samples():
    """The folder of pydicom's test files."""
    pydicom = pytest.importorskip('pydicom', reason='python3-pydicom is not installed')
    return pathlib.Path(pydicom.__file__).parent / 'data' / 'test_files'


@pytest.fixture(scope='session')
def runtime(root):
    """ONNX Runtime must be where script/fetch-onnxruntime puts it."""
    found = sorted((root / 'build' / 'lib' / 'onnxruntime').glob('libonnxruntime.so*'))
    if not found:
        pytest.skip('script/fetch-onnxruntime has not been run')
    return found[0]


# ------------------------------------------------------------------ dicom-tags

def plain(values):
    """Values in the DICOM JSON model, without the freedom it leaves in writing them."""
    out = []
    for value in values:
        if isinstance(value, dict) and set(value) <= {'Alphabetic', 'Ideographic', 'Phonetic'}:
            value = {key: text for key, text in value.items() if text}
        elif isinstance(value, dict):
            value = tree(value)
        elif isinstance(value, (int, float)):
            value = float('%.6g' % value)
        elif isinstance(value, str):
            value = value.strip()
        out.append(value or None if not isinstance(value, (int, float)) else value)
    return [] if out == [None] else out


def tree(dataset):
    """Texts and numbers of the standard's own elements; bulk data and private ones left out."""
    out = {}
    for tag, element in dataset.items():
        if int(tag[:4], 16) % 2 or tag.endswith('0000'):
            continue
        if element['vr'] in ('OB', 'OW', 'OF', 'OD', 'OL', 'OV', 'UN'):
            continue
        out[tag] = plain(element.get('Value', []))
    return out


@pytest.mark.parametrize('name', [
    'CT_small.dcm', 'MR_small.dcm', 'MR_small_bigendian.dcm', 'MR_small_implicit.dcm', 'MR_small_RLE.dcm',
    'JPEG2000.dcm', 'image_dfl.dcm', 'rtplan.dcm', 'rtdose.dcm', 'test-SR.dcm', 'reportsi.dcm', 'nested_priv_SQ.dcm',
    'UN_sequence.dcm', 'empty_charset_LEI.dcm', 'ExplVR_BigEnd.dcm', 'ExplVR_LitEndNoMeta.dcm'])
def test_tags_are_those_that_pydicom_reads(tool, samples, name):
    import pydicom
    tool('dicom-tags', samples / name, 'out')
    ours = json.loads((tool.folder / 'out' / name.replace('.dcm', '.json')).read_text())
    theirs = json.loads(json.dumps(pydicom.dcmread(samples / name, force=True).to_json_dict()))
    assert tree(ours) == tree(theirs)


def test_texts_of_every_character_set(tool, samples):
    import pydicom
    folder = samples.parent / 'charset_files'
    tool('dicom-tags', folder, 'out')
    files = sorted(folder.glob('chr*.dcm'))
    compared = 0
    for path in files:
        data = pydicom.dcmread(path)
        if 'PatientName' not in data:  # one has its texts in a sequence only
            continue
        ours = json.loads((tool.folder / 'out' / (path.stem + '.json')).read_text())
        groups, compared = data.PatientName.components, compared + 1
        expected = {key: text for key, text in zip(('Alphabetic', 'Ideographic', 'Phonetic'), groups) if text}
        assert ours['00100010']['Value'] == [expected], path.name
    assert compared > 10


def test_tags_in_all_forms_and_chosen(tool):
    result, _ = tool('dicom-tags', LUNG, 'out', '--to', 'text,json,csv,html', '--tags', 'Modality; 0010,0020')
    assert result['done'] == 4 and result['broken'] == 0
    text = (tool.folder / 'out' / 'chest-ct-a.txt').read_text()
    assert re.search(r'^\(0008,0060\) CS \[CT\] +# 2, 1 Modality$', text, re.M)
    assert len(text.splitlines()) == 2
    assert len((tool.folder / 'out' / 'tags.csv').read_text().splitlines()) == 1 + 2 * 4
    assert (tool.folder / 'out' / 'tags.html').read_text().count('<table>') == 4


# ---------------------------------------------------------------- dicom-convert

def dcmtk_picture(path, folder):
    """The first frame as dcm2pnm shows it, smallest to largest value."""
    if not shutil.which('dcm2pnm'):
        pytest.skip('dcmtk is not installed')
    target = folder / 'theirs.pgm'
    subprocess.run(['dcm2pnm', '+Wm', '+F', '1', str(path), str(target)], check=True, stderr=subprocess.DEVNULL)
    data = target.read_bytes()
    head = re.match(rb'P([56])\s+(\d+)\s+(\d+)\s+(\d+)\s', data)
    return int(head[2]), int(head[3]), 3 if head[1] == b'6' else 1, list(data[head.end():])


@pytest.mark.parametrize('name', ['CT_small.dcm', 'MR_small.dcm', 'MR_small_bigendian.dcm', 'MR_small_implicit.dcm',
                                  'MR_small_RLE.dcm', 'MR_small_expb.dcm', 'image_dfl.dcm'])
def test_pixels_are_those_that_dcmtk_shows(tool, samples, name, tmp_path):
    width, height, channels, theirs = dcmtk_picture(samples / name, tmp_path)
    tool('dicom-convert', samples / name, 'out', '--window', 'minmax', '--name', 'ours')
    ours = png.read(tool.folder / 'out' / 'ours.png')
    assert ours[:4] == (width, height, channels, 8)
    assert max(abs(a - b) for a, b in zip(ours[4], theirs)) <= 1


@pytest.mark.parametrize('coded,native', [
    ('MR_small_RLE.dcm', 'MR_small.dcm'), ('MR_small_jp2klossless.dcm', 'MR_small.dcm'),
    ('MR_small_jpeg_ls_lossless.dcm', 'MR_small.dcm'), ('MR_small_bigendian.dcm', 'MR_small_implicit.dcm')])
def test_one_image_in_every_transfer_syntax(tool, samples, coded, native):
    pictures = []
    for name in (coded, native):
        tool('dicom-convert', samples / name, name, '--depth', '16', '--name', 'x')
        pictures.append(png.read(tool.folder / name / 'x.png'))
    assert pictures[0] == pictures[1]
    assert len(set(pictures[0][4])) > 100


def test_windows(tool):
    file = LUNG / 'chest-ct-a.dcm'
    result, _ = tool('dicom-convert', file, 'file')
    assert result['files'][0]['window'] == {'center': 115.0, 'width': 2278.0}
    result, _ = tool('dicom-convert', file, 'given', '--window', '40,1')
    assert set(png.read(tool.folder / 'given' / 'chest-ct-a.png')[4]) == {0, 255}
    tool('dicom-convert', file, 'percentile', '--window', 'percentile', '--percentile', '10')
    shown = png.read(tool.folder / 'percentile' / 'chest-ct-a.png')[4]
    assert 0.05 < shown.count(255) / len(shown) < 0.2


def test_frames(tool, samples):
    result, _ = tool('dicom-convert', samples / 'SC_rgb_rle_2frame.dcm', 'all')
    assert result['files'][0]['images'] == ['SC_rgb_rle_2frame-0001.png', 'SC_rgb_rle_2frame-0002.png']
    tool('dicom-convert', samples / 'SC_rgb_rle_2frame.dcm', 'one', '--frame', '2')
    assert (png.read(tool.folder / 'one' / 'SC_rgb_rle_2frame.png')
            == png.read(tool.folder / 'all' / 'SC_rgb_rle_2frame-0002.png'))
    tool('dicom-convert', samples / 'SC_rgb_rle_2frame.dcm', 'none', '--frame', '3', status=1)


# -------------------------------------------------------------- broken batches

@pytest.fixture
def mixed(glovebox):
    """Two good files, a cut one, and a text."""
    folder = glovebox.folder / 'mixed'
    (folder / 'deep').mkdir(parents=True)
    shutil.copy(LUNG / 'chest-ct-a.dcm', folder / 'a.dcm')
    shutil.copy(LUNG / 'chest-ct-c.dcm', folder / 'deep' / 'c.dcm')
    (folder / 'cut.dcm').write_bytes((LUNG / 'chest-ct-c.dcm').read_bytes()[:-100])
    (folder / 'notes.txt').write_text('no image')
    return folder


@pytest.mark.parametrize('name', ['dicom-tags', 'dicom-convert', 'dicom-anonymize'])
def test_a_broken_file_does_not_stop_the_others(tool, mixed, name):
    result, process = tool(name, mixed, 'out', status=5)
    assert (result['done'], result['skipped'], result['broken']) == (2, 1, 1)
    failed, = result['failed']
    assert 'cut off' in failed['reason']
    assert failed['file'] == ('#2' if name == 'dicom-anonymize' else 'cut.dcm')
    assert 'cut.dcm' not in process.stderr  # names are patient data: not for logs
    tool(name, mixed, 'lenient', '--lenient')
    tool(name, mixed, 'strict', '--strict', status=1)
    (mixed / 'a.dcm').unlink()
    shutil.rmtree(mixed / 'deep')
    _, process = tool(name, mixed, 'all', status=1)
    assert 'all 1 files are broken' in process.stderr
    (mixed / 'cut.dcm').unlink()
    _, process = tool(name, mixed, 'none', status=1)
    assert 'there is no DICOM' in process.stderr


# -------------------------------------------------------------- dicom-anonymize

@pytest.fixture
def planted(glovebox, samples):
    """Real files with a name in every kind of place."""
    import pydicom
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence
    folder = glovebox.folder / ('study of ' + SECRET)
    folder.mkdir()
    for number, name in enumerate(('CT_small.dcm', 'MR_small.dcm', 'MR_small_implicit.dcm', 'MR_small_bigendian.dcm',
                                   'JPEG2000.dcm')):
        data = pydicom.dcmread(samples / name)
        data.PatientName, data.PatientID = SECRET, SECRET
        data.StudyDate, data.PatientBirthDate = '19771225', '19771225'
        data.InstitutionName, data.PatientComments, data.ReferringPhysicianName = SECRET, SECRET, SECRET
        data.StudyInstanceUID = '1.2.3.98765'
        inner, request = Dataset(), Dataset()
        inner.PatientName, inner.OperatorsName, inner.ReferencedSOPInstanceUID = SECRET, SECRET, data.SOPInstanceUID
        inner.private_block(0x0011, 'ACME', create=True).add_new(1, 'LO', SECRET)
        request.RequestedProcedureComments, request.ReferencedStudySequence = SECRET, Sequence([inner])
        data.SourceImageSequence, data.RequestAttributesSequence = Sequence([inner]), Sequence([request])
        data.private_block(0x0011, 'ACME', create=True).add_new(1, 'UT', SECRET)
        data.private_block(0x0011, 'ACME').add_new(2, 'SQ', Sequence([inner]))
        data.preamble = SECRET.encode().ljust(128, b'\0')
        data.save_as(folder / ('%s-%d.dcm' % (SECRET, number)))
    return folder


def everything(folder):
    return b''.join(str(path).encode() + path.read_bytes() for path in sorted(folder.rglob('*')) if path.is_file())


def test_nothing_planted_is_left(tool, planted, tmp_path):
    import pydicom
    result, process = tool('dicom-anonymize', planted, 'out')
    assert result['done'] == 5
    left = b''.join(path.name.encode() + path.read_bytes() for path in (tool.folder / 'out').rglob('*'))
    for token in (b'Zebra', b'Unmistakable', b'19771225', b'ACME', b'1.2.3.98765'):
        assert token not in left, token
    assert 'Zebra' not in process.stderr + process.stdout
    assert result['actions']['private'] >= 20 and result['attributes']['00100020']['action'] == 'pseudonym'
    files = [pydicom.dcmread(path) for path in sorted((tool.folder / 'out').glob('*.dcm'))]
    assert len(files) == 5
    assert len({data.PatientID for data in files}) == 1 and len({data.StudyInstanceUID for data in files}) == 1
    for data in files:
        assert data.preamble == bytes(128)
        assert data.file_meta.MediaStorageSOPInstanceUID == data.SOPInstanceUID
        assert data.SourceImageSequence[0].ReferencedSOPInstanceUID == data.SOPInstanceUID
        assert data.SOPInstanceUID.startswith('2.25.') and data.StudyDate == ''
        assert data.PatientIdentityRemoved == 'YES' and 'PS3.15' in data.DeidentificationMethod
        assert data.DeidentificationMethodCodeSequence[0].CodeValue == '113100'
        assert not [element for element in data.iterall() if element.tag.is_private]


def test_pixels_stay_as_they_were(tool, planted):
    for number, depth in ((0, '16'), (4, '8')):
        one = planted / ('%s-%d.dcm' % (SECRET, number))
        tool('dicom-convert', one, 'before%d' % number, '--name', 'x', '--depth', depth)
        tool('dicom-anonymize', one, 'clean%d' % number)
        cleaned, = (tool.folder / ('clean%d' % number)).glob('*.dcm')
        tool('dicom-convert', cleaned, 'after%d' % number, '--name', 'x', '--depth', depth)
        assert (png.read(tool.folder / ('before%d' % number) / 'x.png')
                == png.read(tool.folder / ('after%d' % number) / 'x.png'))


def test_a_key_makes_runs_agree(tool, planted):
    key = tool.folder / 'key'
    key.write_bytes(os.urandom(32))
    tool('dicom-anonymize', planted, 'one', '--key-file', key)
    single = planted / (SECRET + '-1.dcm')
    tool('dicom-anonymize', single, 'two', '--key-file', key)
    same, = (tool.folder / 'two').glob('*.dcm')
    assert (tool.folder / 'one' / same.name).read_bytes() == same.read_bytes()
    tool('dicom-anonymize', single, 'three')
    other, = (tool.folder / 'three').glob('*.dcm')
    assert other.name != same.name
    key.write_bytes(b'short')
    _, process = tool('dicom-anonymize', single, 'four', '--key-file', key, status=1)
    assert 'at least 16' in process.stderr


# ------------------------------------------------------------------ file-fetch

def test_fetch_checks_digests(tool):
    source = tool.folder / 'source'
    (source / 'sub').mkdir(parents=True)
    (source / 'a.dcm').write_text('a')
    (source / 'sub' / 'b.dcm').write_text('b')
    (source / 'c.txt').write_text('c')
    (source / 'link.dcm').symlink_to('/etc/passwd')
    result, _ = tool('file-fetch', source, 'globbed', '--glob', '**/*.dcm')
    assert [entry['file'] for entry in result['files']] == ['a.dcm', 'sub/b.dcm']
    assert result['files'][0]['sha256'] == hashlib.sha256(b'a').hexdigest()
    assert not (tool.folder / 'globbed' / 'link.dcm').exists()
    sums = tool.folder / 'sums'
    digest = {text: hashlib.sha256(text.encode()).hexdigest() for text in 'abc'}
    sums.write_text('%s  ./a.dcm\n%s *sub/b.dcm\n' % (digest['a'], digest['b']))
    result, _ = tool('file-fetch', source, 'listed', '--sha256', sums)
    assert result['done'] == 2 and result['skipped'] == 1
    sums.write_text('%s  a.dcm\n%s  sub/b.dcm\n%s  gone.dcm\n' % (digest['a'], digest['c'], digest['c']))
    result, _ = tool('file-fetch', source, 'wrong', '--sha256', sums, status=5)
    assert sorted(entry['file'] for entry in result['failed']) == ['gone.dcm', 'sub/b.dcm']
    assert not (tool.folder / 'wrong' / 'sub' / 'b.dcm').exists()
    assert not list((tool.folder / 'wrong').rglob('*.partial'))
    sums.write_text('%s  ../a.dcm\n' % digest['a'])
    tool('file-fetch', source, 'outside', '--sha256', sums, status=1)


# ------------------------------------------------------------------- file-join

def test_join_keeps_the_first_and_counts_links(tool):
    source = tool.folder / 'source'
    for name in 'ab':
        (source / name).mkdir(parents=True)
        (source / name / 'same').write_text(name)
        (source / name / name).write_text(name)
    (source / 'a' / 'Smith-John').symlink_to('/etc/passwd')
    (source / 'b' / 'inside').symlink_to('same')
    _, process = tool('file-join', source, 'joined', '--sources', 'b,a')
    assert {path.name: path.read_text() for path in (tool.folder / 'joined').iterdir()} == {
        'same': 'b', 'a': 'a', 'b': 'b'}
    assert process.stdout.splitlines() == ['3 files', '2 links left out']
    assert 'Smith' not in process.stdout + process.stderr


# ------------------------------------------------------------ classify, report

def phantoms(folder):
    folder.mkdir()
    for path in MODEL.parent.glob('phantom-*.png'):
        shutil.copy(path, folder)
    return folder


def test_phantoms_are_told_apart_and_the_stand_in_says_so(tool, runtime):
    result, process = tool('classify', phantoms(tool.folder / 'images'), 'out', '--model', MODEL, '--runtime', runtime)
    for image in result['images']:
        assert image['image'] == 'phantom-%s.png' % image['label'].lower()
        assert image['confidence'] == max(image['probabilities'].values())
        assert abs(sum(image['probabilities'].values()) - 1) < 1e-5
    assert len(result['images']) == 3
    assert result['model']['stand_in'] and result['model']['sha256'] == hashlib.sha256(MODEL.read_bytes()).hexdigest()
    assert NOTICE in process.stderr and NOTICE in result['model']['notice']
    prediction = json.loads((tool.folder / 'out' / 'phantom-covid-19' / 'prediction-default.json').read_text())
    assert list(prediction) == ['**DISCLAIMER**', 'prediction', 'Normal', 'Pneumonia', 'COVID-19']
    assert NOTICE in prediction['**DISCLAIMER**'] and prediction['prediction'] == 'COVID-19'
    assert isinstance(prediction['COVID-19'], str) and float(prediction['COVID-19']) > 0.5


def test_one_image_stands_at_the_top(tool, runtime):
    result, _ = tool('classify', MODEL.parent / 'phantom-normal.png', 'out', '--model', MODEL, '--runtime', runtime)
    assert result['label'] == 'normal' and result['confidence'] > 0.5
    assert sorted(path.name for path in (tool.folder / 'out').iterdir()) == ['prediction-default.json', 'result.json']


def test_no_description_hides_the_stand_in(tool, runtime):
    description = json.loads(MODEL.with_suffix('.json').read_text())
    description.update(stand_in=False, notice='approved', sha256='')
    other = tool.folder / 'other.json'
    other.write_text(json.dumps(description))
    result, process = tool('classify', MODEL.parent / 'phantom-normal.png', 'out', '--model', MODEL, '--description',
                           other, '--runtime', runtime)
    assert result['model']['stand_in'] and NOTICE in process.stderr
    description['sha256'] = '0' * 64
    other.write_text(json.dumps(description))
    _, process = tool('classify', MODEL.parent / 'phantom-normal.png', 'wrong', '--model', MODEL, '--description', other,
                      '--runtime', runtime, status=1)
    assert 'another model' in process.stderr


def test_what_classify_says_when_something_is_missing(tool, runtime):
    image = MODEL.parent / 'phantom-normal.png'
    _, process = tool('classify', image, 'a', status=2)
    assert 'needs --model' in process.stderr
    _, process = tool('classify', image, 'b', '--model', MODEL, '--runtime', '/nowhere.so', status=1)
    assert 'cannot load ONNX Runtime' in process.stderr
    lonely = tool.folder / 'lonely.onnx'
    lonely.write_bytes(MODEL.read_bytes())
    _, process = tool('classify', image, 'c', '--model', lonely, '--runtime', runtime, status=1)
    assert 'description' in process.stderr and 'models/README.md' in process.stderr
    lonely.write_bytes(b'not a model')
    shutil.copy(MODEL.with_suffix('.json'), tool.folder / 'lonely.json')
    description = json.loads((tool.folder / 'lonely.json').read_text())
    del description['sha256']
    (tool.folder / 'lonely.json').write_text(json.dumps(description))
    _, process = tool('classify', image, 'd', '--model', lonely, '--runtime', runtime, status=1)
    assert 'cannot load the model' in process.stderr
    broken = tool.folder / 'broken.png'
    broken.write_bytes(image.read_bytes()[:200])
    result, _ = tool('classify', broken, 'e', '--model', MODEL, '--runtime', runtime, status=1)
    assert 'PNG' in result['failed'][0]['reason']


def chain(tool, runtime, scans):
    """The COVID-Net workflow by hand; returns the folder that report reads."""
    tool('dicom-anonymize', scans, 'clean')
    for path in sorted((tool.folder / 'clean').glob('*.dcm')):
        tool('dicom-convert', path, 'gathered/images/' + path.stem)
        tool('classify', tool.folder / 'gathered' / 'images' / path.stem, 'gathered/results/' + path.stem, '--model',
             MODEL, '--runtime', runtime)
    return tool.folder / 'gathered'


def pages(pdf):
    if not shutil.which('pdftotext'):
        pytest.skip('poppler-utils is not installed')
    text = subprocess.run(['pdftotext', '-layout', str(pdf), '-'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=True, text=True).stdout
    return text.split('\f')[:-1]


def test_every_page_says_what_the_model_is(tool, runtime):
    result, process = tool('report', chain(tool, runtime, LUNG), 'report', '--pipeline', 'covidnet 1.0',
                           env={'SOURCE_DATE_EPOCH': '1700000000'})
    assert NOTICE in process.stderr
    shown = pages(tool.folder / 'report' / 'report.pdf')
    assert len(shown) == result['pages'] == 5 and sum(result['labels'].values()) == 4
    digest = hashlib.sha256(MODEL.read_bytes()).hexdigest()
    for number, page in enumerate(shown, 1):
        assert NOTICE in page and 'not for clinical use' in page
        assert 'Page %d of 5' % number in page
        assert digest in page and 'covidnet 1.0' in page and '2023-11-14T22:13:20' in page
        assert 'ANON-' in page
        for name in ('1CT1', 'CompressedSamples', 'Anonymized'):
            assert name not in page
    assert all('COVID-19' in page and '%' in page for page in shown[1:])


@pytest.mark.parametrize('title, fonts', [('Plain', 1), ('Übersicht für Łódź', 2), ('Ärzte', 1)])
def test_readers_have_nothing_to_complain_of(tool, runtime, title, fonts):
    """Texts of Latin-1 need no font that poppler warns of; others are shown all the same."""
    if not shutil.which('pdffonts'):
        pytest.skip('poppler-utils is not installed')
    tool('report', chain(tool, runtime, LUNG / 'chest-ct-c.dcm'), 'report', '--title', title)
    pdf = tool.folder / 'report' / 'report.pdf'
    done = subprocess.run(['pdftotext', '-enc', 'UTF-8', str(pdf), '-'], capture_output=True, check=True, text=True)
    if pathlib.Path('/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf').exists():
        assert title in done.stdout
        listed = subprocess.run(['pdffonts', str(pdf)], capture_output=True, check=True, text=True).stdout
        assert len(listed.splitlines()) == 2 + fonts
    assert fonts == 2 or not done.stderr


def test_a_report_without_results_says_so(tool, runtime):
    gathered = chain(tool, runtime, LUNG / 'chest-ct-c.dcm')
    next((gathered / 'results').rglob('result.json')).unlink()
    tool('report', gathered, 'report')
    assert 'No result for this image' in pages(tool.folder / 'report' / 'report.pdf')[1]
    shutil.rmtree(gathered / 'images')
    (gathered / 'images').mkdir()
    _, process = tool('report', gathered, 'empty', status=1)
    assert 'no PNG image' in process.stderr


@pytest.mark.slow
def test_the_lungs_of_the_chris_project(tool, runtime, root):
    """Its plugins' own images, which are not ours to ship."""
    archive = root.parent / 'shared' / 'data' / 'dicom' / 'corpus.tar.xz'
    if not archive.exists():
        pytest.skip('there is no %s' % archive)
    wanted = ['files/github_FNNDSC_pl-lungct', 'files/github_FNNDSC_pl-lung_cnp']
    subprocess.run(['tar', '-xJf', str(archive), '-C', str(tool.folder), *wanted], check=True)
    count = sum(path.is_file() for path in (tool.folder / 'files').rglob('*'))
    assert count >= 11
    gathered = chain(tool, runtime, tool.folder / 'files')
    result, _ = tool('report', gathered, 'report')
    assert result['images'] == count and result['pages'] == count + 1
    assert all(NOTICE in page for page in pages(tool.folder / 'report' / 'report.pdf'))


# ----------------------------------------------------------------------- usage

def test_help_and_usage(glovebox):
    names = glovebox('tool', '--quiet').stdout.split()
    assert {'file-fetch', 'dicom-anonymize', 'dicom-tags', 'dicom-convert', 'classify', 'report'} <= set(names)
    for name in names:
        text = glovebox('tool', name, '--help').stdout
        assert text.startswith('Usage: glovebox tool %s INPUT OUTPUT [options]' % name)
    assert 'did you mean --window?' in glovebox('tool', 'dicom-convert', 'a', 'b', '--windo', 'x', status=2).stderr
    assert 'needs INPUT and OUTPUT' in glovebox('tool', 'report', 'a', status=2).stderr
