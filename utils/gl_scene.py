"""Meshes and pictures on the graphics card: OpenGL 3.3 core in the current context, lit as utils/render_mesh.py does.

What render_mesh draws without a display looks alike here: the same lights, the same gloss, the inner side darker.
"""
import contextlib
import ctypes
from typing import Any, NamedTuple

import numpy as np

from utils.glb import split_seams
from utils.mesh import COLOURS
from utils.render_mesh import DIRECTIONS, GAMMA, GLOSS, GROUND, INSIDE, SHARPNESS, SKY, STRENGTHS, vertex_normals

SHADED, NORMALS, LINES = range(3)
POINT_SIZES = (3.0, 11.0)               # pixels, of the points of meshes without faces: of many, and of
FEW = 500                               # so many or fewer
SAMPLES = 4                             # of a pixel, where outlines are to be smooth

HEAD = '#version 330 core\n' + ''.join(f'#define {name} {value}\n' for name, value in {
    'NORMALS': NORMALS, 'LINES': LINES, 'GAMMA': GAMMA, 'SKY': SKY, 'GROUND': GROUND, 'INSIDE': INSIDE,
    'GLOSS': GLOSS, 'SHARPNESS': float(SHARPNESS)}.items())

MESH_VERTEX = '''
layout(location=0) in vec3 place; layout(location=1) in vec3 normal; layout(location=2) in vec3 colour;
layout(location=3) in vec2 uv;
uniform mat4 to_screen; uniform mat3 turn; uniform bool balls;
out vec3 turned; out vec3 tone; out vec2 at;
void main() {
    turned = turn * normal; tone = pow(colour, vec3(GAMMA)); at = uv;
    gl_Position = to_screen * vec4(place, 1);
    if (balls) gl_Position.z -= 0.002 * gl_Position.w;          // points on a surface are not half in it
}'''

MESH_FRAGMENT = '''
in vec3 turned; in vec3 tone; in vec2 at;
uniform int look; uniform bool textured, balls; uniform sampler2D picture;
uniform mat4x3 directions; uniform vec3 strengths;
out vec4 shown;
void main() {
    if (look == LINES) { shown = vec4(vec3(0.12), 1); return; }
    float length_ = length(turned);
    vec3 n = length_ > 0 ? turned / length_ : vec3(0, 0, 1);
    if (balls) {
        vec2 across = vec2(2, -2) * (gl_PointCoord - 0.5);
        if (dot(across, across) > 1) discard;
        n = vec3(across, sqrt(1 - dot(across, across)));
    }
    if (look == NORMALS) { shown = vec4(0.5 + 0.5 * n, 1); return; }
    bool inner = !gl_FrontFacing && !balls;
    if (inner) n = -n;
    vec3 colour = textured ? pow(texture(picture, at).rgb, vec3(GAMMA)) : tone;
    vec4 towards = max(n * directions, 0.0);
    float light = (SKY + GROUND) / 2 + (SKY - GROUND) / 2 * n.y + dot(towards.xyz, strengths);
    if (inner) light *= INSIDE;
    shown = vec4(pow(clamp(colour * light + GLOSS * pow(towards.w, SHARPNESS), 0, 1), vec3(1 / GAMMA)), 1);
}'''

PICTURE_VERTEX = '''
uniform vec4 box;
out vec2 at;
void main() {
    vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1);
    at = vec2(corner.x, 1 - corner.y);
    gl_Position = vec4(mix(box.xy, box.zw, corner), 0, 1);
}'''

PICTURE_FRAGMENT = '''
in vec2 at; uniform sampler2D picture; out vec4 shown;
void main() { shown = texture(picture, at); }'''


class Part(NamedTuple):
    """Something that is drawn at once: its vertex array, buffers, texture (0: none), count of indices or points."""
    array: int
    buffers: Any
    texture: int
    count: int
    is_points: bool


