"""glovebox image pull, from a real registry on the loopback interface: TLS, passwords, mirrors,
digests, signatures, and what the policy says of them."""
import base64
import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request

import pytest
from image_support import build_archive, root_of, store

REGISTRY = shutil.which('docker-registry')
pytestmark = pytest.mark.skipif(not REGISTRY or not shutil.which('skopeo'),
                                reason='docker-registry or skopeo is not installed')


def run(*argv, **more):
    return subprocess.run([str(part) for part in argv], check=True, capture_output=True, text=True, **more)


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def make_certificates(folder):
    run('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
        '-subj', '/CN=test authority', '-keyout', folder / 'ca.key', '-out', folder / 'ca.crt')
    run('openssl', 'req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', '/CN=localhost',
        '-keyout', folder / 'server.key', '-out', folder / 'server.csr')
    (folder / 'names').write_text('subjectAltName=DNS:localhost,IP:127.0.0.1\n')
    run('openssl', 'x509', '-req', '-in', folder / 'server.csr', '-CA', folder / 'ca.crt', '-CAkey', folder / 'ca.key',
        '-CAcreateserial', '-days', '2', '-extfile', folder / 'names', '-out', folder / 'server.pem')
    trusted = folder / 'trusted'
    trusted.mkdir()
    shutil.copy(folder / 'ca.crt', trusted)
    return trusted


