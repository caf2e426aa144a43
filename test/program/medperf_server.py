"""A stand-in for MedPerf's server, held to what is documented of PUT /api/v0/datasets/N/: who may,
what may change in which state, the answers of Django REST framework. It keeps every byte it gets,
and can misbehave."""
import http.server
import json
import re
import socket
import ssl
import subprocess
import threading


def make_authority(folder, name='authority'):
    """(certificate, key) of an authority of the test's own."""
    folder.mkdir(exist_ok=True)
    certificate, key = folder / (name + '.pem'), folder / (name + '.key')
    openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
            '-keyout', key, '-out', certificate, '-days', '2', '-subj', '/CN=' + name)
    return certificate, key


def make_certificate(folder, authority, names='DNS:localhost,IP:127.0.0.1'):
    """A file with a server's key and certificate, signed by the authority."""
    request, both, extra = folder / 'request.pem', folder / 'server.pem', folder / 'extra'
    key = folder / 'server.key'
    extra.write_text('subjectAltName=%s\n' % names)
    openssl('req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
            '-keyout', key, '-out', request, '-subj', '/CN=server')
    openssl('x509', '-req', '-in', request, '-CA', authority[0], '-CAkey', authority[1],
            '-CAcreateserial', '-days', '2', '-extfile', extra, '-out', folder / 'server.crt')
    both.write_text(key.read_text() + (folder / 'server.crt').read_text())
    return both


def openssl(*arguments):
    subprocess.run(['openssl', *map(str, arguments)], check=True, capture_output=True)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_):
        pass

    def answer(self, status, value, headers=()):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        for name, text in headers:
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def misbehave(self, how):
        """True when that was all there is to say."""
        if how == 'hang':
            self.server.medperf.released.wait(60)
            return False
        elif how == 'close':
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif how == 'huge':
            self.send_response(200)
            self.send_header('Content-Length', str(1 << 40))
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b' ' * (1 << 20))
            except OSError:
                pass
            self.close_connection = True
        elif how == 'slow':
            self.send_response(200)
            self.send_header('Content-Length', '100000')
            self.end_headers()
            try:
                while not self.server.medperf.released.wait(0.2):
                    self.wfile.write(b' ')
            except OSError:
                pass
            self.close_connection = True
        elif how == 'cut':
            self.send_response(200)
            self.send_header('Content-Length', '100')
            self.end_headers()
            self.wfile.write(b'{"id":')
            self.close_connection = True
        elif how == 'rubbish':
            self.wfile.write(b'\x00\xffnot http at all\r\n\r\n')
            self.close_connection = True
        elif how == 'html':
            self.answer(200, b'<html>Please sign in to the hospital\'s network</html>')
        elif how == 'other':
            self.answer(200, {'id': 999, 'report': {}})
        elif how == 'redirect':
            self.answer(307, b'', [('Location', self.server.medperf.elsewhere)])
        elif how == 'echo':  # as careless software does
            self.answer(400, {'detail': 'bad header %s\x1b[31m' % self.headers['Authorization']})
        elif isinstance(how, int):
            self.answer(how, {'detail': 'Service Unavailable'})
        else:
            return False
        return True

    def do_PUT(self):
        medperf = self.server.medperf
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        with medperf.lock:
            medperf.requests.append((self.requestline, dict(self.headers), body))
        medperf.raw += self.raw_requestline + bytes(self.headers) + body
        if not self.misbehave(medperf.mode):
            self.put(medperf, body)

    def do_GET(self):
        self.server.medperf.requests.append((self.requestline, dict(self.headers), b''))
        self.answer(405, {'detail': 'Method "GET" not allowed.'})

    def put(self, medperf, body):
        match = re.fullmatch(r'/api/v0/datasets/(\d+)(/?)', self.path)
        if match and not match.group(2):
            return self.answer(301, b'', [('Location', self.path + '/')])
        scheme, _, token = (self.headers['Authorization'] or '').partition(' ')
        user = medperf.tokens.get(token)
        if scheme != 'Bearer' or not user:
            return self.answer(401, {'detail': 'Given token not valid for any token type',
                                     'code': 'token_not_valid'})
        if not match:
            return self.answer(404, {'detail': 'Not found.'})
        dataset = medperf.datasets.get(int(match.group(1)))
        if user != 'admin' and (not dataset or user != dataset['owner']):  # asked before all else
            return self.answer(403, {'detail': 'You do not have permission to perform this action.'})
        if not dataset:
            return self.answer(404, {'detail': 'Not found.'})
        if self.headers['Content-Type'] != 'application/json':
            return self.answer(415, {'detail': 'Unsupported media type in request.'})
        try:
            given = json.loads(body)
        except ValueError as problem:
            return self.answer(400, {'detail': 'JSON parse error - %s' % problem})
        if dataset['state'] == 'OPERATION' and any(
                dataset[key] != value for key, value in given.items()
                if key not in ('is_valid', 'user_metadata')):
            return self.answer(400, {'non_field_errors': [
                'User cannot update non editable fields in Operation mode']})
        with medperf.lock:
            dataset.update(given)
            medperf.accepted.append(given['report'])
        if medperf.mode == 'hold':
            medperf.released.wait(60)
        return self.answer(200, dataset)


class MedPerf:
    """The server, on a port of this machine."""

    def __init__(self, certificate=None):
        self.certificate, self.port, self.http = certificate, 0, None
        self.datasets = {}
        self.tokens = {'token-of-owner': 'owner', 'token-of-other': 'other',
                       'token-of-admin': 'admin'}
        self.requests, self.accepted, self.raw = [], [], b''
        self.mode, self.elsewhere = None, 'https://127.0.0.1:9/'
        self.lock, self.released = threading.Lock(), threading.Event()
        for number, state in ((7, 'DEVELOPMENT'), (8, 'OPERATION')):
            self.datasets[number] = {'id': number, 'owner': 'owner', 'state': state, 'report': {},
                                     'generated_metadata': {}, 'is_valid': True}

    def start(self):
        server = http.server.ThreadingHTTPServer
        server.daemon_threads, server.block_on_close = True, False
        server.allow_reuse_address = True
        self.http = server(('127.0.0.1', self.port), Handler)
        self.port = self.http.server_address[1]
        self.http.medperf = self
        self.http.handle_error = lambda *_: None
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self):
        self.http.shutdown()
        self.http.server_close()

    def release(self):
        """Lets go whom it kept waiting; from now on it behaves."""
        self.mode = None
        self.released.set()

    @property
    def url(self):
        return '%s://localhost:%d' % ('https' if self.certificate else 'http', self.port)

    def statuses(self):
        return [report['execution_status'] for report in self.accepted]
