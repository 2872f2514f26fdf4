"""Draw docs/inpaint.png: held-out faces with a hole, three fills of each, and the truth; and print figures.

    glow-deploy demo --out demo-out
    python scripts/draw_inpainting.py demo-out/ckpt.pt docs/inpaint.png
    python scripts/draw_inpainting.py demo-out/ckpt.pt --measure 32

The faces are the first of the test split; none are chosen by hand. `--measure` fills the same hole in faces spread over
that split in both ways and compares with filling in the mean colour and another face, then takes noise off them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from glow_deploy.data import load_images
from glow_deploy.engines.pytorch_gradient import ModelGradient, open_model_gradient
from glow_deploy.images import pixels_to_values, values_to_pixels
from glow_deploy.inverse import InpaintSettings, ProjectSettings, box_mask, image_bits_per_dim, inpaint, project, psnr

FACES, FILLS = 4, 3
HOLE = (4, 4, 8, 8)  # of 16x16
SCALE, GAP, TOP, MISSING = 4, 6, 22, 128
NOISES = (0.03, 0.06, 0.12)


def main() -> None:
    """Read the arguments, and draw or measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--measure", type=int, metavar="N", default=0)
    arguments = parser.parse_args()
    model = open_model_gradient(arguments.checkpoint)
    mask = box_mask([HOLE], size=(16, 16))
    if arguments.out is not None:
        values = faces(model, np.arange(FACES))
        found = inpaint(model, values, mask, settings=InpaintSettings(samples=FILLS))
        draw(values, mask, found.values).save(arguments.out, optimize=True)
        print(f"bits/dim of the fills: {np.round(found.bits_per_dim, 3).tolist()}")
    if arguments.measure:
        spread = np.arange(arguments.measure) * 300 // arguments.measure
        measure_filling(model, faces(model, spread), mask)
        measure_projection(model, faces(model, spread))


def faces(model: ModelGradient, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Faces of the test split, at the depth of the model: no fill can have more colours."""
    n_bits = model.encoder.n_bits
    return pixels_to_values(values_to_pixels(load_images("faces", split="test").batch(rows), n_bits), n_bits)


def draw(values: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_], fills: npt.NDArray[np.uint8]) -> Image.Image:
    """One row a face: hole, fills, truth."""
    side = 16 * SCALE
    columns = ["hole", *(f"fill {number + 1}" for number in range(FILLS)), "truth"]
    image = Image.new("RGB", (len(columns) * (side + GAP) + GAP, TOP + FACES * (side + GAP)), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=13)
    for column, text in enumerate(columns):
        x = GAP + column * (side + GAP)
        pen.text((x + side / 2, TOP / 2), text, fill="black", font=font, anchor="mm")
        for row in range(FACES):
            hole = np.where(mask, np.uint8(MISSING), values[row])
            cell = [hole, *fills[row], values[row]][column].transpose(1, 2, 0)
            picture = Image.fromarray(np.ascontiguousarray(cell)).resize((side, side), Image.Resampling.NEAREST)
            image.paste(picture, (x, TOP + row * (side + GAP)))
    return image


def measure_filling(model: ModelGradient, values: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_]) -> None:
    """PSNR in the hole, and bits/dim of the whole, of several ways to fill it."""
    print(f"truth: {image_bits_per_dim(model.encoder, values).mean():.3f} bits/dim, {len(values)} faces")
    mean = np.rint(values[:, :, ~mask].mean(axis=2)).astype(np.uint8)[:, :, None, None]
    for name, other in (("mean colour", mean), ("another face", np.roll(values, 1, axis=0))):
        made = np.where(mask, other, values)
        show(name, psnr(made, values, where=mask), image_bits_per_dim(model.encoder, made))
    for name, settings in (
        ("latents, temperature 0", InpaintSettings(samples=1, temperature=0)),
        ("latents, temperature 0.7", InpaintSettings(samples=FILLS)),
        ("pixels", InpaintSettings(samples=1, over="pixels")),
    ):
        found = inpaint(model, values, mask, settings=settings)
        seconds = found.seconds / found.bits_per_dim.size
        show(
            name,
            psnr(found.values, values[:, None], where=mask),
            found.bits_per_dim,
            f", {found.evaluations.mean():.0f} passes and {seconds:.2f} s a fill, known pixels decoded "
            f"to within {found.known_error.mean():.2f} steps ({found.known_error.max():.2f} at worst), "
            f"{found.nonfinite.sum()} non-finite passes",
        )


def measure_projection(model: ModelGradient, values: npt.NDArray[np.uint8]) -> None:
    """PSNR of faces with noise added, before and after."""
    rng = np.random.default_rng(0)
    for noise in NOISES:
        added = rng.normal(size=values.shape) * noise * 255
        noisy = np.clip(np.rint(values + added), 0, 255).astype(np.uint8)
        show(f"noise {noise}", psnr(noisy, values), image_bits_per_dim(model.encoder, noisy))
        for over in ("latents", "pixels"):
            found = project(model, noisy, settings=ProjectSettings(noise=noise, over=over))
            cost = f", {found.evaluations.mean():.0f} passes and {found.seconds / len(values):.2f} s a face"
            show(f"  projected over {over}", psnr(found.values, values), found.after, cost)


def show(name: str, ratio: npt.NDArray[np.float64], bits: npt.NDArray[np.float64], cost: str = "") -> None:
    """One line."""
    print(f"{name}: {ratio.mean():.2f} dB, {bits.mean():.3f} bits/dim{cost}", flush=True)


if __name__ == "__main__":
    main()
