"""The page that demo.sh leaves, results/index.html: every demo with picture, figures and links to its files.

    python -m utils.demo_page results   of the demos in results/demos.txt: name, seconds, exit code and command a line
"""
import html
import os
import re
import sys
from urllib.parse import quote

from utils.files import write_beside

LIST, PAGE = 'demos.txt', 'index.html'
PICTURES = ('_fit.png', 'samples.png', 'textures.png', '_views.png')    # the ends of names of those that show most
NOISE = re.compile(r'WARNING: All log messages|[IWE]\d{4} |\s*$')        # TensorFlow's start-up
STYLE = '''
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fafafa }
body { margin: 2em auto; max-width: 78em; padding: 0 1em }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(30em, 100%), 1fr)); gap: 1.5em }
section { background: #fff; border: 1px solid #ddd; border-radius: 6px; padding: 1em; min-width: 0 }
h2 { font-size: 1.15em; margin: 0 }
.time { color: #777; font-weight: normal; font-size: .85em }
.failed { color: #b00 }
img { max-width: 100%; max-height: 22em; display: block; margin: .7em auto }
code, pre { font-size: 12px; background: #f3f3f3; border-radius: 4px }
code { padding: .1em .3em; overflow-wrap: anywhere }
pre { padding: .7em; white-space: pre-wrap; overflow-wrap: anywhere }
 .files { font-size: .9em; overflow-wrap: anywhere }
'''


def write_page(folder):
    """Writes folder/index.html of the demos in folder/demos.txt and returns its path."""
    with open(os.path.join(folder, LIST), encoding='utf-8') as file:
        demos = [line.rstrip('\n').split('\t') for line in file]
    page = os.path.join(folder, PAGE)
    with write_beside(page) as temporary, open(temporary, 'w', encoding='utf-8') as file:
        file.write('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>TF_FLAME: the demos</title>'
                   f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n'
                   '<body><h1>TF_FLAME: the demos</h1>\n<main>\n'
                   + '\n'.join(section(folder, *demo) for demo in demos) + '\n</main></body></html>\n')
    return page


def section(folder, name, seconds, code, command):
    """The part of the page about one demo, HTML."""
    files = sorted(os.listdir(os.path.join(folder, name)))
    pictures = [file for end in PICTURES for file in files if file.endswith(end)]
    title = html.escape(name)
    time = f'{seconds} s' if code == '0' else f'<span class="failed">failed with exit code {html.escape(code)}</span>'
    picture = (f'<a href="{_address(name, pictures[0])}"><img src="{_address(name, pictures[0])}" '
               f'alt="{html.escape(pictures[0])}"></a>' if pictures else '')
    links = ', '.join(f'<a href="{_address(*path)}">{html.escape(path[-1])}</a>'
                      for path in (*((name, file) for file in files), (name + '.log',)))
    return (f'<section id="{title}"><h2>{title} <span class="time">{time}</span></h2>\n'
            f'<code>{html.escape(command)}</code>\n{picture}\n'
            f'<pre>{html.escape(said(os.path.join(folder, name + ".log")))}</pre>\n'
            f'<div class="files">{links}</div></section>')


def said(log):
    """What a demo printed, without TensorFlow's notes."""
    with open(log, encoding='utf-8', errors='replace') as file:
        return ''.join(line for line in file if not NOISE.match(line))


def _address(*parts):
    return html.escape('/'.join(quote(part) for part in parts))


if __name__ == '__main__':
    write_page(sys.argv[1])
