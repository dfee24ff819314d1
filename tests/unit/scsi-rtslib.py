#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Our targets next to an administrator's, under the real rtslib (the library of
targetcli and targetctl) in a fake configfs: list, save, clear and restore.
The library's side is fake-target, the kernel's fake-configfs.
"""
import importlib.machinery
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile

UUID = '5e1c7d7e-8c2b-4b7e-9d55-7d3b8c1f4a10'
NAME = 'xlx-' + UUID + '-0.0.1.2'
WWN = 'naa.502786c464811098'            # see scsi-address.c
OURS = 'pscsi_7892088/' + NAME
FAKE = os.path.abspath('.libs/fake-configfs.so')


# ---- in a process with the fake kernel --------------------------------------

def root(directory):
    """The real rtslib on the fake configfs."""
    from rtslib_fb import RTSRoot, node, root, target, tcm, fabric
    node.CFSNode.configfs_dir = directory + '/target'
    root.mount_configfs = lambda: None
    for module in root, fabric:
        module.modprobe = lambda name: None
    tcm.lock_file = directory + '/lock'
    tcm.is_dev_in_use = lambda path: False
    tcm.convert_scsi_path_to_hctl = lambda path: (0, 0, 0, 0)
    # as the kernel has it: the newest directory first
    real = target.glob
    target.glob = lambda pattern: iter(sorted(real(pattern), reverse=True))
    return RTSRoot()


def theirs(directory):
    """An administrator's disk, exported by loopback."""
    from rtslib_fb import (FabricModule, LUN, PSCSIStorageObject, Target, TPG)
    disk = PSCSIStorageObject('theirs', dev='/dev/sdz')
    tpg = TPG(Target(FabricModule('loopback'), 'naa.5001405000000001'), 1)
    LUN(tpg, 0, storage_object=disk)


