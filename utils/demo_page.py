"""One page of all that demo.sh made: pictures, what the scripts said, and links to the files.

    python -m utils.demo_page FOLDER            writes FOLDER/index.html, of FOLDER/name/* and FOLDER/name.log
"""
import glob
import html
import os
import re
import sys
from urllib.parse import quote

from utils.files import write_beside

PICTURES = ('.png', '.jpg')
CHATTER = re.compile(r'[IWEF]\d{4} |WARNING: All log messages')                         # TensorFlow's
PAGE = '''<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>TF_FLAME reborn: demo</title>
<style>
    body {{ font: 15px/1.4 sans-serif; margin: 2em auto; max-width: 1200px; padding: 0 1em; color: #222 }}
    .pictures {{ display: flex; flex-wrap: wrap; gap: 8px; align-items: center }}
    img {{ max-width: 100%; height: 230px; object-fit: contain; border: 1px solid #ddd }}
    pre {{ background: #f4f4f4; padding: 0.6em; overflow-x: auto; font-size: 13px }}
    .files a {{ margin-right: 0.8em; white-space: nowrap }}
</style>
<h1>TF_FLAME reborn: demo</h1>
{}
</html>
'''
RUN = '''<h2 id="{name}">{name}</h2>
<div class="pictures">{pictures}</div>
<pre>{figures}</pre>
<p class="files">{files}</p>
'''


def write_page(folder):
    """Writes index.html for the runs in a folder, in the order in which they ended; returns its path."""
    logs = sorted(glob.glob(os.path.join(glob.escape(folder), '*.log')), key=os.path.getmtime)
    path = os.path.join(folder, 'index.html')
    with write_beside(path) as temporary, open(temporary, 'w', encoding='utf-8') as file:
        file.write(PAGE.format(''.join(run_section(folder, log) for log in logs)))
    return path


def run_section(folder, log):
    """The part of the page for one run: HTML."""
    name = os.path.splitext(os.path.basename(log))[0]
    with open(log, encoding='utf-8', errors='replace') as file:
        figures = ''.join(line for line in file if not CHATTER.match(line)).strip()
    made = sorted(glob.glob(os.path.join(glob.escape(folder), glob.escape(name), '*')))
    names = [os.path.basename(path) for path in made if os.path.isfile(path)]
    links = {entry: quote(f'{name}/{entry}') for entry in names}
    pictures = [f'<a href="{link}"><img src="{link}" alt="{html.escape(entry)}" loading="lazy"></a>'
                for entry, link in links.items() if entry.endswith(PICTURES)]
    files = [f'<a href="{link}">{html.escape(entry)}</a>' for entry, link in links.items()]
    return RUN.format(name=html.escape(name), pictures='\n'.join(pictures), figures=html.escape(figures),
                      files='\n'.join(files))


if __name__ == '__main__':
    write_page(sys.argv[1])
