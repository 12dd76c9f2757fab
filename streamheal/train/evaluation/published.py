"""The papers' own tables, to stand beside ours, each marked with what differs: none is the same experiment.

Figures as printed. "MSSIM" in FCSR-GAN is the mean SSIM of Wang 2004, as everywhere here, not the multi-scale one.
"""

from dataclasses import dataclass

from streamheal.train.evaluation.report import Cell, Table

# What every one of the papers' experiments has and ours has not. Ours: people that no training has seen, in the
# canonical template, which shows more round the face than their crops do.
_CELEBA = "CelebA, tighter crop"
_CHANNEL = "channel not stated"


@dataclass(frozen=True, slots=True)
class Published:
    """One row of a paper's table; what the paper doesn't say is None."""

    system: str
    method: str
    protocol: str
    scale: int  # HR side ÷ LR side
    psnr: float | None
    ssim: float | None
    pictures: str
    differs: str
    nrmse: float | None = None  # %, of a length that the paper doesn't name
    parsing: float | None = None  # IoU


def _fcsr(method: str, scale: int, psnr: float, ssim: float | None, more: str = "", pictures: str = _CELEBA):
    differs = "; ".join(part for part in (_CHANNEL, more) if part)
    return Published("fcsr-gan", method, "fcsr", scale, psnr, ssim, pictures, differs)


def _ofhnet(method: str, psnr: float, ssim: float, nrmse: float | None = None, parsing: float | None = None):
    differs = f"{_CHANNEL}; fill of the hole not stated; NRMSE and IoU by networks not named"
    return Published("ofhnet", method, "ofhnet", 8, psnr, ssim, f"2 000 of {_CELEBA}", differs, nrmse, parsing)


def _pro_uigan(method: str, shape: str, psnr: float | None, ssim: float | None = None, more: str = ""):
    differs = "; ".join(part for part in (_CHANNEL, more) if part)
    return Published("pro-uigan", method, f"pro-uigan-{shape}", 8, psnr, ssim, "1 568 of CelebA-HQ", differs)


def _jdsr(method: str, scale: int, psnr: float, ssim: float, pictures: str = f"19 962 of {_CELEBA}"):
    differs = "Y, as ours; their masks are drawn by another program"
    return Published("jdsr-gan", method, "jdsr", scale, psnr, ssim, pictures, differs)


def _fd(method: str, psnr: float | None, ssim: float | None, more: str = ""):
    differs = "; ".join(part for part in ("256 px; objects pasted mostly over the eyes", _CHANNEL, more) if part)
    return Published("fd-stackgan", method, "fd", 1, psnr, ssim, "of 20 000 CelebA", differs)


_LANDMARKS = "kind of hole not stated for NRMSE and IoU"

TABLES: tuple[Published, ...] = (
    _fcsr("GFC + SRResNet", 4, 22.23, 0.657),
    _fcsr("PConv + SRResNet", 4, 22.57, 0.669),
    _fcsr("GFC + FSRNet", 4, 24.05, 0.749),
    _fcsr("PConv + FSRNet", 4, 24.75, 0.761, "other tables of the paper have 25.49 and 27.36 with other blocks"),
    _fcsr("PConv + FSRNet, in one go", 4, 20.18, None, "ablation: trained jointly from scratch"),
    _fcsr("PConv + FSRNet", 4, 21.72, 0.628, "trained on CelebA", "Helen"),
    _fcsr("GFC + FSRNet", 8, 23.01, 0.698),
    _fcsr("PConv + FSRNet", 8, 23.77, 0.710),
    _ofhnet("inpainting + bicubic", 17.53, 0.44),
    _ofhnet("inpainting + URDGN", 20.00, 0.57, 13.61, 0.40),
    _ofhnet("OFHNet", 20.44, 0.63, 5.33, 0.60),
    _pro_uigan("FCSR-GAN, trained again", "irregular", 20.09, 0.617),
    _pro_uigan("Pro-UIGAN", "irregular", 24.53, 0.706),
    _pro_uigan("FCSR-GAN, trained again", "square", 23.01, 0.698),
    _pro_uigan("MSE and heatmaps alone", "square", 19.14, more="ablation"),
    _pro_uigan("… and feature loss", "square", 20.87, more="ablation"),
    _pro_uigan("… and style, local critic", "square", 24.96, more="ablation"),
    _pro_uigan("without landmark priors", "square", 22.87, more="ablation"),
    _pro_uigan("with true landmark priors", "square", 26.45, more="ablation"),
    _pro_uigan("Pro-UIGAN", "square", 25.68, 0.770),
    *(
        Published("pro-uigan", method, f"pro-uigan-{shape}", 8, None, None, "CelebA-HQ", _LANDMARKS, nrmse, parsing)
        for shape in ("square", "irregular")
        for method, nrmse, parsing in (("FCSR-GAN, trained again", 9.74, 0.545), ("Pro-UIGAN", 7.16, 0.624))
    ),
    _jdsr("CBDNet + DICGAN", 4, 28.28, 0.834),
    _jdsr("JDSR-GAN", 4, 29.18, 0.8553),
    _jdsr("JDSR-GAN", 4, 25.54, 0.772, "Helen"),
    _jdsr("CBDNet + DICGAN", 8, 25.36, 0.714),
    _jdsr("JDSR-GAN", 8, 26.45, 0.7633),
    _fd("Base-Net, L1 alone", 32.35, None, "ablation"),
    _fd("Base-Net, all losses", 30.13, None, "ablation"),
    _fd("FD-StackGAN", 32.80, 0.981),
)


def of(protocol: str, scale: int) -> list[Published]:
    """What the papers print for a protocol at a scale; nothing where they have no such experiment."""
    return [row for row in TABLES if row.protocol == protocol and row.scale == scale]


def beside(protocol: str, scale: int, ours: dict[str, list[Cell]]) -> Table | None:
    """Our rows (name → PSNR, SSIM, NRMSE, parsing IoU) above the papers'; None where no paper has this protocol and
    scale. The last column says why the two don't compare as equals."""
    theirs = of(protocol, scale)
    if not theirs:
        return None
    rows: list[list[Cell]] = [[name, *cells, "as above", "–"] for name, cells in ours.items()]
    for row in theirs:
        cells = [_printed(value) for value in (row.psnr, row.ssim, row.nrmse, row.parsing)]
        rows.append([f"{row.method} ({row.system}'s paper)", *cells, row.pictures, row.differs])
    columns = ["method", "PSNR dB", "SSIM", "NRMSE %", "parsing IoU", "pictures", "what differs from ours"]
    note = "Other photographs, other crops, other judges: the distance to the base lines above says more."
    return Table(f"{protocol}: beside the papers, ×{scale}", note, columns, rows)


def _printed(value: float | None) -> str:
    """With the digits that the paper prints: two at least."""
    if value is None:
        return "–"
    return f"{value:.2f}" if round(value, 2) == value else f"{value:g}"
