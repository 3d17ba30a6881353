"""Figures and animations: walking stick figures, where a network looks, heat maps, curves.

Figures are built on the Agg canvas without pyplot, so nothing global is touched and no display
is needed; they are returned for the caller to change, and `save_figure` writes them.
"""

from gaitbench.draw.attention import attention_summary, draw_attention
from gaitbench.draw.canvas import LEFT, MIDDLE, RIGHT, has_ffmpeg, save_figure
from gaitbench.draw.charts import attribute_chart, learning_curve, view_heat_map
from gaitbench.draw.curves import draw_curves
from gaitbench.draw.maps import animate_maps, draw_maps, map_summary
from gaitbench.draw.poses import animate_poses, draw_poses, draw_sheet
from gaitbench.draw.samples import animate_films, as_colors, draw_films, draw_heat, heated
from gaitbench.draw.space import (
    FROM_CAMERA,
    FROM_SIDE,
    SLANTING,
    from_above,
    on_paper,
    seen_from,
)
from gaitbench.draw.thumbs import image_thumbs, pose_thumbs

__all__ = [
    "FROM_CAMERA",
    "FROM_SIDE",
    "LEFT",
    "MIDDLE",
    "RIGHT",
    "SLANTING",
    "animate_films",
    "animate_maps",
    "animate_poses",
    "as_colors",
    "attention_summary",
    "attribute_chart",
    "draw_attention",
    "draw_curves",
    "draw_films",
    "draw_heat",
    "draw_maps",
    "draw_poses",
    "draw_sheet",
    "from_above",
    "has_ffmpeg",
    "heated",
    "image_thumbs",
    "learning_curve",
    "map_summary",
    "on_paper",
    "pose_thumbs",
    "save_figure",
    "seen_from",
    "view_heat_map",
]
