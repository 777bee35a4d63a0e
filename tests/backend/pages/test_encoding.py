"""What comes out of a merchant's file: pixels in our sizes, or a refusal that says why."""

import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image, ImageCms

from backend.core.errors import Code, Refused
from backend.pages.encoding import ASPECT_MAX, PIXELS_MAX, SIDE_MIN_PX, encode


def _file(
    size: tuple[int, int], form: str = "JPEG", mode: str = "RGB", colour: Any = (200, 80, 40), **how: Any
) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, form, **how)
    return out.getvalue()


def _open(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def _refusal(upload: bytes) -> str:
    with pytest.raises(Refused) as caught:
        encode(upload)
    assert caught.value.code is Code.INVALID_FIELD
    return str(caught.value.errors[0]["message"])


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_large_picture_comes_in_our_widths(form: str) -> None:
    made = encode(_file((2400, 1600), form))
    assert [(one.name.rpartition(".")[2], one.width, one.height) for one in made.files] == [
        ("webp", 1440, 960),
        ("webp", 960, 640),
        ("webp", 480, 320),
        ("jpg", 960, 640),
    ]
    assert (made.width, made.height) == (1440, 960)
    for one in made.files:
        assert _open(one.content).size == (one.width, one.height)
        assert len({file.name for file in made.files}) == 4


def test_a_small_picture_is_never_enlarged() -> None:
    made = encode(_file((300, 250)))
    assert [(one.width, one.height) for one in made.files] == [(300, 250), (300, 250)]


def test_the_same_file_has_the_same_names() -> None:
    upload = _file((800, 800))
    assert [one.name for one in encode(upload).files] == [one.name for one in encode(upload).files]


def test_nothing_but_pixels_remains() -> None:
    exif = Image.Exif()
    exif[0x010E] = "SECRET-PLACE"
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0)}
    upload = _file((900, 600), exif=exif.tobytes(), comment=b"SECRET-COMMENT") + b"SECRET-TAIL"
    assert all(word in upload for word in (b"SECRET-PLACE", b"SECRET-COMMENT", b"SECRET-TAIL"))
    for one in encode(upload).files:
        assert b"SECRET" not in one.content
        shown = _open(one.content)
        assert dict(shown.getexif()) == {}
        assert "comment" not in shown.info
        assert "icc_profile" not in shown.info


def test_a_photograph_taken_upright_stands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    made = encode(_file((1200, 800), exif=exif.tobytes()))
    assert (made.width, made.height) == (800, 1200)


def test_colours_of_a_wider_profile_are_brought_home() -> None:
    profile = ImageCms.createProfile("LAB")
    assert profile  # a profile that cannot be applied to RGB must not lose the picture
    made = encode(_file((400, 400), icc_profile=ImageCms.ImageCmsProfile(profile).tobytes()))
    assert _open(made.files[0].content).getpixel((5, 5)) is not None


def test_see_through_parts_become_white() -> None:
    made = encode(_file((400, 400), "PNG", "RGBA", (0, 0, 0, 0)))
    pixel = _open(made.files[0].content).convert("RGB").getpixel((200, 200))
    assert isinstance(pixel, tuple)
    assert min(pixel) >= 250


@pytest.mark.parametrize(
    ("mode", "colour"), [("L", 90), ("P", 3), ("CMYK", (10, 20, 30, 40)), ("LA", (90, 128)), ("I;16", 900)]
)
def test_unusual_kinds_of_pixels_are_taken(mode: str, colour: Any) -> None:
    form = "JPEG" if mode == "CMYK" else "PNG"
    assert encode(_file((400, 300), form, mode, colour)).width == 400


def _png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims a size, as a decompression bomb does."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )


def test_a_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    side = int(PIXELS_MAX**0.5) + 1
    decoded = []
    load = Image.Image.load
    monkeypatch.setattr(Image.Image, "load", lambda self: decoded.append(self.size) or load(self))
    assert "at most 50 million" in _refusal(_png_claiming(side, side))
    assert "at most 50 million" in _refusal(_png_claiming(60_000, 60_000))
    assert decoded == []


@pytest.mark.parametrize(
    "upload",
    [
        b"",
        b"hello",
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        _file((400, 400), "GIF", "P", 1),
        _file((400, 400), "BMP"),
        _file((400, 400), "TIFF"),
        _file((400, 400))[:300],
        _png_claiming(400, 400),
        b"\x89PNG\r\n\x1a\n" + b"\xff" * 200,
        b"RIFF\x10\x00\x00\x00WEBPVP8 " + b"\x00" * 16,
    ],
    ids=["empty", "text", "svg", "eps", "gif", "bmp", "tiff", "cut jpeg", "cut png", "broken png", "broken webp"],
)
def test_what_is_no_picture_of_ours_is_refused(upload: bytes) -> None:
    assert _refusal(upload) == "This is not a JPEG, PNG or WebP picture that can be read."


def test_pictures_of_unfit_sizes_say_what_fits() -> None:
    assert f"at least {SIDE_MIN_PX} each way" in _refusal(_file((SIDE_MIN_PX - 1, 400)))
    assert "crop it" in _refusal(_file((SIDE_MIN_PX * ASPECT_MAX + 1, SIDE_MIN_PX)))
    assert encode(_file((SIDE_MIN_PX * ASPECT_MAX, SIDE_MIN_PX))).height == SIDE_MIN_PX


def test_a_moving_picture_stands_still() -> None:
    frames = [Image.new("RGB", (300, 300), (shade, 0, 0)) for shade in (0, 128, 255)]
    out = io.BytesIO()
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:], duration=100)
    for one in encode(out.getvalue()).files:
        assert getattr(_open(one.content), "n_frames", 1) == 1
