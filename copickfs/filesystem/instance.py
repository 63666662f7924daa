"""An instance of the file system: which stack it is of, here and in other processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fsspec.spec import AbstractFileSystem
from pydantic import BaseModel

from copickfs import paths
from copickfs.config import redacted
from copickfs.filesystem.opening import digest_of, origin_of, read_config
from copickfs.stack import Shared, Stack, StackOptions

if TYPE_CHECKING:
    from copickfs.view import View

_LISTING_OPTIONS = frozenset({"use_listings_cache", "listings_expiry_time", "max_paths", "asynchronous"})
"""What fsspec's base class accepts of every file system. Nothing is kept here, so they change nothing."""


class StackFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """What all instances have. See `copickfs.filesystem.CopickFileSystem` for the arguments.

    Instances are not cached by fsspec: each reads its configuration anew, and those that mean the same
    stack share it anyway.
    """

    protocol = "copickfs"
    root_marker = "/"  # without one, fsspec copies what is at the root to a wrong place
    cachable = False
    blocksize = 1 << 20

    def __init__(
        self,
        config: Any = None,
        *,
        base_directory: Any = None,
        read_only: bool = False,
        offline: bool = False,
        auto_mkdir: bool = True,
        fo: Any = None,
        target_protocol: str | None = None,
        target_options: Any = None,  # noqa: ARG002 -- what fsspec passes along with the other two
        **listing_options: Any,
    ) -> None:
        unknown = listing_options.keys() - _LISTING_OPTIONS
        if unknown:
            raise TypeError(f"copickfs:// has no storage option {', '.join(map(repr, sorted(unknown)))}")
        super().__init__(**listing_options)
        self._origin = origin_of(config, base_directory, fo, target_protocol)
        self._options = StackOptions(read_only=read_only, offline=offline)
        self.auto_mkdir = auto_mkdir
        configuration = read_config(self._origin)
        self._shared = Shared(configuration, self._options)
        self._digest = digest_of(configuration, self._options)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {', '.join(self._shared.config.layers)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (type(self), self._reopening())

    def to_dict(self, *, include_password: bool = True) -> dict[str, Any]:
        """What `from_dict` makes the file system of again; without passwords it is for showing only."""
        options = self._reopening()
        if not include_password:
            options["config"] = redacted(self._shared.config)
        elif isinstance(options["config"], BaseModel):
            options["config"] = options["config"].model_dump(mode="json")
        cls = type(self)
        return {"cls": f"{cls.__module__}:{cls.__name__}", "protocol": self.protocol, "args": [], **options}

    def _reopening(self) -> dict[str, Any]:
        """The arguments of the same file system in a process that has another working directory."""
        return {
            "config": self._origin.config, "base_directory": self._origin.base_directory,
            "read_only": self._options.read_only, "offline": self._options.offline,
            "auto_mkdir": self.auto_mkdir,
        }  # fmt: skip

    @property
    def _fs_token(self) -> str:
        """The same for all who use the same stack, in every thread and process."""
        return self._digest

    @property
    def fsid(self) -> str:
        """See `AbstractFileSystem.fsid`."""
        return f"copickfs_{self._digest}"

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        """The path with one slash at the start, no empty component, and none at the end."""
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        parts = super()._strip_protocol(path).split("/")
        return "/" + "/".join(part for part in parts if part not in ("", "."))

    @property
    def stack(self) -> Stack:
        """The stack, which all users of the configuration in this process share."""
        return self._shared.get()

    @property
    def _view(self) -> View:
        """The merged tree, as all programs of this machine have left it."""
        view = self.stack.view
        view.catch_up()
        return view

    def _path(self, path: Any) -> str:
        """The path as the view has it, which has no slash at the start."""
        return paths.normalise(self._strip_protocol(path))


def _reopened(cls: type[StackFileSystem], options: dict[str, Any]) -> StackFileSystem:
    return cls(**options)
