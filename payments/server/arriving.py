"""A request while its bytes come in: is it all here?

This only decides *when* Gunicorn's parser is given the bytes, and how many; what they mean is the
parser's affair. Whatever looks wrong here is handed on at once, and refused there. Framing is that
of RFC 9112: a head that ends with an empty line, then as much as `Content-Length` says, or chunks
(section 7.1) to the last one and its trailers.
"""

import string
from typing import Literal

HEAD_BYTES = 32 * 1024
"""A head past this is not waited for."""
CHUNK_LINE_BYTES = 4096
"""Nor is the size line of a chunk, or its trailers."""
WRAPPING = 4
"""A body in chunks may weigh so many times what it holds: chunks of a byte weigh six times as much
and are cut off."""

Fault = Literal["head", "body", "end"]

_END_OF_HEAD = b"\r\n\r\n"
_HEX = frozenset(string.hexdigits.encode())


class Arriving:
    """The bytes of one request, and of what was sent behind it.

    is_whole: it can be handed on. is_cut: it was so before its end, for it is too long or broken;
    the connection can't be used for another. fault: what is wrong, where the parser would only find
    that bytes are missing: "head" and "body" are too long, "end" came too early. wants_continue:
    the client waits to be told that its body is welcome (RFC 9110, section 10.1.1).
    """

    def __init__(self, body_limit: int, data: bytes = b"") -> None:
        self.is_whole = False
        self.is_cut = False
        self.fault: Fault | None = None
        self.wants_continue = False
        self._limit = body_limit
        self._bytes = bytearray()
        self._head_end = 0
        self._is_chunked = False
        self._at = 0  # where the next thing to look at begins
        self._held = 0  # bytes of body in the chunks before it
        if data:
            self.add(data)

    def __len__(self) -> int:
        return len(self._bytes)

    def add(self, data: bytes) -> None:
        """Take what came, and look again."""
        self._bytes += data
        if not self._head_end:
            self._look_for_head()
        if self._head_end and not self.is_whole:
            self._look_for_end()

    def end(self) -> None:
        """The client sends no more: what is here is all."""
        if not self.is_whole:
            self._cut("end")

    def request(self) -> bytes:
        """The bytes of this request alone."""
        return bytes(self._bytes[: len(self._bytes) if self.is_cut else self._at])

    def rest(self) -> bytes:
        """What came behind it: the beginning of the next."""
        return b"" if self.is_cut else bytes(self._bytes[self._at :])

    def _cut(self, fault: Fault | None = None) -> None:
        self.is_whole = self.is_cut = True
        self.fault = fault
        self.wants_continue = False

    def _look_for_head(self) -> None:
        # The end may lie across what came before and what came now.
        found = self._bytes.find(_END_OF_HEAD, max(0, self._at - len(_END_OF_HEAD) + 1))
        if found < 0:
            self._at = len(self._bytes)
            if len(self._bytes) > HEAD_BYTES:
                self._cut("head")
            return
        self._at = self._head_end = found + len(_END_OF_HEAD)
        self._read_head(bytes(self._bytes[:found]))

    def _read_head(self, head: bytes) -> None:
        length = 0
        for field in head.split(b"\r\n")[1:]:
            name, _, value = field.partition(b":")
            name, value = name.strip().lower(), value.strip()
            if name == b"content-length":
                # Nothing but digits, or the parser has to say what is wrong with it.
                length = int(value) if value.isdigit() and len(value) < 20 else self._limit + 1
            elif name == b"transfer-encoding":
                self._is_chunked = True
            elif name == b"expect":
                self.wants_continue = value.lower() == b"100-continue"
        if self._is_chunked:
            return
        self._at = self._head_end + length
        if length > self._limit:
            self._cut()

    def _look_for_end(self) -> None:
        if not self._is_chunked:
            self.is_whole = len(self._bytes) >= self._at
        elif len(self._bytes) - self._head_end > WRAPPING * self._limit:
            self._cut("body")
        else:
            while not self.is_whole and self._walk():
                continue
        if self.is_whole:
            self.wants_continue = False

    def _walk(self) -> bool:
        """Over one chunk; False where the bytes end first."""
        line_end = self._bytes.find(b"\r\n", self._at)
        if line_end < 0:
            return self._wait()
        size = bytes(self._bytes[self._at : line_end]).partition(b";")[0].strip()
        if not size or len(size) > 16 or not _HEX.issuperset(size):
            self._cut()
        elif int(size, 16) == 0:
            return self._walk_trailers(line_end)
        else:
            after = line_end + 2 + int(size, 16) + 2
            if self._held + int(size, 16) > self._limit:
                self._cut("body")
            elif len(self._bytes) < after:
                return False
            else:
                self._held += int(size, 16)
                self._at = after
        return True

    def _walk_trailers(self, line_end: int) -> bool:
        # Without trailers the empty line follows at once: the last chunk's line end begins it.
        found = self._bytes.find(_END_OF_HEAD, line_end)
        if found < 0:
            return self._wait()
        self._at = found + len(_END_OF_HEAD)
        self.is_whole = True
        return True

    def _wait(self) -> bool:
        if len(self._bytes) - self._at > CHUNK_LINE_BYTES:
            self._cut()
        return False
