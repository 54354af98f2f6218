"""Small image files of every kind that is read, and what Pillow and the processors of transformers make of them.

Run: python golden/images/make.py   (versions in golden/requirements.txt)
"""

import io
import pathlib
import shutil
import struct
import zlib

import numpy
import safetensors.numpy
import simplejpeg
from PIL import Image
from transformers.image_transforms import convert_to_rgb

HERE = pathlib.Path(__file__).parent
FILES = HERE / "files"
# Of the seven passes of an interlaced PNG: first column, first row, and the steps between columns and rows.
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}


def scene(width, height, channels=3, seed=0):
    """Waves and noise, so that every frequency occurs and colours meet at sharp edges."""
    generator = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[:height, :width] / 16
    planes = [numpy.sin((c + 1) * x + y * (3 - c)) * 90 + 128 for c in range(channels)]
    values = numpy.stack(planes, -1) + generator.normal(0, 25, (height, width, channels))
    values[height // 3 : height // 2, width // 4 : width // 2] = 250 - 70 * numpy.arange(channels)
    return values.clip(0, 255).astype(numpy.uint8)


def ramp(count, levels, shape):
    """Integers that run through all levels."""
    return (numpy.arange(numpy.prod(shape)) * count % levels).reshape(shape)


def png(values, color, bits, interlaced=False, palette=None, transparency=None):
    """A PNG with one filter; `values` is [height, width, channels] of the bit depth's range."""
    height, width = values.shape[:2]

    def rows(part):
        for row in part:
            if bits == 16:
                raw = row.astype(">u2").tobytes()
            elif bits == 8:
                raw = row.astype("u1").tobytes()
            else:
                unpacked = (row.reshape(-1, 1) >> numpy.arange(bits)[::-1]) & 1
                raw = numpy.packbits(unpacked.astype("u1").reshape(-1)).tobytes()
            yield b"\0" + raw

    parts = [values[r::v, c::h] for c, r, h, v in ADAM7] if interlaced else [values]
    data = b"".join(row for part in parts if part.size for row in rows(part))

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    file = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, interlaced))
    if palette is not None:
        file += chunk(b"PLTE", palette.astype("u1").tobytes())
    if transparency is not None:
        file += chunk(b"tRNS", transparency)
    return file + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def bmp(values, bits, compression=0, masks=b"", palette=None, data=None, top_down=False):
    """A BMP with a 40-byte header; `values` is [height, width] of pixels as integers."""
    height, width = values.shape
    if data is None:
        lines = []
        for row in values if top_down else values[::-1]:
            if bits < 8:
                unpacked = (row.reshape(-1, 1) >> numpy.arange(bits)[::-1]) & 1
                line = numpy.packbits(unpacked.astype("u1").reshape(-1)).tobytes()
            else:
                line = b"".join(int(pixel).to_bytes(bits // 8, "little") for pixel in row)
            lines.append(line + b"\0" * (-len(line) % 4))
        data = b"".join(lines)
    table = b"" if palette is None else b"".join(bytes([b, g, r, 0]) for r, g, b in palette)
    offset = 14 + 40 + len(masks) + len(table)
    signed = -height if top_down else height
    colors = 0 if palette is None else len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, width, signed, 1, bits, compression, len(data), 2835, 2835, colors, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + info + masks + table + data


def run_lengths(values):
    """Pixels of one byte as BMP's run lengths, with an absolute run in every second row."""
    data = b""
    for at, row in enumerate(values[::-1]):
        pixels = row.astype("u1")
        if at % 2 and len(pixels) >= 3:
            data += bytes([0, len(pixels)]) + pixels.tobytes() + b"\0" * (len(pixels) % 2)
        else:
            data += b"".join(bytes([1, pixel]) for pixel in pixels)
        data += b"\0\0"
    return data + b"\0\1"


def saved(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def jpeg_files():
    image = Image.fromarray(scene(45, 35))
    yield "jpeg-444.jpg", saved(image, "JPEG", quality=90, subsampling=0)
    yield "jpeg-422.jpg", saved(image, "JPEG", quality=90, subsampling=1)
    yield "jpeg-420.jpg", saved(image, "JPEG", quality=90, subsampling=2)
    yield "jpeg-low.jpg", saved(image, "JPEG", quality=15)
    yield "jpeg-progressive.jpg", saved(image, "JPEG", quality=80, progressive=True)
    yield "jpeg-progressive-444.jpg", saved(image, "JPEG", quality=95, progressive=True, subsampling=0)
    yield "jpeg-restarts.jpg", saved(image, "JPEG", quality=80, restart_marker_blocks=2)
    yield "jpeg-progressive-restarts.jpg", saved(image, "JPEG", quality=80, progressive=True, restart_marker_blocks=2)
    yield "jpeg-gray.jpg", saved(image.convert("L"), "JPEG", quality=85)
    yield "jpeg-gray-progressive.jpg", saved(image.convert("L"), "JPEG", quality=85, progressive=True)
    yield "jpeg-rgb.jpg", saved(image, "JPEG", quality=85, keep_rgb=True)
    for subsampling in ("440", "411"):
        yield f"jpeg-{subsampling}.jpg", simplejpeg.encode_jpeg(scene(45, 35), 85, "RGB", subsampling)
    for width, height in ((1, 1), (2, 3), (3, 2), (5, 17), (16, 16), (17, 33)):
        for subsampling in (1, 2):
            small = Image.fromarray(scene(width, height, seed=width))
            yield f"jpeg-{width}x{height}-{subsampling}.jpg", saved(small, "JPEG", quality=80, subsampling=subsampling)
    cmyk = saved(Image.fromarray(scene(29, 23, 4), "CMYK"), "JPEG", quality=85)
    yield "jpeg-cmyk.jpg", cmyk
    # The last byte of Adobe's marker says how the colours are coded: 2 is YCCK.
    at = cmyk.index(b"Adobe") + 11
    yield "jpeg-ycck.jpg", cmyk[:at] + b"\2" + cmyk[at + 1 :]
    exif = Image.Exif()
    exif[0x0112] = 6
    yield "jpeg-orientation.jpg", saved(image, "JPEG", quality=85, exif=exif)


def png_files():
    for interlaced in (False, True):
        end = "-interlaced" if interlaced else ""
        for bits in (1, 2, 4, 8, 16):
            gray = ramp(7, 2**bits, (11, 13, 1))
            yield f"png-gray-{bits}{end}.png", png(gray, GRAY, bits, interlaced)
        for bits in (1, 2, 4, 8):
            palette = scene(2**bits, 1)[0]
            indices = ramp(5, 2**bits, (11, 13, 1))
            yield f"png-palette-{bits}{end}.png", png(indices, PALETTE, bits, interlaced, palette)
            alpha = bytes(ramp(37, 256, (max(2**bits - 1, 1),)).astype("u1"))
            yield f"png-palette-alpha-{bits}{end}.png", png(indices, PALETTE, bits, interlaced, palette, alpha)
        for bits in (8, 16):
            for name, color in (("rgb", RGB), ("gray-alpha", GRAY_ALPHA), ("rgba", RGBA)):
                values = ramp(5 if bits == 8 else 1237, 2**bits, (11, 13, CHANNELS[color]))
                yield f"png-{name}-{bits}{end}.png", png(values, color, bits, interlaced)
    values = ramp(5, 256, (11, 13, 3))
    yield "png-rgb-key.png", png(values, RGB, 8, transparency=values[3, 4].astype(">u2").tobytes())
    gray = ramp(7, 256, (11, 13, 1))
    yield "png-gray-key.png", png(gray, GRAY, 8, transparency=gray[3, 4].astype(">u2").tobytes())
    gray = ramp(7, 16, (11, 13, 1))
    yield "png-gray-4-key.png", png(gray, GRAY, 4, transparency=gray[3, 4].astype(">u2").tobytes())
    gray = ramp(3, 2, (11, 13, 1))
    yield "png-gray-1-key.png", png(gray, GRAY, 1, transparency=b"\0\1")
    values = ramp(1237, 65536, (11, 13, 3))
    yield "png-rgb-16-key.png", png(values, RGB, 16, transparency=values[3, 4].astype(">u2").tobytes())
    gray = ramp(1237, 65536, (11, 13, 1))
    yield "png-gray-16-key.png", png(gray, GRAY, 16, transparency=gray[3, 4].astype(">u2").tobytes())
    frames = [Image.fromarray(scene(13, 11, seed=seed)) for seed in range(2)]
    yield "png-animated.png", saved(frames[0], "PNG", save_all=True, append_images=frames[1:])


def gif_files():
    image = Image.fromarray(scene(29, 23)).quantize(20, dither=Image.Dither.NONE)
    yield "gif.gif", saved(image, "GIF", interlace=0)
    yield "gif-interlaced.gif", saved(image, "GIF", interlace=1)
    yield "gif-gray.gif", saved(Image.fromarray(scene(29, 23)).convert("L"), "GIF")
    yield "gif-transparent.gif", saved(image, "GIF", transparency=3)
    second = Image.fromarray(scene(29, 23, seed=1)).quantize(20)
    yield "gif-animated.gif", saved(image, "GIF", save_all=True, append_images=[second], duration=100)
    # A frame that covers a part of the screen only: the screen in the header becomes larger than the frame.
    for name, options in (("", {}), ("-transparent", {"transparency": 3})):
        file = bytearray(saved(image, "GIF", **options))
        file[6:10] = struct.pack("<HH", 33, 30)
        file[11] = 5  # index of the background
        at = file.index(b"\x2c", 13 + 3 * 2 ** ((file[10] & 7) + 1))
        file[at + 1 : at + 5] = struct.pack("<HH", 2, 4)
        yield f"gif-offset{name}.gif", bytes(file)


def bmp_files():
    image = Image.fromarray(scene(29, 23))
    yield "bmp-24.bmp", saved(image, "BMP")
    yield "bmp-gray.bmp", saved(image.convert("L"), "BMP")
    yield "bmp-1.bmp", saved(image.convert("1"), "BMP")
    yield "bmp-palette.bmp", saved(image.quantize(60), "BMP")
    yield "bmp-rgba.bmp", saved(Image.fromarray(scene(29, 23, 4)), "BMP")
    indices = ramp(5, 16, (11, 13))
    yield "bmp-4.bmp", bmp(indices, 4, palette=scene(16, 1)[0])
    yield "bmp-555.bmp", bmp(ramp(977, 32768, (11, 13)), 16)
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    yield "bmp-565.bmp", bmp(ramp(977, 65536, (11, 13)), 16, 3, masks)
    yield "bmp-32.bmp", bmp(ramp(12345677, 2**32, (11, 13)), 32)
    masks = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)
    yield "bmp-32-masks.bmp", bmp(ramp(12345677, 2**32, (11, 13)), 32, 3, masks)
    yield "bmp-top-down.bmp", bmp(ramp(12347, 2**24, (11, 13)), 24, top_down=True)
    yield "bmp-rle.bmp", bmp(ramp(5, 32, (11, 13)), 8, 1, palette=scene(32, 1)[0], data=run_lengths(ramp(5, 32, (11, 13))))


def tiff_files():
    image = Image.fromarray(scene(29, 23))
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield f"tiff-{compression}.tif", saved(image, "TIFF", compression=compression)
    yield "tiff-gray.tif", saved(image.convert("L"), "TIFF")
    yield "tiff-1.tif", saved(image.convert("1"), "TIFF")
    yield "tiff-group4.tif", saved(image.convert("1"), "TIFF", compression="group4")
    yield "tiff-palette.tif", saved(image.quantize(60), "TIFF")
    yield "tiff-rgba.tif", saved(Image.fromarray(scene(29, 23, 4)), "TIFF")
    yield "tiff-gray-alpha.tif", saved(Image.fromarray(scene(29, 23, 2), "LA"), "TIFF")
    yield "tiff-cmyk.tif", saved(Image.fromarray(scene(29, 23, 4), "CMYK"), "TIFF")
    yield "tiff-gray-16.tif", saved(Image.fromarray(ramp(1237, 65536, (23, 29)).astype("u2")), "TIFF")
    yield "tiff-gray-16-low.tif", saved(Image.fromarray(ramp(7, 300, (23, 29)).astype("u2")), "TIFF")
    yield "tiff-gray-32.tif", saved(Image.fromarray(ramp(7, 300, (23, 29)).astype("i4") - 20), "TIFF")
    yield "tiff-float.tif", saved(Image.fromarray(ramp(7, 300, (23, 29)).astype("f4") - 20.5), "TIFF")


def tiff(values, photometric, bits=8, compression=1, little=True, tags=(), strip=5, tile=None, separate=False, data=None):
    """A TIFF of strips or tiles; `values` is [height, width, samples], `data` compresses the bytes of a piece."""
    height, width, samples = values.shape
    order = "<" if little else ">"
    kind = {8: "u1", 16: order + "u2", 32: order + "u4"}.get(bits)
    planes = [values[..., at : at + 1] for at in range(samples)] if separate else [values]
    pieces = []
    for plane in planes:
        for top in range(0, height, tile or strip):
            for left in range(0, width, tile or width):
                piece = plane[top : top + (tile or strip), left : left + (tile or width)]
                if tile:
                    padding = [(0, tile - piece.shape[0]), (0, tile - piece.shape[1]), (0, 0)]
                    piece = numpy.pad(piece, padding)
                if kind:
                    packed = piece.astype(kind).tobytes()
                else:
                    rows = piece.reshape(piece.shape[0], -1, 1) >> numpy.arange(bits)[::-1] & 1
                    packed = numpy.packbits(rows.reshape(piece.shape[0], -1).astype("u1"), axis=1).tobytes()
                pieces.append(data(packed) if data else packed)
    where = (324, 325) if tile else (273, 279)
    offsets = [8 + sum(map(len, pieces[:at])) for at in range(len(pieces))]
    entries = {256: [width], 257: [height], 258: [bits] * samples, 259: [compression], 262: [photometric], 277: [samples]}
    entries |= {284: [2 if separate else 1], where[0]: offsets, where[1]: list(map(len, pieces)), **dict(tags)}
    entries |= {322: [tile], 323: [tile]} if tile else {278: [strip]}
    body, extra = b"", b""
    start = 8 + sum(map(len, pieces))
    after = start + 2 + 12 * len(entries) + 4
    for tag, numbers in sorted(entries.items()):
        long = tag in (273, 279, 324, 325)
        packed = struct.pack(f"{order}{len(numbers)}{'I' if long else 'H'}", *numbers)
        if len(packed) > 4:
            value, extra = struct.pack(order + "I", after + len(extra)), extra + packed
        else:
            value = packed.ljust(4, b"\0")
        body += struct.pack(order + "HHI", tag, 4 if long else 3, len(numbers)) + value
    head = (b"II" if little else b"MM") + struct.pack(order + "HI", 42, start)
    return head + b"".join(pieces) + struct.pack(order + "H", len(entries)) + body + bytes(4) + extra


def more_tiff_files():
    values = scene(29, 23)
    yield "tiff-big-endian.tif", tiff(values, 2, little=False)
    yield "tiff-tiles.tif", tiff(values, 2, tile=16)
    yield "tiff-separate.tif", tiff(values, 2, separate=True)
    yield "tiff-separate-tiles.tif", tiff(values, 2, separate=True, tile=16, compression=8, data=zlib.compress)
    for little in (True, False):
        end = "little" if little else "big"
        yield f"tiff-rgb-16-{end}.tif", tiff(ramp(1237, 65536, (23, 29, 3)), 2, 16, little=little)
        yield f"tiff-gray-16-{end}.tif", tiff(ramp(7, 300, (23, 29, 1)), 1, 16, little=little)
    for extra in (0, 1, 2):
        yield f"tiff-extra-{extra}.tif", tiff(scene(29, 23, 4), 2, tags={338: [extra]})
    yield "tiff-gray-extra.tif", tiff(scene(29, 23, 2), 1, tags={338: [0]})
    for bits in (2, 4):
        gray = ramp(5, 2**bits, (23, 29, 1))
        yield f"tiff-gray-{bits}.tif", tiff(gray, 1, bits)
        yield f"tiff-gray-{bits}-white.tif", tiff(gray, 0, bits)
        colors = (ramp(7919, 65536, (3 * 2**bits,))).tolist()
        yield f"tiff-palette-{bits}.tif", tiff(gray, 3, bits, tags={320: colors})
    yield "tiff-white.tif", tiff(scene(29, 23, 1), 0)
    differences = numpy.diff(values.astype(int), axis=1, prepend=0) % 256
    yield "tiff-predictor.tif", tiff(differences, 2, compression=8, data=zlib.compress, tags={317: [2]})
    wide = ramp(1237, 65536, (23, 29, 3))
    differences = numpy.diff(wide, axis=1, prepend=0) % 65536
    yield "tiff-predictor-16.tif", tiff(differences, 2, 16, compression=8, data=zlib.compress, tags={317: [2]})
    for orientation in range(2, 9):
        yield f"tiff-orientation-{orientation}.tif", tiff(scene(7, 5), 2, tags={274: [orientation]})


def webp_files():
    for width, height in ((29, 23), (64, 48), (1, 1), (3, 2)):
        image = Image.fromarray(scene(width, height))
        yield f"webp-{width}x{height}.webp", saved(image, "WEBP", quality=80)
    image = Image.fromarray(scene(29, 23))
    alpha = Image.fromarray(scene(29, 23, 4))
    yield "webp-low.webp", saved(image, "WEBP", quality=10)
    yield "webp-lossless.webp", saved(image, "WEBP", lossless=True)
    yield "webp-lossless-alpha.webp", saved(alpha, "WEBP", lossless=True, exact=True)
    yield "webp-alpha.webp", saved(alpha, "WEBP", quality=80)
    yield "webp-animated.webp", saved(image, "WEBP", save_all=True, append_images=[Image.fromarray(scene(29, 23, seed=1))])


def main():
    shutil.rmtree(FILES, ignore_errors=True)
    FILES.mkdir(parents=True)
    golden = {}
    for kind in (jpeg_files, png_files, gif_files, bmp_files, tiff_files, more_tiff_files, webp_files):
        for name, file in kind():
            (FILES / name).write_bytes(file)
            opened = Image.open(io.BytesIO(file))
            golden[name] = numpy.ascontiguousarray(convert_to_rgb(opened, return_numpy=True))
            print(name, len(file), opened.mode, golden[name].shape, golden[name].mean().round(2))
    safetensors.numpy.save_file(golden, HERE / "golden.safetensors")


if __name__ == "__main__":
    main()
