"""The process of `tests.servers.SftpServer`: ``python sftp_process.py PORT USER PASSWORD``."""

from __future__ import annotations

import asyncio
import sys

import asyncssh


class Login(asyncssh.SSHServer):
    """One user with a password."""

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return [username, password] == sys.argv[2:4]


async def main() -> None:
    """Serve until killed."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen(
        "127.0.0.1",
        int(sys.argv[1]),
        server_host_keys=[key],
        server_factory=Login,
        sftp_factory=True,
        reuse_address=True,
    )
    async with server:
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
