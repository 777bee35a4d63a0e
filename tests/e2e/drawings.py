"""Pictures to sell things by, drawn here so that no file of anybody's has to be carried along."""

import io

from PIL import Image, ImageDraw, ImageFilter

_SIZE = 1600


def drawing(ground: tuple[int, int, int], cloth: tuple[int, int, int], *, form: str = "JPEG") -> bytes:
    """A coat before a lit wall, 1600 × 1600 pixels."""
    dark = Image.new("RGB", (_SIZE, _SIZE), tuple(one * 5 // 9 for one in ground))
    light = Image.new("RGB", (_SIZE, _SIZE), tuple(min(255, one + 40) for one in ground))
    lamp = Image.new("L", (_SIZE, _SIZE), 0)
    ImageDraw.Draw(lamp).ellipse((-200, -400, 1300, 1100), fill=255)
    picture = Image.composite(light, dark, lamp.filter(ImageFilter.GaussianBlur(320)))
    shadow = Image.new("L", (_SIZE, _SIZE), 0)
    _coat(ImageDraw.Draw(shadow), 30, 110)
    picture.paste((0, 0, 0), mask=shadow.filter(ImageFilter.GaussianBlur(40)))
    shape = Image.new("L", (_SIZE, _SIZE), 0)
    _coat(ImageDraw.Draw(shape), 0, 255)
    picture.paste(cloth, mask=shape)
    seams = ImageDraw.Draw(picture)
    seam = tuple(one * 3 // 4 for one in cloth)
    seams.line((800, 430, 800, 1380), fill=seam, width=7)
    for y in range(560, 1300, 150):
        seams.ellipse((820, y, 844, y + 24), fill=seam)
    seams.arc((650, 250, 950, 520), 20, 160, fill=seam, width=9)
    for x in (580, 900):
        seams.rounded_rectangle((x, 1000, x + 150, 1130), 16, outline=seam, width=7)
    out = io.BytesIO()
    picture.save(out, form, quality=90)
    return out.getvalue()


def _coat(draw: ImageDraw.ImageDraw, down: int, shade: int) -> None:
    for box in ((500, 300 + down, 1100, 1400 + down), (620, 200 + down, 980, 560 + down)):
        draw.rounded_rectangle(box, 150, fill=shade)
    draw.polygon([(560, 340 + down), (330, 1050 + down), (470, 1110 + down), (640, 620 + down)], fill=shade)
    draw.polygon([(1040, 340 + down), (1270, 1050 + down), (1130, 1110 + down), (960, 620 + down)], fill=shade)


EMBER = ((226, 110, 76), (250, 240, 230))
HARBOUR = ((88, 128, 160), (28, 46, 72))
