"""age: what is backed up is readable by who has the identity, and that is kept elsewhere.

Encrypting needs recipients alone, which are public: the machine that makes backups can't read them.
"""

from pathlib import Path

from scripts.backups.programs import Failed, find

SUFFIX = ".age"


def encrypting(recipients: Path) -> list[str]:
    """The command that encrypts its stdin for everyone in the file of recipients."""
    if not recipients.is_file():
        raise Failed(f"there is no file of age recipients at {recipients}")
    return [find("age", "age"), "--encrypt", "--recipients-file", str(recipients)]


def decrypting(identity: Path | None) -> list[str]:
    """The command that decrypts its stdin with the identity of the file."""
    if identity is None:
        raise Failed("the backup is encrypted: give --identity FILE")
    if not identity.is_file():
        raise Failed(f"there is no age identity at {identity}")
    return [find("age", "age"), "--decrypt", "--identity", str(identity)]
