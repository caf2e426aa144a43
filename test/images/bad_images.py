"""Files that claim to be images. Each function writes one to a path; what `glovebox image load` says
of it stands in bad/NAME.txt (UPDATE_EXPECTED=1 writes these anew). Functions whose name begins with
`tame_` write what is hostile but loads: the test looks at what became of it."""
import hashlib
import io
import json
import os
import struct
import tarfile

import image_builder

NAME = 'example/bad:1'


def _tar(path, files):
    with tarfile.open(path, 'w') as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, dict) and 'linkname' in content:
                for key, value in content.items():
                    setattr(info, key, value)
                tar.addfile(info)
                continue
            content = content if isinstance(content, bytes) else json.dumps(content).encode()
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def _digest(content):
    return 'sha256:' + hashlib.sha256(content).hexdigest()


def _oci(path, change=None, layers=None, names=(NAME,), config=None):
    """An OCI archive of which `change(parts)` may change everything before it is written."""
    layer_bytes = layers if layers is not None else [_layer({'hello': b'hello'})]
    settings = config if config is not None else image_builder.image_config(
        {}, [hashlib.sha256(one).hexdigest() for one in layer_bytes])
    manifest = {
        'schemaVersion': 2, 'mediaType': 'application/vnd.oci.image.manifest.v1+json',
        'config': {'mediaType': 'application/vnd.oci.image.config.v1+json', 'digest': _digest(settings),
                   'size': len(settings)},
        'layers': [{'mediaType': 'application/vnd.oci.image.layer.v1.tar', 'digest': _digest(one),
                    'size': len(one)} for one in layer_bytes]}
    parts = {'manifest': manifest, 'blobs': [settings, *layer_bytes]}
    if change:
        change(parts)
    content = json.dumps(parts['manifest']).encode()
    index = {'schemaVersion': 2, 'manifests': [
        {'mediaType': 'application/vnd.oci.image.manifest.v1+json', 'digest': _digest(content),
         'size': len(content), 'annotations': {'org.opencontainers.image.ref.name': name}}
        for name in names]}
    index = parts.get('index', index)
    files = {'oci-layout': {'imageLayoutVersion': '1.0.0'}}
    for blob in [content, *parts['blobs']]:
        files['blobs/sha256/' + hashlib.sha256(blob).hexdigest()] = blob
    files.update(parts.get('files', {}))
    _tar(path, {'oci-layout': b'{"imageLayoutVersion":"1.0.0"}', 'index.json': index, **{
        name: content for name, content in files.items() if name != 'oci-layout'}})


