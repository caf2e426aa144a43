"""Makes container images in seconds, without a registry, a daemon or root: for tests only.

An image is described by `files`, a dict from a path in the image to what is there:

    'bin/hello': '#!/bin/sh\\necho hello\\n'      a text: a file; executable if it begins with #!
    'data/x': b'...'                             bytes: a file
    'empty/': None                               a folder
    'sh': {'link': '/bin/busybox'}               a symbolic link
    'big': {'zeros': 1 << 30}                    a file of so many zero bytes
    'fifo': {'type': tarfile.FIFOTYPE, ...}      anything else: attributes of tarfile.TarInfo
    any of them: {'content': ..., 'mode': 0o4755, 'uid': 1, 'gid': 2}

With `busybox=True` (the default) /bin/busybox, its commands and /tmp, /etc/passwd are there as well.
The same description makes the same bytes, so the same digest.

    build_archive('hello.tar', 'example/hello:1', {...}, {'Entrypoint': ['/bin/hello']})
"""
import gzip
import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import tarfile

BUSYBOX = '/bin/busybox'  # of Debian's package busybox-static
FORMATS = ('docker', 'oci', 'oci-dir')
COMMANDS = None


def busybox_files():
    """What a small Unix needs."""
    global COMMANDS
    if COMMANDS is None:
        COMMANDS = subprocess.run([BUSYBOX, '--list'], check=True, capture_output=True, text=True).stdout.split()
    with open(BUSYBOX, 'rb') as program:
        files = {'bin/busybox': {'content': program.read(), 'mode': 0o755}}
    for name in COMMANDS:
        if name != 'busybox':
            files['bin/' + name] = {'link': 'busybox'}
    files['usr/bin'] = {'link': '../bin'}
    files['etc/passwd'] = 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n'
    files['etc/group'] = 'root:x:0:\nnogroup:x:65534:\n'
    for folder in ('dev/', 'proc/', 'sys/', 'root/'):
        files[folder] = None
    files['tmp/'] = {'mode': 0o1777}
    return files


class Zeros(io.RawIOBase):
    def __init__(self, size):
        self.left = size

    def readable(self):
        return True

    def read(self, size=-1):
        size = self.left if size < 0 else min(size, self.left)
        self.left -= size
        return bytes(size)


def _add(tar, path, what):
    info = tarfile.TarInfo(path.rstrip('/'))
    source = None
    given = dict(what) if isinstance(what, dict) else {'content': what}
    content = given.pop('content', None)
    if isinstance(content, str):
        content = content.encode()
    if path.endswith('/') and 'type' not in given:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    elif 'link' in given:
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, given.pop('link'), 0o777
    elif 'zeros' in given:
        info.size = given.pop('zeros')
        source = Zeros(info.size)
    else:
        content = content or b''
        info.mode = 0o755 if content.startswith(b'#!') else 0o644
    if content is not None:
        info.size = len(content)
        source = io.BytesIO(content)
    for name, value in given.items():
        setattr(info, name, value)
    tar.addfile(info, source)


def _parents(files):
    """Folders that are needed and were not named."""
    need = set()
    named = {path.rstrip('/') for path in files}
    for path in named:
        while '/' in path:
            path = path.rsplit('/', 1)[0]
            if path not in named and path not in ('', '.', '..') and not path.startswith('..'):
                need.add(path + '/')
    return need


