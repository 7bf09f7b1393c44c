"""A real browser without a screen: Chromium, driven through its debugging pipe."""
import contextlib
import json
import os
import select
import shutil
import subprocess
import time

import pytest

FLAGS = ['--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--use-gl=angle', '--use-angle=swiftshader',
         '--enable-unsafe-swiftshader', '--no-first-run', '--disable-extensions', '--window-size=1000,700']
TIMEOUT = 60


class Page:
    """A tab: opens addresses, evaluates JavaScript, keeps what went wrong in `errors`."""

    def __init__(self, write, read):
        self.write, self.read, self.rest, self.number, self.session, self.errors = write, read, b'', 0, None, []
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        self.session = self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self.call(f'{domain}.enable')

    def call(self, method, **params):
        self.number += 1
        message = {'id': self.number, 'method': method, 'params': params}
        if self.session:
            message['sessionId'] = self.session
        os.write(self.write, json.dumps(message).encode() + b'\0')
        while (answer := self.receive()).get('id') != self.number:
            self.note(answer)
        if 'error' in answer:
            raise RuntimeError(answer['error'])
        return answer['result']

    def receive(self):
        end = time.monotonic() + TIMEOUT
        while b'\0' not in self.rest:
            if not select.select([self.read], [], [], max(end - time.monotonic(), 0))[0]:
                raise TimeoutError('Chromium does not answer')
            self.rest += os.read(self.read, 1 << 20)
        message, _, self.rest = self.rest.partition(b'\0')
        return json.loads(message)

    def note(self, event):
        params, method = event.get('params', {}), event.get('method')
        if method == 'Runtime.exceptionThrown':
            self.errors.append(str(params['exceptionDetails']))
        elif method == 'Runtime.consoleAPICalled' and params['type'] in ('error', 'warning', 'assert'):
            self.errors.append(str(params['args']))
        elif method == 'Log.entryAdded' and params['entry']['level'] in ('error', 'warning'):
            self.errors.append(params['entry']['text'])
        elif method == 'Network.requestWillBeSent' and not params['request']['url'].startswith(('data:', self.address)):
            self.errors.append('asked for ' + params['request']['url'])

    def open(self, address):
        self.address = address
        self.call('Page.navigate', url=address)
        self.wait('document.readyState === "complete" && location.href !== "about:blank"')

    def run(self, code):
        """The value of JavaScript, promises awaited."""
        done = self.call('Runtime.evaluate', expression=code, returnByValue=True, awaitPromise=True)
        if 'exceptionDetails' in done:
            raise RuntimeError(done['exceptionDetails']['exception']['description'])
        return done['result'].get('value')

    def wait(self, condition):
        end = time.monotonic() + TIMEOUT
        while not self.run(condition):
            if time.monotonic() > end:
                raise TimeoutError(f'{condition}; {self.errors}')
            time.sleep(0.05)

    def slide(self, number, value):
        """Moves a slider as a user's hand does."""
        self.run(f'(() => {{ const slider = document.getElementById("slider_{number}"); slider.value = {value}; '
                 'slider.dispatchEvent(new Event("input")); })()')


@contextlib.contextmanager
def chromium(folder):
    """Yields a Page; skips the test where there is no Chromium. folder: for its profile."""
    program = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
    if program is None:
        pytest.skip('no Chromium (apt install chromium)')
    (in_read, in_write), (out_read, out_write) = os.pipe(), os.pipe()

    def join():
        for number in (os.dup2(os.dup(in_read), 100), os.dup2(os.dup(out_write), 101)):
            os.dup2(number, number - 97)

    process = subprocess.Popen([program, *FLAGS, f'--user-data-dir={folder}', '--remote-debugging-pipe'],
                               preexec_fn=join, close_fds=False, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    os.close(in_read)
    os.close(out_write)
    try:
        page = Page(in_write, out_read)
        yield page
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
        os.close(in_write)
        os.close(out_read)
