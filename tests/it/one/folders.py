"""Where ONE has its parameters and data files on each system, and where the script of one-setup (the argument) puts them.

Runs on one system as if it were each of them: by `sys.platform`, which is what ONE goes by.
"""
import json
import os
import sys
from pathlib import Path

from iblutil.io import params as iopar
from one import params

script = {'__name__': 'one_setup'}
exec(compile(Path(sys.argv[1]).read_text(), 'one-setup.py', 'exec'), script)
here, told = sys.platform, {}


class Msvcrt:
    """What Windows' Python has to lock a file with."""
    LK_LOCK = 1

    @staticmethod
    def locking(file, mode, length):
        assert (mode, length) == (1, 1) and os.fstat(file)


sys.modules['msvcrt'] = Msvcrt
for platform in ('linux', 'darwin', 'win32', 'cygwin'):
    sys.platform = platform
    roaming = Path.home() / platform / 'AppData' / 'Roaming'
    roaming.mkdir(parents=True)
    os.environ['APPDATA'] = str(roaming)
    if platform == 'win32':
        del os.chown  # which Windows has not
    _, folder, downloads = script['places'](None)
    assert folder == params.get_params_dir(), (folder, params.get_params_dir())
    assert downloads == Path(params.CACHE_DIR_DEFAULT), (downloads, params.CACHE_DIR_DEFAULT)
    assert script['main'](['--unchecked', '--username', 'Zoë']) == 0
    par = params.get(silent=True)
    assert (par.ALYX_URL, par.ALYX_LOGIN) == (script['URL'], 'Zoë'), par
    key = params._key_from_url(script['URL'])
    assert Path(par.CACHE_DIR) == downloads / key and Path(par.CACHE_DIR).is_dir(), par
    # ONE itself writes the same bytes.
    for name in ('caches', key):
        written = Path(iopar.getfile(f'one/{name}')).read_bytes()
        iopar.write(f'one/{name}', iopar.read(f'one/{name}'))
        assert Path(iopar.getfile(f'one/{name}')).read_bytes() == written, written
    assert script['main'](['--undo']) == 0
    assert not folder.exists() and not downloads.exists()
    told[platform] = str(folder.relative_to(Path.home()))
del os.environ['APPDATA']
assert script['main'](['--unchecked']) == 1
# ONE's name of whatever URL.
for url in ('http://[::1]:8040', 'https://Alyx.Example.org/a - b/', 'HTTP://x', 'http://x_y-z..org:1/--/', 'ſtraße.org'):
    assert script['key'](url) == params._key_from_url(url), url
sys.platform = here
print(json.dumps(told))