def write_layer(path, files, parents=True):
    """An uncompressed layer."""
    if parents:
        files = {**{folder: None for folder in _parents(files)}, **files}
    with tarfile.open(path, 'w', format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(files) if parents else files:
            _add(tar, name, files[name])


def digest_of(path):
    made = hashlib.sha256()
    with open(path, 'rb') as source:
        while block := source.read(1 << 20):
            made.update(block)
    return made.hexdigest()


def image_config(config, diff_ids, architecture=None):
    machine = {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(os.uname().machine, os.uname().machine)
    inside = {'Env': ['PATH=/bin:/usr/bin:/sbin:/usr/sbin']}
    inside.update(config or {})
    return json.dumps({
        'architecture': architecture or machine, 'os': 'linux', 'created': '1970-01-01T00:00:00Z',
        'config': inside, 'rootfs': {'type': 'layers', 'diff_ids': ['sha256:' + one for one in diff_ids]},
    }, sort_keys=True, separators=(',', ':')).encode()


def _make_layers(folder, layers, compress):
    """Of each layer: its file, its digest, and the digest of it uncompressed."""
    made = []
    for number, files in enumerate(layers):
        plain = os.path.join(folder, 'layer-%d.tar' % number)
        write_layer(plain, files)
        diff_id = digest_of(plain)
        if compress:
            packed = plain + '.gz'
            with open(plain, 'rb') as source, open(packed, 'wb') as raw, \
                    gzip.GzipFile('', 'wb', 6, raw, mtime=0) as target:
                shutil.copyfileobj(source, target, 1 << 20)
            os.unlink(plain)
            plain = packed
        made.append((plain, digest_of(plain), diff_id))
    return made


def _write_bytes(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as target:
        target.write(content)


def _lay_out_oci(folder, name, config, layers, compress):
    blobs = os.path.join(folder, 'blobs', 'sha256')
    kind = 'application/vnd.oci.image.layer.v1.tar' + ('+gzip' if compress else '')
    descriptors = []
    for path, digest, _ in layers:
        os.makedirs(blobs, exist_ok=True)
        target = os.path.join(blobs, digest)
        shutil.move(path, target)
        descriptors.append({'mediaType': kind, 'digest': 'sha256:' + digest, 'size': os.path.getsize(target)})

    def put(content, media_type):
        digest = hashlib.sha256(content).hexdigest()
        _write_bytes(os.path.join(blobs, digest), content)
        return {'mediaType': media_type, 'digest': 'sha256:' + digest, 'size': len(content)}

    manifest = {'schemaVersion': 2, 'mediaType': 'application/vnd.oci.image.manifest.v1+json',
                'config': put(config, 'application/vnd.oci.image.config.v1+json'), 'layers': descriptors}
    entry = put(json.dumps(manifest).encode(), 'application/vnd.oci.image.manifest.v1+json')
    if name:
        entry['annotations'] = {'org.opencontainers.image.ref.name': name}
    _write_bytes(os.path.join(folder, 'index.json'),
                 json.dumps({'schemaVersion': 2, 'manifests': [entry]}).encode())
    _write_bytes(os.path.join(folder, 'oci-layout'), b'{"imageLayoutVersion":"1.0.0"}')
    return entry['digest']


def _lay_out_docker(folder, name, config, layers):
    entries = []
    for path, digest, _ in layers:
        target = os.path.join(folder, digest, 'layer.tar')
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.move(path, target)
        entries.append(digest + '/layer.tar')
    name_of_config = hashlib.sha256(config).hexdigest() + '.json'
    _write_bytes(os.path.join(folder, name_of_config), config)
    manifest = [{'Config': name_of_config, 'RepoTags': [name] if name else None, 'Layers': entries}]
    _write_bytes(os.path.join(folder, 'manifest.json'), json.dumps(manifest).encode())


def pack(folder, path):
    """A tar of a folder, the same for the same content."""
    with tarfile.open(path, 'w', format=tarfile.PAX_FORMAT) as tar:
        for root, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                full = os.path.join(root, name)
                info = tarfile.TarInfo(os.path.relpath(full, folder))
                info.size, info.mode = os.path.getsize(full), 0o644
                with open(full, 'rb') as source:
                    tar.addfile(info, source)


def build_archive(path, name, files=None, config=None, layers=None, form='docker', busybox=True, compress=False,
                  architecture=None):
    """Writes an image named `name` (None: without a name) to `path`.

    files: its own layer; layers: a list of such dicts, one a layer, below that; config: what the
    image specification calls config (Entrypoint, Cmd, Env, User, WorkingDir...); form: 'docker' as
    `docker save` writes, 'oci' an OCI archive, 'oci-dir' an OCI folder; compress: gzip'ed layers.
    """
    if form not in FORMATS:
        raise ValueError('form is one of ' + ', '.join(FORMATS))
    path = os.path.abspath(path)
    every = ([busybox_files()] if busybox else []) + list(layers or []) + ([files] if files else [])
    work = path + '.building'
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(os.path.join(work, 'layout'))
    try:
        made = _make_layers(work, every, compress)
        settings = image_config(config, [diff_id for _, _, diff_id in made], architecture)
        layout = os.path.join(work, 'layout')
        if form == 'docker':
            _lay_out_docker(layout, name, settings, made)
        else:
            _lay_out_oci(layout, name, settings, made, compress)
        if form == 'oci-dir':
            shutil.rmtree(path, ignore_errors=True)
            os.rename(layout, path)
        else:
            pack(layout, path)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return path


SIF_MACHINES = {'x86_64': b'02', 'aarch64': b'04'}


def sif_partition(file_system, machine=None):
    """What a descriptor of a SIF file says of a primary system partition; 1: squashfs."""
    return struct.pack('<ii3s', file_system, 2, machine or SIF_MACHINES.get(os.uname().machine, b'00'))


def write_sif(path, objects):
    """A Singularity file of objects (data type, content, what the descriptor says besides)."""
    table, content, begin = b'', b'', 4096 + 585 * 48
    for number, (kind, bytes_, extra) in enumerate(objects, 1):
        table += struct.pack('<i?IIIqqqqqqq128s384s', kind, True, number, 0xf0000001, 0, begin + len(content),
                             len(bytes_), len(bytes_), 0, 0, 0, 0, b'object', extra)
        content += bytes_
    header = struct.pack('<32s10s3s3s16sqqqqqqqq', b'#!/usr/bin/env run-singularity\n', b'SIF_MAGIC', b'01',
                         SIF_MACHINES.get(os.uname().machine, b'00'), bytes(16), 0, 0, 48 - len(objects), 48,
                         4096, 585 * 48, begin, len(content))
    with open(path, 'wb') as sif:
        sif.write(header.ljust(4096, b'\0') + table.ljust(585 * 48, b'\0') + content)


def build_sif(path, files, busybox=True):
    """A Singularity file, as `singularity build` makes it of an image: needs mksquashfs."""
    path = os.path.abspath(path)
    work = path + '.building'
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(os.path.join(work, 'root'))
    try:
        every = {**(busybox_files() if busybox else {}), **files}
        write_layer(os.path.join(work, 'layer.tar'), every)
        with tarfile.open(os.path.join(work, 'layer.tar')) as layer:
            layer.extractall(os.path.join(work, 'root'))
        subprocess.run(['mksquashfs', os.path.join(work, 'root'), os.path.join(work, 'squashfs'), '-all-root',
                        '-quiet', '-no-progress', '-mkfs-time', '0', '-all-time', '0'], check=True,
                       stdout=subprocess.DEVNULL)
        with open(os.path.join(work, 'squashfs'), 'rb') as squashfs:
            write_sif(path, [(0x4001, b'Bootstrap: docker\n', b''), (0x4004, squashfs.read(), sif_partition(1))])
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return path


def build_described(folder, path, form='docker', name=None):
    """The image that a folder describes: image.json has name, config, files (as above, but text
    only) and compress; a folder `root` beside it is put into the image as it is."""
    with open(os.path.join(folder, 'image.json'), encoding='utf-8') as source:
        said = json.load(source)
    files = dict(said.get('files', {}))
    root = os.path.join(folder, 'root')
    for parent, folders, names in os.walk(root):
        folders.sort()
        for one in names:
            full = os.path.join(parent, one)
            with open(full, 'rb') as source:
                files[os.path.relpath(full, root)] = {
                    'content': source.read(), 'mode': 0o755 if os.access(full, os.X_OK) else 0o644}
    return build_archive(path, name or said['name'], files, said.get('config'), form=form,
                         busybox=said.get('busybox', True), compress=said.get('compress', False))
