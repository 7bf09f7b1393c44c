"""TF_FLAME's rule for a texture, texel by texel in Python: what compute_texture_map is compared with."""
import numpy as np


def loop_texture_map(source_img, target_mesh, target_scale, texture_data):
    """compute_texture_map as TF_FLAME has it, but that row and column 0 of the photo count; float64 [N, N, 3]."""
    vertices, b_coords = texture_data['valid_pixel_3d_faces'], texture_data['valid_pixel_b_coords']
    points = corners_mean(target_mesh.v, vertices, b_coords)
    away = -corners_mean(target_mesh.estimate_vertex_normals(), vertices, b_coords)[:, 2]
    places = np.round(target_scale * points[:, :2]).astype(int)
    places[:, 1] = source_img.shape[0] - places[:, 1]

    texture = np.zeros((texture_data['img_size'], texture_data['img_size'], 3))
    for i, (x, y) in enumerate(places):
        if away[i] > 0:
            continue
        if 0 <= x < source_img.shape[1] and 0 <= y < source_img.shape[0]:
            row = texture_data['y_coords'][texture_data['valid_pixel_ids'][i]].astype(int)
            column = texture_data['x_coords'][texture_data['valid_pixel_ids'][i]].astype(int)
            texture[row, column, :3] = source_img[y, x]
    return texture


def corners_mean(values, vertices, b_coords):
    return (values[vertices[:, 0]] * b_coords[:, :1] + values[vertices[:, 1]] * b_coords[:, 1:2]
            + values[vertices[:, 2]] * b_coords[:, 2:])