def beside(what, directory):
    """What xlx-targetctl does."""
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                          '../../python/xlx-targetctl')
    loader = importlib.machinery.SourceFileLoader('targetctl', source)
    spec = importlib.util.spec_from_loader('targetctl', loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.exit(module.main(what, directory + '/saved'))


def act(what, directory):
    r = root(directory)
    if what.startswith('beside-'):
        beside(what.split('-')[1], directory)
    if what == 'theirs':
        theirs(directory)
    elif what == 'list':
        print(json.dumps([[t.fabric_module.name, t.wwn] +
                          [[lun.lun, lun.storage_object.name]
                           for tpg in t.tpgs for lun in tpg.luns]
                          for t in r.targets] +
                         [so.name for so in r.storage_objects]))
    elif what == 'save':
        r.save_to_file(directory + '/saved')
    elif what == 'clear':
        r.clear_existing(confirm=True)
    elif what.startswith('remove:'):
        tpg = what.split(':')[1]
        os.unlink(tpg + '/lun/lun_2/backstore')
        os.rmdir(tpg + '/lun/lun_2')
        os.rmdir(tpg)
    elif what == 'restore':
        print(r.restore_from_file(directory + '/saved'))


# ---- the tests --------------------------------------------------------------

def python():
    """One that has rtslib; None when there is none."""
    for path in sys.executable, '/usr/bin/python3':
        if not subprocess.run([path, '-c', 'import rtslib_fb'],
                              stderr=subprocess.DEVNULL).returncode:
            return path
    return None


class Host:
    def __init__(self):
        self.directory = tempfile.mkdtemp()
        for each in ('target/core', 'target/xen-pvscsi', 'target/loopback',
                     'module/target_core_pscsi', 'module/target_core_iblock',
                     'bus/xen-backend/drivers/vscsi'):
            os.makedirs(os.path.join(self.directory, each))

    def rtslib(self, what, fails=None):
        env = dict(os.environ, LD_PRELOAD=FAKE,
                   ASAN_OPTIONS='verify_asan_link_order=0:detect_leaks=0')
        r = subprocess.run([python(), '-B', __file__, what, self.directory],
                           env=env, text=True, capture_output=True)
        assert bool(r.returncode) == bool(fails), r.stderr
        assert not fails or fails in r.stderr, r.stderr
        return r.stdout

    def ours(self, what, path='/dev/sda', fails=None, how=()):
        env = dict(os.environ, LIBXLX_CONFIGFS_DIR=self.directory,
                   LIBXLX_SYSFS_DIR=self.directory)
        r = subprocess.run(['./fake-target', what, UUID, '0:0:1:2', path,
                            *how],
                           env=env, text=True, capture_output=True)
        assert bool(r.returncode) == bool(fails), r.stderr
        assert not fails or fails in r.stderr, r.stderr
        return r.stdout

    def text(self, path):
        with open(os.path.join(self.directory, 'target/core', path),
                  encoding='ascii') as file:
            return file.read()

    def there(self, path):
        return os.path.exists(os.path.join(self.directory, 'target', path))

    def link(self, wwn=WWN, lun=2, fabric='xen-pvscsi'):
        """The backstore behind a LUN."""
        lun = '%s/target/%s/%s/tpgt_1/lun/lun_%d' % (
            self.directory, fabric, wwn, lun)
        links = [os.path.join(lun, name) for name in os.listdir(lun)]
        return os.readlink([p for p in links if os.path.islink(p)][0]) \
            .split('/core/')[1]

    def saved(self):
        with open(self.directory + '/saved', encoding='ascii') as file:
            return json.load(file)


def names_are_taken(host):
    assert host.ours('make') == '%s %s 2\n' % (OURS, WWN)
    host.ours('check')
    listed = json.loads(host.rtslib('list'))
    assert ['xen-pvscsi', WWN, [2, NAME]] in listed, listed
    assert NAME in listed and 'theirs' in listed, listed
    host.ours('check')
    host.ours('remove')
    assert os.listdir(host.directory + '/target/xen-pvscsi') == []
    assert host.rtslib('list') == \
        '[["loopback", "naa.5001405000000001", [0, "theirs"]], "theirs"]\n'


def clear_stops_at_ours(host):
    host.ours('make')
    host.rtslib('clear', 'Directory not empty')
    # nothing of the guest's was touched, and it can go as ever
    host.ours('check')
    assert host.link() == OURS
    host.ours('remove')
    host.rtslib('clear')
    assert os.listdir(host.directory + '/target/core') == []


def tpg_of_a_guest_stays(host):
    """Even when the newest does not come first."""
    host.ours('make')
    tpg = host.directory + '/target/xen-pvscsi/' + WWN + '/tpgt_1'
    host.rtslib('remove:' + tpg, 'Directory not empty')
    host.ours('check', fails='has no ' + WWN)
    host.ours('make')
    host.ours('check')


def saved_copy_is_replaced(host):
    """After a boot of the host targetctl has made what it saved, and sda is
    another disk now."""
    host.ours('make')
    host.rtslib('save')
    assert NAME in [so['name'] for so in host.saved()['storage_objects']]
    host.ours('remove')
    assert host.rtslib('restore') == '[]\n'
    assert host.link() != OURS
    host.ours('check', fails='and not to ' + OURS)
    copy = host.link()
    decoy = host.directory + '/target/xen-pvscsi/' + WWN + '/tpgt_2'
    os.chmod(decoy, 0o700)
    host.ours('make', '/dev/sdb')
    # the kernel finds the older one, which rtslib made before ours
    assert os.stat(decoy).st_mode & 0o777 == 0o755
    host.ours('check')
    assert host.link() == OURS
    assert not host.there('core/' + copy)
    assert host.text(OURS + '/udev_path') == '/dev/sdb'
    # theirs is as they saved it
    assert 'theirs' in host.link('naa.5001405000000001', 0, 'loopback')


def saved_copy_is_removed(host):
    """A repair, or a detachment, of a guest that did not come back."""
    host.ours('make')
    host.rtslib('save')
    host.ours('remove')
    host.rtslib('restore')
    copy = host.link()
    host.ours('remove')
    assert not host.there('core/' + copy)
    assert os.listdir(host.directory + '/target/xen-pvscsi') == []
    assert 'theirs' in host.link('naa.5001405000000001', 0, 'loopback')


def beside_guests(host):
    """xlx-targetctl does all of it, and touches nothing of ours."""
    host.ours('make')
    host.rtslib('save')
    for _ in 1, 2:
        host.rtslib('beside-clear')
        assert not host.there('loopback/naa.5001405000000001')
        assert os.listdir(host.directory + '/target/core') == ['pscsi_7892088']
        host.ours('check')
        host.rtslib('beside-restore')
        host.ours('check')
        assert host.link() == OURS
        assert 'theirs' in host.link('naa.5001405000000001', 0, 'loopback')
        assert sorted(os.listdir(host.directory + '/target/core')) == \
            ['pscsi_0', 'pscsi_7892088']
        # also from a file without guests' targets
        host.rtslib('beside-save')
        assert [t['wwn'] for t in host.saved()['targets']] == \
            ['naa.5001405000000001']
        assert [so['name'] for so in host.saved()['storage_objects']] == \
            ['theirs']


def beside_after_failure(host):
    """The clear of targetctl has stopped at ours."""
    host.rtslib('save')
    host.ours('make')
    host.rtslib('clear', 'Directory not empty')
    assert not host.there('loopback/naa.5001405000000001')
    host.rtslib('beside-restore')
    host.ours('check')
    assert 'theirs' in host.link('naa.5001405000000001', 0, 'loopback')


def reservations(host):
    """Guests that share a device by pscsi are one initiator to it."""
    host.ours('make')
    assert host.text(OURS + '/attrib/emulate_pr') == '1'
    host.ours('remove')
    host.ours('make', how=['shared'])
    assert host.text(OURS + '/attrib/emulate_pr') == '0'
    host.ours('remove')
    host.ours('make', how=['iblock'])
    assert host.text(OURS.replace('pscsi', 'iblock') +
                     '/attrib/emulate_pr') == '1'


def main():
    tests = [names_are_taken, clear_stops_at_ours, tpg_of_a_guest_stays,
             saved_copy_is_replaced, saved_copy_is_removed,
             beside_guests, beside_after_failure,
             reservations]
    if not python():
        print('1..0 # SKIP no python3-rtslib-fb')
        return
    print('1..%d' % len(tests))
    for i, test in enumerate(tests, 1):
        host = Host()
        try:
            host.rtslib('theirs')
            test(host)
            print('ok %d - %s' % (i, test.__name__))
        except (AssertionError, OSError, IndexError) as error:
            print('not ok %d - %s' % (i, test.__name__))
            print('# ' + str(error).replace('\n', '\n# '))
        finally:
            shutil.rmtree(host.directory)


if len(sys.argv) > 2:
    act(*sys.argv[1:])
else:
    main()
