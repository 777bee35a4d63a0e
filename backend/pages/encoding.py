"""A merchant's picture file, decoded and encoded anew: what reaches shoppers are pixels, never the upload.

Whatever else was in the file (EXIF with the place it was taken, text, a second file behind the first) is gone, and
a file that is no picture does not get past the decoder.
"""

import io
from dataclasses import dataclass
from hashlib import sha256

from PIL import Image, ImageCms, ImageOps

from backend.core.errors import Refused, invalid_field

UPLOAD_MAX_BYTES = 10 * 1024 * 1024
"""A telephone's photograph is 3 to 8 MB."""
PIXELS_MAX = 50_000_000
"""More than a telephone takes. A file of a few kilobytes may claim billions: the header is asked before any pixel
is decoded."""
SIDE_MIN_PX = 200
"""Smaller ones are blurred on every screen."""
ASPECT_MAX = 4
"""Longer than four times its breadth, it is a banner and would push the button off the screen."""
WIDTHS_PX = (480, 960, 1440)
"""A phone, a phone of three pixels a point or a desktop, and a desktop of two. None is larger than the upload."""
FALLBACK_WIDTH_PX = 960
"""In JPEG, for what cannot read WebP, and for share cards, whose readers often cannot."""
_WEBP_QUALITY = 78
_JPEG_QUALITY = 80
_WEBP_EFFORT = 4
_FORMATS = ("JPEG", "PNG", "WEBP")
_GROUND = (255, 255, 255)
_HASH_DIGITS = 12


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """One file beside the pages; its name carries the hash of its content."""

    name: str
    width: int
    height: int
    content: bytes


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """A picture in all its widths, the largest first; the JPEG last."""

    width: int
    height: int
    files: tuple[EncodedFile, ...]


def encode(upload: bytes) -> EncodedPicture:
    """Decode an upload and encode it for the page. Takes up to seconds of CPU: not on the event loop.

    Raises ``INVALID_FIELD`` for what is no JPEG, PNG or WebP picture, or one too large, too small or too long.
    """
    image = _decoded(upload)
    widths = sorted({min(one, image.width) for one in WIDTHS_PX}, reverse=True)
    files = [_file(image, one, "WEBP") for one in widths]
    files.append(_file(image, min(FALLBACK_WIDTH_PX, image.width), "JPEG"))
    return EncodedPicture(files[0].width, files[0].height, tuple(files))


def _refused(detail: str) -> Refused:
    return invalid_field("picture", detail)


def _decoded(upload: bytes) -> Image.Image:
    """The pixels in sRGB, upright, without anything else of the file."""
    try:
        image: Image.Image = Image.open(io.BytesIO(upload), formats=_FORMATS)
        _check_size(image.width, image.height)
        # A large JPEG is decoded at a half or a quarter of its size: 50 million pixels never stand in memory at once.
        image.draft("RGB", (max(WIDTHS_PX), max(WIDTHS_PX)))
        image.load()
    except Refused:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels() from error  # Pillow's own limits, above ours
    # A decoder that meets a hostile file raises nearly anything (SyntaxError and struct.error among it).
    except Exception as error:
        raise _refused("This is not a JPEG, PNG or WebP picture that can be read.") from error
    image = ImageOps.exif_transpose(image)
    return _on_ground(_in_srgb(image))


def _too_many_pixels() -> Refused:
    return _refused(f"The picture has too many pixels; send at most {PIXELS_MAX // 1_000_000} million.")


def _check_size(width: int, height: int) -> None:
    if width * height > PIXELS_MAX:
        raise _too_many_pixels()
    if min(width, height) < SIDE_MIN_PX:
        raise _refused(f"The picture has {width} × {height} pixels; send at least {SIDE_MIN_PX} each way.")
    if max(width, height) > ASPECT_MAX * min(width, height):
        raise _refused(f"The picture is more than {ASPECT_MAX} times as long as it is wide; crop it.")


def _in_srgb(image: Image.Image) -> Image.Image:
    """Colours as every browser shows them without a profile: telephones save in wider ones."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA"):
        return image
    try:
        converted = ImageCms.profileToProfile(
            image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image  # an unreadable profile costs some colour, not the picture
    return converted or image


def _on_ground(image: Image.Image) -> Image.Image:
    """Opaque: see-through parts are white, in both themes."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        ground = Image.new("RGB", layer.size, _GROUND)
        ground.paste(layer, mask=layer.getchannel("A"))
        return ground
    return image.convert("RGB")


def _file(image: Image.Image, width: int, form: str) -> EncodedFile:
    height = max(1, round(image.height * width / image.width))
    scaled = image.resize((width, height), Image.Resampling.LANCZOS) if width != image.width else image.copy()
    # Whatever came along in the picture's notes (EXIF, comments, profile) would be written by the encoder.
    scaled.info = {}
    out = io.BytesIO()
    if form == "WEBP":
        scaled.save(out, form, quality=_WEBP_QUALITY, method=_WEBP_EFFORT)
        suffix = "webp"
    else:
        scaled.save(out, form, quality=_JPEG_QUALITY, optimize=True, progressive=True)
        suffix = "jpg"
    content = out.getvalue()
    return EncodedFile(f"picture.{sha256(content).hexdigest()[:_HASH_DIGITS]}.{suffix}", width, height, content)