class Scene:
    """Makes and draws parts in the OpenGL context that is current."""

    def __init__(self):
        from OpenGL import GL
        self.gl, self.seams = GL, None
        self.bare = GL.glGenVertexArrays(1)             # of pictures, which have no arrays
        GL.glBindVertexArray(self.bare)
        self.mesh = self._program(MESH_VERTEX, MESH_FRAGMENT)
        self.picture = self._program(PICTURE_VERTEX, PICTURE_FRAGMENT)
        GL.glUseProgram(self.mesh)
        GL.glUniformMatrix4x3fv(self._uniform('directions'), 1, GL.GL_TRUE, np.ascontiguousarray(DIRECTIONS))
        GL.glUniform3fv(self._uniform('strengths'), 1, STRENGTHS)
        GL.glPixelStorei(GL.GL_UNPACK_ALIGNMENT, 1)
        GL.glPixelStorei(GL.GL_PACK_ALIGNMENT, 1)
        GL.glEnable(GL.GL_MULTISAMPLE)
        GL.glBlendFunc(GL.GL_SRC_ALPHA, GL.GL_ONE_MINUS_SRC_ALPHA)
        GL.glDepthFunc(GL.GL_LEQUAL)
        GL.glPolygonOffset(1, 1)

    def make_parts(self, meshes):
        """Parts of meshes, dicts of v and of those of f, vc, vt, ft and texture (of make_texture) that they have.

        All surfaces without a texture are one part, all points, which are drawn as balls, are another one.
        """
        textured = [mesh for mesh in meshes if mesh.get('texture') is not None and len(mesh.get('f', ()))]
        plain = [mesh for mesh in meshes if mesh.get('texture') is None and len(mesh.get('f', ()))]
        points = [mesh for mesh in meshes if not len(mesh.get('f', ()))]
        parts = [self._textured(mesh) for mesh in textured]
        if plain:
            starts = np.cumsum([0, *(len(mesh['v']) for mesh in plain)])
            v = np.concatenate([mesh['v'] for mesh in plain])
            f = np.concatenate([mesh['f'] + start for mesh, start in zip(plain, starts, strict=False)])
            parts.append(self._part(v, vertex_normals(v, f), np.concatenate([_colours(mesh) for mesh in plain]),
                                    np.zeros((len(v), 2)), f))
        if points:
            v = np.concatenate([mesh['v'] for mesh in points])
            parts.append(self._part(v, np.zeros((len(v), 3)),
                                    np.concatenate([_colours(mesh) for mesh in points]), np.zeros((len(v), 2)), None))
        return parts

    def make_texture(self, picture):
        """A texture of a picture, BGR or BGRA uint8 [H, W, 3 or 4]; its first row is at v = 0."""
        gl, alpha = self.gl, picture.shape[2] == 4
        texture = gl.glGenTextures(1)
        gl.glBindTexture(gl.GL_TEXTURE_2D, texture)
        gl.glTexImage2D(gl.GL_TEXTURE_2D, 0, gl.GL_RGBA8 if alpha else gl.GL_RGB8, picture.shape[1], picture.shape[0],
                        0, gl.GL_BGRA if alpha else gl.GL_BGR, gl.GL_UNSIGNED_BYTE, np.ascontiguousarray(picture))
        gl.glGenerateMipmap(gl.GL_TEXTURE_2D)
        gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_MIN_FILTER, gl.GL_LINEAR_MIPMAP_LINEAR)
        for side in (gl.GL_TEXTURE_WRAP_S, gl.GL_TEXTURE_WRAP_T):
            gl.glTexParameteri(gl.GL_TEXTURE_2D, side, gl.GL_CLAMP_TO_EDGE)
        return texture

    def draw_parts(self, parts, to_screen, turn, look, with_textures, with_lines):
        """Draws parts by the matrices to_screen [4, 4] and turn [3, 3] (of the normals)."""
        gl = self.gl
        gl.glUseProgram(self.mesh)
        gl.glEnable(gl.GL_DEPTH_TEST)
        gl.glUniformMatrix4fv(self._uniform('to_screen'), 1, gl.GL_TRUE, np.ascontiguousarray(to_screen, np.float32))
        gl.glUniformMatrix3fv(self._uniform('turn'), 1, gl.GL_TRUE, np.ascontiguousarray(turn, np.float32))
        for part in parts:
            gl.glBindVertexArray(part.array)
            gl.glBindTexture(gl.GL_TEXTURE_2D, part.texture)
            gl.glUniform1i(self._uniform('textured'), bool(part.texture and with_textures))
            gl.glUniform1i(self._uniform('look'), look)
            gl.glUniform1i(self._uniform('balls'), part.is_points)
            if part.is_points:
                gl.glPointSize(POINT_SIZES[part.count <= FEW])
                gl.glDrawArrays(gl.GL_POINTS, 0, part.count)
                continue
            if with_lines:                              # which would be half hidden otherwise
                gl.glEnable(gl.GL_POLYGON_OFFSET_FILL)
            gl.glEnable(gl.GL_CULL_FACE)
            for hidden in (gl.GL_BACK, gl.GL_FRONT):    # what the outside covers is not shaded
                gl.glCullFace(hidden)
                gl.glDrawElements(gl.GL_TRIANGLES, part.count, gl.GL_UNSIGNED_INT, None)
            gl.glDisable(gl.GL_CULL_FACE)
            gl.glDisable(gl.GL_POLYGON_OFFSET_FILL)
            if with_lines:
                gl.glUniform1i(self._uniform('look'), LINES)
                gl.glPolygonMode(gl.GL_FRONT_AND_BACK, gl.GL_LINE)
                gl.glDrawElements(gl.GL_TRIANGLES, part.count, gl.GL_UNSIGNED_INT, None)
                gl.glPolygonMode(gl.GL_FRONT_AND_BACK, gl.GL_FILL)

    def draw_picture(self, texture, box):
        """Draws a texture into a box (left, bottom, right, top) of the viewport, from -1 to 1, over what is there."""
        gl = self.gl
        gl.glUseProgram(self.picture)
        gl.glDisable(gl.GL_DEPTH_TEST)
        gl.glEnable(gl.GL_BLEND)
        gl.glBindVertexArray(self.bare)
        gl.glBindTexture(gl.GL_TEXTURE_2D, texture)
        gl.glUniform4f(gl.glGetUniformLocation(self.picture, 'box'), *box)
        gl.glDrawArrays(gl.GL_TRIANGLE_STRIP, 0, 4)
        gl.glDisable(gl.GL_BLEND)

    @contextlib.contextmanager
    def smooth(self, width, height):
        """What is drawn in the block gets smooth outlines, and is in the window's own buffer afterwards."""
        gl, buffer, layers = self.gl, self.gl.glGenFramebuffers(1), self.gl.glGenRenderbuffers(2)
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, buffer)
        for layer, kind, place in zip(layers, (gl.GL_RGBA8, gl.GL_DEPTH_COMPONENT24),
                                      (gl.GL_COLOR_ATTACHMENT0, gl.GL_DEPTH_ATTACHMENT), strict=True):
            gl.glBindRenderbuffer(gl.GL_RENDERBUFFER, layer)
            gl.glRenderbufferStorageMultisample(gl.GL_RENDERBUFFER, SAMPLES, kind, width, height)
            gl.glFramebufferRenderbuffer(gl.GL_FRAMEBUFFER, place, gl.GL_RENDERBUFFER, layer)
        yield
        gl.glBindFramebuffer(gl.GL_DRAW_FRAMEBUFFER, 0)
        gl.glBlitFramebuffer(0, 0, width, height, 0, 0, width, height, gl.GL_COLOR_BUFFER_BIT, gl.GL_NEAREST)
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, 0)
        gl.glDeleteRenderbuffers(2, layers)
        gl.glDeleteFramebuffers(1, [buffer])

    def delete(self, parts):
        for part in parts:
            self.gl.glDeleteVertexArrays(1, [part.array])
            self.gl.glDeleteBuffers(len(part.buffers), part.buffers)

    def _textured(self, mesh):
        f, ft = mesh['f'], mesh['ft']
        if self.seams is None or not (np.array_equal(self.seams[0], f) and np.array_equal(self.seams[1], ft)):
            self.seams = f, ft, split_seams(f, ft)      # of one mesh that moves only the first time
        ids, vt_ids, faces = self.seams[2]
        uv = ([0, 1] + [1, -1] * mesh['vt'])[vt_ids]    # the picture's first row is its upper one
        return self._part(mesh['v'][ids], vertex_normals(mesh['v'], f)[ids], _colours(mesh)[ids], uv, faces,
                          mesh['texture'])

    def _part(self, v, normals, colours, uv, faces, texture=0):
        gl, content = self.gl, np.hstack([v, normals, colours, uv]).astype(np.float32)
        array, buffers = gl.glGenVertexArrays(1), np.atleast_1d(gl.glGenBuffers(2))
        gl.glBindVertexArray(array)
        gl.glBindBuffer(gl.GL_ARRAY_BUFFER, buffers[0])
        gl.glBufferData(gl.GL_ARRAY_BUFFER, content.nbytes, content, gl.GL_DYNAMIC_DRAW)
        for location, (start, size) in enumerate(((0, 3), (3, 3), (6, 3), (9, 2))):
            gl.glEnableVertexAttribArray(location)
            gl.glVertexAttribPointer(location, size, gl.GL_FLOAT, False, 4 * content.shape[1],
                                     ctypes.c_void_p(4 * start))
        if faces is not None:
            faces = np.ascontiguousarray(faces, np.uint32)
            gl.glBindBuffer(gl.GL_ELEMENT_ARRAY_BUFFER, buffers[1])
            gl.glBufferData(gl.GL_ELEMENT_ARRAY_BUFFER, faces.nbytes, faces, gl.GL_STATIC_DRAW)
        return Part(array, buffers, texture, len(v) if faces is None else faces.size, faces is None)

    def _program(self, vertex, fragment):
        from OpenGL.GL import shaders
        return shaders.compileProgram(shaders.compileShader(HEAD + vertex, self.gl.GL_VERTEX_SHADER),
                                      shaders.compileShader(HEAD + fragment, self.gl.GL_FRAGMENT_SHADER))

    def _uniform(self, name):
        return self.gl.glGetUniformLocation(self.mesh, name)


def _colours(mesh):
    vc = mesh.get('vc')
    return np.tile(COLOURS['light sky blue'], (len(mesh['v']), 1)) if vc is None else vc
