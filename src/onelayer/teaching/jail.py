"""Start a program that may do nothing but compute: a script of its own, on the standard library.

On Linux the program gets namespaces of its own: no network, no process but its own, and a file
system of what Python needs, all read-only, and one empty folder in memory. Everywhere it gets
limits, and it ends with the pipe `life`, whose other end its owner holds.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
from pathlib import Path
from typing import Any

_NAMESPACES = {"mount": 0x20000, "uts": 0x4000000, "ipc": 0x8000000, "pid": 0x20000000}
_NAMESPACES |= {"net": 0x40000000}
_NEW_USER = 0x10000000
_BIND, _ALL_BELOW, _PRIVATE = 4096, 16384, 1 << 18
_MOUNT_SETATTR, _RECURSIVE, _READ_ONLY, _NO_SET_USER = 442, 0x8000, 1, 2
_NO_NEW_PRIVILEGES, _SUBREAPER, _END_WITH_PARENT = 38, 36, 1  # of prctl
_FIRST_USER, _NOBODY = 1_000_000, 65534
_OPEN = "the network, other files and your processes can be reached"
_LIBRARIES = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
_FOR_LIBRARIES = ("/etc/ld.so.cache", "/etc/alternatives")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


def main(plan: dict[str, Any]) -> int:
    """Run plan["command"] in the jail until it ends or `life` closes; return its exit status.

    What the jail lacks is the program's last argument, a JSON list. The plan also names the
    `limits`, what is `shown`, a folder that is `hidden` but for files in it that are `shown`, the
    empty folders `root` and `scratch`, and the numbers of the pipes `reply` and `life`.
    """
    lacks, user = _leave_the_system(), _FIRST_USER + os.getpid()
    child = os.fork()
    if child == 0:
        os.setsid()  # else code could end the process that watches it, as one of its group
        os.close(plan["life"])
        try:
            _enter(plan, lacks, user)
        except BaseException as error:
            print(f"the sandbox cannot start: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    os.closerange(0, 3)
    os.close(plan["reply"])
    return _watch(child, plan["life"])


def _leave_the_system() -> list[str]:
    """Take new namespaces, as root or as the root of a new user namespace; return what failed."""
    if sys.platform != "linux":
        return [f"namespaces (only Linux has them): {_OPEN}"]
    _call("prctl", _SUBREAPER, 1, 0, 0, 0)
    user, group = os.getuid(), os.getgid()
    flags = sum(_NAMESPACES.values())
    try:
        if user == 0:
            _call("unshare", flags)
        else:
            _call("unshare", flags | _NEW_USER)
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    except OSError as error:
        return [f"namespaces ({error.strerror}): {_OPEN}"]
    return []


def _enter(plan: dict[str, Any], lacks: list[str], user: int) -> None:
    """Become the program: a view of the files, a user without rights, limits, then exec."""
    os.umask(0o022)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # the first to go where memory is short
    if not lacks:
        try:
            _build_view(Path(plan["root"]), plan["shown"], plan["hidden"], plan["scratch"])
        except OSError as error:
            lacks = [f"a view of its own ({error}): other files can be read"]
    _drop_rights(user, plan["scratch"])
    os.chdir(plan["scratch"])
    if sys.platform == "linux":
        _call("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        _call("prctl", _END_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    lacks += [name for name, value in plan["limits"].items() if not _limit(name, value)]
    command = [*plan["command"], json.dumps(lacks)]
    os.execve(command[0], command, plan["environment"])


def _limit(name: str, value: int) -> bool:
    """Set a limit, or keep a lower one; return whether the system has it."""
    number = getattr(resource, name)
    hard = resource.getrlimit(number)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    try:
        resource.setrlimit(number, (value, value))
    except (ValueError, OSError):  # macOS does not limit the memory
        return False
    return True


def _build_view(root: Path, shown: list[str], hidden: str, scratch: str) -> None:
    """Make `root` a file system of the system's libraries, Python and `shown`, and go there."""
    _mount("none", "/", flags=_ALL_BELOW | _PRIVATE)
    _mount("tmpfs", str(root), "tmpfs", options="mode=755,size=1m")
    bound: list[str] = []
    for path in (*_LIBRARIES, *_FOR_LIBRARIES, *_DEVICES, *sorted(shown)):
        inside = any(f"{path}/".startswith(f"{b}/") for b in bound)
        if os.path.lexists(path) and not inside and not path.startswith(f"{hidden}/"):
            _show(Path(path), root)
            bound.append(path)
    for folder in (scratch, hidden, "/proc"):
        Path(f"{root}{folder}").mkdir(parents=True, exist_ok=True)
    _mount("tmpfs", f"{root}{hidden}", "tmpfs", options="mode=755,size=1m")
    for path in shown:
        if path.startswith(f"{hidden}/"):
            _show(Path(path), root)
    attributes = (ctypes.c_uint64 * 4)(_READ_ONLY | _NO_SET_USER, 0, 0, 0)
    _call("syscall", _MOUNT_SETATTR, -100, str(root).encode(), _RECURSIVE, attributes, 32)
    _mount("tmpfs", f"{root}{scratch}", "tmpfs", options="mode=777,size=64m,nr_inodes=1k")
    _mount("proc", f"{root}/proc", "proc", flags=_READ_ONLY)
    os.chroot(root)  # from within it, no namespace of a user can be made


def _show(path: Path, root: Path) -> None:
    place = Path(f"{root}{path}")
    place.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        place.symlink_to(os.readlink(path))
        return
    place.mkdir(exist_ok=True) if path.is_dir() else place.touch()
    _mount(str(path), str(place), flags=_BIND | _ALL_BELOW)


def _drop_rights(user: int, scratch: str) -> None:
    """Let root become a user that nobody else is, so that its processes can be counted."""
    if os.getuid() != 0:
        return
    os.setgroups([])
    for number in (user, _NOBODY):
        try:
            os.chown(scratch, number, number)
            os.setgid(number)
            os.setuid(number)
            return
        except OSError:
            continue
    raise OSError("root cannot become another user here")


def _watch(child: int, life: int) -> int:
    """Wait until the child ends or `life` closes, end all that came of it; return its status."""
    watched = select.poll()
    watched.register(life, select.POLLIN | select.POLLHUP)
    ended = 0
    while not watched.poll(20):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
    if not ended:
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # where children of children cannot be told
    with contextlib.suppress(ChildProcessError):  # none is left
        while True:
            for number in _children():
                os.kill(number, signal.SIGKILL)
            os.waitpid(-1, os.WNOHANG)  # does not wait for one: another may trace it
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _children() -> list[int]:
    """Return the children of this process: on Linux also those whose parents have gone."""
    try:
        return [*map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())]
    except OSError:
        return []


def _mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    _call("mount", source.encode(), target.encode(), kind.encode(), flags, options.encode())


def _call(name: str, *arguments: Any) -> None:
    """Call a function of the C library; raise OSError where it fails."""
    values = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*values) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