def _layer(files):
    """Bytes of a layer; entries as image_builder has them, in the order given."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode='w', format=tarfile.PAX_FORMAT) as tar:
        for name, what in (files.items() if isinstance(files, dict) else files):
            image_builder._add(tar, name, what)
    return made.getvalue()


# ------------------------------------------------------------------- refused

def nothing(path):
    open(path, 'wb').close()


def not_an_archive(path):
    with open(path, 'wb') as out:
        out.write(b'hello, I am a text\n' * 100)


def other_tar(path):
    _tar(path, {'etc/passwd': b'root:x', 'bin/sh': b'#!'})


def cut_off(path):
    image_builder.build_archive(path, NAME, {'a': {'zeros': 100000}}, busybox=False)
    os.truncate(path, os.path.getsize(path) // 2)


def cut_off_gzip(path):
    import gzip
    image_builder.build_archive(path, NAME, {'a': os.urandom(100000)}, busybox=False)
    with open(path, 'rb') as plain:
        content = gzip.compress(plain.read())
    with open(path, 'wb') as out:
        out.write(content[:len(content) // 2])


def broken_checksum(path):
    image_builder.build_archive(path, NAME, {'a': b'a'}, busybox=False)
    with open(path, 'r+b') as archive:
        archive.seek(1024 + 10)
        archive.write(b'X')


def name_with_capitals(path):
    image_builder.build_archive(path, 'Example/Bad:1', {'a': b'a'}, busybox=False)


def name_of_a_terminal(path):
    _tar(path, {'manifest.json': [{'Config': 'c', 'RepoTags': ['\x1b[2Jx/y:1'], 'Layers': []}],
                'c': image_builder.image_config({}, [])})


def manifest_is_no_list(path):
    _tar(path, {'manifest.json': {'Config': 'c'}})


def manifest_is_no_json(path):
    _tar(path, {'manifest.json': b'[{"Config": '})


def manifest_is_deep(path):
    _tar(path, {'manifest.json': b'[' * 100000 + b']' * 100000})


def manifest_is_huge(path):
    _tar(path, {'manifest.json': b'[' + b' ' * (9 << 20) + b']'})


def manifest_is_empty(path):
    _tar(path, {'manifest.json': []})


def layer_outside(path):
    _tar(path, {'manifest.json': [{'Config': '../../etc/passwd', 'RepoTags': [NAME], 'Layers': ['/etc/shadow']}]})


def layer_is_missing(path):
    _tar(path, {'manifest.json': [{'Config': 'c', 'RepoTags': [NAME], 'Layers': ['x/layer.tar']}],
                'c': image_builder.image_config({}, ['0' * 64])})


def layer_links_in_a_circle(path):
    _tar(path, {'manifest.json': [{'Config': 'c', 'RepoTags': [NAME], 'Layers': ['a']}],
                'c': image_builder.image_config({}, ['0' * 64]),
                'a': {'type': tarfile.SYMTYPE, 'linkname': 'b'}, 'b': {'type': tarfile.SYMTYPE, 'linkname': 'a'}})


def layer_of_another_digest(path):
    _tar(path, {'manifest.json': [{'Config': 'c', 'RepoTags': [NAME], 'Layers': ['x']}],
                'c': image_builder.image_config({}, ['0' * 64]), 'x': _layer({'a': b'a'})})


def too_few_layers(path):
    _tar(path, {'manifest.json': [{'Config': 'c', 'RepoTags': [NAME], 'Layers': []}],
                'c': image_builder.image_config({}, ['0' * 64])})


def layer_is_no_tar(path):
    garbage = b'I am no layer. ' * 100
    _oci(path, layers=[garbage])


def config_is_no_json(path):
    _oci(path, config=b'\x00\x01\x02')


def config_of_wrong_types(path):
    layer = _layer({'a': b'a'})
    config = json.loads(image_builder.image_config({}, [hashlib.sha256(layer).hexdigest()]))
    config['config'] = {'Env': {'PATH': '/bin'}}
    _oci(path, layers=[layer], config=json.dumps(config).encode())


def other_machine(path):
    image_builder.build_archive(path, NAME, {'a': b'a'}, busybox=False, architecture='pdp11')


def other_system(path):
    layer = _layer({'a': b'a'})
    _oci(path, layers=[layer], config=json.dumps({
        'architecture': 'amd64', 'os': 'windows',
        'rootfs': {'type': 'layers', 'diff_ids': [_digest(layer)]}}).encode())


def blob_of_another_digest(path):
    _oci(path, lambda parts: parts.update(files={'blobs/sha256/' + '0' * 64: b'something else'}))


def blob_is_missing(path):
    def change(parts):
        parts['manifest']['layers'][0]['digest'] = 'sha256:' + '1' * 64
    _oci(path, change)


def blob_of_another_size(path):
    def change(parts):
        parts['manifest']['layers'][0]['size'] += 1
    _oci(path, change)


def digest_leads_out(path):
    def change(parts):
        parts['manifest']['config']['digest'] = 'sha256:../../../../etc/passwd'
    _oci(path, change)


def digest_of_another_kind(path):
    def change(parts):
        parts['manifest']['config']['digest'] = 'md5:d41d8cd98f00b204e9800998ecf8427e'
    _oci(path, change)


def size_is_negative(path):
    def change(parts):
        parts['manifest']['layers'][0]['size'] = -1
    _oci(path, change)


def too_many_layers(path):
    def change(parts):
        parts['manifest']['layers'] *= 1000
    _oci(path, change)


def schema_of_old(path):
    def change(parts):
        parts['manifest'] = {'schemaVersion': 1, 'name': 'x', 'fsLayers': []}
    _oci(path, change)


def index_only_for_others(path):
    def change(parts):
        parts['index'] = {'schemaVersion': 2, 'manifests': [
            {'mediaType': 'application/vnd.oci.image.manifest.v1+json', 'digest': 'sha256:' + '2' * 64, 'size': 2,
             'platform': {'os': 'linux', 'architecture': 'pdp11'},
             'annotations': {'org.opencontainers.image.ref.name': NAME}}]}
    _oci(path, change)


def indexes_in_each_other(path):
    blobs, inner = {}, b'{}'
    for _ in range(10):
        blobs['blobs/sha256/' + hashlib.sha256(inner).hexdigest()] = inner
        inner = json.dumps({'schemaVersion': 2, 'manifests': [
            {'mediaType': 'application/vnd.oci.image.index.v1+json', 'digest': _digest(inner), 'size': len(inner),
             'annotations': {'org.opencontainers.image.ref.name': NAME}}]}).encode()
    _tar(path, {'oci-layout': b'{}', 'index.json': inner, **blobs})


def layer_is_deep(path):
    _oci(path, layers=[_layer({'/'.join(['d'] * 200) + '/x': b'x'})])


def encrypted_by_openssl(path):
    with open(path, 'wb') as out:
        out.write(b'Salted__' + bytes(range(8)) + os.urandom(1000))


def encrypted_by_gpg(path):
    with open(path, 'wb') as out:
        out.write(b'-----BEGIN PGP MESSAGE-----\n\nhQEMA\n-----END PGP MESSAGE-----\n')


def encrypted_by_fernet(path):
    with open(path, 'wb') as out:
        out.write(b'gAAAAABlxyz' + b'A' * 1000)


def huge_entry(path):
    """An entry that says it has 8 EiB."""
    header = bytearray(tarfile.TarInfo('manifest.json').tobuf())
    header[124:136] = b'\x80' + struct.pack('>Q', 1 << 62).rjust(11, b'\0')
    header[148:156] = b' ' * 8
    header[148:156] = b'%06o\0 ' % sum(header)
    with open(path, 'wb') as out:
        out.write(bytes(header) + b'[]')


def pax_without_end(path):
    record = b'99 path=x\n'
    header = tarfile.TarInfo('x')
    header.type, header.size = b'x', len(record)
    with open(path, 'wb') as out:
        out.write(header.tobuf() + record.ljust(512, b'\0') + tarfile.TarInfo('y').tobuf() + bytes(1024))


def sif_without_a_file_system(path):
    image_builder.write_sif(path, [(0x4001, b'Bootstrap: docker\n', b'')])


def sif_encrypted(path):
    image_builder.write_sif(path, [(0x4004, b'hsqs' + bytes(100), image_builder.sif_partition(5))])


def sif_of_ext3(path):
    image_builder.write_sif(path, [(0x4004, bytes(2000), image_builder.sif_partition(2))])


def sif_for_another_machine(path):
    image_builder.write_sif(path, [(0x4004, b'hsqs' + bytes(100), image_builder.sif_partition(1, b'11'))])


def sif_cut_off(path):
    image_builder.write_sif(path, [(0x4004, b'hsqs' + bytes(5000), image_builder.sif_partition(1))])
    os.truncate(path, os.path.getsize(path) - 4000)


def sif_whose_table_leads_out(path):
    image_builder.write_sif(path, [(0x4004, b'hsqs' + bytes(100), image_builder.sif_partition(1))])
    with open(path, 'r+b') as sif:
        sif.seek(96)
        sif.write(struct.pack('<q', 1 << 60))


def sif_with_too_many_descriptors(path):
    image_builder.write_sif(path, [(0x4004, b'hsqs' + bytes(100), image_builder.sif_partition(1))])
    with open(path, 'r+b') as sif:
        sif.seek(88)
        sif.write(struct.pack('<q', 1 << 40))


def sif_of_garbage(path):
    image_builder.write_sif(path, [(0x4004, b'hsqs' + b'garbage' * 1000, image_builder.sif_partition(1))])


def sif_whose_partition_is_no_squashfs(path):
    image_builder.write_sif(path, [(0x4004, b'garbage' * 1000, image_builder.sif_partition(1))])


# --------------------------------------------------------------------- loaded

def tame_traversal(path):
    """Entries that lead out of the root, by name, by link, and through a link of an earlier layer."""
    _oci(path, layers=[
        _layer([('../../../../escaped-by-name', b'x'), ('/absolute', b'x'),
                ('out', {'link': '/tmp'}), ('up', {'link': '../../../../../../tmp'}),
                ('hard', {'type': tarfile.LNKTYPE, 'linkname': '../../../../etc/passwd'})][:4]),
        _layer([('out/escaped-by-link', b'x'), ('up/escaped-by-link-up', b'x')])])


def tame_devices(path):
    """A disk, a FIFO, set-uid programs."""
    _oci(path, layers=[_layer({
        'dev/disk': {'type': tarfile.BLKTYPE, 'devmajor': 8, 'devminor': 0, 'mode': 0o666},
        'dev/mem': {'type': tarfile.CHRTYPE, 'devmajor': 1, 'devminor': 1, 'mode': 0o666},
        'fifo': {'type': tarfile.FIFOTYPE, 'mode': 0o666},
        'root-shell': {'content': b'#!/bin/sh\n', 'mode': 0o6755},
        'closed/': {'mode': 0}, 'closed/inside': {'content': b'x', 'mode': 0}})])


def tame_whiteouts(path):
    """A file goes, a folder is made opaque, and a whiteout tries to take what lies outside."""
    _oci(path, layers=[
        _layer({'a': b'a', 'b': b'b', 'folder/': None, 'folder/old': b'old'}),
        _layer({'.wh.a': b'', 'folder/.wh..wh..opq': b'', 'folder/new': b'new'})])
