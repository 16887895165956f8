# SPDX-License-Identifier: Apache-2.0
"""Trees for the tests of the profile directory: made from a seed, changed from a seed, described so that two can be compared."""
import hashlib
import os
import random
import stat

NAMES = [b"a", b"a-", b"a.b", b"a b", b"z", b"\xff\xfe", b"n\nl", b"-rf", b"\xc3\xa9", b"x" * 255, b"quote'\"", b"tab\t", b".hidden", b"back\\slash"]
MODES = [0o644, 0o600, 0o755, 0o4755, 0o2711, 0o1777, 0o000, 0o444]


def name(rnd):
    base = rnd.choice(NAMES)
    return base if rnd.random() < 0.3 else (base[:200] + b"%d" % rnd.randrange(1000))


def content(rnd):
    """Sizes on both sides of what is inline, a part, and a hole."""
    size = rnd.choice([0, 1, 511, 512, 513, 4000, 70000, 4 << 20, (4 << 20) + 1, (9 << 20) + 17]) if rnd.random() < 0.3 else rnd.randrange(5000)
    return rnd.randbytes(size)


def write(path, data, rnd, holes=True):
    with open(path, "wb") as f:
        if holes and rnd.random() < 0.15:
            at = rnd.choice([4096, 1 << 20, 12 << 20])
            f.seek(at)
            f.write(data)
            f.truncate(at + len(data) + rnd.choice([0, 8 << 20]))
        else:
            f.write(data)


def age(path, rnd, link=False):
    """A time with nanoseconds, also before 1970."""
    ns = rnd.choice([-1, 0, 1, -10**18, 123456789, rnd.randrange(-10**18, 2 * 10**18)])
    os.utime(path, ns=(ns, ns), follow_symlinks=not link)


def make_file(path, rnd):
    write(path, content(rnd), rnd)
    if os.geteuid() == 0 and rnd.random() < 0.2:
        os.chown(path, rnd.randrange(70000), rnd.randrange(70000))
    os.chmod(path, rnd.choice(MODES) if rnd.random() < 0.3 else 0o644)
    age(path, rnd)


def make(top, rnd, entries=120):
    """A random tree of so many entries."""
    os.makedirs(top, exist_ok=True)
    dirs = [os.fsencode(str(top))]
    for _ in range(entries):
        where = rnd.choice(dirs)
        path = os.path.join(where, name(rnd))
        if len(path) > 3000 or os.path.lexists(path):
            continue
        kind = rnd.random()
        if kind < 0.2:
            os.mkdir(path)
            dirs.append(path)
        elif kind < 0.3:
            os.symlink(rnd.choice([b"a", b"../up", b"/etc/passwd", b"\xff\n", b"x" * 4000, b".", b"nowhere"]), path)
            age(path, rnd, link=True)
        elif kind < 0.34:
            files = [f for f in os.scandir(where) if f.is_file(follow_symlinks=False)]
            if files:
                os.link(files[0].path, path)
        elif kind < 0.36:
            os.mkfifo(path)
        else:
            make_file(path, rnd)
    for path in reversed(dirs[1:]):  # behind all that is made in them
        os.chmod(path, rnd.choice([0o755, 0o700, 0o1777, 0o2755, 0o555, 0o500]))
        age(path, rnd)


def walk(top):
    """Paths below top as bytes, without fifos and sockets."""
    top = os.fsencode(str(top))
    for folder, dirs, files in os.walk(top):
        for x in dirs + files:
            path = os.path.join(folder, x)
            if stat.S_IFMT(os.lstat(path).st_mode) in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
                yield path


def change(top, rnd, changes=20):
    """Random changes; what they touched may be more than they changed."""
    for _ in range(changes):
        files = [p for p in walk(top) if stat.S_ISREG(os.lstat(p).st_mode)]
        path = rnd.choice(files)
        kind = rnd.random()
        if kind < 0.15:
            os.unlink(path)
        elif kind < 0.3:
            other = os.path.join(os.path.dirname(path), name(rnd))
            if not os.path.lexists(other):
                os.rename(path, other)
        elif kind < 0.45:
            age(path, rnd)
        elif kind < 0.55:
            os.chmod(path, rnd.choice(MODES))
        elif kind < 0.75:
            with open(path, "ab") as f:
                f.write(rnd.randbytes(rnd.randrange(1, 100)))
        elif kind < 0.8:
            os.unlink(path)
            os.symlink(b"instead", path)
        elif kind < 0.85:
            os.unlink(path)
            os.mkdir(path)
        else:
            write(path, content(rnd), rnd)


def describe(top, holes=True):
    """path -> everything a restore must bring back."""
    found = {}
    for path in [os.fsencode(str(top)), *walk(top)]:
        st = os.lstat(path)
        x = [oct(st.st_mode), st.st_uid, st.st_gid, st.st_mtime_ns]
        if stat.S_ISLNK(st.st_mode):
            x.append(os.readlink(path))
        elif stat.S_ISREG(st.st_mode):
            with open(path, "rb") as f:
                x += [st.st_size, hashlib.sha256(f.read()).hexdigest()]
        found[os.path.relpath(path, os.fsencode(str(top)))] = tuple(x)
    return found


def identities(top):
    """path -> what tells that a file was not touched."""
    found = {}
    for path in walk(top):
        st = os.lstat(path)
        if stat.S_ISREG(st.st_mode):
            found[path] = (st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_ino)
    return found


def allocated(top):
    return {os.path.relpath(p, os.fsencode(str(top))): os.lstat(p).st_blocks * 512 for p in walk(top) if stat.S_ISREG(os.lstat(p).st_mode)}


def seed():
    """Printed, so that a failure can be repeated: CHUNKFERRY_SEED=N."""
    n = int(os.environ.get("CHUNKFERRY_SEED", random.SystemRandom().randrange(10**9)))
    print(f"seed {n}")
    return n