class Registry:
    """A registry with TLS, and a password when `user` is set; without TLS when `certificates` is None."""

    def __init__(self, folder, certificates=None, password=None):
        self.folder, self.port = folder, free_port()
        folder.mkdir()
        self.place = 'localhost:%d' % self.port
        settings = {'version': 0.1, 'log': {'level': 'error', 'accesslog': {'disabled': True}},
                    'storage': {'filesystem': {'rootdirectory': str(folder / 'data')}},
                    'http': {'addr': '127.0.0.1:%d' % self.port}}
        if certificates:
            settings['http']['tls'] = {'certificate': str(certificates / 'server.pem'),
                                       'key': str(certificates / 'server.key')}
        if password:
            line = run('htpasswd', '-nbB', 'reader', password).stdout if shutil.which('htpasswd') else \
                'reader:' + run('/usr/bin/python3', '-W', 'ignore', '-c',
                                'import crypt,sys; print(crypt.crypt(sys.argv[1], crypt.mksalt(crypt.METHOD_BLOWFISH)))',
                                password).stdout
            (folder / 'htpasswd').write_text(line)
            settings['auth'] = {'htpasswd': {'realm': 'test', 'path': str(folder / 'htpasswd')}}
        (folder / 'config.yml').write_text(json.dumps(settings))
        self.process = subprocess.Popen([REGISTRY, 'serve', folder / 'config.yml'], stdout=subprocess.DEVNULL,
                                        stderr=open(folder / 'log', 'wb'))
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(('127.0.0.1', self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < deadline and self.process.poll() is None, (folder / 'log').read_text()
                time.sleep(0.05)

    def push(self, archive, name, *options):
        run('skopeo', '--insecure-policy', 'copy', '--dest-tls-verify=false', *options,
            'docker-archive:%s' % archive, 'docker://%s/%s' % (self.place, name))
        return self.place + '/' + name

    def close(self):
        self.process.terminate()
        self.process.wait()


@pytest.fixture(scope='module')
def house(tmp_path_factory):
    class House:
        folder = tmp_path_factory.mktemp('registry')
    House.trusted = make_certificates(House.folder)
    House.open = Registry(House.folder / 'open', House.folder)
    House.closed = Registry(House.folder / 'closed', House.folder, 'correct horse')
    House.plain = Registry(House.folder / 'plain')
    House.image = build_archive(House.folder / 'image.tar', 'example/hello:1', {'hello': 'hello'}, {'Cmd': ['/hello']},
                                busybox=False)
    House.other = build_archive(House.folder / 'other.tar', 'example/hello:1', {'hello': 'other'}, busybox=False)
    yield House
    for registry in (House.open, House.closed, House.plain):
        registry.close()


def auth_file(path, place, password, user='reader'):
    token = base64.b64encode(('%s:%s' % (user, password)).encode()).decode()
    path.write_text(json.dumps({'auths': {place: {'auth': token}}}))
    return path


def digest_of(place):
    raw = run('skopeo', 'inspect', '--tls-verify=false', '--raw', 'docker://' + place).stdout.encode()
    return 'sha256:' + hashlib.sha256(raw).hexdigest()


def policy(glovebox, **images):
    glovebox.home.mkdir(exist_ok=True)
    (glovebox.home / 'policy.json').write_text(json.dumps({'images': images}))


def test_pull(glovebox, house):
    name = house.open.push(house.image, 'team/hello:1')
    pulled = glovebox('image', 'pull', '--json', '--certificates', house.trusted, name).json
    digest = digest_of(name)  # skopeo pushed Docker's own form of manifest: its digest is kept
    assert pulled == [{'reference': name, 'digest': digest, 'new': True}]
    assert (root_of(glovebox, name) / 'hello').read_text() == 'hello'
    assert glovebox('image', 'verify', name).stdout.endswith(' good\n')
    assert glovebox('image', 'pull', '--json', '--certificates', house.trusted, name).json[0]['new'] is False
    assert os.listdir(store(glovebox) / 'tmp') == []
    glovebox('image', 'gc')
    shown = glovebox('image', 'show', '--json', '%s@%s' % (name.rpartition(':')[0], digest)).json
    assert shown['config']['config']['Cmd'] == ['/hello'] and shown['signer'] is None


def test_pull_by_digest(glovebox, house):
    name = house.open.push(house.image, 'team/pinned:1')
    pinned = '%s@%s' % (name.rpartition(':')[0], digest_of(name))
    house.open.push(house.other, 'team/pinned:1')
    glovebox('image', 'pull', '--certificates', house.trusted, pinned)
    assert (root_of(glovebox, pinned) / 'hello').read_text() == 'hello'
    assert glovebox('image', 'list', '--quiet').stdout == pinned + '\n'
    assert glovebox('image', 'gc', '--json').json['images'] == 0
    wrong = pinned[:-64] + '0' * 64
    assert 'is the name right' in glovebox('image', 'pull', '--certificates', house.trusted, wrong, status=1).stderr


def test_another_content_under_a_digest_is_refused(glovebox, house):
    """The registry's own files are changed: it gives what has another digest."""
    name = house.open.push(house.image, 'team/evil:1')
    digest = digest_of(name)
    blob = house.open.folder / 'data/docker/registry/v2/blobs/sha256' / digest[7:9] / digest[7:] / 'data'
    kept = blob.read_bytes()
    blob.write_bytes(kept.replace(b'"schemaVersion": 2', b'"schemaVersion":  2') if b'"schemaVersion": 2' in kept
                     else kept + b' ')
    try:
        done = glovebox('image', 'pull', '--certificates', house.trusted, '%s@%s' % (name.rpartition(':')[0], digest),
                        status=1)
    finally:
        blob.write_bytes(kept)
    assert 'the registry gave something else than sha256:' in done.stderr or 'digest' in done.stderr
    assert glovebox('image', 'list', '--json').json == []


def test_an_unknown_authority(glovebox, house):
    name = house.open.push(house.image, 'team/hello:1')
    done = glovebox('image', 'pull', name, status=1)
    assert 'x509' in done.stderr and '--certificates DIR' in done.stderr
    assert glovebox('image', 'list', '--json').json == []


def test_passwords(glovebox, house):
    right = auth_file(house.folder / 'right.json', house.closed.place, 'correct horse')
    name = house.closed.push(house.image, 'team/hello:1', '--dest-authfile', str(right))
    done = glovebox('image', 'pull', '--certificates', house.trusted, name, status=1)
    assert '--credentials FILE' in done.stderr
    wrong = auth_file(house.folder / 'wrong.json', house.closed.place, 'battery staple')
    done = glovebox('image', 'pull', '--certificates', house.trusted, '--credentials', wrong, name, status=1)
    assert 'battery' not in done.stderr and 'glovebox: error:' in done.stderr
    glovebox('image', 'pull', '--certificates', house.trusted, '--credentials', right, name)
    glovebox('image', 'remove', name)
    policy(glovebox, registries={house.closed.place: {'credentials': str(right), 'certificates': str(house.trusted)}})
    glovebox('image', 'pull', name)


def test_no_secret_is_in_an_argument(glovebox, house):
    right = auth_file(house.folder / 'right.json', house.closed.place, 'correct horse')
    name = house.closed.push(house.image, 'team/hello:1', '--dest-authfile', str(right))
    folder = glovebox.folder / 'bin'
    folder.mkdir()
    (folder / 'skopeo').write_text('#!/bin/sh\nprintf "%%s\\n" "$@" >>%s\nexec %s "$@"\n' % (
        glovebox.folder / 'argv', shutil.which('skopeo')))
    (folder / 'skopeo').chmod(0o755)
    glovebox('image', 'pull', '--certificates', house.trusted, '--credentials', right, name,
             env={'PATH': '%s:%s' % (folder, os.environ['PATH'])})
    said = (glovebox.folder / 'argv').read_text()
    assert 'docker://' in said and 'correct' not in said
    assert base64.b64encode(b'reader:correct horse').decode() not in said


def test_without_tls(glovebox, house):
    name = house.plain.push(house.image, 'team/hello:1')
    done = glovebox('image', 'pull', name, status=1)
    assert '"insecure" in policy.json' in done.stderr
    policy(glovebox, registries={house.plain.place: {'insecure': True}})
    glovebox('image', 'pull', name)


def test_a_mirror(glovebox, house):
    """registry.invalid does not exist: its image comes from the mirror, under its own name."""
    house.plain.push(house.image, 'mirrored/team/hello:1')
    policy(glovebox, registries={'registry.invalid': {'mirrors': [house.plain.place + '/mirrored'], 'insecure': True}})
    glovebox('image', 'pull', 'registry.invalid/team/hello:1')
    assert (root_of(glovebox, 'registry.invalid/team/hello:1') / 'hello').read_text() == 'hello'


def test_what_is_not_there(glovebox, house):
    policy(glovebox, registries={house.plain.place: {'insecure': True}})
    done = glovebox('image', 'pull', house.plain.place + '/nobody/knows:1', status=1)
    assert 'is the name right' in done.stderr
    done = glovebox('image', 'pull', 'localhost:1/a/b', status=1)
    assert 'does it run?' in done.stderr
    assert 'is no name of an image' in glovebox('image', 'pull', 'A B', status=1).stderr


# ----------------------------------------------------------------- the policy

def test_the_policy_refuses(glovebox, house):
    name = house.plain.push(house.image, 'team/hello:1')
    registries = {house.plain.place: {'insecure': True}}
    digest = digest_of(name)
    for rules, word in ((dict(allow=['docker.io']), 'no rule of images.allow fits it'),
                        (dict(deny=[house.plain.place + '/team/*']), 'rule "%s/team/*" of images.deny' % house.plain.place),
                        (dict(allow=[], deny=[]), 'no rule of images.allow fits it'),
                        (dict(allow=['sha256:' + '0' * 64]), 'no rule of images.allow fits it'),
                        (dict(deny=[digest]), 'of images.deny'),
                        (dict(maximum_size='1'), 'more than 1 B')):
        policy(glovebox, registries=registries, **rules)
        done = glovebox('image', 'pull', name, status=1)
        assert word in done.stderr, done.stderr
        assert rules.get('maximum_size') or str(glovebox.home / 'policy.json') in done.stderr
        assert glovebox('image', 'list', '--json').json == []
    for allow in ([house.plain.place], ['localhost:*'], [house.plain.place + '/**'], [name], [digest], ['*'],
                  [house.plain.place + '/team/hel?o']):
        policy(glovebox, registries=registries, allow=allow)
        glovebox('image', 'pull', name)
        glovebox('image', 'remove', name)


@pytest.fixture(scope='module')
def gpg(tmp_path_factory):
    if not shutil.which('gpg'):
        pytest.skip('gpg is not installed')
    folder = tmp_path_factory.mktemp('gpg')
    folder.chmod(0o700)
    environment = dict(os.environ, GNUPGHOME=str(folder))

    class Keys:
        pass
    for who in ('team', 'mallory'):
        run('gpg', '--batch', '--passphrase', '', '--quick-gen-key', '%s@example.org' % who, 'rsa2048', 'sign', 'never',
            env=environment)
        path = folder / (who + '.gpg')
        path.write_text(run('gpg', '--armor', '--export', '%s@example.org' % who, env=environment).stdout)
        setattr(Keys, who, path)
    Keys.environment, Keys.folder = environment, folder
    yield Keys
    subprocess.run(['gpgconf', '--kill', 'all'], env=environment, check=False)


def push_signed(house, gpg, name, who):
    """Pushes an image and puts its signature where the registry's configuration says."""
    lookaside = gpg.folder / 'lookaside'
    settings = gpg.folder / 'registries.d'
    settings.mkdir(exist_ok=True)
    (settings / 'test.yaml').write_text('docker:\n  %s:\n    sigstore: file://%s\n    sigstore-staging: file://%s\n' % (
        house.plain.place, lookaside, lookaside))
    run('skopeo', '--insecure-policy', '--registries.d', settings, 'copy', '--dest-tls-verify=false', '--sign-by',
        '%s@example.org' % who, 'docker-archive:%s' % house.image, 'docker://%s/%s' % (house.plain.place, name),
        env=gpg.environment)
    return house.plain.place + '/' + name, 'file://%s' % lookaside


def test_signatures(glovebox, house, gpg):
    signed, lookaside = push_signed(house, gpg, 'team/signed:1', 'team')
    unsigned = house.plain.push(house.other, 'team/unsigned:1')
    faked, _ = push_signed(house, gpg, 'team/faked:1', 'mallory')

    def demand(key):
        policy(glovebox, registries={house.plain.place: {'insecure': True, 'signatures': lookaside}},
               allow=[{'name': house.plain.place + '/team/**', 'signed_by': str(key)}])

    demand(gpg.team)
    for name in (unsigned, faked):
        done = glovebox('image', 'pull', name, status=1)
        assert 'ignature' in done.stderr and 'the policy asks for a signature' in done.stderr, done.stderr
    glovebox('image', 'pull', signed)
    shown = glovebox('image', 'show', '--json', signed).json
    assert shown['signer'] == 'key sha256:' + hashlib.sha256(gpg.team.read_bytes()).hexdigest()
    assert glovebox('image', 'list', '--quiet').stdout == signed + '\n'

    # An archive has no signature: the same image is known by its digest, another is refused.
    done = glovebox('image', 'load', '--name', signed, house.other, status=1)
    assert 'only when it is signed' in done.stderr and str(gpg.team) in done.stderr

    # The signature names that repository: the same bytes under another name are not signed.
    other, saved = signed.replace('/signed:', '/other:'), glovebox.folder / 'saved.tar'
    glovebox('image', 'save', signed, '--output', saved)
    assert 'only when it is signed' in glovebox('image', 'load', '--name', other, saved, status=1).stderr
    assert glovebox('image', 'load', '--json', '--name', signed, saved).json[0]['new'] is False
    assert glovebox('image', 'show', '--json', signed).json['policy']['allowed'] is True

    # The image that is here was verified with the team's key, not with this one.
    demand(gpg.mallory)
    assert 'ignature' in glovebox('image', 'pull', signed, status=1).stderr
    demand(gpg.folder / 'missing.gpg')
    assert 'missing.gpg' in glovebox('image', 'pull', signed, status=1).stderr


def test_a_signature_of_another_tag_is_refused(glovebox, house, gpg):
    """Who can write to the registry moves a tag to an image that was signed, but as another tag."""
    signed, lookaside = push_signed(house, gpg, 'team/tags:old', 'team')
    moved = signed.replace(':old', ':new')
    run('skopeo', '--insecure-policy', 'copy', '--src-tls-verify=false', '--dest-tls-verify=false', '--remove-signatures',
        'docker://' + signed, 'docker://' + moved)
    policy(glovebox, registries={house.plain.place: {'insecure': True, 'signatures': lookaside}},
           allow=[{'name': house.plain.place + '/team/**', 'signed_by': str(gpg.team)}])
    glovebox('image', 'pull', signed)
    assert 'ignature' in glovebox('image', 'pull', moved, status=1).stderr


def put_blob(registry, repository, content):
    """By the distribution specification: skopeo of Debian 12 cannot make a key for cosign's signatures."""
    digest = 'sha256:' + hashlib.sha256(content).hexdigest()
    base = 'http://' + registry.place
    begun = urllib.request.urlopen(urllib.request.Request(
        '%s/v2/%s/blobs/uploads/' % (base, repository), method='POST', data=b''))
    place = urllib.parse.urljoin(base, begun.headers['Location'])
    urllib.request.urlopen(urllib.request.Request(
        place + ('&' if '?' in place else '?') + 'digest=' + digest, method='PUT', data=content,
        headers={'Content-Type': 'application/octet-stream'}))
    return {'digest': digest, 'size': len(content)}


def sign_as_cosign(house, folder, key, name):
    """What `cosign sign --key` puts beside an image."""
    place, digest = house.plain.place + '/' + name.rpartition(':')[0], digest_of(house.plain.place + '/' + name)
    payload = json.dumps({'critical': {'identity': {'docker-reference': place},
                                       'image': {'docker-manifest-digest': digest},
                                       'type': 'cosign container image signature'}, 'optional': None}).encode()
    (folder / 'payload').write_bytes(payload)
    run('openssl', 'dgst', '-sha256', '-sign', key, '-out', folder / 'signature', folder / 'payload')
    repository = name.rpartition(':')[0]
    layer = dict(put_blob(house.plain, repository, payload),
                 mediaType='application/vnd.dev.cosign.simplesigning.v1+json',
                 annotations={'dev.cosignproject.cosign/signature':
                              base64.b64encode((folder / 'signature').read_bytes()).decode()})
    config = json.dumps({'architecture': '', 'os': '', 'config': {}, 'rootfs': {
        'type': 'layers', 'diff_ids': [layer['digest']]}}).encode()
    manifest = {'schemaVersion': 2, 'mediaType': 'application/vnd.oci.image.manifest.v1+json', 'layers': [layer],
                'config': dict(put_blob(house.plain, repository, config),
                               mediaType='application/vnd.oci.image.config.v1+json')}
    urllib.request.urlopen(urllib.request.Request(
        'http://%s/v2/%s/manifests/%s.sig' % (house.plain.place, repository, digest.replace(':', '-')), method='PUT',
        data=json.dumps(manifest).encode(), headers={'Content-Type': manifest['mediaType']}))


def test_signatures_of_sigstore(glovebox, house, tmp_path):
    for who in ('team', 'mallory'):
        run('openssl', 'ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', tmp_path / (who + '.key'))
        run('openssl', 'ec', '-in', tmp_path / (who + '.key'), '-pubout', '-out', tmp_path / (who + '.pem'))
    signed = house.plain.push(house.image, 'cosign/signed:1')
    unsigned = house.plain.push(house.other, 'cosign-not/unsigned:1')
    faked = house.plain.push(house.other, 'cosign/faked:1')
    sign_as_cosign(house, tmp_path, tmp_path / 'team.key', 'cosign/signed:1')
    sign_as_cosign(house, tmp_path, tmp_path / 'mallory.key', 'cosign/faked:1')
    policy(glovebox, registries={house.plain.place: {'insecure': True}},
           allow=[{'name': house.plain.place + '/**', 'signed_by': str(tmp_path / 'team.pem')}])
    refused = [glovebox('image', 'pull', name, status=1).stderr for name in (unsigned, faked)]
    assert glovebox('image', 'list', '--json').json == []
    if 'sigstore disabled' in refused[1]:  # as Debian builds skopeo: what it cannot verify does not come in
        assert 'built without sigstore' in refused[1]
        assert 'built without sigstore' in glovebox('image', 'pull', signed, status=1).stderr
        return
    assert all('the policy asks for a signature' in said for said in refused)
    glovebox('image', 'pull', signed)
    assert glovebox('image', 'show', '--json', signed).json['signer'] == \
        'key sha256:' + hashlib.sha256((tmp_path / 'team.pem').read_bytes()).hexdigest()
