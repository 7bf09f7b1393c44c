"""Numbers on a surface as colours (dark blue is low, yellow is high), and the bar that says which is which."""
import numpy as np


def heat_colours(values, low=None, high=None):
    """Colours [V, 3] (red, green, blue from 0 to 1) of values [V]; low and high are the bar's ends (None: the values').

    Values beyond the ends get the ends' colours, those that are not finite grey. The colours are viridis, OpenCV's.
    """
    import cv2
    values = np.asarray(values, np.float64)
    low, high = heat_range(values, low, high)
    known = np.isfinite(values)
    level = np.clip((np.where(known, values, low) - low) / ((high - low) or 1), 0, 1)
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_VIRIDIS)[:, 0, ::-1] / 255
    return np.where(known[:, None], table[np.round(255 * level).astype(int)], 0.7)


def heat_range(values, low=None, high=None):
    """The ends of the bar: low and high where they are given, else the least and the largest finite value."""
    finite = np.asarray(values, np.float64)[np.isfinite(values)]
    ends = (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
    return float(ends[0] if low is None else low), float(ends[1] if high is None else high)


def ticks(low, high):
    """Three to six round numbers from low to high, or low alone where that is not less."""
    if not high > low:
        return np.array([low])
    unit = 10.0 ** np.floor(np.log10((high - low) / 5))
    step = next(step for step in (unit, 2 * unit, 5 * unit, 10 * unit) if (high - low) / step < 5.5)
    first, last = np.ceil(low / step - 1e-6), np.floor(high / step + 1e-6)
    return step * np.arange(first, last + 1) + 0.0      # no -0


def colour_bar(low, high, label='', height=300):
    """A bar with round numbers and a label above it, BGR uint8 [height, W, 3], high on top."""
    import cv2
    font, size, ink = cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40)
    values = ticks(low, high)
    numbers = [f'{number:.4g}' for number in values]
    wide = [cv2.getTextSize(text, font, size, 1)[0][0] for text in [*numbers, label]]
    top, bottom, left, bar = 34, height - 14, 8, 18
    picture = np.full((height, max(left + bar + 10 + max(wide[:-1]), wide[-1] + left) + 8, 3), 255, np.uint8)
    levels = np.linspace(1, 0, bottom - top)
    picture[top:bottom, left:left + bar] = np.round(255 * heat_colours(levels, 0, 1)[:, None, ::-1])
    cv2.putText(picture, label, (left, 18), font, size, ink, 1, cv2.LINE_AA)
    for text, value in zip(numbers, values, strict=True):
        y = round(bottom - 1 - (value - low) / ((high - low) or 1) * (bottom - 1 - top))
        cv2.line(picture, (left + bar, y), (left + bar + 4, y), ink)
        cv2.putText(picture, text, (left + bar + 9, y + 5), font, size, ink, 1, cv2.LINE_AA)
    return picture
