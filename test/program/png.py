"""A PNG reader for tests: grey or RGB, 8 or 16 bit, not interlaced."""
import struct
import zlib


def read(path):
    """Returns width, height, channels, depth and a flat list of samples."""
    data = path.read_bytes()
    assert data[:8] == b'\x89PNG\r\n\x1a\n', path
    at, packed, header = 8, b'', None
    while at < len(data):
        length, kind = struct.unpack('>I4s', data[at:at + 8])
        chunk = data[at + 8:at + 8 + length]
        assert zlib.crc32(kind + chunk) == struct.unpack('>I', data[at + 8 + length:at + 12 + length])[0]
        if kind == b'IHDR':
            header = struct.unpack('>IIBBBBB', chunk)
        elif kind == b'IDAT':
            packed += chunk
        at += 12 + length
    width, height, depth, colour, _, _, interlaced = header
    assert not interlaced and colour in (0, 2)
    channels = 3 if colour == 2 else 1
    step = channels * depth // 8
    stride = width * step
    raw, rows, above = zlib.decompress(packed), bytearray(), bytes(stride)
    for y in range(height):
        start = y * (stride + 1)
        above = unfilter(raw[start], bytearray(raw[start + 1:start + 1 + stride]), above, step)
        rows += above
    if depth == 16:
        samples = list(struct.unpack('>%dH' % (len(rows) // 2), bytes(rows)))
    else:
        samples = list(rows)
    return width, height, channels, depth, samples


def unfilter(kind, row, above, step):
    for i in range(len(row)):
        left = row[i - step] if i >= step else 0
        corner = above[i - step] if i >= step else 0
        if kind == 1:
            row[i] = (row[i] + left) & 255
        elif kind == 2:
            row[i] = (row[i] + above[i]) & 255
        elif kind == 3:
            row[i] = (row[i] + (left + above[i]) // 2) & 255
        elif kind == 4:
            p = left + above[i] - corner
            near = min((abs(p - left), 0, left), (abs(p - above[i]), 1, above[i]), (abs(p - corner), 2, corner))
            row[i] = (row[i] + near[2]) & 255
    return row
